"""`virtual-contrast-training readers`: statistics of a reader study from a CSV of reads."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import ExitCode, InputError
from VirtualContrastLib.metrics.bootstrap import Interval
from VirtualContrastLib.reader_study.reads_table import write_reads
from VirtualContrastLib.reader_study.study_list import KINDS, load_list, make_list, write_list

from ..metrics.plain import plain
from ..metrics.readers import reader_report
from ..metrics.reads import load_reads
from ..metrics.same_readers import against_readers
from ..papers.readers import StudyReport, detection_rows, write_readers
from ..papers.reports import shown
from ..papers.selection import read_table
from .options import Output, add_output, add_training_command, count, whole


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_training_command(subparsers, "readers", run, "statistics of a reader study", description=__doc__)
    add = parser.add_argument
    add("table", type=Path, help="CSV: reader, case, condition and any of truth, lesion, bpe, score, hallucination")
    add(
        "--weights", choices=("linear", "quadratic", "none"), default="linear", help="weights of kappa (default linear)"
    )
    add(
        "--same",
        type=Path,
        metavar="CSV",
        help="SAMe and metrics of checkpoints or models (same.csv or folder of `select -o`): do they rank the "
        "conditions of the reads as the readers do?",
    )
    add("--bootstrap", type=count, default=2000, metavar="N", help="bootstrap samples of cases (default 2000)")
    add("--seed", type=whole, default=0, help="seed of the bootstrap (default 0)")
    add_output(add, "folder for readers.json, tables, figure and report.html")
    _add_blinded_reading(parser)


def _add_blinded_reading(parser: argparse.ArgumentParser) -> None:
    """The arguments for the lists and answers of the blinded reading in Slicer."""
    group = parser.add_argument_group("blinded reading", "TABLE is then the reading list, not the reads")
    add = group.add_argument
    add("--answers", type=Path, metavar="FOLDER", help="write reads.csv and guesses.csv there; evaluate the reads")
    add("--make-list", type=Path, nargs="+", metavar="RESULT", help="write the list from these result folders instead")
    images = {"type": Path, "nargs": "+", "default": [], "metavar": "IMAGE"}
    add("--real", **images, help="with --make-list: the real image of each result")  # type: ignore[arg-type]
    add("--beside", **images, help="with --make-list: the image to show beside each")  # type: ignore[arg-type]
    add("--kind", choices=KINDS, default=KINDS[0], help="with --make-list: what is read (default phases)")
    add("--phase", type=int, default=1, metavar="N", help="with --make-list: which phase is read (default 1)")


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Compute all statistics that the table's columns allow, print them, write the report where --output is given."""
    if args.make_list:
        return _make_list(args, out)
    table = args.table if args.answers is None else write_reads(load_list(args.table), args.answers, args.answers)[0]
    reads = load_reads(table)
    report = reader_report(reads, weights=args.weights, repeats=args.bootstrap, seed=args.seed)
    same = None
    if args.same is not None:
        measures = read_table(args.same / "same.csv" if args.same.is_dir() else args.same)
        measures = {
            name: {m: v for m, v in row.items() if not m.startswith("scaled ")} for name, row in measures.items()
        }
        same = against_readers(reads, measures, repeats=args.bootstrap, seed=args.seed)
    study = StudyReport(report, same)
    if args.output is not None:
        write_readers(study, args.output)
    out.result(as_text(study), plain(study))
    return ExitCode.DONE


def _make_list(args: argparse.Namespace, out: Output) -> ExitCode:
    if args.table.exists():
        raise InputError(f"{args.table} exists; give another file, or remove it if no reading uses it.")
    cases = make_list(args.make_list, args.real, kind=args.kind, phase=args.phase, beside=args.beside, seed=args.seed)
    made = write_list(args.table, cases)
    text = f"{made.path}: {len(made.cases)} images. Fill in truth and bpe where known; readers must not open it."
    out.result(text, {"list": str(made.path), "images": len(made.cases)})
    return ExitCode.DONE


def as_text(study: StudyReport) -> str:
    """The statistics as lines for the terminal."""
    report = study.readers
    lines = [" ".join(f"{name} {shown(value)}" for name, value in row.items()) for row in detection_rows(report)]
    for entry in report.agreement:
        found, pair = entry.kappa, " - ".join("/".join(side) for side in (entry.first, entry.second))
        lines.append(f"kappa {pair}: {shown(found.kappa)} {_interval(found.ci95)} ({found.cases} cases)")
    for row in report.hallucinations:
        lines.append(f"hallucinations {row.reader}/{row.condition}: {row.reported.count} of {row.reported.total}")
    for rank in study.same or ():
        value = f"{shown(rank.spearman)} {_interval(rank.ci95)} ({rank.models} models, {rank.cases} cases)"
        lines.append(f"rank correlation of {rank.measure} with {rank.answer} of the readers: {value}")
    for test in report.tests:
        pair = " - ".join("/".join(side) for side in (test.first, test.second))
        lines.append(
            f"Wilcoxon {test.endpoint} {pair}: mean {shown(test.mean)}, p {test.p:.4f}, adjusted {test.p_adjusted:.4f}"
        )
    return (
        "\n".join(lines) or "The table has no column to compute from: truth with lesion, bpe, score, or hallucination."
    )


def _interval(ci95: Interval | None) -> str:
    return "" if ci95 is None else str(list(ci95))
