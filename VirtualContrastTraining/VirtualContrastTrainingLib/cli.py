"""`virtual-contrast-training`: data, training and evaluation from the command line."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from VirtualContrastLib.events import ExitCode, VirtualContrastError
from VirtualContrastLib.torch_threads import let_waiting_threads_sleep

from . import __version__

_COMMANDS = (
    "phantom",
    "train",
    "phantom_quality",
    "export",
    "prepare",
    "evaluate",
    "patients",
    "select",
    "kinetics",
    "readers",
    "segment",
)


def build_parser() -> argparse.ArgumentParser:
    """Assemble the parser from the modules of `commands`."""
    parser = argparse.ArgumentParser(prog="virtual-contrast-training", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = parser.add_subparsers(dest="command", required=True)
    for name in _COMMANDS:
        importlib.import_module(f"{__package__}.commands.{name}").add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a known failure is one sentence on stderr."""
    let_waiting_threads_sleep()
    args = build_parser().parse_args(argv)
    try:
        return int(args.run(args))
    except VirtualContrastError as error:
        if args.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return int(error.exit_code)
    except BrokenPipeError:  # `... | head` has read enough; Python must not write the rest at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.FAILED)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return int(ExitCode.CANCELLED)
