"""A recipe of this system as a trial of seconds."""

from __future__ import annotations

from pathlib import Path

from ...training.smoke import NOTE, PHANTOM, smoke_cases
from .recipe import IterUNetRecipe


def smoke_recipe(recipe: IterUNetRecipe, folder: Path) -> IterUNetRecipe:
    """The recipe with a small network, one short epoch per stage, phantoms in `folder`, and no files from elsewhere."""
    cases, schedule = smoke_cases(folder), recipe.schedule
    data = {
        "train": str(cases),
        "validation": str(cases),
        "patch_kji": (16, 32, 32),
        "patches_per_case": 2,
        "workers": 0,
    }
    short = {"warm_up_epochs": min(1, schedule.warm_up_epochs), "epochs": 1, "warm_up_batch_size": 2, "batch_size": 2}
    return recipe.model_copy(
        update={
            "title": recipe.title + NOTE,
            "trained_on_phantoms": True,
            "network": {**recipe.network, "features": [4, 4, 8, 8, 8, 4]},
            "times_s": list(PHANTOM.phase_times_s),
            "data": recipe.data.model_copy(update=data),
            "losses": recipe.losses.model_copy(update={"perceptual_weights": None}),
            "schedule": schedule.model_copy(update=short),
        }
    )
