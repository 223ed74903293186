"""How a trained subtraction U-Net becomes a model package."""

from __future__ import annotations

from ...training.packaging import Packaging, slice_fields

PACKAGING = Packaging("network.", lambda recipe: slice_fields(recipe, recipe.network))
