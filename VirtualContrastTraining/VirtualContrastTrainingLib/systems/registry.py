"""Which class reads the recipes of a system and which function trains them; both are imported when first used."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from VirtualContrastLib.events import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..training.recipe import DescribedRecipe

_LIBRARY = __package__.rpartition(".")[0]


@dataclass(frozen=True)
class System:
    """Places as `module:name`, modules relative to this library.

    The train function is `train(recipe, output, options: base.RunOptions, *, smoke) -> Path` and returns the exported
    model package.
    """

    recipe: str
    train: str

    def recipe_class(self) -> type[DescribedRecipe]:
        """The pydantic class of the system's recipes."""
        return _imported(self.recipe)

    def train_function(self) -> Callable[..., Path]:
        """The function that runs a recipe."""
        return _imported(self.train)


SYSTEMS = {
    "pix2pixhd": System("recipe:Pix2PixHDRecipe", "trainers.run:train"),
    "nnunet": System("recipe:NNUNetRecipe", "trainers.nnunet_run:train"),
    "subtraction_unet": System("recipe:SubtractionUNetRecipe", "trainers.subtraction_unet:train"),
    "time_conditioned": System(
        "trainers.time_conditioned_recipe:TimeConditionedRecipe", "trainers.time_conditioned:train"
    ),
    "iter_unet": System("trainers.iter_unet_recipe:IterUNetRecipe", "trainers.iter_unet:train"),
    "cyclegan": System("trainers.cyclegan:CycleGANRecipe", "trainers.cyclegan:train"),
}


def system_of(name: str) -> System:
    """The entry of `name`; raises InputError naming the known ones."""
    if name not in SYSTEMS:
        raise InputError(f"There is no system {name!r} to train; the systems are {', '.join(SYSTEMS)}.")
    return SYSTEMS[name]


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"{_LIBRARY}.{module}"), name)
