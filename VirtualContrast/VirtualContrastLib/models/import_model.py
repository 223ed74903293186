"""Brings a model into the user's models: a package, a pix2pixHD checkpoint, an ONNX file, or an nnU-Net result."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from ..events import Events, InputError
from ..files import atomic_folder
from .import_checkpoint import import_nnunet, import_pix2pixhd
from .import_onnx import import_onnx
from .package import InPlane, ModelPackage, first_problem, forget_unpacked, load_package
from .paths import CARD_NAME, DEFAULT, MODELS, cache_folder, installed_models
from .zips import opened_zip


@dataclass(frozen=True)
class ImportRequest:
    """What to import, and what its files do not say.

    Attributes:
        source: A package folder or zip, a checkpoint (.pth, .pt, or a zip with one), or an nnU-Net result folder.
        id: Of the new model; by default after the name of the source.
        title: Of the new model; by default after the name of the source.
        license: Terms of use of the weights.
        layout: Of a pix2pixHD generator, see `import_pix2pixhd`.
        times_s: Of the phases that a pix2pixHD generator makes.
        spacing_mm: Size of the pixels that the pix2pixHD generator was trained on.
        square: Side of the square in pixels that it was trained on.
        config: Options of the pix2pixHD generator or of the nnU-Net's segmentation; of an ONNX file parts of its
            card.
        channels: `pre`, `phase_N` or `subtraction_N` for each input channel of an nnU-Net.
    """

    source: Path
    id: str | None = None
    title: str = ""
    license: str = "unknown; ask the authors of the checkpoint"
    layout: Literal["single", "joint"] = "single"
    times_s: Sequence[float] | None = None
    spacing_mm: float | None = None
    square: int | None = None
    config: Mapping[str, Any] | None = None
    channels: Sequence[str] | None = None


def import_model(request: ImportRequest, events: Events | None = None) -> ModelPackage:
    """Make a package of what `request` names in the folder of the user's models.

    Raises:
        InputError: it does not exist, is no model, or there is a model of that id already.
    """
    source = request.source
    if not source.exists():
        raise InputError(f"{source} does not exist; give a checkpoint, an nnU-Net folder or a model package.")
    if (source / "plans.json").is_file() and not (source / CARD_NAME).is_file():
        return _import_nnunet(request)
    if source.suffix.lower() == ".onnx":
        return _import_onnx(request)
    if source.suffix.lower() in (".pth", ".pt") or _is_checkpoint_zip(source):
        return _import_pix2pixhd(request, events)
    return _install(source)


def _is_checkpoint_zip(source: Path) -> bool:
    """True for a zip that holds a checkpoint and no model card."""
    if not zipfile.is_zipfile(source):
        return False
    with opened_zip(source) as archive:
        names = [Path(name).name for name in archive.namelist()]
    return CARD_NAME not in names and any(name.endswith(".pth") for name in names)


def _import_pix2pixhd(request: ImportRequest, events: Events | None) -> ModelPackage:
    name = request.id or request.source.stem
    return import_pix2pixhd(
        request.source,
        _new_folder(name),
        model_id=name,
        title=request.title or f"pix2pixHD generator {name}",
        layout=request.layout,
        config=request.config,
        times_s=request.times_s,
        in_plane=_in_plane(request.spacing_mm, request.square),
        license=request.license,
        events=events,
    )


def _in_plane(spacing_mm: float | None, square: int | None) -> InPlane:
    policy = "square" if square else "resample" if spacing_mm else "native"
    try:
        return InPlane.model_validate({"policy": policy, "spacing_mm": spacing_mm, "size": square})
    except ValidationError as error:
        raise InputError(f"--spacing or --square cannot be used: {first_problem(error)}.") from error


def _import_onnx(request: ImportRequest) -> ModelPackage:
    name = request.id or request.source.stem
    return import_onnx(
        request.source,
        _new_folder(name),
        model_id=name,
        title=request.title or f"ONNX network {name}",
        described=request.config or {},
        license=request.license,
    )


def _import_nnunet(request: ImportRequest) -> ModelPackage:
    if not request.channels:
        raise InputError("An nnU-Net needs --channels: pre, phase_N or subtraction_N for each input channel.")
    name = request.id or request.source.name
    return import_nnunet(
        request.source,
        _new_folder(name),
        model_id=name,
        title=request.title or f"nnU-Net {name}",
        channels=request.channels,
        options=request.config,
        license=request.license,
    )


def _install(source: Path) -> ModelPackage:
    """Copy a package into the user's models after checking its weights."""
    package = load_package(source)
    try:
        package.verify()
        folder = _new_folder(package.card.id)
        links = [path for path in package.folder.rglob("*") if path.is_symlink()]
        if links:
            raise InputError(f"{source} holds a link ({links[0].name}); copy the file itself into the package.")
        with atomic_folder(folder) as staging:
            shutil.copytree(package.folder, staging, dirs_exist_ok=True)
    finally:
        if source.is_file():
            forget_unpacked(source)
    return load_package(folder)


def _new_folder(name: str) -> Path:
    if name == DEFAULT:
        raise InputError(f"'{DEFAULT}' stands for the catalog's default model; give the model another id.")
    if name in installed_models():
        raise InputError(f"There is a model '{name}' already; remove it first or give another name with --id.")
    return cache_folder(MODELS) / name
