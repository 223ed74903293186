"""Recipe of a mammography CycleGAN's training."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator
from VirtualContrastLib.networks.options import CycleGANDiscriminatorOptions, CycleGANOptions
from VirtualContrastLib.synthesis.mammogram import MammogramSpec

from ...training.recipe import Checkpoints, DescribedRecipe, Rate, Strict


class MammogramData(Strict):
    """Folders of prepared pairs, and how patches are made of them; see `MammogramSpec`.

    Attributes:
        train: Folder of the training pairs.
        validation: Folder of the held-out pairs.
        source_window: Gray values of the low-energy image that map to -1 and 1.
        target_window: Gray values of the recombined image that map to -1 and 1.
        spacing_mm: Side of a pixel in mm before shrinking; None leaves the pixels as they are.
        downsample: Factor by which rows and columns are then shrunk.
        margin: Pixels kept around the bounding box of the breast.
        patch: Rows and columns of a patch, in pixels.
        flip: Probability of a left-right flip.
        workers: Processes that make batches.
    """

    train: str
    validation: str
    source_window: tuple[float, float]
    target_window: tuple[float, float]
    spacing_mm: float | None = Field(default=1.0, gt=0)
    downsample: int = Field(default=4, ge=1)
    margin: int = Field(default=0, ge=0)
    patch: int = Field(default=128, ge=16, multiple_of=4)
    flip: float = Field(default=0.0, ge=0, le=1)
    workers: int = Field(default=0, ge=0)

    @property
    def spec(self) -> MammogramSpec:
        """The part of it that the engine needs too."""
        return MammogramSpec.of(self.model_dump())


class CycleLosses(Strict):
    """Weights of the generators' terms; the defaults are the published ones.

    Attributes:
        cycle: Weight of the cycle loss.
        ssim_share: Share of the cycle loss that is SSIM.
        identity: Weight of the identity terms.
        paired: Weight of the mean absolute error to the partner image, not part of the published system.
    """

    cycle: float = 1.0
    ssim_share: float = Field(default=0.5, ge=0, le=1)
    identity: float = 10.0
    paired: float = 0.0


class CycleSchedule(Strict):
    """Adam of constant learning rate on all networks.

    Attributes:
        learning_rate: The rate.
        beta1: Adam's first decay rate.
        batch_size: Patches of one step over all processes.
        iterations_per_epoch: Steps of an epoch.
        epochs: Epochs of the whole run.
    """

    learning_rate: Rate = 2e-4
    beta1: float = 0.5
    batch_size: int = Field(default=20, ge=1)
    iterations_per_epoch: int = Field(default=100, ge=1)
    epochs: int = Field(default=60, ge=1)


class CycleGANRecipe(DescribedRecipe):
    """One training run of the mammography CycleGAN.

    Attributes:
        system: Id of the system.
        generator: Options of both generators (`CycleGANOptions`).
        discriminator: Options of both discriminators (`CycleGANDiscriminatorOptions`).
        data: What it is trained on.
        losses: Weights of the terms.
        schedule: Optimizer, batches and epochs.
        stride: Step of the sliding window in inference, in pixels.
        checkpoints: When checkpoints are written.
        precision: Lightning's name of the precision.
    """

    system: Literal["cyclegan"]
    generator: dict[str, Any]
    discriminator: dict[str, Any]
    data: MammogramData
    losses: CycleLosses = CycleLosses()
    schedule: CycleSchedule = CycleSchedule()
    stride: int = Field(default=16, ge=1)
    checkpoints: Checkpoints = Checkpoints()
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    @model_validator(mode="after")
    def _networks_are_possible(self) -> Self:
        CycleGANOptions.of(self.generator)
        CycleGANDiscriminatorOptions.of(self.discriminator)
        return self
