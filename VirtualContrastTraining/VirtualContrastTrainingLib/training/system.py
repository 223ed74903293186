"""A training system: what trains one kind of network, as one record."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from VirtualContrastLib.events import InputError
from VirtualContrastLib.networks.architectures import Place, part

if TYPE_CHECKING:
    from .options import RunOptions
    from .packaging import Packaging
    from .recipe import DescribedRecipe


@dataclass(frozen=True)
class System:
    """Parts are named as `module:attribute` and imported when they are first used, or are the objects themselves.

    Attributes:
        id: the `system` of its recipes, which is the id of the network's architecture in model cards.
        recipe: subclass of `recipe.DescribedRecipe` that reads its recipes.
        smoke: function `(recipe, folder) -> recipe` that shrinks a recipe to a trial of seconds, on cases that it
            writes into `folder`.
        prepare: function `recipe -> base.Training`: what is trained on what. The loop, checkpoints, logs, exact resume
            and the export are those of all systems.
        packaging: the `packaging.Packaging`, how a trained network becomes a model package; None where only a whole
            run can be exported.
        train: function `(recipe, output, options) -> package folder` of a system that has a loop of its own, instead of
            `prepare`.
    """

    id: str
    recipe: Place
    smoke: Place
    prepare: Place | None = None
    packaging: Place | None = None
    train: Place | None = None

    @property
    def recipe_class(self) -> type[DescribedRecipe]:
        """The class of its recipes."""
        found: type[DescribedRecipe] = part(self.recipe)
        return found

    def package_of(self) -> Packaging | None:
        """Its `packaging`, imported."""
        found: Packaging | None = None if self.packaging is None else part(self.packaging)
        return found

    def run(self, recipe: DescribedRecipe, output: Path, options: RunOptions, *, smoke: bool = False) -> Path:
        """Train `recipe` into `output` and return its package `<output>/model`.

        Args:
            recipe: of this system.
            output: folder of the run.
            options: how to run.
            smoke: train a small network for a few steps on small made-up cases instead, of no use.

        Returns:
            The exported model package `<output>/model`.

        Raises:
            InputError: the card of the model would be refused, or `output` does not suit; see `train_and_export`.
        """
        from .copying import record_against_copying
        from .launch import is_first
        from .packaging import make_card, record_pixels

        packaging = self.package_of()
        with tempfile.TemporaryDirectory() as folder:
            if smoke:
                recipe = part(self.smoke)(recipe, Path(folder))
            if packaging is not None:
                make_card(packaging, recipe)  # a card that cannot be right is refused before the training, not after
            _check_writable(output)
            record_pixels(recipe, output)
            package = self._train(recipe, output, options)
            if is_first() and packaging is not None:
                record_against_copying(package, recipe.held_out_cases())
            return package

    def _train(self, recipe: DescribedRecipe, output: Path, options: RunOptions) -> Path:
        """Train by the system's own loop or by that of all systems."""
        from .base import train_and_export

        if self.train is not None:
            package: Path = part(self.train)(recipe, output, options)
            return package
        packaging = self.package_of()
        if self.prepare is None or packaging is None:
            raise TypeError(f"The system {self.id} has neither its own loop nor prepare and packaging.")
        return train_and_export(recipe, output, options, part(self.prepare), packaging)


def _check_writable(folder: Path) -> None:
    """Make the folder of a run; raises InputError where it cannot be written, before anything is computed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be written: {error.strerror}; choose another one.") from error
