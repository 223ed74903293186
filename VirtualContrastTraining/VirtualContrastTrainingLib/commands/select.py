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
from ..experiments.checkpoint_scores import DEFINITIONS, Scorer, default_metrics
from ..experiments.checkpoints import export_winner, find_candidates, package_of, without_duplicates
from ..experiments.phantom_cohort import FIRST_SEED, data_given, write_phantoms
from ..experiments.selection import Table, chosen_metrics, read_table, table_of_evaluations, write_selection
from ..metrics.feature_networks import load_feature_network
from ..metrics.lpips import load_lpips
from ..metrics.same import Ranking, rank


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
    add("--recipe", help="recipe of the run, name or path; needed where it has no exported package")
    add("--set", action="append", metavar="KEY=VALUE", default=[], help="change one recipe value, as in training")
    add("--fid", action="append", default=[], metavar="NAME=WEIGHTS", help="also FID and KID on these network weights")
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
    if args.source.is_dir() and not any(args.source.glob("*/metrics.json")):
        return _select_run(args)
    column = "as_published" if args.as_published else "true"
    table = table_of_evaluations(args.source, column) if args.source.is_dir() else read_table(args.source)
    chosen = chosen_metrics(table, args.metrics)
    ranking = rank(chosen, lower=args.lower, higher=args.higher)
    result = _result(ranking, chosen, "metrics given")
    if args.output is not None:
        write_selection(chosen, ranking, args.output, "metrics given")
    _print(result, args.json)
    return ExitCode.DONE


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
    return "\n".join([*lines, f"Data: {result['data']}."])


def _select_run(args: argparse.Namespace) -> int:
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
        result = _result(ranking, common, data) | {"counted": list(next(iter(chosen.values())))}
        result |= {"same_weights": same_weights, "model": None, "failed": len(failures + scorer.failures)}
        if args.output is not None:
            write_selection(common, ranking, args.output, data)
            winner = ranking.winners[0]
            metrics = [_metric(name, value, data) for name, value in common[winner].items()]
            metrics.append(_metric("same", ranking.same[winner], data))
            result["model"] = str(export_winner(packages[winner], winner, metrics, args.output / "model"))
    for sentence in (*failures, *scorer.failures):
        print(f"left out: {sentence}", file=sys.stderr)
    _print(result, args.json)
    return ExitCode.SOME_CASES_FAILED if failures or scorer.failures else ExitCode.DONE


def _packages(
    args: argparse.Namespace, place: Path, failures: list[str]
) -> tuple[dict[str, ModelPackage], dict[str, str]]:
    """Packages of all different checkpoints of the run; one that cannot be read goes to `failures`."""
    recipe = None
    if args.recipe is not None:
        from ..recipe import load_recipe

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
        yield Path(place), f"{args.phantoms} phantoms (seeds {seed} to {seed + args.phantoms - 1}); no patient data"


def _scorer(args: argparse.Namespace, cases: Path) -> Scorer:
    device = choose_device("auto")
    networks = {}
    for text in args.fid:
        name, equals, path = text.partition("=")
        if not equals or not name:
            raise InputError(f"--fid takes NAME=WEIGHTS, such as rad=InceptionV3.pt, not '{text}'.")
        networks[name] = load_feature_network(Path(path), device=device.device)
    try:
        lpips = load_lpips(device=device.device)
    except InputError:
        lpips = None  # LPIPS is none of SAMe's metrics in the papers
    return Scorer(cases, device, lpips, networks)


def _metric(name: str, value: float, data: str) -> Metric:
    definition = DEFINITIONS.get(name, "Frechet or kernel distance of network features")
    if name == "same":
        definition = "scaled aggregate measure over the checkpoints of the run, 0 best"
    return Metric(name=name, value=value, definition=definition, data=data)


def _result(ranking: Ranking, table: Table, data: str) -> dict[str, Any]:
    return {
        "winner": ranking.winners[0],
        "tied_with_winner": list(ranking.winners[1:]),
        "same": ranking.same,
        "scaled": ranking.scaled,
        "metrics": table,
        "left_out": list(ranking.left_out),
        "data": data,
    }


def _print(result: Mapping[str, Any], as_json: bool) -> None:
    print(json.dumps(result, indent=2, allow_nan=False) if as_json else as_text(result))
