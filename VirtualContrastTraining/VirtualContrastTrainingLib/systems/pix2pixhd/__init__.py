"""Pix2PixHD: pre-contrast to one or three post-contrast phases."""

from ...training.system import System

SYSTEM = System(
    "pix2pixhd",
    recipe=f"{__name__}.recipe:Pix2PixHDRecipe",
    smoke=f"{__name__}.smoke:smoke_recipe",
    prepare=f"{__name__}.trainer:training_of",
    packaging=f"{__name__}.packaging:PACKAGING",
)
