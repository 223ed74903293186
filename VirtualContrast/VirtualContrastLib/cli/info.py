"""The command `info`: devices, versions, models, memory and disk."""

from __future__ import annotations

import argparse
from typing import Any

from ..events import Events, ExitCode, InputError
from .console import Reporter
from .models import known_models


def add_info(commands: Any) -> None:
    """Add `info`."""
    from .main import add_common

    parser = commands.add_parser("info", help="devices after a real computation, packages, models, disk")
    add_common(parser, _info)


def _info(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    from ..models.catalog import downloaded_models_dir
    from ..results.writer import free_bytes
    from ..run.preflight import available_memory
    from ..run.provenance import versions

    devices = _devices()
    models = known_models()
    folder = downloaded_models_dir()
    memory, disk = available_memory(), free_bytes(folder)
    lines = ["Devices (after a real computation)"]
    lines += [f"  {d['device']:<5} {d['usable']!s:<5} {d['reason']}" for d in devices]
    lines += ["Versions", *(f"  {name} {version}" for name, version in versions().items())]
    lines += ["Models", *(f"  {m['id']} ({m['kind']}, {m['where']})" for m in models)]
    lines += [
        f"Memory free: {memory / 2**30:.1f} GiB",
        f"Disk free for models in {folder}: {disk / 2**30:.1f} GiB",
    ]
    reporter.done(
        "\n".join(lines),
        devices=devices,
        versions=versions(),
        models=models,
        memory_free_bytes=int(memory),
        disk_free_bytes=disk,
        models_folder=str(folder),
    )
    return ExitCode.DONE


def _devices() -> list[dict[str, Any]]:
    """Every kind of device, whether a computation on it succeeded, and what was found."""
    from ..synthesis.device import choose_device

    found = []
    for name in ("cpu", "cuda", "mps"):
        try:
            choice = choose_device(name)
            found.append({"device": name, "usable": True, "precision": choice.precision, "reason": choice.reason})
        except InputError as error:
            found.append({"device": name, "usable": False, "precision": "", "reason": str(error)})
    return found
