"""Recipe of a pix2pixHD generator's training."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator
from VirtualContrastLib.models.package import InPlane, Inputs, IntensitySpec, Outputs
from VirtualContrastLib.networks.options import Pix2PixHDDiscriminatorOptions, Pix2PixHDOptions

from ...training.recipe import Checkpoints, DescribedRecipe, Schedule, SliceData, Strict


class Losses(Strict):
    """Weights of the generator's terms; 0 leaves a term out. The defaults are the published ones.

    Attributes:
        lambda_gan: Weight of the adversarial loss.
        lambda_feat: Weight of the feature matching and of the perceptual loss.
        vgg_weights: Path of torchvision's vgg19 or vgg16 file, "download" for the vgg19 (as published), or "vgg16" for
            that of `virtual-contrast-training weights lpips`; without it there is no perceptual term.
        pool_size: Generated images that are kept and shown again to the discriminator (0: none).
        lambda_l1: Weight of the mean absolute error.
        lambda_temporal: Weight of the mean absolute error of the changes from phase to phase; after the L1-only epochs
            it is left out where `lambda_l1` is 0.
        lesion_weight: How many times lesion pixels count in these two.
        l1_only_epochs: Epochs at the start that train with these two alone.
    """

    lambda_gan: float = 1.0
    lambda_feat: float = 10.0
    vgg_weights: str | None = None
    pool_size: int = Field(default=0, ge=0)
    lambda_l1: float = 0.0
    lambda_temporal: float = 0.0
    lesion_weight: float = 1.0
    l1_only_epochs: int = 0


class GlobalStage(Strict):
    """The trained global generator that a local enhancer (netG: local) starts from.

    Attributes:
        weights: A model package, one of our checkpoints, or a state dict in NVIDIA's layout.
        fix_epochs: Epochs for which the global part stays as it is; then both parts train with a fresh Adam, as the
            original does.
    """

    weights: str
    fix_epochs: int = Field(default=0, ge=0)


class Pix2PixHDRecipe(DescribedRecipe):
    """One training run of a pix2pixHD generator.

    Attributes:
        system: Id of the system.
        global_stage: The trained global generator, for a local enhancer.
        generator: Options of the generator (`Pix2PixHDOptions`).
        discriminator: Options of the discriminator (`Pix2PixHDDiscriminatorOptions`).
        inputs: What the network reads.
        outputs: Phases that it makes.
        intensity: How input units become network units.
        in_plane: Pixels that it sees.
        data: What it is trained on.
        losses: Weights of the terms.
        schedule: Optimizer, batches and epochs.
        checkpoints: When checkpoints are written.
        precision: Lightning's name of the precision.
    """

    system: Literal["pix2pixhd"]
    global_stage: GlobalStage | None = None
    generator: dict[str, Any]
    discriminator: dict[str, Any]
    inputs: Inputs
    outputs: Outputs
    intensity: IntensitySpec
    in_plane: InPlane
    data: SliceData
    losses: Losses = Losses()
    schedule: Schedule
    checkpoints: Checkpoints = Checkpoints()
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        Pix2PixHDOptions.of(self.generator)
        Pix2PixHDDiscriminatorOptions.of(self.discriminator)
        if self.data.rotation_90 and self.in_plane.policy != "square":
            raise ValueError("data.rotation_90 turns rows into columns: set in_plane.policy: square and its size")
        if self.global_stage is not None and self.generator.get("netG") != "local":
            raise ValueError("global_stage needs generator.netG: local")
        return self
