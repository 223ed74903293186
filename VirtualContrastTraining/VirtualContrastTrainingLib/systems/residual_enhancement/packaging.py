"""How a trained network of relative enhancement becomes a model package."""

from __future__ import annotations

from ...training.packaging import Packaging, slice_fields

PACKAGING = Packaging("average.", lambda recipe: slice_fields(recipe, recipe.network))
