"""A recipe of this system as a trial of seconds."""

from __future__ import annotations

from pathlib import Path

from VirtualContrastLib.models.package import InPlane, Outputs

from ...data.phantom import make_phantom, uneven_settings
from ...data.phantom.writing import write_phantom
from ...training.smoke import NOTE, PHANTOM
from .recipe import TimeConditionedRecipe

_SEEDS = (16, 17, 19)  # of 11, 3 and 4 phases


def smoke_recipe(recipe: TimeConditionedRecipe, folder: Path) -> TimeConditionedRecipe:
    """The recipe with a small network and two short epochs on three small phantoms of uneven phases, made in `folder`.

    The phantoms' times lie between 60 and 480 s, so the recipe's times become those.
    """
    for seed in _SEEDS:
        write_phantom(make_phantom(seed, uneven_settings(PHANTOM, seed)), folder / f"case_{seed}")
    network = {"ngf": 4, "n_blocks": 1, "n_downsample": 2, "time_range_s": [60, 480]}
    places = {"train": str(folder), "validation": str(folder)}
    short = {"batch_size": 2, "slices_per_epoch": 8, "constant_epochs": 1, "decay_epochs": 1}
    return recipe.model_copy(
        update={
            "title": recipe.title + NOTE,
            "trained_on_phantoms": True,
            "network": {**recipe.network, **network},
            "outputs": Outputs(channel_phases=[1, 2, 3], times_s=[90, 220, 350]),
            "in_plane": InPlane(policy="native", pad_multiple=recipe.in_plane.pad_multiple),
            "data": recipe.data.model_copy(update={**places, "side": None, "workers": 0, "copies": None}),
            "schedule": recipe.schedule.model_copy(update=short),
        }
    )
