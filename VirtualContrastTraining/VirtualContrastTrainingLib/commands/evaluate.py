"""`virtual-contrast-training evaluate`: real against synthetic, true metrics and the papers' artefacts.

Without --real and --synthetic it runs on phantoms, and every output says so.
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
from ..experiments.phantom_cohort import FIRST_SEED, data_given, mammogram_cohort, phantom_cohort
from ..experiments.reports import write_evaluation
from ..experiments.tables import TABLES, TableOptions, write_named_table
from ..metrics.as_published import PROTOCOLS
from ..metrics.distributions import Preparation, image_distances
from ..metrics.evaluation import METRICS, Evaluation, Settings
from ..metrics.feature_networks import load_feature_network
from ..metrics.lpips import Lpips, load_lpips
from ..metrics.pairs import Pair, attach, find_pairs
from ..metrics.radiomics_distance import lesion_distance


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser("evaluate", help="compare synthetic with real images", description=__doc__)
    _add_inputs(parser.add_argument_group("input"))
    _add_measures(parser.add_argument_group("what to compute"))
    add = parser.add_argument
    add("--device", default="cpu", help="device for LPIPS and feature networks, as torch names it (default cpu)")
    add("--bootstrap", type=int, default=1000, metavar="N", help="bootstrap samples of patients (default 1000)")
    add("--seed", type=int, default=0, help="seed of the bootstrap and of the phantoms (default 0)")
    add("-o", "--output", type=Path, help="folder for metrics.json, metrics.csv, slices.csv, report.html, metrics.png")
    add("--json", action="store_true", help="print the result as one JSON object")
    parser.set_defaults(run=run)


def _add_inputs(group: argparse._ArgumentGroup) -> None:
    add, several = group.add_argument, "image, volume, folder, or table (CSV) of the"
    add("--real", type=Path, help=f"{several} real ones (label maps for --table osuala2025-table3)")
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
        help="what the as-published column repeats (default files)",
    )
    add(
        "--alexnet",
        type=Path,
        metavar="PTH",
        help="torchvision's AlexNet weights for LPIPS (default: torch's hub folder)",
    )
    add("--fid", action="append", default=[], metavar="NAME=WEIGHTS", help="also FID and KID on these network weights")
    add("--radiomics", action="store_true", help="also the radiomics distance (FRD) of the lesions")
    add("--table", choices=tuple(TABLES), help="write a table of a paper under its name (needs --output)")
    add("--predicted-masks", type=Path, help="masks found on the synthetic images, for --table mama-synth")
    add("--z-scored", action="store_true", help="the images hold z-scores already, for --table mama-synth")
    add(
        "--scenario",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="predicted label maps of one scenario, for --table osuala2025-table3; may be repeated",
    )
    add("--segmentation", help="lesion model for the phantoms of --table osuala2025-table3 (default: by threshold)")


def run(args: argparse.Namespace) -> int:
    """Evaluate all pairs, print the result, and write the report where --output is given.

    Exit code 4 where a pair could not be measured.
    """
    if args.bootstrap < 1:
        raise InputError("--bootstrap must be at least 1.")
    if args.table is not None and args.output is None:
        raise InputError("--table writes files; name a folder with --output.")
    evaluate = _named_table if args.table is not None else _evaluate
    if args.real is not None or (args.table == "osuala2025-table3" and args.scenario):
        return evaluate(args, None)
    if args.synthetic is not None:
        raise InputError("--real and --synthetic go together; without both, phantoms are used.")
    make = mammogram_cohort if args.table == "cem-change" else phantom_cohort
    with make(args.model, count=args.phantoms, seed=FIRST_SEED + args.seed) as cohort:
        args.real, args.synthetic = cohort.truth, cohort.runs
        return evaluate(args, cohort.data)


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
        lines += [f"{name}: {value}" for name, value in report["radiomics"].items()]
    lines += [f"{name}: {note}" for name, note in report["notes"].items()]
    lines.append(f"As published: {report['as_published_means']}.")
    return "\n".join(lines)


def _evaluate(args: argparse.Namespace, data: str | None) -> int:
    pairs = _pairs(args)
    subtraction = args.subtraction or ("signed" if args.pre is not None else None)
    settings = Settings(args.protocol, subtraction, args.bootstrap, args.seed)
    lpips, missing = _lpips(args)
    with _rows(args.output) as rows:
        evaluation = Evaluation(settings, lpips, missing, rows)
        usable = [pair for pair in progress(pairs, len(pairs), "evaluating") if evaluation.try_add(pair)]
    for failure in evaluation.failures:
        print(f"pair {failure.pair} left out: {failure.sentence}", file=sys.stderr)
    report = {"data": data or data_given(pair.real.parent for pair in pairs), **evaluation.report()}
    if args.fid:
        report["distances"] = _distances(args, usable)
    if args.radiomics:
        report["radiomics"] = lesion_distance(usable)
    if args.output is not None:
        write_evaluation(report, args.output)
    print(json.dumps(report, indent=2, allow_nan=False) if args.json else as_text(report))
    return ExitCode.SOME_CASES_FAILED if evaluation.failures else ExitCode.DONE


def _named_table(args: argparse.Namespace, data: str | None) -> int:
    lpips, missing = _lpips(args)
    options = TableOptions(
        lpips=lpips,
        lpips_missing=missing,
        predicted_masks=args.predicted_masks,
        z_scored=args.z_scored,
        scenarios=_named(args.scenario, "--scenario", "real=predictions/real"),
        segmentation=args.segmentation,
        repeats=args.bootstrap,
        seed=args.seed,
        data=data,
    )
    find = None if args.table == "osuala2025-table3" else _pairs
    report = write_named_table(args.table, find(args) if find else args.real, args.output, options)
    for sentence in options.failures:
        print(f"left out: {sentence}", file=sys.stderr)
    text = f"{args.table} is in {args.output}. Data: {report['data']}."
    print(json.dumps(report, indent=2, allow_nan=False) if args.json else text)
    return ExitCode.SOME_CASES_FAILED if options.failures else ExitCode.DONE


def _named(texts: list[str], option: str, example: str) -> dict[str, Path]:
    """NAME=PATH arguments as a mapping."""
    found = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or not name or not path:
            raise InputError(f"{option} takes NAME=PATH, such as {example}, not '{text}'.")
        found[name] = Path(path)
    return found


def _distances(args: argparse.Namespace, pairs: list[Pair]) -> dict[str, Any]:
    """FID and KID by name of the weights; resized and normalized as published where a paper's protocol is repeated."""
    protocol = PROTOCOLS[args.protocol]
    preparation = Preparation(size=224 if protocol.size == 224 else 299, normalize=protocol.normalize)
    found = {}
    for name, path in _named(args.fid, "--fid", "rad=InceptionV3.pt").items():
        network = load_feature_network(path, device=args.device)
        found[name] = image_distances(pairs, network, preparation, seed=args.seed)
    return found


def _pairs(args: argparse.Namespace) -> list[Pair]:
    if args.synthetic is None:
        raise InputError("--real and --synthetic go together; without both, phantoms are used.")
    pairs = find_pairs(args.real, args.synthetic, patient_pattern=args.patient_pattern)
    for kind, source in (("lesion", args.lesions), ("breast", args.breasts), ("pre", args.pre)):
        if source is not None:
            pairs = attach(pairs, kind, source)
    return pairs


def _lpips(args: argparse.Namespace) -> tuple[Lpips | None, str]:
    """LPIPS, or the reason why not; weights that were named and cannot be used are an error."""
    if args.alexnet is not None:
        return load_lpips(args.alexnet, device=args.device), ""
    try:
        return load_lpips(device=args.device), ""
    except InputError as error:
        return None, str(error)


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
