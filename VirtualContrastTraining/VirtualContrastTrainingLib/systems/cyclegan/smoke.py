"""A recipe of a mammography CycleGAN as a trial of seconds."""

from __future__ import annotations

from pathlib import Path

from ...data.mammogram_phantom import write_phantom_pair
from .recipe import CycleGANRecipe


def smoke_recipe(recipe: CycleGANRecipe, folder: Path) -> CycleGANRecipe:
    """The recipe as a trial of seconds: small networks, a few steps, simulated pairs in `folder`."""
    for seed in range(3):
        write_phantom_pair(seed, folder / f"pair_{seed}", (128, 96))
    data = {"train": str(folder), "validation": str(folder), "spacing_mm": None, "downsample": 1, "patch": 32}
    return recipe.model_copy(
        update={
            "title": recipe.title + " (smoke test: a few steps on simulated pairs, of no use)",
            "trained_on_phantoms": True,
            "generator": {**recipe.generator, "ngf": 4, "n_blocks": 1},
            "discriminator": {**recipe.discriminator, "ndf": 4},
            "data": recipe.data.model_copy(update={**data, "source_window": (1000.0, 2900.0), "workers": 0}),
            "schedule": recipe.schedule.model_copy(update={"batch_size": 4, "iterations_per_epoch": 4, "epochs": 2}),
        }
    )
