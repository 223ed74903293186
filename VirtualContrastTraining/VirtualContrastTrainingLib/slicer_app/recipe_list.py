"""Which recipes there are, for the panel: read as plain text, since the panel must open where no package is installed.

What they mean is decided by `VirtualContrastTrainingLib.training.recipe`, which needs pydantic and YAML; a test holds
the two together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

DEFAULT = "phantom-joint-p1-p3"
RECIPES = Path(__file__).resolve().parents[2] / "Resources" / "Recipes"


@dataclass(frozen=True)
class RecipeEntry:
    """One recipe.

    Attributes:
        name: Name of the shipped file, or a path.
        title: Title of the model.
        system: Id of the system.
        phantoms: Whether it trains on simulated patients.
        about: The comment at its top.
    """

    name: str
    title: str
    system: str
    phantoms: bool
    about: str

    @property
    def tells_curves(self) -> bool:
        """It reports losses and shows held-out images; nnU-Net's own training does not."""
        return self.system != "nnunet"

    @property
    def mammograms(self) -> bool:
        """It trains on pairs of mammograms, not on MRI."""
        return self.system == "cyclegan"

    def text(self) -> str:
        """What the panel says of it, rich text."""
        data = _("simulated phantoms") if self.phantoms else _("patient images")
        first = _("System {system}, made for {data}.").format(system=self.system, data=data)
        own = "" if self.tells_curves else " " + _("It shows no curves and stops only between epochs.")
        return f"{self.title}.<br><b>{first}</b>{own}"


def shipped_recipes() -> list[RecipeEntry]:
    """The recipes that come with the module, those for phantoms first."""
    found = [entry for path in RECIPES.glob("*.yaml") if (entry := read_recipe(path, path.stem)) is not None]
    return sorted(found, key=lambda entry: (not entry.phantoms, entry.name))


def read_recipe(path: Path, name: str = "") -> RecipeEntry | None:
    """The recipe in a YAML file; None for a file that cannot be read or is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    title, system = _value(text, "title"), _value(text, "system")
    if not system:
        return None
    lines = text.splitlines()
    top = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    about = " ".join(line.lstrip("# ").strip() for line in lines[:top])
    phantoms = _value(text, "trained_on_phantoms") == "true"
    return RecipeEntry(name or str(path), title or path.stem, system, phantoms, about)


def _value(text: str, key: str) -> str:
    found = re.search(rf"^{key}: *(.*?) *$", text, re.MULTILINE)
    return found[1].strip("\"'") if found else ""
