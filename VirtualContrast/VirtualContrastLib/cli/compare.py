"""The command `compare`: metrics and kinetic agreement of existing volumes."""

from __future__ import annotations

import argparse
from typing import Any

from ..events import Events, ExitCode
from ..run.settings import options
from .console import Reporter
from .options import INPUT_HELP, add_command, add_output


def add(commands: Any) -> None:
    """Add `compare`."""
    parser = add_command(
        commands,
        "compare",
        _compare,
        "metrics and kinetic agreement of existing volumes",
        description="Image metrics of synthetic against real phases; with --pre and lesions also curves and "
        "their agreement.",
    )
    parser.add_argument("synthetic", metavar="SYNTHETIC", help="result folder, or a volume (then phase 1)")
    parser.add_argument("real", metavar="REAL", nargs="+", help=f"real phases 1, 2, ...: {INPUT_HELP}")
    add_output(parser, "folder to make")
    parser.add_argument("--pre", metavar="PRE", help="pre-contrast volume, needed for curves")
    parser.add_argument("--lesions", metavar="MASK", help="lesion mask; default: those of the result folder")
    parser.add_argument(
        "--real-times",
        "--times",
        dest="times",
        metavar="S",
        nargs="+",
        type=float,
        help="seconds after injection of the real phases (default: those of their headers where --pre is given, else "
        "those of the synthetic phases)",
    )
    parser.add_argument("--register", action="store_true", help=f"{options()['register'].help} (needs --pre)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is a result of this program")


def _compare(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    from ..run.compare import compare_existing, table

    result, metrics = compare_existing(
        arguments.synthetic,
        arguments.real,
        arguments.out,
        pre=arguments.pre,
        lesions=arguments.lesions,
        times_s=arguments.times,
        register=arguments.register,
        overwrite=arguments.overwrite,
        events=events,
    )
    outputs = [str(path) for path in result.outputs]
    reporter.done("\n".join([table(metrics), *outputs]), out=str(result.folder), outputs=outputs)
    return ExitCode.DONE
