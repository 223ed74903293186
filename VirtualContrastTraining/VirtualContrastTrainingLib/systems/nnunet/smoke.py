"""A recipe of this system as a trial of seconds."""

from __future__ import annotations

from pathlib import Path

from ...training.smoke import smoke_cases
from .recipe import NNUNetRecipe


def smoke_recipe(recipe: NNUNetRecipe, folder: Path) -> NNUNetRecipe:
    """A narrow network, two steps on the real phases of small phantoms."""
    cases = str(smoke_cases(folder))
    data = recipe.data.model_copy(
        update={"train": cases, "validation": cases, "images": ["real"], "synthesis_model": None}
    )
    small = {"data": data, "base_features": 4, "max_features": 8, "epochs": 1, "iterations_per_epoch": 2}
    return recipe.model_copy(update={**small, "memory_gb": 0.2, "trained_on_phantoms": True})
