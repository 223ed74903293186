"""Recipe of a time-conditioned generator's training: everything that decides the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from VirtualContrastLib.models.package import InPlane, Inputs, IntensitySpec, Outputs
from VirtualContrastLib.networks.options import TimeConditionedOptions

from ...training.recipe import Checkpoints, DescribedRecipe, Schedule, Strict


class TimedSliceData(Strict):
    """Folders of prepared cases, and how slices are drawn from them; see `data.timed_slices.TimedSliceSettings`.

    Cases may have any number of phases at any times.

    Attributes:
        train: Folder of the training cases, or several.
        validation: Folder of the held-out cases.
        phases_per_slice: Phases drawn for a slice.
        lesion_share: Share of the slices that cross a lesion.
        flip: Probability of a left-right flip.
        side: Rows and columns that slices are cut or filled up to, in pixels; without it they keep their own.
        workers: Processes that make batches.
        copies: As in `recipe.SliceData`.
    """

    train: str | list[str]
    validation: str
    phases_per_slice: int = Field(default=4, ge=1)
    lesion_share: float = Field(default=0.5, ge=0, le=1)
    flip: float = Field(default=0.5, ge=0, le=1)
    side: int | None = Field(default=None, ge=16)
    workers: int = Field(default=0, ge=0)
    copies: str | None = None

    @property
    def train_folders(self) -> list[Path]:
        """The folders to train on."""
        return [Path(folder) for folder in ([self.train] if isinstance(self.train, str) else self.train)]


class TimedLosses(Strict):
    """Weights of the terms of `losses.time_conditioned`.

    Attributes:
        l1: Weight of the mean absolute error.
        temporal: Weight of the mean absolute error of the changes between phases.
        lesion_weight: How many times lesion pixels count in both.
    """

    l1: float = Field(default=1.0, gt=0)
    temporal: float = Field(default=2.0, ge=0)
    lesion_weight: float = Field(default=8.0, ge=1)


class TimeConditionedRecipe(DescribedRecipe):
    """One training run of `networks.time_conditioned`.

    Slices are trained on at the pixel size that `in_plane` has the engine use. Adam; its rate is constant for
    `constant_epochs` of `schedule` and falls to 0 (`fall`) in the `decay_epochs` after them.

    Attributes:
        system: Id of the system.
        network: Options of the network (`TimeConditionedOptions`), `time_range_s` among them.
        inputs: What the network reads.
        outputs: Phases that it makes; its `times_s` are used when no times are asked for.
        intensity: How input units become network units.
        in_plane: Pixels that it sees.
        data: What it is trained on.
        losses: Weights of the terms.
        schedule: Optimizer, batches and epochs.
        checkpoints: When checkpoints are written.
        precision: Lightning's name of the precision.
    """

    system: Literal["time_conditioned"]
    network: dict[str, Any]
    inputs: Inputs
    outputs: Outputs
    intensity: IntensitySpec
    in_plane: InPlane
    data: TimedSliceData
    losses: TimedLosses = TimedLosses()
    schedule: Schedule
    checkpoints: Checkpoints = Checkpoints()
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    @property
    def time_range_s(self) -> tuple[float, float]:
        """Seconds after injection between which phases are used."""
        return TimeConditionedOptions.of(self.network).time_range_s

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if TimeConditionedOptions.of(self.network).input_nc != len(self.inputs.channel_offsets):
            raise ValueError("network.input_nc must be the number of inputs.channel_offsets")
        if self.schedule.slices_per_epoch is None:
            raise ValueError("schedule.slices_per_epoch is missing: slices are drawn at random")
        low, high = self.time_range_s
        if self.outputs.times_s[0] < low or self.outputs.times_s[-1] > high:
            raise ValueError("outputs.times_s must lie within network.time_range_s")
        return self
