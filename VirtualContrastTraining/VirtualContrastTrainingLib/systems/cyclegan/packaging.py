"""How a trained generator of recombined mammograms becomes a model package."""

from __future__ import annotations

from ...training.packaging import NOT_TRAINING, Fields, Packaging
from .recipe import CycleGANRecipe


def card_fields(recipe: CycleGANRecipe) -> Fields:
    """Generator, preparation of the pictures, sliding window; no outputs: a mammogram has no time."""
    steps = {"source_window", "target_window", "spacing_mm", "downsample", "margin"}
    config = {
        "generator": recipe.generator,
        "mammogram": recipe.data.model_dump(include=steps, mode="json"),
        "window": recipe.data.patch,
        "stride": recipe.stride,
    }
    return {
        "architecture": {"name": recipe.system, "config": config},
        "inputs": {},
        "training": recipe.model_dump(mode="json", exclude=NOT_TRAINING | {"generator"}),
    }


PACKAGING = Packaging("to_high.", card_fields)
