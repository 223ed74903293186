"""`virtual-contrast-training evaluate`: real against synthetic, true metrics and the papers' artifacts.

Without --real and --synthetic it runs on phantoms, and every output says so. `--table NAME` makes a table or figure of
a paper; `--table list` names them.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import ExitCode, InputError

from ..console import progress
from ..metrics.as_published import PROTOCOLS
from ..metrics.distributions import Preparation, image_distances
from ..metrics.evaluation import METRICS, Evaluation, Settings
from ..metrics.pairs import Pair
from ..metrics.radiomics_distance import ALL_GROUPS, TEXTURE, lesion_distance
from ..papers.outputs import listing
from ..papers.phantom_cohort import FIRST_SEED, data_given, phantom_cohort
from ..papers.reports import write_evaluation
from .evaluate_options import add_fid, feature_networks, find_lpips, pairs_of
from .paper_tables import write_output


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser("evaluate", help="compare synthetic with real images", description=__doc__)
    _add_inputs(parser.add_argument_group("input"))
    _add_measures(parser.add_argument_group("what to compute"))
    _add_table(parser.add_argument_group("tables and figures of the papers"))
    add = parser.add_argument
    add("--device", default="cpu", help="device for LPIPS and feature networks, as torch names it (default cpu)")
    add("--bootstrap", type=int, default=1000, metavar="N", help="bootstrap samples of patients (default 1000)")
    add("--seed", type=int, default=0, help="seed of the bootstrap and of the phantoms (default 0)")
    add("-o", "--output", type=Path, help="folder for metrics.json, metrics.csv, slices.csv, report.html, metrics.png")
    add("--json", action="store_true", help="print the result as one JSON object")
    parser.set_defaults(run=run)


def _add_inputs(group: argparse._ArgumentGroup) -> None:
    add, several = group.add_argument, "image, volume, folder, or table (CSV) of the"
    add("--real", type=Path, help=f"{several} real ones (label maps for a segmentation table)")
    add("--synthetic", type=Path, help=f"{several} synthetic ones")
    add("--lesions", type=Path, help="lesion mask or folder of masks named like the real images")
    add("--breasts", type=Path, help="breast mask or folder of masks named like the real images")
    add("--pre", type=Path, help="pre-contrast (or low-energy) image or folder; compares phase minus pre-contrast")
    add("--patient-pattern", metavar="REGEX", help="patient in the file name, for intervals by patient")
    add("--model", help="model for the phantoms, id or path (default: the catalog's)")
    add("--phantoms", type=int, default=6, metavar="N", help="how many phantoms, without input (default 6)")


def _add_measures(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--subtraction", choices=("signed", "clipped"), help="which subtraction to compare (default signed with --pre)")
    add(
        "--protocol",
        choices=tuple(PROTOCOLS),
        default="files",
        help="what the as-published column repeats: the 8-bit values as they are in the files (default), or what a "
        "paper's scripts did to its images first",
    )
    add(
        "--alexnet",
        type=Path,
        metavar="PTH",
        help="torchvision's AlexNet weights for LPIPS, or 'download' (default: torch's hub folder)",
    )
    add_fid(add)
    add("--radiomics", action="store_true", help="also the radiomics distance (FRD) of the lesions")
    add(
        "--radiomics-groups",
        nargs="+",
        choices=ALL_GROUPS,
        default=list(TEXTURE),
        metavar="GROUP",
        help=f"feature groups of FRD version 0, of {', '.join(ALL_GROUPS)} (default: the five of texture)",
    )


def _add_table(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--table", metavar="NAME", help="write a table or figure of a paper under its name (needs --output); or 'list'")
    add("--source", type=Path, help="training run, result folders, or CSV, for the tables that --table list says")
    add("--predicted-masks", type=Path, help="masks found on the synthetic images, for mama-synth")
    add("--z-scored", action="store_true", help="the images hold z-scores already, for mama-synth")
    add(
        "--classifier-scores",
        action="append",
        default=[],
        metavar="TASK=CSV",
        help="scores that the challenge's classifier gave the rows of mama-synth-features-TASK.csv, for mama-synth; "
        "TASK is contrast or tumor_roi, the column is score",
    )
    add(
        "--scenario",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="predicted label maps of one scenario, for the segmentation tables; may be repeated",
    )
    add("--segmentation", help="lesion model for the phantoms of the segmentation tables (default: by threshold)")
    add(
        "--system",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="what one system synthesized, a folder a case, for tables of systems; may be repeated",
    )
    add("--times", type=float, nargs="+", metavar="S", help="seconds after injection of phases 1, 2 ..., for curves")


def run(args: argparse.Namespace) -> int:
    """Evaluate all pairs, print the result, and write the report where --output is given.

    Exit code 4 where a pair could not be measured.
    """
    if args.table == "list":
        print(listing())
        return ExitCode.DONE
    if args.bootstrap < 1:
        raise InputError("--bootstrap must be at least 1.")
    if args.table is not None:
        report, failures = write_output(args)
        for sentence in failures:
            print(f"left out: {sentence}", file=sys.stderr)
        text = f"{args.table} is in {args.output}. Data: {report['data']}."
        print(json.dumps(report, indent=2, allow_nan=False) if args.json else text)
        return ExitCode.SOME_CASES_FAILED if failures else ExitCode.DONE
    if args.real is not None:
        return _evaluate(args, None)
    if args.synthetic is not None:
        raise InputError("--real and --synthetic go together; without both, phantoms are used.")
    with phantom_cohort(args.model, count=args.phantoms, seed=FIRST_SEED + args.seed) as cohort:
        args.real, args.synthetic = cohort.truth, cohort.runs
        return _evaluate(args, cohort.data)


def as_text(report: Mapping[str, Any]) -> str:
    """The two columns as a small table for the terminal."""
    lines = [f"Data: {report['data']}.", f"{'':10}{'true':>14}{'as published':>16}"]
    for metric in METRICS:
        values = (report[column][metric] for column in ("true", "as_published"))
        lines.append(f"{metric:10}" + "{:>14}{:>16}".format(*("-" if v is None else f"{v:.4f}" for v in values)))
    lines.append(f"{report['slices']} slices, {report['pairs']} pairs, {report['patients']} patients")
    for name, found in report.get("distances", {}).items():
        both = found["synthetic_against_real"]
        baseline = f", real halves {found['baseline']['fid']:.4f}" if found["baseline"] else ""
        lines.append(f"FID {name} {both['fid']:.4f}{baseline}; KID {both['kid']:.6f}. {both['note']}")
    if "radiomics" in report:
        lines += [f"{name}: {value}" for name, value in report["radiomics"].items() if name != "definitions"]
    lines += [f"{name}: {note}" for name, note in report["notes"].items()]
    lines.append(f"As published: {report['as_published_means']}.")
    return "\n".join(lines)


def _evaluate(args: argparse.Namespace, data: str | None) -> int:
    pairs = pairs_of(args)
    subtraction = args.subtraction or ("signed" if args.pre is not None else None)
    settings = Settings(args.protocol, subtraction, args.bootstrap, args.seed)
    lpips, missing = find_lpips(args)
    networks = feature_networks(args)
    with _rows(args.output) as rows:
        evaluation = Evaluation(settings, lpips, missing, rows)
        usable = [pair for pair in progress(pairs, len(pairs), "evaluating") if evaluation.try_add(pair)]
    report = evaluation.report()
    values = {"data": data or data_given(pair.real.parent for pair in pairs), **report.as_json()}
    for failure in evaluation.failures:
        print(f"pair {failure.pair} left out: {failure.sentence}", file=sys.stderr)
    if networks:
        values["distances"] = _distances(args, usable, networks)
    if args.radiomics:
        values["radiomics"] = lesion_distance(usable, args.radiomics_groups)
    if args.output is not None:
        write_evaluation(report, values, args.output)
    print(json.dumps(values, indent=2, allow_nan=False) if args.json else as_text(values))
    return ExitCode.SOME_CASES_FAILED if evaluation.failures else ExitCode.DONE


def _distances(args: argparse.Namespace, pairs: list[Pair], networks: Mapping[str, Any]) -> dict[str, Any]:
    """FID and KID by name of the weights; resized and normalized as published where a paper's protocol is repeated."""
    protocol = PROTOCOLS[args.protocol]
    preparation = Preparation(size=224 if protocol.size == 224 else 299, normalize=protocol.normalize)
    return {name: image_distances(pairs, network, preparation, seed=args.seed) for name, network in networks.items()}


@contextmanager
def _rows(folder: Path | None) -> Iterator[Callable[[Mapping[str, Any]], None] | None]:
    """A writer of slices.csv; it names no file, as file names may carry patient ids."""
    if folder is None:
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    groups = ("true", "as_published", "true_in_lesion", "true_in_breast")
    columns = ["pair", "slice", *(f"{group}.{metric}" for group in groups for metric in METRICS)]
    with (folder / "slices.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        yield writer.writerow
