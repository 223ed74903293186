"""How a trained 3-D network becomes a model package."""

from __future__ import annotations

from ...training.packaging import Fields, Packaging
from .recipe import IterUNetRecipe


def card_fields(recipe: IterUNetRecipe) -> Fields:
    """The fields of the model card: phase 0 and 1 in, with the time that phase 1 had; phases 2, 3, ... out."""
    parts = {"system", "seed", "times_s", "data", "losses", "schedule", "precision"}
    return {
        "architecture": {
            "name": recipe.system,
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


PACKAGING = Packaging("network.", card_fields, model_card_text)
