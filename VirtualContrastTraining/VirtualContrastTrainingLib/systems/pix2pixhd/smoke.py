"""A recipe of this system as a trial of seconds."""

from __future__ import annotations

from pathlib import Path

from ...training.smoke import BATCH, described, pixels, short, slice_data, smoke_cases
from .recipe import Pix2PixHDRecipe


def smoke_recipe(recipe: Pix2PixHDRecipe, folder: Path) -> Pix2PixHDRecipe:
    """The recipe with a small network, two short epochs, phantoms written to `folder`, and no files from elsewhere."""
    network = {"ngf": 4, "n_blocks_global": 1, "n_downsample_global": 2}
    losses = {"vgg_weights": None, "l1_only_epochs": min(1, recipe.losses.l1_only_epochs)}
    schedule = {"batch_size": BATCH, "constant_epochs": 1, "decay_epochs": 1, **short(recipe.schedule)}
    return recipe.model_copy(
        update={
            **described(recipe),
            "generator": {**recipe.generator, **network},
            "discriminator": {**recipe.discriminator, "ndf": 4},
            "global_stage": None,
            "in_plane": pixels(recipe.in_plane),
            "data": slice_data(recipe.data, smoke_cases(folder)),
            "losses": recipe.losses.model_copy(update=losses),
            "schedule": recipe.schedule.model_copy(update=schedule),
        }
    )
