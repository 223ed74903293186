"""`virtual-contrast-training kinetics`: how far synthetic enhancement curves agree with real ones."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import ExitCode, InputError

from ..metrics.kinetics import kinetic_report
from ..papers.kinetic_cases import Curves, curves_of_results, curves_of_volumes
from ..papers.kinetics import agreement_rows, write_kinetics
from ..papers.phantom_cohort import FIRST_SEED, data_given, phantom_cohort
from ..papers.reports import shown


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser(
        "kinetics",
        help="agreement of synthetic with real enhancement curves",
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
    add("--phantoms", type=int, default=6, metavar="N", help="how many phantoms, without input (default 6)")
    add("--seed", type=int, default=0, help="seed of the bootstrap (default 0)")
    add("--bootstrap", type=int, default=2000, metavar="N", help="bootstrap samples of patients (default 2000)")
    add("-o", "--output", type=Path, help="folder for the tables, figures and report.html")
    add("--json", action="store_true", help="print the result as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare all lesions, print the result, write the report; exit code 4 where a case could not be used."""
    if args.bootstrap < 1:
        raise InputError("--bootstrap must be at least 1.")
    if args.results is None and args.real is None and args.synthetic is None:
        with phantom_cohort(args.model, count=args.phantoms, seed=FIRST_SEED + args.seed) as cohort:
            curves, data = curves_of_volumes(cohort.truth, cohort.runs), cohort.data
    else:
        curves, data = find_curves(args.results, args.real, args.synthetic, args.lesions, args.times)
    report = report_of(curves, data, repeats=args.bootstrap, seed=args.seed)
    for number, sentence in curves.failed:
        print(f"case {number} left out: {sentence}", file=sys.stderr)
    if args.output is not None:
        write_kinetics(report, curves.pairs, args.output)
    print(json.dumps(report, indent=2, allow_nan=False) if args.json else as_text(report))
    return ExitCode.SOME_CASES_FAILED if curves.failed else ExitCode.DONE


def report_of(curves: Curves, data: str, *, repeats: int, seed: int) -> dict[str, Any]:
    """The kinetic report with `data`, `notes` and `failed_cases`; raises InputError where there is no lesion."""
    if not curves.pairs:
        raise InputError(curves.failed[0][1] if curves.failed else "No case has a lesion, so there is no curve.")
    report = kinetic_report(curves.pairs, repeats=repeats, seed=seed)
    notes = _notes(curves, report)
    return report | {"data": data, "notes": notes, "failed_cases": [number for number, _ in curves.failed]}


def as_text(report: Mapping[str, Any]) -> str:
    """The measures with their intervals as lines for the terminal."""
    lines = [f"{report['lesions']} lesions of {report['cases']} cases. Data: {report['data']}."]
    for row in agreement_rows(dict(report)):
        interval = "" if row["ci95 low"] is None else f"  ({shown(row['ci95 low'])} to {shown(row['ci95 high'])})"
        lines.append(f"{row['measure']:36} {shown(row['value']):>8}{interval}")
    for row in report["bland_altman"]:
        limits = f"limits {shown(row['lower'])} to {shown(row['upper'])}"
        lines.append(f"{'bias of ' + row['quantity']:36} {shown(row['bias']):>8}  {limits} {row['unit']}")
    return "\n".join([*lines, *report["notes"]])


def find_curves(
    results: Path | None, real: Path | None, synthetic: Path | None, lesions: Path | None, times: list[float] | None
) -> tuple[Curves, str]:
    """The curves of result folders, or of real and synthetic cases, and what they are."""
    if results is not None:
        if real or synthetic:
            raise InputError("Give either a folder of results, or --real and --synthetic.")
        return curves_of_results(results), "result folders given"
    if real is None or synthetic is None:
        raise InputError("--real and --synthetic go together; without both, phantoms are used.")
    curves = curves_of_volumes(real, synthetic, lesions, times)
    return curves, data_given(path for path in real.iterdir() if path.is_dir())


def _notes(curves: Curves, report: Mapping[str, Any]) -> list[str]:
    notes = ["Intervals: 95 %, percentile bootstrap over patients; one patient gives none."]
    if report["largest_time_difference_s"] > 0:
        notes.append(
            f"Phases are matched by number; their times differ by up to {report['largest_time_difference_s']:g} s."
        )
    if curves.outlined_by_runs:
        notes.append(
            "The lesions are those that each run outlined; outlines found on synthetic phases favor lesions that "
            "enhance there. Give --real, --synthetic and --lesions for outlines drawn otherwise."
        )
    if curves.without_lesions:
        notes.append(f"{curves.without_lesions} cases have no lesion.")
    if curves.failed:
        notes.append(f"{len(curves.failed)} cases could not be used.")
    return notes
