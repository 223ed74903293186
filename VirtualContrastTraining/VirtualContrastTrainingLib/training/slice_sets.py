"""The slices that a recipe of a network over slices trains on and is checked with."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from VirtualContrastLib.models.package import InPlane, Inputs, IntensitySpec, Outputs

from ..data.memmap import load_cases
from ..data.slices import RandomSlices, SliceStyle
from .recipe import SliceData

_VALIDATION_SLICES = 96


class OverSlices(Protocol):
    """The parts of a recipe that decide its slices."""

    @property
    def seed(self) -> int:
        """Of the drawing."""

    @property
    def inputs(self) -> Inputs:
        """Channels of the source."""

    @property
    def outputs(self) -> Outputs:
        """Channels of the target."""

    @property
    def intensity(self) -> IntensitySpec:
        """Intensity mapping."""

    @property
    def in_plane(self) -> InPlane:
        """Pixels of the network."""

    @property
    def data(self) -> SliceData:
        """Cases, and how slices are made of them."""


def slice_sets(recipe: OverSlices, slices_per_epoch: int | None) -> tuple[RandomSlices, RandomSlices]:
    """Training slices and held-out ones; the latter are drawn once, half of them or so with lesions."""
    data = recipe.data
    style = SliceStyle(
        channel_phases=tuple(recipe.outputs.channel_phases),
        flip=data.flip,
        rotation_90=data.rotation_90,
        own_target_scale=data.target_scale == "own",
        in_plane=recipe.in_plane,
        slice_margin=data.slice_margin,
    )

    def slices(root: str, length: int | None, seed: int) -> RandomSlices:
        return RandomSlices(
            load_cases(Path(root), data.copies),
            intensity=recipe.intensity,
            channel_offsets=recipe.inputs.channel_offsets,
            length=length,
            lesion_share=data.lesion_share,
            seed=seed,
            style=style,
        )

    train_set = slices(data.train, slices_per_epoch, recipe.seed)
    return train_set, slices(data.validation, _VALIDATION_SLICES, recipe.seed + 1)
