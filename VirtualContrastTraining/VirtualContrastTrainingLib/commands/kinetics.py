"""`virtual-contrast-training kinetics`: how far synthetic enhancement curves agree with real ones."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import ExitCode
from VirtualContrastLib.results.manifest import MANIFEST

from ..metrics.plain import plain
from ..metrics.pooled_features import pooled_features
from ..papers.kinetic_cases import curves_of_volumes
from ..papers.kinetic_report import CurveReport, find_curves, report_of
from ..papers.kinetics import agreement_rows, write_kinetics
from ..papers.phantom_cohort import FIRST_SEED, phantom_cohort
from ..papers.reports import shown, write_table
from .options import Output, add_output, add_training_command, count, whole


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_training_command(
        subparsers,
        "kinetics",
        run,
        "agreement of synthetic with real enhancement curves",
        description=f"{__doc__} Without any input it runs on phantoms.",
    )
    add = parser.add_argument
    add(
        "results",
        type=Path,
        nargs="?",
        help="folder of result folders made with real phases (`virtual-contrast batch`)",
    )
    add("--real", type=Path, help="folder of real cases, each with pre, phase_1 ... and, if any, lesions and case.json")
    add("--synthetic", type=Path, help="folder of synthetic cases of the same names: result folders, or phase_1 ...")
    add("--lesions", type=Path, help="folder of label maps named like the cases")
    add("--times", type=float, nargs="+", metavar="S", help="seconds after injection of phases 1, 2 ...")
    add("--model", help="model for the phantoms, id or path (default: the catalog's)")
    add("--phantoms", type=count, default=6, metavar="N", help="how many phantoms, without input (default 6)")
    add("--seed", type=whole, default=0, help="seed of the bootstrap (default 0)")
    add("--bootstrap", type=count, default=2000, metavar="N", help="bootstrap samples of patients (default 2000)")
    add_output(add, "folder for the tables, figures and report.html")


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Compare all lesions, print the result, write the report; exit code 4 where a case could not be used."""
    if args.results is None and args.real is None and args.synthetic is None:
        with phantom_cohort(args.model, count=args.phantoms, seed=FIRST_SEED + args.seed) as cohort:
            curves, data = curves_of_volumes(cohort.truth, cohort.runs), cohort.data
    else:
        curves, data = find_curves(args.results, args.real, args.synthetic, args.lesions, args.times)
    report = report_of(curves, data, repeats=args.bootstrap, seed=args.seed)
    folders = sorted(path.parent for path in args.results.glob(f"*/{MANIFEST}")) if args.results is not None else []
    report = replace(report, features=pooled_features(curves.pairs, folders))
    code = out.left_out(f"case {number}: {sentence}" for number, sentence in curves.failed)
    if args.output is not None:
        write_kinetics(report, curves.pairs, args.output)
        features = plain(report.features)
        write_table(args.output, "feature_agreement", list(features[0]), features)
    out.result(as_text(report), plain(report))
    return code


def as_text(report: CurveReport) -> str:
    """The measures with their intervals as lines for the terminal."""
    found = report.agreement
    lines = [f"{found.lesions} lesions of {found.cases} cases. Data: {report.data}."]
    for row in agreement_rows(found):
        interval = "" if row["ci95 low"] is None else f"  ({shown(row['ci95 low'])} to {shown(row['ci95 high'])})"
        lines.append(f"{row['measure']:36} {shown(row['value']):>8}{interval}")
    for bias in found.bland_altman:
        limits = f"limits {shown(bias.lower)} to {shown(bias.upper)}"
        lines.append(f"{'bias of ' + bias.quantity:36} {shown(bias.bias):>8}  {limits} {bias.unit}")
    lines += [
        f"{'CCC of ' + one.feature:36} {shown(plain(one.ccc)):>8}" for one in report.features or () if not one.phase
    ]
    return "\n".join([*lines, *report.notes])
