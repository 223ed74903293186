"""How a trained pix2pixHD generator becomes a model package."""

from __future__ import annotations

from ...training.packaging import Packaging, slice_fields

PACKAGING = Packaging("generator.", lambda recipe: slice_fields(recipe, recipe.generator))
