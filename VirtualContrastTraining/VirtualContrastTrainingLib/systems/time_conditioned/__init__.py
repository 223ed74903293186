"""The generator that makes the phase at any requested time."""

from ...training.system import System

SYSTEM = System(
    "time_conditioned",
    recipe=f"{__name__}.recipe:TimeConditionedRecipe",
    smoke=f"{__name__}.smoke:smoke_recipe",
    prepare=f"{__name__}.trainer:training_of",
    packaging=f"{__name__}.packaging:PACKAGING",
)
