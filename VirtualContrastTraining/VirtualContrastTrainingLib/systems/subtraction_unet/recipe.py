"""Recipe of the subtraction U-Net's training."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator
from VirtualContrastLib.models.package import InPlane, Inputs, IntensitySpec, Outputs
from VirtualContrastLib.networks.options import SubtractionUNetOptions

from ...training.recipe import Checkpoints, DescribedRecipe, Rate, SliceData


class SubtractionUNetRecipe(DescribedRecipe):
    """One training run of the U-Net baseline, with Adam; `predicts` of the network chooses subtractions or phases.

    Attributes:
        system: Id of the system.
        network: Options of the network (`SubtractionUNetOptions`).
        inputs: What the network reads.
        outputs: Phases that it makes.
        intensity: How input units become network units.
        in_plane: Pixels that it sees.
        data: What it is trained on.
        lambda_mae: Weight of the mean absolute error.
        learning_rate: The rate of the first epoch.
        gamma: Factor on the rate after every epoch.
        epochs: Epochs of the whole run.
        batch_size: Slices of one step over all processes.
        slices_per_epoch: Slices drawn per epoch; without it every slice once.
        checkpoints: When checkpoints are written.
        precision: Lightning's name of the precision.
    """

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
