"""Recipe of an nnU-Net for lesion segmentation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...training.recipe import DescribedRecipe, Strict


class LesionData(Strict):
    """Prepared cases for segmentation.

    Attributes:
        train: Folder of the training cases.
        validation: Folder of the held-out cases.
        images: Real phases, those of `synthesis_model`, or both.
        synthesis_model: Model whose phases "synthetic" stands for.
    """

    train: str
    validation: str
    images: list[Literal["real", "synthetic"]] = Field(min_length=1)
    synthesis_model: str | None = None


class NNUNetRecipe(DescribedRecipe):
    """One nnU-Net training run.

    Attributes:
        system: Id of the system.
        channels: Inputs: pre, phase_N or subtraction_N.
        data: What it is trained on.
        configuration: 3d_fullres as published, or 2d, slice by slice, for stacks whose slices lie far apart.
        base_features: Channels at full resolution, for nnU-Net's own planner.
        max_features: Most channels of a level, for the planner.
        memory_gb: Memory of the graphics card that the planner reckons with, in GB.
        epochs: Epochs of the whole run.
        iterations_per_epoch: Steps of an epoch.
        lesions_in_every_patch: Whether every patch is drawn around a lesion and the Dice loss is of the batch together,
            for small lesions in a short run.
        precision: Lightning's name of the precision.
        minimum_volume_mm3: Lesions below this volume, in mm3, are left out; goes into the package.
        tile_step_size: Step between tiles, in tiles; goes into the package.
    """

    system: Literal["nnunet"]
    channels: list[str] = Field(min_length=1)
    data: LesionData
    configuration: Literal["3d_fullres", "2d"] = "3d_fullres"
    base_features: int = 32
    max_features: int = 320
    memory_gb: float = 8.0
    epochs: int = 1000
    iterations_per_epoch: int = 250
    lesions_in_every_patch: bool = False
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    minimum_volume_mm3: float = 0.0
    tile_step_size: float = Field(default=0.5, gt=0, le=1)
