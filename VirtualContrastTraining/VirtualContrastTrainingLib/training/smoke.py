"""What the trials of seconds share: small phantoms, and recipes shrunk to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from VirtualContrastLib.models.package import InPlane

from ..data.phantom import PhantomSettings, make_phantom
from ..data.phantom.writing import write_phantom
from .recipe import SliceData

PHANTOM = PhantomSettings(
    size_kji=(8, 48, 64), spacing_kji_mm=(15.0, 4.0, 4.0), lesion_count_weights=(0, 0, 1), lesion_radius_mm=(8, 14)
)
NOTE = " (smoke test: a few steps on small phantoms, of no use)"
BATCH = 2
_SIZE = 64
_SLICES = 8


def smoke_cases(folder: Path, count: int = 3) -> Path:
    """Write `count` small phantoms as prepared cases into `folder` and return it."""
    for seed in range(count):
        write_phantom(make_phantom(seed, PHANTOM), folder / f"case_{seed}")
    return folder


def described(recipe: Any) -> dict[str, Any]:
    """Title and origin of a shrunk recipe."""
    return {"title": recipe.title + NOTE, "trained_on_phantoms": True}


def slice_data(data: SliceData, cases: Path) -> SliceData:
    """`data` of small slices of `cases`."""
    places = {"train": str(cases), "validation": str(cases)}
    return data.model_copy(update={**places, "workers": 0, "copies": None})


def pixels(in_plane: InPlane) -> InPlane:
    """A small square in place of a large one."""
    return in_plane if in_plane.policy != "square" else in_plane.model_copy(update={"spacing_mm": None, "size": _SIZE})


def short(loop: Any) -> dict[str, int]:
    """Fewer slices an epoch, where that is chosen; all slices of the phantoms are few anyway."""
    return {} if loop.slices_per_epoch is None else {"slices_per_epoch": _SLICES}
