"""What the model package of a 3-D network says of itself; `trainers.export` writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import __version__

if TYPE_CHECKING:
    from .recipe import IterUNetRecipe


def card_fields(recipe: IterUNetRecipe) -> dict[str, Any]:
    """The fields of the model card: phase 0 and 1 in, with the time that phase 1 had; phases 2, 3, ... out."""
    parts = {"system", "seed", "times_s", "data", "losses", "schedule", "precision"}
    return {
        "id": recipe.id,
        "version": __version__,
        "title": recipe.title,
        "architecture": {
            "name": "iter_unet",
            "config": {
                "network": recipe.network_options,
                "window_kji": list(recipe.data.patch_kji),
                "overlap": recipe.window_overlap,
                "ti_norm_region": recipe.data.ti_norm_region,
            },
        },
        "inputs": {"phases": [0, 1], "times_s": recipe.times_s[:1]},
        "outputs": {"channel_phases": list(range(2, len(recipe.times_s) + 1)), "times_s": recipe.times_s[1:]},
        "training": recipe.model_dump(mode="json", include=parts),
        "trained_on_phantoms": recipe.trained_on_phantoms,
        "license": recipe.license,
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
