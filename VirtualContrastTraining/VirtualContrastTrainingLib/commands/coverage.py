"""`virtual-contrast-training coverage`: every table and figure of the papers on a small set, held against theirs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import ExitCode

from ..papers.coverage import COLUMNS, cover
from ..papers.inputs import Networks
from ..papers.outputs import OUTPUTS
from .evaluate_options import FID_EXAMPLE, add_fid
from .options import Output, add_output, add_training_command, count, named_paths


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_training_command(
        subparsers, "coverage", run, "every table and figure of the papers on a small set", description=__doc__
    )
    add = parser.add_argument
    add("--only", nargs="+", default=list(OUTPUTS), metavar="NAME", help="these tables and figures (default: all)")
    add("--phantoms", type=count, default=2, metavar="N", help="how many phantoms (default 2)")
    add("--cases", type=Path, metavar="FOLDER", help="also prepared cases of patients, such as 'prepare crops' writes")
    add_fid(add)
    add_output(add, "folder for all tables, and coverage.csv, .json, .html", required=True)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Make all tables and print one line each; exit code 4 where a table or a case could not be used."""
    networks = Networks(fid=named_paths(args.fid, "--fid", FID_EXAMPLE))
    found = cover(args.output, names=args.only, phantoms=args.phantoms, cases=args.cases, networks=networks)
    code = out.left_out(found.failures)
    lines = ["\n".join(f"{name}: {row[name]}" for name in COLUMNS) for row in found.rows]
    out.result("\n\n".join(lines), {"rows": found.rows})
    return code
