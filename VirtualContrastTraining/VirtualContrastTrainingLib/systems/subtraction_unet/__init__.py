"""The U-Net that predicts subtraction images or phases."""

from ...training.system import System

SYSTEM = System(
    "subtraction_unet",
    recipe=f"{__name__}.recipe:SubtractionUNetRecipe",
    smoke=f"{__name__}.smoke:smoke_recipe",
    prepare=f"{__name__}.trainer:training_of",
    packaging=f"{__name__}.packaging:PACKAGING",
)
