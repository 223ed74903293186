"""Recipe of a mammography CycleGAN's training."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator
from VirtualContrastLib.networks.options import CycleGANDiscriminatorOptions, CycleGANOptions
from VirtualContrastLib.synthesis.mammogram import MammogramSpec

from ...training.recipe import Checkpoints, DescribedRecipe, Rate, Strict


class MammogramData(Strict):
    """Folders of prepared pairs and how patches are made of them; see `MammogramSpec`.

    `patch` pixels a side, a multiple of 4; `flip` is the probability of a left-right flip.
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
    """Weights of the generators' terms; the defaults are the published ones. `ssim_share` is that of the cycle loss."""

    cycle: float = 1.0
    ssim_share: float = Field(default=0.5, ge=0, le=1)
    identity: float = 10.0
    paired: float = 0.0


class CycleSchedule(Strict):
    """Adam of constant learning rate on all networks."""

    learning_rate: Rate = 2e-4
    beta1: float = 0.5
    batch_size: int = Field(default=20, ge=1)
    iterations_per_epoch: int = Field(default=100, ge=1)
    epochs: int = Field(default=60, ge=1)


class CycleGANRecipe(DescribedRecipe):
    """One training run of the mammography CycleGAN. `stride` is that of the sliding window in inference."""

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
