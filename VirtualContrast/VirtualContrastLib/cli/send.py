"""The command `send`: a result's DICOM objects to an archive."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..events import Events, ExitCode
from .console import Reporter
from .options import add_command


def add(commands: Any) -> None:
    """Add `send`."""
    parser = add_command(commands, "send", _send, "a result's DICOM objects to an archive (C-STORE or DICOMweb)")
    parser.add_argument("result", metavar="RESULT", type=Path, help="result folder made with --dicom")
    parser.add_argument(
        "--to",
        metavar="AET@HOST:PORT|URL",
        required=True,
        help="the archive: its DICOM address, or the URL of its DICOMweb service (name and password from ~/.netrc)",
    )
    parser.add_argument(
        "--title", metavar="AET", default="VIRTUALCONTRAST", help="application entity title of this program"
    )
    parser.add_argument(
        "--tls", action="store_true", help="encrypt, and check the archive's certificate (as https does)"
    )
    parser.add_argument("--tls-ca", metavar="FILE", type=Path, help="certificates to trust (PEM); asks for --tls")


def _send(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    from ..export.dicom.send import objects_of, send
    from ..results.manifest import load_result

    files = objects_of(load_result(arguments.result).folder)
    ca_file, tls = arguments.tls_ca, arguments.tls
    where = send(files, arguments.to, title=arguments.title, tls=tls, ca_file=ca_file, events=events)
    count = "1 object" if len(files) == 1 else f"{len(files)} objects"
    reporter.done(f"{count} (synthetic, research only) stored at {where}", objects=len(files), to=arguments.to)
    return ExitCode.DONE
