"""iterU-Net: later phases from the pre-contrast volume and the first phase."""

from ...training.system import System

SYSTEM = System(
    "iter_unet",
    recipe=f"{__name__}.recipe:IterUNetRecipe",
    smoke=f"{__name__}.smoke:smoke_recipe",
    train=f"{__name__}.trainer:train",
    packaging=f"{__name__}.packaging:PACKAGING",
)
