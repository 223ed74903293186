"""Which models there are, for the panel: read as plain JSON, since the panel must open where no package is installed.

Places and abilities are those of `VirtualContrastLib.models`, of which only parts without other packages are used.
"""

from __future__ import annotations

import html
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from ...events import InputError
from ...models import paths
from ...models.paths import CARD_NAME, WEIGHTS_NAME
from ...networks.architectures import Abilities, find
from ...run.settings import RunSettings


@dataclass(frozen=True)
class ModelEntry:
    """One synthesis model on this machine.

    Attributes:
        name: Its id, or its path where it is in no known place.
        title: Name that a user sees.
        phantoms: Whether it was trained on simulated patients.
        times_s: Its own seconds after injection, () for mammography.
        license: Terms of use.
        version: Version of the model.
        abilities: What a run may ask of it.
        acquired: Indices of the real phases that it reads beside the pre-contrast one.
    """

    name: str
    title: str
    phantoms: bool
    times_s: tuple[float, ...] = ()
    license: str = ""
    version: str = ""
    abilities: Abilities = field(default_factory=Abilities)
    acquired: tuple[int, ...] = ()

    @property
    def is_mammography(self) -> bool:
        """It reads one low-energy mammogram and makes one recombined image."""
        return self.abilities.modality == "MG"

    def card_line(self) -> str:
        """The card in one line of rich text, what it was trained on first."""
        trained = (
            _("<b>TRAINED ON SIMULATED PHANTOMS ONLY, not on patients.</b>")
            if self.phantoms
            else _("Trained on patient images.")
        )
        parts = [trained, self._makes()]
        if self.acquired:
            numbers = ", ".join(map(str, self.acquired))
            parts.append(_("<b>Needs the real phase {numbers}.</b>").format(numbers=numbers))
        escaped = {"version": html.escape(self.version), "license": html.escape(self.license)}
        parts.append(_("Version {version}, license {license}.").format(**escaped))
        return " ".join(parts)

    def _makes(self) -> str:
        if self.is_mammography:
            return _("Recombined image from a low-energy mammogram.")
        times = ", ".join(f"{time_s:g}" for time_s in self.times_s)
        return _("{count} phases at {times} s.").format(count=len(self.times_s), times=times)


def installed_models() -> list[ModelEntry]:
    """Synthesis models on this machine, the catalog's default first, or where it is not here that for phantoms."""
    try:
        folders = paths.installed_models()
    except InputError:  # the resources of an incomplete installation; the engine says so when it is asked to run
        return []
    entries = [entry for name, folder in folders.items() if (entry := _read_whole(folder, name)) is not None]
    default = default_id()
    return sorted(entries, key=lambda entry: (entry.name != default, entry.name))


def find_model(name: str, *, phantom: bool = False) -> ModelEntry | None:
    """The installed model of id `name` ("": the default, of a `phantom` its own), or the package at path `name`."""
    wanted = name or default_id(phantom=phantom)
    for entry in installed_models():
        if entry.name == wanted:
            return entry
    folder = Path(wanted).expanduser()
    return _read_whole(folder, wanted) if wanted and (folder / CARD_NAME).is_file() else None


def default_id(*, phantom: bool = False) -> str:
    """Id of the catalog's default synthesis model for real studies or for a `phantom`, "" where there is none."""
    try:
        catalog = read_json(paths.catalog_path())
    except InputError:
        return ""
    models = catalog.get("models", [])
    mark = "default_for_phantoms" if phantom else "default"
    return next((m["id"] for m in models if m.get(mark) and m.get("kind") == "synthesis"), "")


def with_real_times(settings: RunSettings, times_s: tuple[float, ...] | None, *, phantom: bool = False) -> RunSettings:
    """The settings with the times of the real phases, unless times were chosen already.

    A model of fixed times writes them beside its phases too; one of free times makes its phases for the times that were
    chosen, for those of the real phases, or for its own, as the engine decides.

    Args:
        settings: The settings.
        times_s: Seconds after injection of the real phases; None where unknown.
        phantom: Whether the volume is a phantom, which chooses the default model.

    Returns:
        The settings of the run.
    """
    if times_s is None or settings.real_times_s is not None:
        return settings
    entry = find_model(settings.model, phantom=phantom)
    if entry is not None and entry.abilities.free_times:
        return replace(settings, real_times_s=times_s)
    return settings if settings.times_s is not None else replace(settings, times_s=times_s)


def _read_whole(folder: Path, name: str) -> ModelEntry | None:
    """As `_read`; None also where a value of the card is of another kind than it should be."""
    try:
        return _read(folder, name)
    except (TypeError, ValueError, AttributeError, OverflowError):
        return None


def _read(folder: Path, name: str) -> ModelEntry | None:
    """The entry of a package folder; None for a lesion model, a damaged card or missing weights."""
    card = read_json(folder / CARD_NAME)
    architecture = find(_part(card, "architecture").get("name"))
    if architecture is None or architecture.kind != "synthesis" or not (folder / WEIGHTS_NAME).is_file():
        return None
    return ModelEntry(
        name,
        str(card.get("title", name)),
        bool(card.get("trained_on_phantoms", True)),
        tuple(float(time_s) for time_s in _part(card, "outputs").get("times_s", ())),
        str(card.get("license", card.get("licence", ""))),
        str(card.get("version", "")),
        architecture.abilities,
        tuple(int(phase) for phase in _part(card, "inputs").get("phases", ()) if int(phase) > 0),
    )


def _part(card: dict[str, Any], name: str) -> dict[str, Any]:
    value = card.get(name)
    return value if isinstance(value, dict) else {}


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; {} where it cannot be read or is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
