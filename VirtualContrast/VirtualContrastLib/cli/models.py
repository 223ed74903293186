"""The command `models`: list, show, download, import, verify, remove."""

from __future__ import annotations

import argparse
import json
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..events import Events, ExitCode, InputError
from .console import Reporter

if TYPE_CHECKING:
    from ..models.package import ModelPackage


def add_models(commands: Any) -> None:
    """Add `models list|show|download|import|verify|remove`."""
    from .main import add_common

    parser = commands.add_parser("models", help="list, fetch, import, check and remove models")
    actions = parser.add_subparsers(dest="models_command", required=True, metavar="ACTION")
    add_common(actions.add_parser("list", help="models of the catalog and of this machine"), _list)
    for name, help_text, action in (
        ("show", "the model card", _show),
        ("download", "fetch a model of the catalog", _download),
        ("verify", "check the files of a model against its card", _verify),
        ("remove", "delete a downloaded or imported model", _remove),
    ):
        command = actions.add_parser(name, help=help_text)
        optional = name == "verify"
        command.add_argument("model", metavar="ID|PATH", nargs="?" if optional else None)
        add_common(command, action)
    _add_import(actions, add_common)


def _add_import(actions: Any, add_common: Any) -> None:
    parser = actions.add_parser("import", help="make a model package from a checkpoint, a package folder or a zip")
    add = parser.add_argument
    add("source", metavar="SOURCE", help="pix2pixHD *_net_G.pth, nnU-Net result folder, package folder or zip")
    add("--id", help="id of the new model (default: the file's name)")
    add("--title", default="", help="one line that says what it is")
    add("--layout", choices=("single", "joint"), default="single", help="pix2pixHD: one phase, or phases n..1")
    add("--times", metavar="S", nargs="+", type=float, help="pix2pixHD: seconds after injection of its phases")
    add("--spacing", metavar="MM", type=float, help="pix2pixHD: pixel size the network was trained on")
    add("--config", metavar="JSON", help="pix2pixHD: generator options; nnU-Net: options of the segmentation")
    add(
        "--channels",
        metavar="NAME",
        nargs="+",
        help="nnU-Net: pre, phase_N or subtraction_N for each channel",
    )
    add(
        "--license",
        "--licence",
        default="unknown; ask the authors of the checkpoint",
        help="terms of use of the weights",
    )
    add_common(parser, _import)


