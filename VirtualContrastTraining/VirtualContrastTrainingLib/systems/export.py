"""Turns a trained network, or the checkpoint of one, into the model package that the engine runs, for every system.

What differs between systems (which weights of a checkpoint are the network's, how it is built, what its card says) is
one row of `_systems`; reading, checking and writing are the same for all.
"""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VirtualContrastLib.events import InputError, VirtualContrastError
from VirtualContrastLib.models.package import ModelCard, save_package

from .. import __version__

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..training.recipe import DescribedRecipe

Fields = dict[str, Any]
_DESCRIPTION = ("trained_on_phantoms", "license", "citation", "intended_use")
_NOT_TRAINING = {"id", "title", *_DESCRIPTION}
_HAS_OWN_FIELD = {"inputs", "outputs", "intensity", "in_plane", "generator", "network"}


@dataclass(frozen=True)
class _Exported:
    """How the network of a system leaves its training.

    `prefix`: of its weights' names in a checkpoint. `build`: the network of a recipe. `fields`: what the card says
    besides id, version, title and description. `text`: MODEL_CARD.md.
    """

    prefix: str
    build: Callable[[Any], nn.Module]
    fields: Callable[[Any], Fields]
    text: Callable[[Any], str] = lambda recipe: f"# {recipe.title}\n"


def export_state(recipe: DescribedRecipe, state: Mapping[str, Tensor], folder: Path) -> Path:
    """Write `<folder>` as a package of the weights `state` (floating tensors as float32) and return it.

    An earlier package of that place goes. Raises InputError for a system that makes no such packages,
    VirtualContrastError where the folder cannot be written.
    """
    system = _system(recipe)
    weights = {name: tensor.detach().cpu() for name, tensor in state.items()}
    weights = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    described = recipe.model_dump(include=set(_DESCRIPTION))
    card = ModelCard.model_validate(
        {"id": recipe.id, "version": __version__, "title": recipe.title, **system.fields(recipe), **described}
    )
    shutil.rmtree(folder, ignore_errors=True)
    try:
        save_package(folder, card, weights, model_card_md=system.text(recipe))
    except OSError as error:
        raise VirtualContrastError(f"The model package {folder} could not be written: {error.strerror}.") from error
    return folder


def export_checkpoint(recipe: DescribedRecipe, checkpoint: Path, folder: Path) -> Path:
    """Write the package of a run's checkpoint (any epoch's) and return its folder; raises InputError if it misfits."""
    from pydantic import ValidationError

    state = checkpoint_state(recipe, checkpoint)
    try:
        return export_state(recipe, state, folder)
    except ValidationError as error:
        raise _misfit(checkpoint, recipe, error) from error


def checkpoint_state(recipe: DescribedRecipe, checkpoint: Path) -> dict[str, Tensor]:
    """The network's weights in a checkpoint of a run; raises InputError where it is not one of this recipe."""
    import torch

    system = _system(recipe)
    try:
        everything = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        named = {name: value for name, value in everything.items() if name.startswith(system.prefix)}
        state = {name.removeprefix(system.prefix): value for name, value in named.items()}
        system.build(recipe).load_state_dict(state)
    except (OSError, EOFError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
        raise _misfit(checkpoint, recipe, error) from error
    return state


def _misfit(checkpoint: Path, recipe: DescribedRecipe, error: Exception) -> InputError:
    problem = (str(error) or type(error).__name__).splitlines()[0]
    return InputError(f"{checkpoint} is no checkpoint of the recipe {recipe.id}: {problem}")


def _system(recipe: DescribedRecipe) -> _Exported:
    systems = _systems()
    if recipe.system not in systems:
        raise InputError(
            f"Checkpoints of {recipe.system} are exported at the end of their training only; those of "
            f"{', '.join(systems)} at any time."
        )
    return systems[recipe.system]


def _systems() -> dict[str, _Exported]:
    """By the name of a recipe's system."""
    from VirtualContrastLib.networks import cyclegan
    from VirtualContrastLib.networks.iter_unet import build_series_network
    from VirtualContrastLib.networks.pix2pixhd import build_generator
    from VirtualContrastLib.networks.subtraction_unet import build_subtraction_unet
    from VirtualContrastLib.networks.time_conditioned import build_time_conditioned

    from .iter_unet import packaging

    def over_slices(architecture: str, part: str) -> Callable[[Any], Fields]:
        return lambda recipe: _slice_fields(recipe, architecture, getattr(recipe, part))

    return {
        "pix2pixhd": _Exported(
            "generator.",
            lambda recipe: build_generator(recipe.generator),
            over_slices("pix2pixhd", "generator"),
        ),
        "subtraction_unet": _Exported(
            "network.",
            lambda recipe: build_subtraction_unet(recipe.network),
            over_slices("subtraction_unet", "network"),
        ),
        "time_conditioned": _Exported(
            "network.",
            lambda recipe: build_time_conditioned(recipe.network),
            over_slices("time_conditioned", "network"),
        ),
        "iter_unet": _Exported(
            "network.",
            lambda recipe: build_series_network(recipe.network_options),
            packaging.card_fields,
            packaging.model_card_text,
        ),
        "cyclegan": _Exported("to_high.", lambda recipe: cyclegan.build_generator(recipe.generator), _mammogram_fields),
    }


def _slice_fields(recipe: DescribedRecipe, architecture: str, config: Mapping[str, Any]) -> Fields:
    """Of a network that makes phases from pre-contrast slices."""
    return {
        "architecture": {"name": architecture, "config": dict(config)},
        **recipe.model_dump(include={"inputs", "outputs", "intensity", "in_plane"}),
        "training": recipe.model_dump(mode="json", exclude=_NOT_TRAINING | _HAS_OWN_FIELD),
    }


def _mammogram_fields(recipe: Any) -> Fields:
    """Of the generator of recombined from low-energy mammograms."""
    data = recipe.data
    steps = {"source_window", "target_window", "spacing_mm", "downsample", "margin"}
    config = {
        "generator": recipe.generator,
        "mammogram": data.model_dump(include=steps, mode="json"),
        "window": data.patch,
        "stride": recipe.stride,
    }
    return {
        "architecture": {"name": "cyclegan", "config": config},
        "inputs": {},
        "training": recipe.model_dump(mode="json", exclude=_NOT_TRAINING | {"generator"}),
    }
