"""`virtual-contrast-training evaluate`: real against synthetic, true metrics and the papers' artefacts."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import ExitCode, InputError

from ..console import progress
from ..experiments.reports import write_evaluation
from ..experiments.tables import TABLES, write_named_table
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
    add = parser.add_argument
    add("--real", type=Path, required=True, help="image, volume, folder, or table (CSV) of the real ones")
    add(
        "--synthetic",
        type=Path,
        required=True,
        help="image, volume, folder, or table (CSV) of the synthetic ones",
    )
    add("--lesions", type=Path, help="lesion mask or folder of masks named like the real images")
    add("--breasts", type=Path, help="breast mask or folder of masks named like the real images")
    add(
        "--pre",
        type=Path,
        help="pre-contrast image or folder; compares subtraction images (phase minus pre-contrast)",
    )
    add(
        "--subtraction",
        choices=("signed", "clipped"),
        help="which subtraction to compare (default signed with --pre)",
    )
    add(
        "--protocol",
        choices=tuple(PROTOCOLS),
        default="files",
        help="what the as-published column repeats (default files)",
    )
    add("--patient-pattern", metavar="REGEX", help="patient in the file name, for intervals by patient")
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
    add("--device", default="cpu", help="device for LPIPS, as torch names it (default cpu)")
    add(
        "--bootstrap",
        type=int,
        default=1000,
        metavar="N",
        help="bootstrap samples of patients (default 1000)",
    )
    add("--seed", type=int, default=0, help="seed of the bootstrap (default 0)")
    add(
        "-o",
        "--output",
        type=Path,
        help="folder for metrics.json, metrics.csv, slices.csv, report.html and metrics.png",
    )
    add("--json", action="store_true", help="print the result as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate all pairs, print the result, and write the report where --output is given."""
    if args.bootstrap < 1:
        raise InputError("--bootstrap must be at least 1.")
    pairs = _pairs(args)
    if args.table is not None:
        return _named_table(args, pairs)
    subtraction = args.subtraction or ("signed" if args.pre is not None else None)
    settings = Settings(args.protocol, subtraction, args.bootstrap, args.seed)
    lpips, missing = _lpips(args)
    with _rows(args.output) as rows:
        evaluation = Evaluation(settings, lpips, missing, rows)
        for pair in progress(pairs, len(pairs), "evaluating"):
            evaluation.add(pair)
    report = evaluation.report()
    if args.fid:
        report["distances"] = _distances(args, pairs)
    if args.radiomics:
        report["radiomics"] = lesion_distance(pairs)
    if args.output is not None:
        write_evaluation(report, args.output)
    print(json.dumps(report, indent=2, allow_nan=False) if args.json else as_text(report))
    return ExitCode.DONE


def as_text(report: Mapping[str, Any]) -> str:
    """The two columns as a small table for the terminal."""
    lines = [f"{'':10}{'true':>14}{'as published':>16}"]
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


def _named_table(args: argparse.Namespace, pairs: list[Pair]) -> int:
    if args.output is None:
        raise InputError("--table writes files; name a folder with --output.")
    lpips, missing = _lpips(args)
    report = write_named_table(
        args.table,
        pairs,
        args.output,
        lpips=lpips,
        lpips_missing=missing,
        predicted_masks=args.predicted_masks,
        z_scored=args.z_scored,
    )
    print(json.dumps(report, indent=2, allow_nan=False) if args.json else f"{args.table} is in {args.output}")
    return ExitCode.DONE


def _distances(args: argparse.Namespace, pairs: list[Pair]) -> dict[str, Any]:
    """FID and KID by name of the weights; resized and normalized as published where a paper's protocol is repeated."""
    protocol = PROTOCOLS[args.protocol]
    preparation = Preparation(size=224 if protocol.size == 224 else 299, normalize=protocol.normalize)
    found = {}
    for text in args.fid:
        name, equals, path = text.partition("=")
        if not equals or not name:
            raise InputError(f"--fid takes NAME=WEIGHTS, such as rad=InceptionV3.pt, not '{text}'.")
        network = load_feature_network(Path(path), device=args.device)
        found[name] = image_distances(pairs, network, preparation, seed=args.seed)
    return found


def _pairs(args: argparse.Namespace) -> list[Pair]:
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
