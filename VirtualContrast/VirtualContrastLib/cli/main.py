"""`virtual-contrast`: the command line. Heavy packages are imported only by the commands that use them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..threads import set_up_threads
from ..version import __version__
from . import batch, compare, info, models, send, synthesize
from .console import run_program
from .options import EXIT_CODES, Parser

DESCRIPTION = (
    "Synthetic post-contrast breast MRI from a pre-contrast volume, or a recombined mammogram from a low-energy one, "
    "by the model chosen. Research only: synthetic images can "
    "invent or hide lesions; do not use for diagnosis."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command with the arguments `argv` (default: those of the process) and return its exit code."""
    set_up_threads()
    return run_program(build_parser(), sys.argv[1:] if argv is None else argv)


def build_parser() -> argparse.ArgumentParser:
    """The parser with all commands; each sets `action`."""
    parser = Parser(prog="virtual-contrast", description=DESCRIPTION, epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (synthesize, batch, compare, models, info, send):
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
