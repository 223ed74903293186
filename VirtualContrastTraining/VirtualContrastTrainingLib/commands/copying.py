"""`virtual-contrast-training copying`: is a model nearer to the real images than a copy of what it reads?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import ExitCode

from .options import Output, add_training_command


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    help = "compare a model with a copy of what it reads, on cases that it was not trained on"
    parser = add_training_command(subparsers, "copying", run, help)
    add = parser.add_argument
    add("model", help="synthesis model, id or path")
    add("cases", type=Path, help="folder of prepared cases that the model was not trained on; all are measured")
    add("--record", action="store_true", help="write what is found into the cards of the model's package")


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Measure every case and print a sentence for each image and region."""
    from VirtualContrastLib.models.catalog import resolve_model

    from ..data.cases import case_folders
    from ..training.copying import measure_against_copying, write_into_cards

    package = resolve_model(args.model, "synthesis")
    found = measure_against_copying(package, case_folders(args.cases), at_most=None)
    if args.record:
        write_into_cards(package, found)
    out.result("\n".join(one.sentence() for one in found), {"against_copying": [one.model_dump() for one in found]})
    return ExitCode.DONE
