"""`virtual-contrast-training`: data, training and evaluation from the command line."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from VirtualContrastLib import installation
from VirtualContrastLib.cli.console import run_program
from VirtualContrastLib.cli.options import EXIT_CODES, Parser
from VirtualContrastLib.errors import explain, on_stderr
from VirtualContrastLib.threads import set_up_threads

from . import __version__

# Not requirements.txt: Slicer puts the resources of all modules into one folder.
REQUIREMENTS = Path(__file__).resolve().parents[1] / "Resources" / "requirements-training.txt"
installation.needs("training", REQUIREMENTS)
COMMANDS = (
    "phantom",
    "prepare",
    "train",
    "export",
    "copying",
    "select",
    "evaluate",
    "coverage",
    "kinetics",
    "readers",
    "segment",
    "patients",
    "phantom_quality",
    "weights",
    "gate",
)


def build_parser(commands: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """Assemble the parser from the modules of `commands`; each imports what it needs, some of it for seconds."""
    parser = Parser(prog="virtual-contrast-training", description=__doc__, epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in commands:
        importlib.import_module(f"{__package__}.commands.{name}").add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; whatever stops it becomes one sentence."""
    set_up_threads()
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["--debug"]:  # its older place, before the command
        given = [*given[1:], "--debug"]
    try:
        wanted = [name for name in COMMANDS if given and given[0] == name.replace("_", "-")]
        parser = build_parser(wanted or COMMANDS)
    except ImportError as error:  # the commands import what Slicer does not ship
        sentence, code = explain(error)
        on_stderr(f"Error: {sentence}")
        return int(code)
    return run_program(parser, given)
