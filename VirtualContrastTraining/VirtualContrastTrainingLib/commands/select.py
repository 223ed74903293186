"""`virtual-contrast-training select`: choose a checkpoint by SAMe over all its metrics.

Takes a training run, whose checkpoints it measures on validation cases, or metrics that were computed before.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import ExitCode, InputError, VirtualContrastError
from VirtualContrastLib.models.package import Metric, ModelPackage
from VirtualContrastLib.synthesis.device import choose_device

from ..console import progress
from ..metrics.lpips import load_lpips
from ..metrics.same_measure import Ranking, rank
from ..papers.checkpoint_scores import Scorer, default_metrics, definition
from ..papers.checkpoints import export_winner, find_candidates, package_of, without_duplicates
from ..papers.phantom_cohort import FIRST_SEED, data_given, described, write_phantoms
from ..papers.selection import Table, chosen_metrics, read_table, table_of_evaluations, write_selection
from .evaluate_options import add_fid, feature_networks


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser("select", help="choose a checkpoint by SAMe", description=__doc__)
    add = parser.add_argument
    add(
        "source",
        type=Path,
        help="folder of a training run, CSV (checkpoint and metrics as columns), or folder of `evaluate -o` folders",
    )
    add("--validation", type=Path, help="prepared cases to measure a run's checkpoints on (default: phantoms)")
    add("--phantoms", type=int, default=4, metavar="N", help="how many phantoms, without --validation (default 4)")
    add("--seed", type=int, default=0, help="seed of the phantoms (default 0)")
    add("--recipe", help="recipe of the run, name or path (default: its package's card, or the run's recipe.yaml)")
    add("--set", action="append", metavar="KEY=VALUE", default=[], help="change one recipe value, as in training")
    add_fid(add)
    add("--lesion-terms", action="store_true", help="let SSIM, MAE and enhancement error of the lesions count too")
    add("--metrics", nargs="+", metavar="NAME", help="metrics that count (default: the papers', or all of a table)")
    add("--lower", nargs="+", default=[], metavar="NAME", help="further metrics of which low is better")
    add("--higher", nargs="+", default=[], metavar="NAME", help="further metrics of which high is better")
    add("--as-published", action="store_true", help="use the as-published column of `evaluate` folders")
    add(
        "-o", "--output", type=Path, help="folder for same.csv, same.json, same.png, report.html and the winner's model"
    )
    add("--json", action="store_true", help="print the result as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Rank the checkpoints, name the winner, write table, figure and model where --output is given.

    Exit code 4 where a checkpoint or a case could not be measured.
    """
    result, failures = select(args)
    for sentence in failures:
        print(f"left out: {sentence}", file=sys.stderr)
    print(json.dumps(result, indent=2, allow_nan=False) if args.json else as_text(result))
    return ExitCode.SOME_CASES_FAILED if failures else ExitCode.DONE


def select(args: argparse.Namespace, name: str | None = None) -> tuple[dict[str, Any], list[str]]:
    """What the command does but for printing: (result, a sentence for each failure); files are named `name` if given.

    `evaluate --table` makes the papers' table and figure of a selection by it.
    """
    if not args.source.exists():
        raise InputError(f"There is no file or folder {args.source}; check the path.")
    if args.source.is_dir() and not any(args.source.glob("*/metrics.json")):
        return _select_run(args, name)
    column = "as_published" if args.as_published else "true"
    table = table_of_evaluations(args.source, column) if args.source.is_dir() else read_table(args.source)
    chosen = chosen_metrics(table, args.metrics)
    ranking = rank(chosen, lower=args.lower, higher=args.higher)
    if args.output is not None:
        write_selection(chosen, ranking, args.output, "metrics given", name)
    return _result(ranking, chosen, "metrics given"), []


def defaults(source: Path) -> argparse.Namespace:
    """The command's arguments for `source`, all others at their defaults."""
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    return parser.parse_args(["select", str(source)])


def as_text(result: Mapping[str, Any]) -> str:
    """SAMe of each checkpoint and the winner, for the terminal."""
    lines = [f"{name:30} SAMe {value:.4f}" for name, value in result["same"].items()]
    tied = f" (tied with {', '.join(result['tied_with_winner'])})" if result["tied_with_winner"] else ""
    lines.append(f"chosen: {result['winner']}{tied}")
    if result["left_out"]:
        lines.append(f"left out, equal for all checkpoints: {', '.join(result['left_out'])}")
    lines += [f"{name} has the weights of {other}" for name, other in result.get("same_weights", {}).items()]
    if result.get("model"):
        lines.append(f"model package: {result['model']}")
    lines += result.get("notes", [])
    return "\n".join([*lines, f"Data: {result['data']}."])


