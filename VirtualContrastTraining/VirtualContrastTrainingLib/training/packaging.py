"""Turns a trained network, or the checkpoint of one, into the model package that the engine runs, for every system."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from VirtualContrastLib.events import InputError, VirtualContrastError
from VirtualContrastLib.files import write_json
from VirtualContrastLib.models.package import ModelCard, check_state, first_problem, save_package

from .. import __version__
from ..data.cases import pixel_range_mm

if TYPE_CHECKING:
    from torch import Tensor

    from .recipe import DescribedRecipe

Fields = dict[str, Any]
_DESCRIPTION = {"trained_on_phantoms", "license", "citation", "intended_use"}
_ALIKE = 1.1
"""Pixels of training cases that differ by less than this factor count as one size."""
_PIXELS = "training_pixels.json"
LEVELS = 3  # RUN/checkpoints/last.ckpt, and RUN/warm_up/checkpoints/last.ckpt
NOT_TRAINING = {"id", "title", *_DESCRIPTION}
"""Fields of a recipe that have their own in the card; the others are what the card says of the training."""


@dataclass(frozen=True)
class Packaging:
    """How the network of a system leaves its training.

    Attributes:
        prefix: of its weights' names in a checkpoint.
        fields: what the card of a recipe says besides id, version, title and description.
        text: MODEL_CARD.md of a recipe.
    """

    prefix: str
    fields: Callable[[Any], Fields]
    text: Callable[[Any], str] = lambda recipe: f"# {recipe.title}\n"


def slice_fields(recipe: Any, config: Mapping[str, Any]) -> Fields:
    """`Packaging.fields` of a network of the options `config` that makes phases from pre-contrast slices."""
    own = {"inputs", "outputs", "intensity", "in_plane"}
    return {
        "architecture": {"name": recipe.system, "config": dict(config)},
        **recipe.model_dump(include=own),
        "in_plane": _as_trained(recipe),
        "training": recipe.model_dump(mode="json", exclude=NOT_TRAINING | own | {"generator", "network"}),
    }


def _as_trained(recipe: Any) -> Fields:
    """The recipe's `in_plane` with the pixels of the training cases, where they are available."""
    found = _pixels_of_cases(recipe)
    return recipe.in_plane.model_dump() if found is None else _with_pixels(recipe, found)


def _pixels_of_cases(recipe: Any) -> tuple[float, float] | None:
    """Smallest and largest pixel side, mm, of the recipe's training cases; None where they are not available."""
    train = getattr(getattr(recipe, "data", None), "train", [])
    return pixel_range_mm(Path(root) for root in ([train] if isinstance(train, str) else train))


def _with_pixels(recipe: Any, pixels: tuple[float, float]) -> Fields:
    """The recipe's `in_plane` for a network trained on `pixels`.

    One that saw the cases' own pixels, all alike, gets other volumes resampled to them.
    """
    in_plane: Fields = recipe.in_plane.model_dump()
    least, most = pixels
    alike = in_plane["policy"] == "native" and most <= _ALIKE * least
    resampled = {"policy": "resample", "spacing_mm": round((least * most) ** 0.5, 4)} if alike else {}
    return {**in_plane, **resampled, "trained_mm": (round(least, 4), round(most, 4))}


def record_pixels(recipe: DescribedRecipe, run: Path) -> None:
    """Keep the pixels of the training cases in the folder of a run: they may be gone when a checkpoint is exported."""
    if pixels := _pixels_of_cases(recipe):
        write_json(run / _PIXELS, {"pixel_range_mm": pixels})


def _recorded_pixels(checkpoint: Path) -> tuple[float, float] | None:
    """What `record_pixels` kept in the run of a checkpoint; None for a run of an earlier version."""
    for folder in checkpoint.resolve().parents[:LEVELS]:
        if (folder / _PIXELS).is_file():
            try:
                least, most = json.loads((folder / _PIXELS).read_text(encoding="utf-8"))["pixel_range_mm"]
                return float(least), float(most)
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise InputError(f"{folder / _PIXELS} is damaged; restore it or remove it.") from error
    return None


def make_card(packaging: Packaging, recipe: DescribedRecipe, pixels: tuple[float, float] | None = None) -> ModelCard:
    """The card of the model that a recipe makes.

    Args:
        packaging: that of the recipe's system.
        recipe: what is trained.
        pixels: smallest and largest pixel side, mm, that the network was trained on; None takes the recipe's cases.

    Returns:
        The card.

    Raises:
        InputError: the card cannot be right.
    """
    described = recipe.model_dump(include=_DESCRIPTION)
    fields = {"id": recipe.id, "version": __version__, "title": recipe.title, **packaging.fields(recipe), **described}
    if pixels is not None and "in_plane" in fields:
        fields["in_plane"] = _with_pixels(recipe, pixels)
    try:
        return ModelCard.model_validate(fields)
    except ValidationError as error:
        raise InputError(f"The model of the recipe {recipe.id} cannot be right: {first_problem(error)}.") from error


def export_state(
    packaging: Packaging,
    recipe: DescribedRecipe,
    state: Mapping[str, Tensor],
    folder: Path,
    pixels: tuple[float, float] | None = None,
) -> Path:
    """Write `<folder>` as a package of a trained network and return it; an earlier package of that place is replaced.

    Args:
        packaging: that of the recipe's system.
        recipe: what was trained.
        state: the network's weights; floating ones are written as float32.
        folder: place of the package.
        pixels: as in `make_card`.

    Returns:
        The folder.

    Raises:
        InputError: the card would be refused.
        VirtualContrastError: the folder cannot be written.
    """
    card = make_card(packaging, recipe, pixels)
    weights = {name: tensor.detach().cpu() for name, tensor in state.items()}
    weights = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    shutil.rmtree(folder, ignore_errors=True)
    try:
        save_package(folder, card, weights, model_card_md=packaging.text(recipe))
    except OSError as error:
        raise VirtualContrastError(f"The model package {folder} could not be written: {error.strerror}.") from error
    return folder


def export_checkpoint(packaging: Packaging, recipe: DescribedRecipe, checkpoint: Path, folder: Path) -> Path:
    """Write the package of a checkpoint of a run, of any epoch.

    Args:
        packaging: The system's packaging.
        recipe: The recipe of the run.
        checkpoint: The checkpoint.
        folder: Folder of the package.

    Returns:
        The folder.

    Raises:
        InputError: The checkpoint does not fit the recipe.
    """
    state = checkpoint_state(packaging, recipe, checkpoint)
    return export_state(packaging, recipe, state, folder, _recorded_pixels(checkpoint))


def checkpoint_state(packaging: Packaging, recipe: DescribedRecipe, checkpoint: Path) -> dict[str, Tensor]:
    """The network's weights in a checkpoint of a run.

    Args:
        packaging: The system's packaging.
        recipe: The recipe of the run.
        checkpoint: The checkpoint.

    Returns:
        Weights by name.

    Raises:
        InputError: It is not a checkpoint of this recipe.
    """
    import torch

    try:
        everything = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        prefix = packaging.prefix
        state = {name.removeprefix(prefix): value for name, value in everything.items() if name.startswith(prefix)}
    except (OSError, EOFError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
        problem = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{checkpoint} is not a checkpoint of the recipe {recipe.id}: {problem}") from error
    network = make_card(packaging, recipe).architecture
    try:
        check_state(state, network.name, network.config, str(checkpoint))
    except InputError as error:
        raise InputError(f"{checkpoint} is not a checkpoint of the recipe {recipe.id}: {error}") from error
    return state
