"""`virtual-contrast-training gate`: what a model's training images look like, measured and written into its card."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from VirtualContrastLib.events import ExitCode, InputError
from VirtualContrastLib.models.package import CARD_NAME, load_package

from ..data.gate_statistics import cases_of, gate_statistics


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser("gate", help="measure training images for a model's gate", description=__doc__)
    add = parser.add_argument
    add("prepared", type=Path, help="folder of the prepared cases that the model was trained on")
    add("--package", type=Path, required=True, help="folder of the model package whose card gets the statistics")
    add("--where", nargs="+", default=[], metavar="KEY=VALUE[,VALUE]", help="only cases whose case.json says so")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and write."""
    package = load_package(args.package)
    if any("=" not in entry for entry in args.where):
        raise InputError("--where takes KEY=VALUE, for example cohort=ISPY1,ISPY2.")
    wanted = dict(entry.split("=", 1) for entry in args.where)
    folders = cases_of(args.prepared, wanted)
    told = f" with {' and '.join(args.where)}" if args.where else ""
    gate = gate_statistics(folders, data=f"{len(folders)} prepared cases{told}")
    card = package.card.model_copy(update={"gate": gate})
    text = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    (package.folder / CARD_NAME).write_text(text, encoding="utf-8")
    print(f"{len(folders)} cases measured; limit {gate.limit:g}. Written into {package.folder / CARD_NAME}.")
    return ExitCode.DONE
