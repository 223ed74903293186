"""A recipe of this system as a trial of seconds."""

from __future__ import annotations

from pathlib import Path

from ...training.smoke import BATCH, described, pixels, short, slice_data, smoke_cases
from .recipe import SubtractionUNetRecipe


def smoke_recipe(recipe: SubtractionUNetRecipe, folder: Path) -> SubtractionUNetRecipe:
    """The recipe with a small network, two short epochs and phantoms written to `folder`."""
    return recipe.model_copy(
        update={
            **described(recipe),
            "network": {**recipe.network, "widths": [4, 8]},
            "in_plane": pixels(recipe.in_plane),
            "data": slice_data(recipe.data, smoke_cases(folder)),
            "epochs": 2,
            "batch_size": BATCH,
            **short(recipe),
        }
    )
