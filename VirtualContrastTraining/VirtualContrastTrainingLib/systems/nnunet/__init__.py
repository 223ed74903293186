"""nnU-Net for lesion segmentation."""

from ...training.system import System

SYSTEM = System(
    "nnunet",
    recipe=f"{__name__}.recipe:NNUNetRecipe",
    smoke=f"{__name__}.smoke:smoke_recipe",
    train=f"{__name__}.trainer:train",
)
