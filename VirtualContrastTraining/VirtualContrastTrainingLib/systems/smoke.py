"""Recipes shrunk to a trial of seconds: does this machine train, checkpoint and export?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..data.phantom import PhantomSettings, make_phantom
from ..data.phantom.writing import write_phantom
from ..training.recipe import Pix2PixHDRecipe, SliceData, SubtractionUNetRecipe

PHANTOM = PhantomSettings(
    size_kji=(8, 48, 64), spacing_kji_mm=(15.0, 4.0, 4.0), lesion_count_weights=(0, 0, 1), lesion_radius_mm=(8, 14)
)
_SIZE = 64
_BATCH = 2
_SLICES = 8


def smoke_cases(folder: Path, count: int = 3) -> Path:
    """Write `count` small phantoms as prepared cases into `folder` and return it."""
    for seed in range(count):
        write_phantom(make_phantom(seed, PHANTOM), folder / f"case_{seed}")
    return folder


def smoke_pix2pixhd(recipe: Pix2PixHDRecipe, folder: Path) -> Pix2PixHDRecipe:
    """The recipe with a small network, two short epochs, phantoms written to `folder`, and no files from elsewhere."""
    network = {"ngf": 4, "n_blocks_global": 1, "n_downsample_global": 2}
    return recipe.model_copy(
        update={
            "title": recipe.title + _NOTE,
            "trained_on_phantoms": True,
            "generator": {**recipe.generator, **network},
            "discriminator": {**recipe.discriminator, "ndf": 4},
            "global_stage": None,
            "data": _smoke_data(recipe.data, smoke_cases(folder)),
            "losses": recipe.losses.model_copy(
                update={"vgg_weights": None, "l1_only_epochs": min(1, recipe.losses.l1_only_epochs)}
            ),
            "schedule": recipe.schedule.model_copy(
                update={"batch_size": _BATCH, "constant_epochs": 1, "decay_epochs": 1, **_short(recipe.schedule)}
            ),
        }
    )


def smoke_subtraction_unet(recipe: SubtractionUNetRecipe, folder: Path) -> SubtractionUNetRecipe:
    """As `smoke_pix2pixhd`, for the subtraction U-Net."""
    return recipe.model_copy(
        update={
            "title": recipe.title + _NOTE,
            "trained_on_phantoms": True,
            "network": {**recipe.network, "widths": [4, 8]},
            "data": _smoke_data(recipe.data, smoke_cases(folder)),
            "epochs": 2,
            "batch_size": _BATCH,
            **_short(recipe),
        }
    )


_NOTE = " (smoke test: a few steps on small phantoms, of no use)"


def _smoke_data(data: SliceData, cases: Path) -> SliceData:
    size = None if data.size is None else _SIZE
    places = {"train": str(cases), "validation": str(cases)}
    return data.model_copy(update={**places, "size": size, "pixel_mm": None, "workers": 0, "copies": None})


def _short(loop: Any) -> dict[str, int]:
    """Fewer slices an epoch; all slices of the phantoms are few anyway."""
    return {} if loop.slices_per_epoch is None else {"slices_per_epoch": _SLICES}
