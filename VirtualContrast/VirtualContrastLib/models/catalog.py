"""Which models there are: the catalog shipped with the software, and packages found on this machine."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..events import InputError
from ..files import expanded
from .card import MODEL_ID_PATTERN, ModelCard
from .package import ModelPackage, first_problem, load_package
from .paths import CARD_NAME, DEFAULT, catalog_path, downloaded_models_dir, installed_models, resources_dir

__all__ = [
    "DEFAULT",
    "Catalog",
    "CatalogEntry",
    "Kind",
    "KnownModel",
    "any_package",
    "chosen_id",
    "downloaded_models_dir",
    "installed_models",
    "known_models",
    "load_catalog",
    "remove",
    "resolve_model",
    "resources_dir",
    "schemas",
    "write_schemas",
]

Kind = Literal["synthesis", "segmentation"]


class PublishedRecord(BaseModel):
    """A public record that holds a checkpoint, for `models.published_record`.

    Attributes:
        api: Addresses of the records' metadata, tried in order.
        files: The checkpoint's name in each.
        layout: As in `import_checkpoint.import_pix2pixhd`.
        size: Side of the square pictures that the network was trained on, in pixels.
    """

    model_config = ConfigDict(extra="forbid")

    api: list[str] = Field(min_length=1)
    files: list[str]
    layout: Literal["single", "joint"] = "single"
    size: int = Field(ge=16)

    @model_validator(mode="after")
    def _a_file_each(self) -> Self:
        if len(self.files) != len(self.api):
            raise ValueError("files must name one file for each address in api")
        return self


class CatalogEntry(BaseModel):
    """One model of the catalog.

    Attributes:
        id: Id of the model.
        kind: What the model is for.
        title: Name that a user sees.
        description: What the model does, for a user who chooses.
        source: "embedded" models lie in Resources/Models/<id>; "download" models have mirrors.
        default: Taken for a study where no model is named.
        default_for_phantoms: Taken for files with the phantom writer's mark alone.
        urls: Mirrors (https).
        size_bytes: Size of the download.
        sha256: SHA-256 of the download; without it or the public `record` the model cannot be downloaded.
        record: Public record that holds the checkpoint.
        manual_import: How to import a model that cannot be downloaded.
        license: Terms of use.
        citation: What to cite.
    """

    model_config = ConfigDict(extra="forbid")

    id: str = Field(pattern=MODEL_ID_PATTERN)
    kind: Kind
    title: str
    description: str
    source: Literal["embedded", "download"]
    default: bool = False
    default_for_phantoms: bool = False
    urls: list[str] = Field(default_factory=list)
    size_bytes: int | None = Field(default=None, gt=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    record: PublishedRecord | None = None
    manual_import: str | None = None
    license: str = Field(validation_alias=AliasChoices("license", "licence"))
    citation: str = ""

    @model_validator(mode="after")
    def _can_be_had(self) -> Self:
        if self.source == "download" and not self.urls:
            raise ValueError("a download needs urls")
        if self.source == "download" and self.sha256 is None and not self.manual_import:
            raise ValueError("a download without sha256 needs manual_import")
        return self


class Catalog(BaseModel):
    """Contents of Resources/Models/catalog.json.

    Attributes:
        schema_version: Version of the file's layout.
        models: The models.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1]
    models: list[CatalogEntry]

    @model_validator(mode="after")
    def _ids_and_defaults_are_unique(self) -> Self:
        ids = [entry.id for entry in self.models]
        defaults = [(entry.kind, "studies") for entry in self.models if entry.default]
        defaults += [(entry.kind, "phantoms") for entry in self.models if entry.default_for_phantoms]
        if len(ids) != len(set(ids)) or len(defaults) != len(set(defaults)):
            raise ValueError("ids must be unique, with at most one default per kind, and one for phantoms")
        return self

    def find(self, model_id: str) -> CatalogEntry | None:
        """The entry of that id, or None."""
        return next((entry for entry in self.models if entry.id == model_id), None)

    def default_id(self, kind: Kind, *, phantom: bool = False) -> str | None:
        """Id of the model for real studies, or for a `phantom`, where none is asked for; None where there is none."""
        entries = (entry for entry in self.models if entry.kind == kind)
        return next((e.id for e in entries if (e.default_for_phantoms if phantom else e.default)), None)


def load_catalog() -> Catalog:
    """Read and validate Resources/Models/catalog.json; raises InputError."""
    path = catalog_path()
    try:
        return Catalog.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f"The model catalog {path} cannot be read: {error}") from error
    except ValidationError as error:
        raise InputError(f"The model catalog {path} is not valid: {first_problem(error)}") from error


