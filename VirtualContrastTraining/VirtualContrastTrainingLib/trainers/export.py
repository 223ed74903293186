"""Turns a trained network, or the checkpoint of one, into the model package that the engine runs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VirtualContrastLib.events import VirtualContrastError
from VirtualContrastLib.models.package import ModelCard, save_package

from .. import __version__

if TYPE_CHECKING:
    from torch import Tensor

    from ..recipe import Pix2PixHDRecipe, SubtractionUNetRecipe
    from .pix2pixhd import Pix2PixHDTrainer

_NOT_TRAINING = {"id", "title", "trained_on_phantoms", "licence", "citation", "intended_use"}
_HAS_OWN_FIELD = {"inputs", "outputs", "intensity", "in_plane", "generator", "network"}


def export_generator(module: Pix2PixHDTrainer, folder: Path) -> Path:
    """Write `<folder>` as a model package of the module's generator (float32) and return it."""
    recipe = module.recipe
    return export_network(recipe, "pix2pixhd_generator", recipe.generator, module.generator.state_dict(), folder)


def export_network(
    recipe: Pix2PixHDRecipe | SubtractionUNetRecipe,
    architecture: str,
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    folder: Path,
) -> Path:
    """Write `<folder>` as a package of `state` (floating tensors as float32) with the recipe's card, and return it.

    An earlier package of that place goes. Raises VirtualContrastError where the disk is full.
    """
    weights = {name: tensor.detach().cpu() for name, tensor in state.items()}
    weights = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    card = ModelCard.model_validate(
        {
            "id": recipe.id,
            "version": __version__,
            "title": recipe.title,
            "architecture": {"name": architecture, "config": dict(config)},
            **recipe.model_dump(include={"inputs", "outputs", "intensity", "in_plane"}),
            "training": recipe.model_dump(mode="json", exclude=_NOT_TRAINING | _HAS_OWN_FIELD),
            "trained_on_phantoms": recipe.trained_on_phantoms,
            "licence": recipe.licence,
            "citation": recipe.citation,
            "intended_use": recipe.intended_use,
        }
    )
    shutil.rmtree(folder, ignore_errors=True)
    try:
        save_package(folder, card, weights, model_card_md=f"# {recipe.title}\n")
    except OSError as error:
        raise VirtualContrastError(f"The model package {folder} could not be written: {error.strerror}.") from error
    return folder


def export_checkpoint(recipe: Pix2PixHDRecipe | SubtractionUNetRecipe, checkpoint: Path, folder: Path) -> Path:
    """Write the package of a run's checkpoint (any epoch's) and return its folder; raises InputError if it misfits."""
    import torch
    from pydantic import ValidationError
    from VirtualContrastLib.events import InputError
    from VirtualContrastLib.networks.pix2pixhd import build_generator
    from VirtualContrastLib.networks.subtraction_unet import build_subtraction_unet

    prefix, architecture = {
        "pix2pixhd": ("generator.", "pix2pixhd_generator"),
        "subtraction_unet": ("network.", "subtraction_unet"),
    }[recipe.system]
    config = recipe.generator if recipe.system == "pix2pixhd" else recipe.network
    network = build_generator(config) if recipe.system == "pix2pixhd" else build_subtraction_unet(config)
    try:
        everything = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        state = {name.removeprefix(prefix): value for name, value in everything.items() if name.startswith(prefix)}
        network.load_state_dict(state)
        return export_network(recipe, architecture, config, state, folder)
    except (OSError, KeyError, RuntimeError, ValidationError) as error:
        problem = str(error).splitlines()[0]
        raise InputError(f"{checkpoint} is no checkpoint of the recipe {recipe.id}: {problem}") from error
