"""Recipe of the subtraction U-Net's training."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator
from VirtualContrastLib.models.package import InPlane, Inputs, IntensitySpec, Outputs
from VirtualContrastLib.networks.options import SubtractionUNetOptions

from ...training.recipe import Checkpoints, DescribedRecipe, Rate, SliceData


class SubtractionUNetRecipe(DescribedRecipe):
    """One training run of the subtraction U-Net baseline: Adam, learning rate times `gamma` after every epoch."""

    system: Literal["subtraction_unet"]
    network: dict[str, Any]
    inputs: Inputs
    outputs: Outputs
    intensity: IntensitySpec
    in_plane: InPlane
    data: SliceData
    lambda_mae: float = 10.0
    learning_rate: Rate = 1e-3
    gamma: float = 0.99
    epochs: int = Field(default=35, ge=1)
    batch_size: int = Field(default=16, ge=1)
    slices_per_epoch: int | None = Field(default=None, ge=1)
    checkpoints: Checkpoints = Checkpoints()
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        SubtractionUNetOptions.of(self.network)
        return self