@dataclass(frozen=True)
class KnownModel:
    """A model as a list shows it.

    Attributes:
        id: Id of the model.
        kind: "synthesis" or "segmentation".
        where: "embedded", "installed" or "not installed".
        title: Name that a user sees.
        default: Whether it is taken where no model is named.
    """

    id: str
    kind: str
    where: str
    title: str
    default: bool


def known_models() -> list[KnownModel]:
    """Every model of the catalog, then those found on this machine only."""
    installed = installed_models()
    models = []
    for entry in load_catalog().models:
        where = "not installed"
        if entry.id in installed:
            where = "embedded" if entry.source == "embedded" else "installed"
        models.append(KnownModel(entry.id, entry.kind, where, entry.title, entry.default))
    known = {model.id for model in models}
    for name, folder in installed.items():
        if name not in known:
            models.append(_of_this_machine(name, folder))
    return models


def _of_this_machine(name: str, folder: Path) -> KnownModel:
    """A model that the catalog does not know; one with a damaged or newer card hides no other."""
    where = "installed" if folder.is_relative_to(downloaded_models_dir()) else "embedded"
    try:
        card = load_package(folder).card
    except InputError as error:
        return KnownModel(name, "unusable", where, str(error), False)
    return KnownModel(name, card.kind, where, card.title, False)


def chosen_id(name: str, kind: Kind = "synthesis") -> str:
    """The id of the catalog's default model of `kind` for patients where the name is `default`, else the name itself.

    Raises InputError where `default` is asked for and the catalog has none.
    """
    if name != DEFAULT:
        return name
    found = load_catalog().default_id(kind)
    if found is None:
        raise InputError(f"The catalog has no default model for {kind}; name one by its id, or give its folder.")
    return found


def any_package(id_or_path: str) -> ModelPackage:
    """The package of an id, of `default` or of a path, of either kind; raises InputError saying what to do."""
    name = chosen_id(id_or_path)
    folder = installed_models().get(name)
    if folder is not None:
        return load_package(folder)
    path = expanded(name)
    return load_package(path) if path.exists() else resolve_model(name, "synthesis")


def resolve_model(id_or_path: str, kind: Kind) -> ModelPackage:
    """Package of a model id, of `default` (see `chosen_id`), or of a package folder or zip, of that kind.

    Raises InputError saying what to do.
    """
    id_or_path = chosen_id(id_or_path, kind)
    installed = installed_models()
    path = expanded(id_or_path)
    if id_or_path in installed:
        package = load_package(installed[id_or_path])
    elif path.exists() or path.suffix.lower() == ".zip" or len(path.parts) > 1:
        package = load_package(path)
    else:
        raise InputError(_not_installed(id_or_path, installed))
    if package.card.kind != kind:
        raise InputError(f"The model '{package.card.id}' is for {package.card.kind}; one for {kind} is needed.")
    return package


def remove(model_id: str) -> Path:
    """Delete a downloaded or imported package of the user's cache and return where it was.

    Raises InputError for an embedded or unknown model.
    """
    model_id = chosen_id(model_id)
    folder = installed_models().get(model_id)
    own = downloaded_models_dir() / model_id
    if folder is None:
        raise InputError(_not_installed(model_id, installed_models()))
    if not (own / CARD_NAME).is_file() or own.parent != downloaded_models_dir():
        raise InputError(f"The model '{model_id}' is part of the software ({folder}) and is not removed.")
    shutil.rmtree(own)
    return own


def schemas() -> dict[str, str]:
    """JSON schemas by file name, as published in Resources/Models: of the catalog and of the model card."""
    sources: dict[str, type[BaseModel]] = {"catalog.schema.json": Catalog, "model.schema.json": ModelCard}
    return {name: json.dumps(model.model_json_schema(), indent=2) + "\n" for name, model in sources.items()}


def write_schemas(folder: Path) -> None:
    """Write the files of `schemas` into `folder`."""
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")


def _not_installed(model_id: str, installed: dict[str, Path]) -> str:
    entry = load_catalog().find(model_id)
    if entry is None:
        known = sorted({*installed, *(entry.id for entry in load_catalog().models)})
        return f"There is no model '{model_id}' and no such folder or zip; known models: {', '.join(known)}."
    if entry.source == "embedded":
        return f"The model '{model_id}' is missing: looked in {resources_dir() / 'Models' / model_id}."
    if entry.sha256 is None and entry.record is None:
        return f"The model '{model_id}' is not installed and must be imported by hand: {entry.manual_import}"
    return f"The model '{model_id}' is not installed; run 'virtual-contrast models download {model_id}'."
