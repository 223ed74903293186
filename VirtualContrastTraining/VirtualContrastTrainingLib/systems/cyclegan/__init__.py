"""CycleGAN: low-energy to recombined contrast-enhanced mammograms."""

from ...training.system import System

SYSTEM = System(
    "cyclegan",
    recipe=f"{__name__}.recipe:CycleGANRecipe",
    smoke=f"{__name__}.smoke:smoke_recipe",
    prepare=f"{__name__}.trainer:training_of",
    packaging=f"{__name__}.packaging:PACKAGING",
)
