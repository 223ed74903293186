"""The residual network of relative enhancement, trained on real patients: the system behind the default model."""

from ...training.system import System

SYSTEM = System(
    "residual_enhancement",
    recipe=f"{__name__}.recipe:ResidualEnhancementRecipe",
    smoke=f"{__name__}.recipe:smoke_recipe",
    prepare=f"{__name__}.trainer:training_of",
    packaging=f"{__name__}.packaging:PACKAGING",
)
