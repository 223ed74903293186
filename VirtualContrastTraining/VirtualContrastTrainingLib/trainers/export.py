"""Turns a trained generator into the model package that the engine runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from VirtualContrastLib.models.package import Architecture, ModelCard, save_package

from .. import __version__

if TYPE_CHECKING:
    from .pix2pixhd import Pix2PixHDTrainer


def export_generator(module: Pix2PixHDTrainer, folder: Path) -> Path:
    """Write `<folder>` as a model package of the module's generator (float32) and return it."""
    recipe = module.recipe
    state = {name: tensor.detach().cpu().float() for name, tensor in module.generator.state_dict().items()}
    card = ModelCard(
        id=recipe.id,
        version=__version__,
        title=recipe.title,
        architecture=Architecture(name="pix2pixhd_generator", config=recipe.generator),
        inputs=recipe.inputs,
        outputs=recipe.outputs,
        intensity=recipe.intensity,
        in_plane=recipe.in_plane,
        training=recipe.model_dump(mode="json", include={"system", "seed", "data", "losses", "schedule", "precision"}),
        trained_on_phantoms=recipe.trained_on_phantoms,
        licence=recipe.licence,
        citation=recipe.citation,
        intended_use=recipe.intended_use,
    )
    shutil.rmtree(folder, ignore_errors=True)
    save_package(folder, card, state, model_card_md=_model_card(module))
    return folder


def _model_card(module: Pix2PixHDTrainer) -> str:
    recipe = module.recipe
    return f"# {recipe.title}\n"
