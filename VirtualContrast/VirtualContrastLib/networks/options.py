"""The options of every network, declared once: a model card and the function that builds the network read them here.

Needs pydantic and not torch, so that cards can be listed and checked quickly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

Count = Annotated[int, Field(ge=1, le=8192, strict=True)]
"""Channels or pixels, from 1 to far more than any network has: a card may come from anywhere."""
Depth = Annotated[int, Field(ge=1, le=64, strict=True)]
"""Layers, blocks or networks: as many are built."""
Halvings = Annotated[int, Field(ge=1, le=10, strict=True)]
"""How often rows and columns are halved."""


class Options(BaseModel):
    """Options of a network; unknown ones are refused.

    Attributes:
        label: The network's name in messages.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    label: ClassVar[str] = "network"

    @classmethod
    def of(cls, config: Mapping[str, Any] | Self) -> Self:
        """The options of a card or recipe.

        Raises:
            ValueError: one sentence naming the first option that is missing, unknown or impossible.
        """
        if isinstance(config, cls):
            return config
        try:
            return cls.model_validate(dict(config))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            reasons = {"missing": "is missing", "extra_forbidden": "is unknown"}
            reason = reasons.get(first["type"]) or first["msg"].removeprefix("Value error, ")
            if first["type"] not in (*reasons, "value_error"):
                reason = f"is {first['input']!r}: {reason}"
            raise ValueError(f"{cls.label} option{f' {where}' if where else 's:'} {reason}") from error


class SliceOptions(Options):
    """Options of a network over axial slices [batch, channel, row, column].

    Attributes:
        input_nc: Channels of the input.
    """

    input_nc: Count

    @property
    def output_count(self) -> int | None:
        """Channels of the output, None where that is not decided by the options."""
        return getattr(self, "output_nc", None)

    @property
    def halvings(self) -> int:
        """How many times the network halves rows and columns: they must be multiples of 2**halvings."""
        return 0

    @property
    def base_width(self) -> int:
        """Channels at full resolution, from which the size of a batch is reckoned."""
        return 64


class OnnxOptions(SliceOptions):
    """An ONNX file: its channels, its size, and how often it halves rows and columns.

    Attributes:
        output_nc: Channels of the output.
        size_bytes: Size of the file.
        downsamplings: How often the network halves rows and columns.
    """

    label: ClassVar[str] = "ONNX"
    output_nc: Count
    size_bytes: int = Field(ge=1, le=2**31 - 1, strict=True)
    downsamplings: int = Field(default=0, ge=0, le=10, strict=True)

    @property
    def halvings(self) -> int:
        """As exported."""
        return self.downsamplings


class Pix2PixHDOptions(SliceOptions):
    """A pix2pixHD generator; names and defaults are those of NVIDIA's release.

    Attributes:
        output_nc: Channels of the output.
        ngf: Channels at full resolution.
        netG: "global" for the global generator alone, "local" for one with local enhancers around it.
        n_downsample_global: How often the global generator halves rows and columns.
        n_blocks_global: Residual blocks of the global generator.
        n_local_enhancers: Local enhancers, each at twice the resolution of the one before; read for "local" alone.
        n_blocks_local: Residual blocks of each local enhancer.
        norm: Normalization layers.
    """

    label: ClassVar[str] = "pix2pixHD"
    output_nc: Count
    ngf: Count = 64
    netG: Literal["global", "local"] = "global"  # noqa: N815  (NVIDIA's name)
    n_downsample_global: Halvings = 4
    n_blocks_global: Depth = 9
    n_local_enhancers: Halvings = 1
    n_blocks_local: Depth = 3
    norm: Literal["instance"] = "instance"

    @property
    def halvings(self) -> int:
        """A local enhancer adds one each."""
        return self.n_downsample_global + (self.n_local_enhancers if self.netG == "local" else 0)

    @property
    def base_width(self) -> int:
        """`ngf`."""
        return self.ngf


class Pix2PixHDDiscriminatorOptions(Options):
    """A multi-scale discriminator of pix2pixHD.

    Attributes:
        input_nc: Channels of label and image together.
        ndf: Channels of the first layer.
        n_layers_D: Strided layers of each discriminator.
        num_D: Discriminators, each at half the resolution of the one before.
        norm: Normalization layers.
        use_sigmoid: Whether the output passes through a sigmoid.
        getIntermFeat: Whether the features between the layers are given too, for the feature matching loss.
    """

    label: ClassVar[str] = "pix2pixHD"
    input_nc: Count
    ndf: Count = 64
    n_layers_D: Depth = 3  # noqa: N815
    num_D: Depth = 2  # noqa: N815
    norm: Literal["instance"] = "instance"
    use_sigmoid: bool = False
    getIntermFeat: bool = True  # noqa: N815


