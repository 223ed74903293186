"""Recipe of a time-conditioned generator's training: everything that decides the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from VirtualContrastLib.models.package import InPlane, Inputs, IntensitySpec, Outputs
from VirtualContrastLib.networks.options import TimeConditionedOptions

from ...data.phantom import make_phantom, uneven_settings
from ...data.phantom.writing import write_phantom
from ...training.recipe import Checkpoints, DescribedRecipe, Schedule
from ..smoke import PHANTOM

_SMOKE_SEEDS = (16, 17, 19)  # of 11, 3 and 4 phases


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TimedSliceData(_Strict):
    """Folders of prepared cases (`train` may be several), and how slices are drawn from them.

    See `data.timed_slices.TimedSliceSettings`; `copies` as in `recipe.SliceData`. Cases may have any number of phases
    at any times.
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


class TimedLosses(_Strict):
    """Weights of the terms of `losses.time_conditioned`; lesion pixels count `lesion_weight` times in both."""

    l1: float = Field(default=1.0, gt=0)
    temporal: float = Field(default=2.0, ge=0)
    lesion_weight: float = Field(default=8.0, ge=1)


class TimeConditionedRecipe(DescribedRecipe):
    """One training run of `networks.time_conditioned`, whose options `network` holds (`time_range_s` among them).

    `outputs.times_s` are the phases that the model makes when no times are asked for. Slices are trained on at the
    pixel size that `in_plane` has the engine use. Adam; its rate is constant for `constant_epochs` of `schedule` and
    falls linearly to 0 in the `decay_epochs` after them.
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


def smoke_recipe(recipe: TimeConditionedRecipe, folder: Path) -> TimeConditionedRecipe:
    """The recipe with a small network and two short epochs on three small phantoms of uneven phases, made in `folder`.

    The phantoms' times lie between 60 and 480 s, so the recipe's times become those.
    """
    for seed in _SMOKE_SEEDS:
        write_phantom(make_phantom(seed, uneven_settings(PHANTOM, seed)), folder / f"case_{seed}")
    network = {"ngf": 4, "n_blocks": 1, "n_downsample": 2, "time_range_s": [60, 480]}
    places = {"train": str(folder), "validation": str(folder)}
    short = {"batch_size": 2, "slices_per_epoch": 8, "constant_epochs": 1, "decay_epochs": 1}
    return recipe.model_copy(
        update={
            "title": recipe.title + " (smoke test: a few steps on small phantoms, of no use)",
            "trained_on_phantoms": True,
            "network": {**recipe.network, **network},
            "outputs": Outputs(channel_phases=[1, 2, 3], times_s=[90, 220, 350]),
            "in_plane": InPlane(policy="native", pad_multiple=recipe.in_plane.pad_multiple),
            "data": recipe.data.model_copy(update={**places, "side": None, "workers": 0, "copies": None}),
            "schedule": recipe.schedule.model_copy(update=short),
        }
    )
