"""The command `info`: devices, versions, models, memory and disk."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from .. import installation
from ..events import Events, ExitCode, InputError
from .console import Reporter
from .options import add_command


def add(commands: Any) -> None:
    """Add `info`."""
    add_command(commands, "info", _info, "devices after a real computation, packages, models, disk; what is missing")


def _info(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    missing = installation.missing()
    return _tell_missing(missing, reporter) if missing else _tell_all(reporter)


def _tell_missing(missing: list[str], reporter: Reporter) -> ExitCode:
    """What there is to say where packages are missing that the rest would need."""
    from ..run.provenance import versions

    advice = installation.advice()
    lines = ["Missing packages", *(f"  {name}" for name in missing), f"Install them with: {advice}"]
    lines += ["Versions", *(f"  {name} {version}" for name, version in versions().items())]
    reporter.done("\n".join(lines), missing=missing, install=advice, versions=versions())
    return ExitCode.DONE


def _tell_all(reporter: Reporter) -> ExitCode:
    from ..files import free_bytes
    from ..free_memory import free_memory
    from ..models.catalog import downloaded_models_dir, known_models
    from ..run.provenance import versions

    devices, models, folder = _devices(), known_models(), downloaded_models_dir()
    memory, disk = free_memory(), free_bytes(folder)
    lines = ["Devices (after a real computation)"]
    lines += [f"  {d['device']:<5} {d['usable']!s:<5} {d['reason']}" for d in devices]
    lines += ["Versions", *(f"  {name} {version}" for name, version in versions().items())]
    lines += ["Models", *(f"  {model.id} ({model.kind}, {model.where})" for model in models)]
    lines += [
        f"Memory free: {memory / 2**30:.1f} GiB",
        f"Disk free for models in {folder}: {disk / 2**30:.1f} GiB",
    ]
    reporter.done(
        "\n".join(lines),
        missing=[],
        devices=devices,
        versions=versions(),
        models=[dataclasses.asdict(model) for model in models],
        memory_free_bytes=int(memory),
        disk_free_bytes=disk,
        models_folder=str(folder),
    )
    return ExitCode.DONE


def _devices() -> list[dict[str, Any]]:
    """Every kind of device, whether a computation on it succeeded, and what was found."""
    from ..synthesis.device import Device, choose_device

    found = []
    for device in Device.real():
        try:
            choice = choose_device(device)
            found.append({"device": device, "usable": True, "precision": choice.precision, "reason": choice.reason})
        except InputError as error:
            found.append({"device": device, "usable": False, "precision": "", "reason": str(error)})
    return found