class SubtractionUNetOptions(SliceOptions):
    """The U-Net baseline.

    Attributes:
        output_nc: Channels of the output.
        predicts: What the output is: phases less pre-contrast, or the phases themselves.
        widths: Channels of the levels, from full resolution down, two or more.
        dropout: Probability with which an activation is dropped.
    """

    label: ClassVar[str] = "subtraction U-Net"
    output_nc: Count
    predicts: Literal["subtraction", "phase"] = "subtraction"
    widths: list[Count] = Field(default=[64, 128, 256, 512], min_length=2, max_length=11)
    dropout: float = Field(default=0.5, ge=0, lt=1)

    @property
    def halvings(self) -> int:
        """One between two levels."""
        return len(self.widths) - 1

    @property
    def base_width(self) -> int:
        """Width of the finest level."""
        return self.widths[0]


class TimeConditionedOptions(SliceOptions):
    """The generator of phases at any time.

    Attributes:
        ngf: Channels at full resolution, as pix2pixHD's.
        n_downsample: How often rows and columns are halved, as pix2pixHD's.
        n_blocks: Residual blocks, as pix2pixHD's.
        bases: Maps of a slice.
        rise_s: Seconds in which the change may build up.
        time_range_s: Seconds after injection between which the network is trained.
    """

    label: ClassVar[str] = "time-conditioned generator"
    ngf: Count = 64
    n_downsample: Halvings = 3
    n_blocks: Depth = 9
    bases: Count = 8
    rise_s: float = Field(default=20.0, gt=0)
    time_range_s: tuple[float, float] = (30.0, 600.0)

    @model_validator(mode="after")
    def _range_increases(self) -> Self:
        if not 0 < self.time_range_s[0] < self.time_range_s[1]:
            raise ValueError("time_range_s must be above 0 and increasing")
        return self

    @property
    def halvings(self) -> int:
        """`n_downsample`."""
        return self.n_downsample

    @property
    def base_width(self) -> int:
        """`ngf`."""
        return self.ngf


class ResidualEnhancementOptions(SliceOptions):
    """Residual U-Nets over pixels unshuffled 2 x 2.

    Attributes:
        input_nc: The slice itself is the only input.
        widths: Channels of the levels from the finest down.
        encode: Residual blocks of each level on the way down.
        decode: Residual blocks of each level on the way up.
        members: Networks whose outputs are averaged.
    """

    label: ClassVar[str] = "residual enhancement"
    input_nc: Literal[1] = 1
    widths: list[Count] = Field(default=[24, 48, 80, 96], min_length=2, max_length=11)
    encode: list[Depth] = [1, 1, 2, 2]
    decode: list[Depth] = [2, 2, 2]
    members: Depth = 1

    @model_validator(mode="after")
    def _levels_fit(self) -> Self:
        if not len(self.widths) == len(self.encode) == len(self.decode) + 1:
            raise ValueError("widths and encode must be of one length, decode one shorter")
        return self

    @property
    def halvings(self) -> int:
        """One for the unshuffled pixels, one between two levels."""
        return len(self.widths)

    @property
    def base_width(self) -> int:
        """Width of the finest level."""
        return self.widths[0]


def _six_widths(features: tuple[int, ...]) -> tuple[int, ...]:
    if len(features) != 6 or any(width % 2 for width in features[2:5]):
        raise ValueError("must be six widths, 3rd to 5th of them even")
    return features


Features = Annotated[tuple[Count, ...], AfterValidator(_six_widths)]


class IterUNetOptions(Options):
    """The recursive 3-D network.

    The published ablation without temporal information has neither `time` nor `memory`.

    Attributes:
        features: Six widths, level 0 to 4 and the last decoder level; the first and the last must be equal, since both
            share a time projection.
        time: "step" embeds the step counter 0, 1, 2, ... as published; "seconds" embeds (seconds after injection -
            time_origin_s) / time_unit_s of the phase that the step makes, which at the published phase times 155, 225,
            295, 365 s equals the counter; "none" leaves the embedding and its layers out.
        memory: The ConvLSTM that carries state from step to step, or "none".
        time_origin_s: Seconds after injection that are embedded as 0.
        time_unit_s: Seconds from one whole number to the next.
    """

    label: ClassVar[str] = "iterU-Net"
    features: Features = (32, 32, 64, 128, 256, 32)
    time: Literal["step", "seconds", "none"] = "step"
    memory: Literal["conv_lstm", "none"] = "conv_lstm"
    time_origin_s: float = 155.0
    time_unit_s: float = Field(default=70.0, gt=0)

    @model_validator(mode="after")
    def _ends_are_equal(self) -> Self:
        if self.features[0] != self.features[5]:
            raise ValueError("the first and last of features must be equal")
        return self


