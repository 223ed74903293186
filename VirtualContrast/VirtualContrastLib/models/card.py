"""The model card `model.json`: everything a run must know about a network, nothing implied."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator

from ..networks.architectures import Abilities, architecture
from ..networks.options import Options, SliceOptions
from .against_copying import AgainstCopying
from .calibration import Calibration

MODEL_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"
CHANNEL_PATTERN = r"^(pre|(phase|subtraction)_[1-9][0-9]*)$"

# Constants of each intensity recipe; None marks one that may be left out, `...` one that must be given.
_INTENSITY_CONSTANTS: dict[str, dict[str, Any]] = {
    "pre_percentile": {"percentile": 99.0, "max_ratio": ...},
    "minmax_8bit": {},
    "zscore": {"max_sd": ..., "mean": None, "std": None},
    "tissue_percentile": {},
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ArchitectureSpec(_Strict):
    """Network and its options; `networks.options` says which options a built-in network has.

    Attributes:
        name: Id of a record of `networks.architectures`.
        config: What that record reads.
    """

    name: str
    config: dict[str, Any]

    @field_validator("name")
    @classmethod
    def _is_known(cls, value: str) -> str:
        return architecture(value).id

    @model_validator(mode="after")
    def _options_are_possible(self) -> Self:
        _ = self.options
        return self

    @property
    def options(self) -> Options:
        """`config` as the options of the network; raises ValueError where they are impossible."""
        return architecture(self.name).read_options(self.config)


class Inputs(_Strict):
    """Which volumes the network reads.

    Attributes:
        phases: Phase indices, 0 = pre-contrast; others are real phases that a user must give.
        times_s: Seconds after injection of those real phases in training, [] where unknown.
        channel_offsets: Channel c is slice k + offset of the volume, the first or last slice repeated beyond the ends
            (2-D networks only).
        channels: Each input channel in order, `pre`, `phase_N` or `subtraction_N` (phase N - pre); segmentation only.
    """

    phases: list[int] = Field(default=[0], min_length=1)
    times_s: list[float] = Field(default_factory=list)
    channel_offsets: list[int] = Field(default=[0], min_length=1)
    channels: list[Annotated[str, Field(pattern=CHANNEL_PATTERN)]] = Field(default_factory=list)

    @property
    def real(self) -> list[int]:
        """Indices of the real post-contrast phases that the network reads beside the pre-contrast one."""
        return [phase for phase in self.phases if phase > 0]

    @property
    def channel_phases(self) -> list[int]:
        """Indices of the phases that `channels` are made of."""
        return [int(name.partition("_")[2] or 0) for name in self.channels]

    @model_validator(mode="after")
    def _times_match_phases(self) -> Self:
        if self.times_s and len(self.times_s) != len(self.real):
            raise ValueError(f"times_s has {len(self.times_s)} values for {len(self.real)} real phases")
        return self


class Outputs(_Strict):
    """Which phase each output channel is; a phase given by several channels is their mean.

    Attributes:
        channel_phases: Phase index of each channel. The lowest is 1, or for networks that read real phases the one
            after the last of them.
        times_s: Seconds after injection of those phases in order.
    """

    channel_phases: list[int] = Field(min_length=1)
    times_s: list[float] = Field(min_length=1)

    @property
    def phases(self) -> list[int]:
        """Phase indices in order, without gaps."""
        return sorted(set(self.channel_phases))

    @model_validator(mode="after")
    def _phases_match_times(self) -> Self:
        first = self.phases[0]
        if first < 1 or self.phases != list(range(first, first + len(self.phases))):
            raise ValueError("channel_phases must name phases from 1 on without a gap")
        if len(self.times_s) != len(self.phases):
            raise ValueError(f"times_s has {len(self.times_s)} values for {len(self.phases)} phases")
        if any(a >= b for a, b in zip([0.0, *self.times_s], self.times_s, strict=False)):
            raise ValueError("times_s must be seconds after injection, above 0 and increasing")
        return self


class IntensitySpec(_Strict):
    """Recipe that maps input units to the network's -1..1 and back; formulas in `synthesis.intensity`.

    Attributes:
        recipe: Name of the formula. The range of tissue_percentile is not -1..1.
        constants: Its constants by name. pre_percentile: percentile (0-100, default 99), max_ratio; minmax_8bit: none;
            zscore: max_sd, and mean with std where they are fixed; tissue_percentile: none.
    """

    recipe: Literal["pre_percentile", "minmax_8bit", "zscore", "tissue_percentile"]
    constants: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _constants_of_the_recipe(self) -> Self:
        known = _INTENSITY_CONSTANTS[self.recipe]
        unknown = sorted(set(self.constants) - set(known))
        missing = [n for n, default in known.items() if default is ... and n not in self.constants]
        if unknown or missing:
            raise ValueError(f"constants of {self.recipe}: missing {missing}, unknown {unknown}")
        defaults = {n: v for n, v in known.items() if v is not ... and v is not None}
        self.constants = {**defaults, **self.constants}
        if ("mean" in self.constants) != ("std" in self.constants):
            raise ValueError("constants of zscore: mean and std go together")
        positive = ("max_ratio", "max_sd", "std", "percentile")
        if any(self.constants.get(n, 1.0) <= 0 for n in positive) or self.constants.get("percentile", 1) > 100:
            raise ValueError(f"constants of {self.recipe} are out of range: {self.constants}")
        return self


class InPlane(_Strict):
    """Pixels that the network sees in training and in synthesis (`synthesis.network_grid`).

    Attributes:
        policy: "native" keeps the volume's own pixels. "resample" makes pixels of `spacing_mm`. "square", as in the
            published preparation, makes pixels of `spacing_mm` by area (no such step where it is left out), then `size`
            x `size` by cubic interpolation.
        spacing_mm: Side of a pixel in mm.
        size: Rows and columns of "square".
        trained_mm: Smallest and largest pixel of the training data, in mm; synthesis warns far outside.
        pad_multiple: Rows and columns are padded to a multiple of this.
        pad_mode: What the padding holds: the mirrored image, or a constant.
    """

    policy: Literal["native", "resample", "square"] = "native"
    spacing_mm: float | None = Field(default=None, gt=0)
    size: int | None = Field(default=None, ge=16)
    trained_mm: tuple[float, float] | None = None
    pad_multiple: int = Field(default=16, ge=1)
    pad_mode: Literal["reflect", "constant"] = "reflect"

    @model_validator(mode="after")
    def _parts_of_the_policy(self) -> Self:
        if self.policy == "resample" and self.spacing_mm is None:
            raise ValueError("the policy 'resample' needs spacing_mm")
        if (self.policy == "square") != (self.size is not None):
            raise ValueError("size goes with the policy 'square', which needs it")
        if self.trained_mm is not None and not 0 < self.trained_mm[0] <= self.trained_mm[1]:
            raise ValueError("trained_mm must be the smallest and the largest pixel, above 0")
        return self


class Metric(_Strict):
    """One figure of merit, with how it was computed and on which data.

    Attributes:
        name: Name of the measure.
        value: What was measured.
        definition: How it was computed.
        data: Which data it was measured on.
    """

    name: str
    value: float
    definition: str
    data: str


class GateKind(_Strict):
    """A known kind of wrong input: the direction in which its numbers differ from those of the training images.

    A study whose projection on `weights` is beyond `limit`, seen from the `middle` of training studies, looks like it.

    Attributes:
        name: What the input is called in messages.
        weights: Direction, one weight for each number of the gate, applied to the mean of the study's windows.
        middle: Projection of the middle of the training studies.
        limit: Projection beyond which a study looks like this kind.
    """

    name: str
    weights: list[float]
    middle: float
    limit: float


class GateStatistics(_Strict):
    """What the training images look like, in the numbers of `synthesis.gate`.

    Attributes:
        mean: Mean of each number.
        precision: Inverse of their covariance.
        middle: Distance of the middle of the training studies.
        limit: Distance above which a study is unlike the training images.
        kinds: Wrong inputs that are known.
        data: Which images were measured.
    """

    mean: list[float] = Field(min_length=1)
    precision: list[list[float]]
    middle: float = Field(default=0, ge=0)
    limit: float = Field(gt=0)
    kinds: list[GateKind] = Field(default_factory=list)
    data: str

    @model_validator(mode="after")
    def _square(self) -> Self:
        if any(len(row) != len(self.mean) for row in self.precision) or len(self.precision) != len(self.mean):
            raise ValueError("precision must have a row and a column for each number of mean")
        if any(len(kind.weights) != len(self.mean) or kind.limit <= kind.middle for kind in self.kinds):
            raise ValueError("kinds must have a weight for each number of mean, and a limit above the middle")
        if self.limit <= self.middle:
            raise ValueError("limit must be above the middle")
        return self


class LesionFinder(_Strict):
    """What finds lesions on the phases that this model makes, and how well it did.

    Attributes:
        finder: "threshold" or the id of a segmentation model.
        settings: Settings of the threshold rule (`lesions.threshold.ThresholdSettings`) where they are not its own.
        sensitivity: Share of the known lesions that were found.
        false_positives: Mean number of other findings per case.
        definition: What counts as found.
        data: Which cases it was measured on.
    """

    finder: str
    settings: dict[str, float] = Field(default_factory=dict)
    sensitivity: float = Field(ge=0, le=1)
    false_positives: float = Field(ge=0)
    definition: str
    data: str

    def sentence(self) -> str:
        """What a reader of the lesions must know."""
        return (
            f"Lesions on synthetic phases: {100 * self.sensitivity:.0f} % of the known ones were found, with "
            f"{self.false_positives:.2g} false ones per case ({self.data}; {self.definition})."
        )


class ModelCard(_Strict):
    """Contents of `model.json`.

    Synthesis models need `outputs`, `intensity` and `in_plane`; nnU-Net has its own plans.

    Attributes:
        id: Id of the model.
        version: Version of the model.
        title: Name that a user sees.
        architecture: Network and its options.
        inputs: Volumes that the network reads.
        outputs: Phases that it makes.
        intensity: How input units become network units.
        in_plane: Pixels that it sees.
        training: How it was trained, for the reader.
        metrics: What was measured of it.
        against_copying: How near it comes to held-out images, beside a copy of what it reads.
        calibration: How its enhancement is shown and graded, for models that predict enhancement.
        lesion_finder: What finds lesions on its phases.
        gate: What its training images look like.
        trained_on_phantoms: Whether it was trained on simulated patients.
        license: Terms of use; `licence` is how cards before version 0.2.0 spell it.
        citation: What to cite.
        intended_use: What it may be used for.
        weights_sha256: SHA-256 of the weights, filled in by `save_package`.
        files: SHA-256 of every other file of the package by name, filled in by `save_package`; older packages of
            synthesis models have none.
    """

    id: str = Field(pattern=MODEL_ID_PATTERN)
    version: str
    title: str
    architecture: ArchitectureSpec
    inputs: Inputs
    outputs: Outputs | None = None
    intensity: IntensitySpec | None = None
    in_plane: InPlane | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    metrics: list[Metric] = Field(default_factory=list)
    against_copying: list[AgainstCopying] = Field(default_factory=list)
    calibration: Calibration | None = None
    lesion_finder: LesionFinder | None = None
    gate: GateStatistics | None = None
    trained_on_phantoms: bool
    license: str = Field(validation_alias=AliasChoices("license", "licence"))
    citation: str = ""
    intended_use: str = "Research only; synthetic images can invent or hide lesions; not for diagnosis."
    weights_sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    files: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(default_factory=dict)

    @property
    def kind(self) -> Literal["synthesis", "segmentation"]:
        """What the model is for."""
        return architecture(self.architecture.name).kind

    @property
    def abilities(self) -> Abilities:
        """What a run may ask of the model."""
        return architecture(self.architecture.name).abilities

    @property
    def dynamic(self) -> bool:
        """It makes phases in time; False for one that makes a single image without time (mammography)."""
        return self.abilities.modality == "MR"

    @property
    def first_phase(self) -> int:
        """Index of the first phase that the model makes."""
        return max(self.inputs.phases) + 1

    @field_validator("title", "license", "version")
    @classmethod
    def _not_empty(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must not be empty")
        return value

    @model_validator(mode="after")
    def _parts_fit_the_architecture(self) -> Self:
        if self.outputs is not None and self.outputs.phases[0] != self.first_phase:
            raise ValueError("outputs must begin with the phase after the last of inputs.phases")
        if isinstance(self.architecture.options, SliceOptions):
            _check_slices(self, self.architecture.options)
        if (self.kind == "synthesis" and self.dynamic) != (self.outputs is not None):
            raise ValueError("outputs must give the phases of a synthesis model of MRI, and of no other")
        return self


def _check_slices(card: ModelCard, options: SliceOptions) -> None:
    """Raise ValueError where the card of a network over pre-contrast slices lacks a part or contradicts its options."""
    if card.outputs is None or card.intensity is None or card.in_plane is None:
        raise ValueError("a synthesis model needs outputs, intensity and in_plane")
    if card.inputs.phases != [0]:
        raise ValueError("inputs.phases must be [0]: synthesis reads the pre-contrast phase alone")
    counts = (
        ("input_nc", options.input_nc, "inputs.channel_offsets", len(card.inputs.channel_offsets)),
        ("output_nc", options.output_count, "outputs.channel_phases", len(card.outputs.channel_phases)),
    )
    for option, value, field, count in counts:
        if value is not None and value != count:
            raise ValueError(f"{field} has {count} entries, but {option} is {value}")
    if card.in_plane.pad_multiple % 2**options.halvings:
        raise ValueError(f"in_plane.pad_multiple must be a multiple of {2**options.halvings} for this network")
