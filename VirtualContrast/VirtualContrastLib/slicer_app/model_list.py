"""Which models there are, for the panel: read as plain JSON, since the panel must open where no package is installed.

The places are those of `VirtualContrastLib.models`, which needs pydantic; a test holds the two together.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

CARD_NAME = "model.json"
WEIGHTS_NAME = "weights.safetensors"


@dataclass(frozen=True)
class ModelEntry:
    """One synthesis model on this machine. `name` is its id, or its path where it is in no known place."""

    name: str
    title: str
    phantoms: bool
    times_s: tuple[float, ...] = ()
    licence: str = ""
    version: str = ""

    def card_line(self) -> str:
        """The card in one line of rich text, what it was trained on first."""
        trained = (
            _("<b>TRAINED ON SIMULATED PHANTOMS ONLY, not on patients.</b>")
            if self.phantoms
            else _("Trained on patient images.")
        )
        times = ", ".join(f"{time_s:g}" for time_s in self.times_s)
        phases = _("{count} phases at {times} s.").format(count=len(self.times_s), times=times)
        return f"{trained} {phases} " + _("Version {version}, license {licence}.").format(
            version=self.version, licence=self.licence
        )


def installed_models() -> list[ModelEntry]:
    """Synthesis models on this machine, the catalog's default first."""
    found: dict[str, ModelEntry] = {}
    for root in (_downloaded_dir(), resources_dir() / "Models"):
        for path in sorted(root.glob(f"*/{CARD_NAME}")) if root.is_dir() else ():
            entry = _read(path.parent, path.parent.name)
            if entry is not None and path.parent.name[0] != ".":
                found[entry.name] = entry
    default = default_id()
    return sorted(found.values(), key=lambda entry: (entry.name != default, entry.name))


def find_model(name: str) -> ModelEntry | None:
    """The installed model of id `name` ("" is the default), or the model package folder at the path `name`."""
    wanted = name or default_id()
    for entry in installed_models():
        if entry.name == wanted:
            return entry
    folder = Path(wanted).expanduser()
    return _read(folder, wanted) if wanted and (folder / CARD_NAME).is_file() else None


def default_id() -> str:
    """Id of the catalog's default synthesis model, "" where there is none."""
    catalog = _json(resources_dir() / "Models" / "catalog.json")
    models = catalog.get("models", [])
    return next((m["id"] for m in models if m.get("default") and m.get("kind") == "synthesis"), "")


def resources_dir() -> Path:
    """The folder Resources with Models below it: of the environment, the source tree, or the installed extension."""
    if own := os.environ.get("VIRTUALCONTRAST_RESOURCES"):
        return Path(own)
    library = Path(__file__).resolve().parents[1]
    candidates = (library.parents[1] / "Resources", library.parent / "Resources")
    return next((folder for folder in candidates if (folder / "Models").is_dir()), candidates[-1])


def _downloaded_dir() -> Path:
    if own := os.environ.get("VIRTUALCONTRAST_CACHE"):
        return Path(own) / "Models"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "VirtualContrast" / "Models"


def _read(folder: Path, name: str) -> ModelEntry | None:
    """The entry of a package folder; None for a lesion model, a damaged card or missing weights."""
    card = _json(folder / CARD_NAME)
    outputs = card.get("outputs")
    if not outputs or not (folder / WEIGHTS_NAME).is_file():
        return None
    return ModelEntry(
        name,
        str(card.get("title", name)),
        bool(card.get("trained_on_phantoms", True)),
        tuple(float(time_s) for time_s in outputs.get("times_s", ())),
        str(card.get("licence", "")),
        str(card.get("version", "")),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