class SingleTimePointOptions(Options):
    """Independent 3-D U-Nets, one for each later phase.

    Attributes:
        time_points: How many later phases there are.
        features: Six widths, level 0 to 4 and the last decoder level.
    """

    label: ClassVar[str] = "single-time-point U-Nets"
    time_points: Depth
    features: Features = (32, 32, 64, 128, 256, 32)


class VolumetricOptions(Options):
    """A 3-D network in sliding windows.

    Attributes:
        network_options: options of the network, `network` in the card; with `recursive` false the baseline of
            independent U-Nets.
        window_kji: voxels that the network sees at once, in axial view.
        overlap: share of a window that its neighbor covers.
        ti_norm_region: voxels of the first post-contrast volume that TI-norm takes mean and standard deviation from.
    """

    label: ClassVar[str] = "iter_unet"
    network_options: dict[str, Any] = Field(alias="network")
    window_kji: tuple[Count, Count, Count]
    overlap: float = Field(ge=0, lt=1)
    ti_norm_region: Literal["volume", "foreground"]

    @model_validator(mode="after")
    def _network_is_possible(self) -> Self:
        series_options(self.network_options)
        return self


def series_options(config: Mapping[str, Any]) -> IterUNetOptions | SingleTimePointOptions:
    """Options of the recursive network, or with `recursive` false of its baseline; raises ValueError."""
    options = {name: value for name, value in config.items() if name != "recursive"}
    return (IterUNetOptions if config.get("recursive", True) else SingleTimePointOptions).of(options)


class CycleGANOptions(Options):
    """A ResNet generator; the 3-D ancestor of the paper's code has ngf 32, zero padding and affine norms.

    Attributes:
        input_nc: Channels of the input.
        output_nc: Channels of the output.
        ngf: Channels at full resolution.
        n_blocks: Residual blocks.
        affine_norm: Whether the instance norms have a scale and an offset to learn.
        padding: That of the residual blocks, "reflect" (paper) or "zero".
    """

    label: ClassVar[str] = "CycleGAN"
    input_nc: Count = 1
    output_nc: Count = 1
    ngf: Count = 64
    n_blocks: Depth = 9
    affine_norm: bool = False
    padding: Literal["reflect", "zero"] = "reflect"


class CycleGANDiscriminatorOptions(Options):
    """A patch discriminator.

    Attributes:
        input_nc: Channels of the input.
        ndf: Channels of the first layer.
        layout: "paper": three strided 4x4 convolutions, each with a norm, then one to a single channel and a sigmoid.
            "ancestor", as in the code that the paper builds on: a fourth, unstrided convolution of 8 ndf channels in
            between, and no norm after the first.
    """

    label: ClassVar[str] = "CycleGAN"
    input_nc: Count = 1
    ndf: Count = 64
    layout: Literal["paper", "ancestor"] = "paper"


class MammogramOptions(Options):
    """Synthesis of recombined mammograms: the generator, and how pictures become its input.

    Attributes:
        generator: Options of the generator.
        mammogram: What `synthesis.mammogram.MammogramSpec` reads.
        window: Side of the sliding window, in pixels of the network.
        stride: Step of the sliding window, in pixels of the network.
    """

    label: ClassVar[str] = "cyclegan"
    generator: CycleGANOptions
    mammogram: dict[str, Any]
    window: Count = 128
    stride: Count = 16


class NNUNetOptions(Options):
    """An nnU-Net whose plans.json and dataset.json lie in the package.

    The weights' keys are `fold_{n}.<key of nnU-Net's network>`.

    Attributes:
        folds: Folds whose networks are in the package; several are an ensemble.
        configuration: Configuration of the plans.
        trainer_name: nnU-Net's trainer class that the weights come from.
        mirror_axes: Axes along which `mirroring` flips.
        mirroring: Whether the probabilities are averaged over all flips.
        probability_threshold: Probability from which on a voxel is lesion.
        minimum_volume_mm3: Lesions below this volume, in mm3, are left out.
        tile_step_size: Step between tiles, in tiles.
    """

    label: ClassVar[str] = "nnunet"
    folds: list[Annotated[int, Field(ge=0, strict=True)]] = Field(min_length=1, max_length=20)
    configuration: str = "3d_fullres"
    trainer_name: str = "nnUNetTrainer"
    mirror_axes: list[int] | None = None
    mirroring: bool = False
    probability_threshold: float = Field(default=0.5, gt=0, le=1)
    minimum_volume_mm3: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    tile_step_size: float = Field(default=0.5, gt=0, le=1)
