"""Turns a trained 3-D network into the model package that `VirtualContrastLib.synthesis.volumetric` runs."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from VirtualContrastLib.events import InputError, VirtualContrastError
from VirtualContrastLib.models.package import ModelCard, save_package
from VirtualContrastLib.networks.iter_unet import build_series_network
from VirtualContrastLib.synthesis.volumetric import ARCHITECTURE

from .. import __version__

if TYPE_CHECKING:
    from torch import Tensor

    from .iter_unet_recipe import IterUNetRecipe

_PREFIX = "network."


def export_volumetric(recipe: IterUNetRecipe, state: Mapping[str, Tensor], folder: Path) -> Path:
    """Write `<folder>` as a model package of the network's weights `state` (as float32) and return it.

    An earlier package of that place goes. Raises VirtualContrastError where it cannot be written.
    """
    card = ModelCard.model_validate(card_fields(recipe))
    weights = {name: tensor.detach().cpu().float() for name, tensor in state.items()}
    shutil.rmtree(folder, ignore_errors=True)
    try:
        save_package(folder, card, weights, model_card_md=model_card_text(recipe))
    except OSError as error:
        raise VirtualContrastError(f"The model package {folder} could not be written: {error.strerror}.") from error
    return folder


def checkpoint_state(recipe: IterUNetRecipe, checkpoint: Path) -> dict[str, Tensor]:
    """The network's weights in a checkpoint of a run; raises InputError where it is not one of this recipe."""
    try:
        everything = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        state = {name.removeprefix(_PREFIX): value for name, value in everything.items() if name.startswith(_PREFIX)}
        build_series_network(recipe.network_options).load_state_dict(state)
    except (OSError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
        problem = str(error).splitlines()[0]
        raise InputError(f"{checkpoint} is no checkpoint of the recipe {recipe.id}: {problem}") from error
    return state


def card_fields(recipe: IterUNetRecipe) -> dict[str, Any]:
    """The fields of the model card: phase 0 and 1 in, phases 2, 3, ... out."""
    parts = {"system", "seed", "times_s", "data", "losses", "schedule", "precision"}
    return {
        "id": recipe.id,
        "version": __version__,
        "title": recipe.title,
        "architecture": {
            "name": ARCHITECTURE,
            "config": {
                "network": recipe.network_options,
                "window_kji": list(recipe.data.patch_kji),
                "overlap": recipe.window_overlap,
                "ti_norm_region": recipe.data.ti_norm_region,
            },
        },
        "inputs": {"phases": [0, 1]},
        "outputs": {"channel_phases": list(range(2, len(recipe.times_s) + 1)), "times_s": recipe.times_s[1:]},
        "training": recipe.model_dump(mode="json", include=parts),
        "trained_on_phantoms": recipe.trained_on_phantoms,
        "licence": recipe.licence,
        "citation": recipe.citation,
        "intended_use": recipe.intended_use,
    }


def model_card_text(recipe: IterUNetRecipe) -> str:
    """MODEL_CARD.md: what the model needs, makes and was trained with."""
    times = ", ".join(f"{t:g}" for t in recipe.times_s[1:])
    trained = "phantoms, no patients" if recipe.trained_on_phantoms else "the cases that the recipe names"
    lines = [
        f"# {recipe.title}",
        "",
        f"Makes the phases at {times} s after injection from the pre-contrast volume and the first post-contrast phase "
        f"(trained with {recipe.times_s[0]:g} s), in windows of {' x '.join(map(str, recipe.data.patch_kji))} voxels.",
        "Intensities: TI-norm by mean and standard deviation of the first post-contrast phase "
        f"(region: {recipe.data.ti_norm_region}).",
        f"Trained on {trained}. {recipe.intended_use}",
        "",
        f"Method: {recipe.citation}",
    ]
    return "\n".join(lines) + "\n"
