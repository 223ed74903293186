"""The registry's entry for nnU-Net: what of the common options its training knows."""

from __future__ import annotations

import tempfile
from pathlib import Path

from VirtualContrastLib.events import InputError

from ...training.base import RunOptions
from ...training.recipe import NNUNetRecipe
from ..smoke import smoke_cases
from .trainer import train_lesion_net


def train(recipe: NNUNetRecipe, output: Path, options: RunOptions = RunOptions(), *, smoke: bool = False) -> Path:
    """Train `recipe` into `output` and return its package; raises InputError for several processes.

    A resumed run goes on from nnU-Net's last checkpoint; it ends close to an unbroken one, not with the same bits.
    """
    if options.devices * options.num_nodes > 1:
        raise InputError("nnU-Net recipes train in one process; leave --devices and --num-nodes out.")
    if options.precision is not None:
        recipe = recipe.model_copy(update={"precision": options.precision})
    with tempfile.TemporaryDirectory() as folder:
        return train_lesion_net(_smoke(recipe, Path(folder)) if smoke else recipe, output, options)


def _smoke(recipe: NNUNetRecipe, folder: Path) -> NNUNetRecipe:
    """A narrow network, two steps on the real phases of small phantoms."""
    cases = str(smoke_cases(folder))
    data = recipe.data.model_copy(
        update={"train": cases, "validation": cases, "images": ["real"], "synthesis_model": None}
    )
    small = {"data": data, "base_features": 4, "max_features": 8, "epochs": 1, "iterations_per_epoch": 2}
    return recipe.model_copy(update={**small, "memory_gb": 0.2, "trained_on_phantoms": True})