def _list(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    rows = known_models()
    lines = [f"{'id':<36} {'kind':<13} {'where':<14} title"]
    lines += [f"{r['id']:<36} {r['kind']:<13} {r['where']:<14} {r['title']}" for r in rows]
    reporter.done("\n".join(lines), models=rows)
    return ExitCode.DONE


def known_models() -> list[dict[str, Any]]:
    """Every model of the catalog, then those found on this machine only."""
    from ..models.catalog import downloaded_models_dir, installed_models, load_catalog
    from ..models.package import load_package

    installed = installed_models()
    rows = []
    for entry in load_catalog().models:
        present = entry.id in installed
        where = entry.source if present and entry.source == "embedded" else "installed" if present else "not here"
        rows.append(
            {
                "id": entry.id,
                "kind": entry.kind,
                "where": where,
                "title": entry.title,
                "default": entry.default,
            }
        )
    known = {row["id"] for row in rows}
    for name, folder in installed.items():
        if name not in known:
            card = load_package(folder).card
            where = "installed" if folder.is_relative_to(downloaded_models_dir()) else "embedded"
            rows.append({"id": name, "kind": card.kind, "where": where, "title": card.title, "default": False})
    return rows


def _show(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    package = _package(arguments.model)
    card = package.card.model_dump(mode="json")
    text = f"{package.folder}\n{json.dumps(card, indent=2, ensure_ascii=False)}"
    reporter.done(text, folder=str(package.folder), card=card)
    return ExitCode.DONE


def _download(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    from ..models.catalog import load_catalog
    from ..models.download import download

    entry = load_catalog().find(arguments.model)
    if entry is None:
        raise InputError(f"The catalog has no model '{arguments.model}'; see virtual-contrast models list.")
    if entry.source == "embedded":
        raise InputError(f"The model '{entry.id}' is part of the software and needs no download.")
    package = download(entry, events)
    reporter.done(f"Installed {entry.id} in {package.folder}", out=str(package.folder))
    return ExitCode.DONE


def _verify(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    from ..models.catalog import installed_models

    names = [arguments.model] if arguments.model else list(installed_models())
    for name in names:
        _package(name).verify()
    reporter.done("\n".join(f"{name}: all files are those of the card" for name in names), verified=names)
    return ExitCode.DONE


def _remove(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    from ..models.catalog import remove

    folder = remove(arguments.model)
    reporter.done(f"Removed {folder}", removed=str(folder))
    return ExitCode.DONE


def _import(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    from ..models.package import CARD_NAME

    source = Path(arguments.source).expanduser()
    if not source.exists():
        raise InputError(f"{source} does not exist; give a checkpoint, an nnU-Net folder or a model package.")
    if (source / "plans.json").is_file() and not (source / CARD_NAME).is_file():
        package = _import_nnunet(arguments, source)
    elif source.suffix.lower() in (".pth", ".pt") or _is_checkpoint_zip(source):
        package = _import_pix2pixhd(arguments, source, events)
    else:
        package = _install(source)
    text = f"Installed {package.card.id} in {package.folder}; use it with --model {package.card.id}"
    reporter.done(text, out=str(package.folder), id=package.card.id)
    return ExitCode.DONE


def _is_checkpoint_zip(source: Path) -> bool:
    """True for a zip that holds a checkpoint and no model card."""
    from ..models.package import CARD_NAME

    if not zipfile.is_zipfile(source):
        return False
    with zipfile.ZipFile(source) as archive:
        names = [Path(name).name for name in archive.namelist()]
    return CARD_NAME not in names and any(name.endswith(".pth") for name in names)


def _import_pix2pixhd(arguments: argparse.Namespace, source: Path, events: Events) -> ModelPackage:
    from ..models.import_checkpoint import import_pix2pixhd

    name = arguments.id or source.stem
    return import_pix2pixhd(
        source,
        _new_folder(name),
        model_id=name,
        title=arguments.title or f"pix2pixHD generator {name}",
        layout=arguments.layout,
        config=_json(arguments.config),
        times_s=arguments.times,
        spacing_mm=arguments.spacing,
        license=arguments.license,
        events=events,
    )


def _import_nnunet(arguments: argparse.Namespace, source: Path) -> ModelPackage:
    from ..models.import_checkpoint import import_nnunet

    if not arguments.channels:
        raise InputError("An nnU-Net needs --channels: pre, phase_N or subtraction_N for each input channel.")
    name = arguments.id or source.name
    return import_nnunet(
        source,
        _new_folder(name),
        model_id=name,
        title=arguments.title or f"nnU-Net {name}",
        channels=arguments.channels,
        options=_json(arguments.config),
        license=arguments.license,
    )


def _install(source: Path) -> ModelPackage:
    """Copy a package into the user's models after checking its files."""
    from ..models.package import load_package, replace_folder

    package = load_package(source)
    package.verify()
    folder = _new_folder(package.card.id)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_name(f".{folder.name}.importing")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        shutil.copytree(package.folder, staging)
        replace_folder(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return load_package(folder)


def _new_folder(name: str) -> Path:
    from ..models.catalog import downloaded_models_dir, installed_models

    if name in installed_models():
        raise InputError(f"There is a model '{name}' already; remove it first or give another name with --id.")
    return downloaded_models_dir() / name


def _package(name: str) -> ModelPackage:
    """The package of an id or path, of either kind."""
    from ..models.catalog import installed_models, resolve_model
    from ..models.package import load_package

    if name in installed_models() or not Path(name).expanduser().exists():
        folder = installed_models().get(name)
        return load_package(folder) if folder else resolve_model(name, "synthesis")
    return load_package(Path(name).expanduser())


def _json(text: str | None) -> dict[str, Any] | None:
    from ..models import strict_json

    if text is None:
        return None
    try:
        value = strict_json.loads(text)
    except ValueError as error:
        raise InputError(f"--config is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise InputError('--config must be a JSON object, for example {"ngf": 64}.')
    return value
