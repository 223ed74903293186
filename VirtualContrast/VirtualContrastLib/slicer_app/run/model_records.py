"""Every model that there is, installed or not, as the panel lists it: read as plain JSON, as `model_list` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from slicer.i18n import tr as _

from ...events import InputError
from ...models import paths
from ...models.paths import CARD_NAME
from .model_list import read_json

EMBEDDED, INSTALLED, NOT_INSTALLED = "embedded", "installed", "not installed"


@dataclass(frozen=True)
class ModelRecord:
    """One model.

    Attributes:
        id: Id of the model.
        title: Name that a user sees.
        kind: What the model is for.
        where: EMBEDDED (part of the software), INSTALLED (downloaded or imported) or NOT_INSTALLED.
        license: Terms of use.
        size_bytes: Of its files here, or of the download where the catalog has it, None where it does not.
        trained_on: What it has learned from, in one sentence; "" where nobody says.
        quality: Measured numbers with the data that they were measured on, a line each.
        urls: Where it is fetched from, the first that answers.
    """

    id: str
    title: str
    kind: str
    where: str
    license: str
    size_bytes: int | None = None
    trained_on: str = ""
    quality: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    @property
    def removable(self) -> bool:
        """It was downloaded or imported by the user."""
        return self.where == INSTALLED

    @property
    def downloadable(self) -> bool:
        """The catalog says where it can be fetched."""
        return self.where == NOT_INSTALLED and bool(self.urls)

    @property
    def size(self) -> str:
        """`12 MB`, "" where it is not known."""
        return "" if self.size_bytes is None else f"{self.size_bytes / 1e6:.0f} MB"

    @property
    def details(self) -> str:
        """What is known, a line each."""
        lines = [f"{self.title} ({self.id})", _("License: {text}").format(text=self.license)]
        lines.append(_("Trained on: {text}").format(text=self.trained_on or _("not stated")))
        lines += [_("Measured:"), *self.quality] if self.quality else [_("Measured: nothing is stated")]
        return "\n".join(lines)

    @property
    def what_is_fetched(self) -> str:
        """What is fetched from where, and what is sent, for the question before the download."""
        hosts = ", ".join(dict.fromkeys(urlsplit(url).netloc for url in self.urls))
        return _(
            "{title}\n\nSize: {size}\nLicense: {license}\nFrom: {urls}\n\nThe server ({hosts}) gets a request for "
            "this file and so your network address. No image and nothing of a patient is sent.\n\nFetch it now?"
        ).format(
            title=self.title,
            size=self.size or _("not stated"),
            license=self.license,
            urls="\n".join(self.urls),
            hosts=hosts,
        )


def all_models() -> list[ModelRecord]:
    """Those of the catalog in its order, then those of this machine alone."""
    try:
        folders, catalog = paths.installed_models(), read_json(paths.catalog_path()).get("models", [])
    except InputError:  # the resources of an incomplete installation
        return []
    records = []
    for entry in catalog:
        folder = folders.pop(str(entry.get("id")), None)
        records.append(_of_folder(str(entry["id"]), folder, entry) if folder is not None else _of_catalog(entry))
    return records + [_of_folder(name, folder, {}) for name, folder in folders.items()]


def _of_catalog(entry: dict[str, Any]) -> ModelRecord:
    """A model that is not here; the description says what it was trained on."""
    return ModelRecord(
        id=str(entry["id"]),
        title=str(entry.get("title", entry["id"])),
        kind=str(entry.get("kind", "")),
        where=NOT_INSTALLED,
        license=str(entry.get("license", entry.get("licence", ""))),
        size_bytes=entry.get("size_bytes"),
        trained_on=str(entry.get("description", "")),
        urls=tuple(map(str, (*entry.get("urls", ()), *entry.get("record", {}).get("api", ())))),
    )


def _of_folder(name: str, folder: Path, entry: dict[str, Any]) -> ModelRecord:
    """A package on this machine; what its card lacks comes from the catalog's `entry`."""
    card = read_json(folder / CARD_NAME)
    known = [one for one in card.get("metrics") or () if isinstance(one, dict)]
    compared = [one for one in card.get("against_copying") or () if isinstance(one, dict)]
    trained = str(entry.get("description", ""))
    if not trained:
        phantoms = card.get("trained_on_phantoms", True)
        trained = _("simulated phantoms only, not patients") if phantoms else _("images of patients")
    return ModelRecord(
        id=name,
        title=str(card.get("title", name)),
        kind=str(entry.get("kind") or ("segmentation" if (folder / paths.PLANS_NAME).is_file() else "synthesis")),
        where=INSTALLED if folder.is_relative_to(paths.downloaded_models_dir()) else EMBEDDED,
        license=str(card.get("license", card.get("licence", entry.get("license", "")))),
        size_bytes=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        trained_on=trained,
        quality=(
            *(f"  {one.get('name')} {one.get('value')}: {one.get('definition')} ({one.get('data')})" for one in known),
            *map(_against_copying, compared),
        ),
    )


def _against_copying(one: dict[str, Any]) -> str:
    """A line of the card about held-out cases."""
    return "  " + _(
        "{image}, {region}: error {error} % of the range, a copy of {copied} {copy_error} % (held-out cases: {cases})"
    ).format(**{key: f"{value:.3g}" if isinstance(value, float) else value for key, value in one.items()})
