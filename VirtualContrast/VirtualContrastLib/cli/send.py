"""The command `send`: a result's DICOM objects to an archive."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..events import Events, ExitCode, InputError
from .console import Reporter
from .options import add_command


def add(commands: Any) -> None:
    """Add `send`."""
    parser = add_command(commands, "send", _send, "a result's DICOM objects to an archive (C-STORE)")
    parser.add_argument("result", metavar="RESULT", type=Path, help="result folder made with --dicom")
    parser.add_argument("--to", metavar="AET@HOST:PORT", required=True, help="the archive")
    parser.add_argument("--title", metavar="AET", default="VIRTUALCONTRAST", help="what we call ourselves there")
    parser.add_argument("--tls", action="store_true", help="encrypt, and check the archive's certificate")
    parser.add_argument("--tls-ca", metavar="FILE", type=Path, help="certificates to trust with --tls (PEM)")


def _send(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    import ssl

    from ..export.dicom.send import Destination, objects_of, send
    from ..results.manifest import load_result

    to = Destination.parse(arguments.to)
    folder = load_result(arguments.result).folder
    files = objects_of(folder)
    context = None
    if arguments.tls or arguments.tls_ca:
        try:
            context = ssl.create_default_context(cafile=arguments.tls_ca)
        except OSError as error:
            raise InputError(f"{arguments.tls_ca} holds no certificates that can be read (PEM).") from error
    send(files, to, title=arguments.title, tls=context, events=events)
    text = f"{len(files)} objects (synthetic, research only) stored at {to.title}, {to.host}:{to.port}"
    reporter.done(text, objects=len(files), to=arguments.to)
    return ExitCode.DONE
