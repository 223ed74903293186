"""The command `models`: list, show, download, import, verify, remove."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from ..events import Events, ExitCode, InputError
from ..files import expanded
from .console import Reporter
from .options import add_command


def add(commands: Any) -> None:
    """Add `models list|show|download|import|verify|remove`."""
    parser = commands.add_parser("models", help="list, fetch, import, check and remove models")
    actions = parser.add_subparsers(dest="models_command", required=True, metavar="ACTION")
    add_command(actions, "list", _list, "models of the catalog and of this machine")
    for name, help_text, action in (
        ("show", "the model card", _show),
        ("download", "fetch a model of the catalog", _download),
        ("verify", "check the files of a model against its card", _verify),
        ("remove", "delete a downloaded or imported model", _remove),
    ):
        command = add_command(actions, name, action, help_text)
        command.add_argument(
            "model",
            metavar="ID|default|PATH" if name in ("show", "verify") else "ID|default",
            nargs="?" if name == "verify" else None,
            help="default is the catalog's for patients" + ("; without a name all" if name == "verify" else ""),
        )
    _add_import(actions)


def _add_import(actions: Any) -> None:
    parser = add_command(
        actions, "import", _import, "make a model package from a checkpoint, an ONNX file, a package folder or a zip"
    )
    add = parser.add_argument
    add("source", metavar="SOURCE", help="*_net_G.pth, ONNX file, nnU-Net result folder, package folder or zip")
    add("--id", help="id of the new model (default: the file's name)")
    add("--title", default="", help="one line that says what it is")
    add("--layout", choices=("single", "joint"), default="single", help="pix2pixHD: one phase, or phases n..1")
    add("--times", metavar="S", nargs="+", type=float, help="pix2pixHD: seconds after injection of its phases")
    add("--spacing", metavar="MM", type=float, help="pix2pixHD: pixel size the network was trained on")
    add("--square", metavar="N", type=int, help="pix2pixHD: trained on N x N pixels, after --spacing where given")
    add("--config", metavar="JSON", help="pix2pixHD, nnU-Net: options; ONNX: parts of the card")
    add("--channels", metavar="NAME", nargs="+", help="nnU-Net: pre, phase_N or subtraction_N for each channel")
    add(
        "--license",
        "--licence",
        default="unknown; ask the authors of the checkpoint",
        help="terms of use of the weights",
    )


def _list(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    from ..models.catalog import known_models

    models = known_models()
    lines = [f"{'id':<36} {'kind':<13} {'where':<14} title"]
    lines += [f"{model.id:<36} {model.kind:<13} {model.where:<14} {model.title}" for model in models]
    reporter.done("\n".join(lines), models=[dataclasses.asdict(model) for model in models])
    return ExitCode.DONE


def _show(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    from ..models.catalog import any_package

    package = any_package(arguments.model)
    card = package.card.model_dump(mode="json")
    text = f"{package.folder}\n{json.dumps(card, indent=2, ensure_ascii=False)}"
    reporter.done(text, folder=str(package.folder), card=card)
    return ExitCode.DONE


def _download(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    from ..models.catalog import chosen_id, load_catalog
    from ..models.download import download
    from ..models.published_record import download_published

    entry = load_catalog().find(chosen_id(arguments.model))
    if entry is None:
        raise InputError(f"The catalog has no model '{arguments.model}'; see virtual-contrast models list.")
    if entry.source == "embedded":
        raise InputError(f"The model '{entry.id}' is part of the software and needs no download.")
    package = download_published(entry, events) if entry.record is not None else download(entry, events)
    reporter.done(f"Installed {entry.id} in {package.folder}", out=str(package.folder))
    return ExitCode.DONE


def _verify(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    from ..models.catalog import any_package, installed_models

    names = [arguments.model] if arguments.model is not None else list(installed_models())
    for name in names:
        any_package(name).verify()
    reporter.done("\n".join(f"{name}: all files match the card" for name in names), verified=names)
    return ExitCode.DONE


def _remove(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    from ..models.catalog import remove

    folder = remove(arguments.model)
    reporter.done(f"Removed {folder}", removed=str(folder))
    return ExitCode.DONE


def _import(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    from ..models.import_model import ImportRequest, import_model

    request = ImportRequest(
        source=expanded(arguments.source),
        id=arguments.id,
        title=arguments.title,
        license=arguments.license,
        layout=arguments.layout,
        times_s=arguments.times,
        spacing_mm=arguments.spacing,
        square=arguments.square,
        config=_json(arguments.config),
        channels=arguments.channels,
    )
    package = import_model(request, events)
    text = f"Installed {package.card.id} in {package.folder}; use it with --model {package.card.id}"
    reporter.done(text, out=str(package.folder), id=package.card.id)
    return ExitCode.DONE


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