def _select_run(args: argparse.Namespace, stem: str | None) -> tuple[dict[str, Any], list[str]]:
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="virtual-contrast-select-") as place:
        packages, same_weights = _packages(args, Path(place), failures)
        with _cases(args, next(iter(packages.values()))) as (cases, data):
            scorer = _scorer(args, cases)
            table = _measure(packages, scorer, failures)
        common = chosen_metrics(table, None)
        names = list(next(iter(common.values()), {}))
        chosen = chosen_metrics(common, args.metrics or default_metrics(names, lesion_terms=args.lesion_terms))
        ranking = rank(chosen, lower=args.lower, higher=args.higher)
        failures += scorer.failures
        result = _result(ranking, common, data) | {"counted": list(next(iter(chosen.values())))}
        result |= {"same_weights": same_weights, "model": None, "failed": len(failures)}
        result["notes"] = _notes(names, scorer)
        if args.output is not None:
            write_selection(common, ranking, args.output, data, stem)
            winner = ranking.winners[0]
            metrics = [_metric(name, value, data) for name, value in common[winner].items()]
            metrics.append(_metric("same", ranking.same[winner], data))
            result["model"] = str(export_winner(packages[winner], winner, metrics, args.output / "model"))
    return result, failures


def _notes(metrics: list[str], scorer: Scorer) -> list[str]:
    """Why metrics of the papers' SAMe are missing."""
    notes = []
    if not any(name.startswith("fid_") for name in metrics):
        notes.append(
            "The papers' SAMe also takes FID on ImageNet and RadImageNet features: give the networks' weights with "
            "--fid imagenet=FILE (or imagenet=download) and --fid radimagenet=FILE."
        )
    if "lpips" not in metrics:
        notes.append(f"LPIPS is missing: {scorer.lpips_missing}")
    return notes


def _packages(
    args: argparse.Namespace, place: Path, failures: list[str]
) -> tuple[dict[str, ModelPackage], dict[str, str]]:
    """Packages of all different checkpoints of the run; one that cannot be read goes to `failures`."""
    recipe = None
    if args.recipe is not None:
        from ..systems.recipes import load_recipe

        recipe = load_recipe(args.recipe, args.set)
    candidates = find_candidates(args.source)
    if not candidates:
        raise InputError(f"{args.source} holds no checkpoints (*.ckpt), no model packages and no evaluate folders.")
    packages = {}
    for candidate in candidates:
        try:
            packages[candidate.name] = package_of(candidate, args.source, place / candidate.folder_name, recipe)
        except VirtualContrastError as error:
            failures.append(str(error))
    if not packages:
        raise InputError(failures[0])
    return without_duplicates(packages)


def _measure(packages: Mapping[str, ModelPackage], scorer: Scorer, failures: list[str]) -> Table:
    """Metrics of all packages; one measured on fewer images than the others cannot be compared and is a failure."""
    table: Table = {}
    measured = {}
    for name, package in progress(packages.items(), len(packages), "checkpoints"):
        try:
            table[name] = scorer(package)
            measured[name] = scorer.measured
        except VirtualContrastError as error:
            failures.append(f"{name}: {error}")
    for name, count in measured.items():
        if count < max(measured.values()):
            failures.append(f"{name}: {max(measured.values()) - count} of its synthetic images cannot be measured.")
            del table[name]
    return table


@contextlib.contextmanager
def _cases(args: argparse.Namespace, package: ModelPackage) -> Iterator[tuple[Path, str]]:
    """The validation cases and what they are; phantoms with the model's phase times where none were named."""
    if args.validation is not None:
        yield args.validation, data_given(path.parent for path in args.validation.glob("*/case.json"))
        return
    if args.phantoms < 1:
        raise InputError("--phantoms must be at least 1.")
    seed = FIRST_SEED + args.seed
    with tempfile.TemporaryDirectory(prefix="virtual-contrast-phantoms-") as place:
        write_phantoms(Path(place), package, count=args.phantoms, seed=seed)
        yield Path(place), f"{described(package.card, args.phantoms, seed)}; no patient data"


def _scorer(args: argparse.Namespace, cases: Path) -> Scorer:
    device = choose_device("auto")
    networks = feature_networks(args, device.device)
    try:
        return Scorer(cases, device, load_lpips(device=device.device), "", networks)
    except InputError as error:  # LPIPS is none of SAMe's metrics in the papers
        return Scorer(cases, device, None, str(error), networks)


def _metric(name: str, value: float, data: str) -> Metric:
    said = "scaled aggregate measure over the checkpoints of the run, 0 best" if name == "same" else definition(name)
    return Metric(name=name, value=value, definition=said, data=data)


def _result(ranking: Ranking, table: Table, data: str) -> dict[str, Any]:
    return {
        "winner": ranking.winners[0],
        "tied_with_winner": list(ranking.winners[1:]),
        "same": ranking.same,
        "scaled": ranking.scaled,
        "metrics": table,
        "left_out": list(ranking.left_out),
        "data": data,
        "definitions": {
            "same": "mean of the scaled metrics that count; 0 (best of these checkpoints in all) to 1 (worst in all)",
            **{metric: definition(metric) for metric in next(iter(table.values()))},
        },
    }
