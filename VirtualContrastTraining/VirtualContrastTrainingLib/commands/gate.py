"""`virtual-contrast-training gate`: what a model's training images look like, measured and written into its card."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import ExitCode, InputError
from VirtualContrastLib.models.package import CARD_NAME, load_package

from ..data.gate_statistics import cases_of, gate_statistics
from .options import Output, add_training_command


def add_parser(subparsers: Any) -> None:
    """Add the command's arguments."""
    parser = add_training_command(
        subparsers, "gate", run, "measure training images for a model's gate", description=__doc__
    )
    add = parser.add_argument
    add("prepared", type=Path, help="folder of the prepared cases that the model was trained on")
    add("--package", type=Path, required=True, help="folder of the model package whose card gets the statistics")
    add("--where", nargs="+", default=[], metavar="KEY=VALUE[,VALUE]", help="only cases whose case.json says so")


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Measure and write."""
    package = load_package(args.package)
    if any("=" not in entry for entry in args.where):
        raise InputError("--where takes KEY=VALUE, for example cohort=ISPY1,ISPY2.")
    wanted = dict(entry.split("=", 1) for entry in args.where)
    folders = cases_of(args.prepared, wanted)
    chosen = f" with {' and '.join(args.where)}" if args.where else ""
    gate = gate_statistics(folders, data=f"{len(folders)} prepared cases{chosen}")
    card = package.card.model_copy(update={"gate": gate})
    text = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    (package.folder / CARD_NAME).write_text(text, encoding="utf-8")
    place = package.folder / CARD_NAME
    text = f"{len(folders)} cases measured; limit {gate.limit:g}. Written into {place}."
    out.result(text, {"cases": len(folders), "limit": gate.limit, "card": str(place)})
    return ExitCode.DONE
