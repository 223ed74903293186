"""Chooses a checkpoint by SAMe: of a training run, whose checkpoints it measures, or of metrics computed before."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import InputError, VirtualContrastError
from VirtualContrastLib.models.package import Metric, ModelPackage
from VirtualContrastLib.synthesis.device import choose_device

from ..console import progress
from ..data.cases import case_folders
from ..metrics.feature_networks import distance_names
from ..metrics.lpips import load_lpips
from ..metrics.same_measure import Ranking, rank
from ..systems.recipes import load_recipe
from ..training.copying import record_against_copying
from .checkpoint_scores import FID_LIMIT, Scorer, default_metrics, definition
from .checkpoints import export_winner, find_candidates, package_of, without_duplicates
from .epoch_views import EpochsReport, write_epochs
from .inputs import Networks
from .phantom_cohort import FIRST_SEED, data_given, described, write_phantoms
from .selection import Table, chosen_metrics, read_table, table_of_evaluations, write_selection


@dataclass(frozen=True)
class SelectionRequest:
    """What `select` is asked for.

    Attributes:
        source: training run, CSV of metrics, or folder of `evaluate` folders.
        validation: prepared cases to measure a run's checkpoints on; None for phantoms.
        phantoms: how many, without validation cases.
        seed: of the phantoms.
        recipe: of the run, by name or path.
        changes: `key=value` changes of the recipe.
        fid: weights of feature networks by name.
        lesion_terms: let measures of lesions count too.
        metrics: those that count, None for the papers' or all of a table.
        lower: further metrics of which low is better.
        higher: further metrics of which high is better.
        as_published: take the as-published column of `evaluate` folders.
        output: folder for the files, None for none.
        name: of the paper's table that they make, None for `same`.
    """

    source: Path
    validation: Path | None = None
    phantoms: int = 4
    seed: int = 0
    recipe: str | None = None
    changes: Sequence[str] = ()
    fid: Mapping[str, Path] = field(default_factory=dict)
    lesion_terms: bool = False
    metrics: list[str] | None = None
    lower: Sequence[str] = ()
    higher: Sequence[str] = ()
    as_published: bool = False
    output: Path | None = None
    name: str | None = None


@dataclass(frozen=True)
class OfRun:
    """What a selection adds for a training run beside the ranking.

    Attributes:
        counted: metrics that count.
        baseline: value by metric of the image before contrast; empty where nothing was measured.
        same_weights: name of the checkpoint with the same weights, by name.
        model: the winner's package; None where no output was asked for.
        failed: checkpoints and cases that could not be measured.
        notes: why metrics are missing.
    """

    counted: Sequence[str]
    baseline: Mapping[str, float]
    same_weights: Mapping[str, str]
    model: str | None
    failed: int
    notes: Sequence[str]


@dataclass(frozen=True)
class SelectionReport:
    """Which checkpoint SAMe chooses.

    Attributes:
        ranking: of the checkpoints.
        metrics: value by checkpoint and metric.
        data: what was measured, in words.
        of_run: what a training run adds; None for metrics that were given.
        table: of the paper's table; None for `same`.
    """

    ranking: Ranking
    metrics: Table
    data: str
    of_run: OfRun | None = None
    table: str | None = None

    @property
    def winner(self) -> str:
        """The checkpoint of the lowest SAMe, the first of them where several share it."""
        return self.ranking.winners[0]

    def as_json(self) -> dict[str, Any]:
        """The ranking with its metrics, then what the run adds."""
        values: dict[str, Any] = {} if self.table is None else {"table": self.table}
        values |= {
            "winner": self.winner,
            "tied_with_winner": self.ranking.winners[1:],
            "same": self.ranking.same,
            "scaled": self.ranking.scaled,
            "metrics": self.metrics,
            "left_out": self.ranking.left_out,
            "data": self.data,
            "definitions": {
                "same": "mean of the scaled metrics that count; 0 (best of these checkpoints in all) to 1 (worst in "
                "all)",
                **{metric: definition(metric) for metric in next(iter(self.metrics.values()))},
            },
        }
        return values | ({} if self.of_run is None else vars(self.of_run))


Selected = tuple[SelectionReport, list[str]]
"""The report, and a sentence for each checkpoint or case that could not be measured."""


def select(request: SelectionRequest) -> Selected:
    """Rank the checkpoints, name the winner, write table, figure and model where an output is asked for."""
    if not request.source.exists():
        raise InputError(f"There is no file or folder {request.source}; check the path.")
    if request.source.is_dir() and not any(request.source.glob("*/metrics.json")):
        return _select_run(request)
    column = "as_published" if request.as_published else "true"
    table = table_of_evaluations(request.source, column) if request.source.is_dir() else read_table(request.source)
    chosen = chosen_metrics(table, request.metrics)
    ranking = rank(chosen, lower=request.lower, higher=request.higher)
    if request.output is not None:
        write_selection(chosen, ranking, request.output, "metrics given", request.name)
    return SelectionReport(ranking, chosen, "metrics given", table=request.name), []


def _select_run(request: SelectionRequest) -> Selected:
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="virtual-contrast-select-") as place:
        packages, same_weights = _packages(request, Path(place), failures)
        with _cases(request, next(iter(packages.values()))) as (cases, data):
            scorer = _scorer(request, cases)
            table = _measure(packages, scorer, failures)
            baseline = scorer.copying() if table else {}
            common = chosen_metrics(table, None)
            names = list(next(iter(common.values()), {}))
            wanted = request.metrics or default_metrics(names, lesion_terms=request.lesion_terms)
            chosen = chosen_metrics(common, wanted)
            ranking = rank(chosen, lower=request.lower, higher=request.higher)
            failures += scorer.failures
            model = None
            if request.output is not None:
                write_selection(common, ranking, request.output, data, request.name, baseline)
                winner = ranking.winners[0]
                metrics = [_metric(name, value, data) for name, value in common[winner].items()]
                metrics.append(_metric("same", ranking.same[winner], data))
                folder = export_winner(packages[winner], winner, metrics, request.output / "model")
                record_against_copying(folder, case_folders(cases))
                model = str(folder)
    counted = list(next(iter(chosen.values())))
    of_run = OfRun(counted, baseline, same_weights, model, len(failures), _notes(names, scorer))
    return SelectionReport(ranking, common, data, of_run, request.name), failures


def write_epochs_of_run(
    request: SelectionRequest, name: str, title: str, folder: Path
) -> tuple[EpochsReport, list[str]]:
    """The figure of one slice by checkpoint.

    Args:
        request: the run, and the cases.
        name: of the figure.
        title: its heading.
        folder: for the files.

    Returns:
        What the figure shows, and a sentence for each checkpoint that cannot be read.

    Raises:
        InputError: the run holds no checkpoint, or no case has a lesion.
    """
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="virtual-contrast-epochs-") as place:
        packages, _ = _packages(request, Path(place), failures)
        with _cases(request, next(iter(packages.values()))) as (cases, data):
            return write_epochs(name, title, packages, cases, folder, data), failures


def _notes(metrics: list[str], scorer: Scorer) -> list[str]:
    """Why metrics of the papers' SAMe are missing."""
    notes = []
    if not any(name.startswith("fid_") for name in metrics):
        notes.append(
            "The papers' SAMe also takes FID on ImageNet and RadImageNet features: give the networks' weights with "
            "--fid imagenet=FILE (or imagenet=download) and --fid radimagenet=FILE."
        )
    else:
        notes.append(f"FID and KID on the first {FID_LIMIT} slices at most, as published.")
    if "lpips" not in metrics:
        notes.append(f"LPIPS is missing: {scorer.lpips_missing}")
    return notes


def _packages(
    request: SelectionRequest, place: Path, failures: list[str]
) -> tuple[dict[str, ModelPackage], dict[str, str]]:
    """Packages of all different checkpoints of the run; one that cannot be read goes to `failures`."""
    recipe = None
    if request.recipe is not None:
        recipe = load_recipe(request.recipe, request.changes)
    candidates = find_candidates(request.source)
    if not candidates:
        raise InputError(f"{request.source} holds no checkpoints (*.ckpt), no model packages and no evaluate folders.")
    packages = {}
    for candidate in candidates:
        try:
            packages[candidate.name] = package_of(candidate, request.source, place / candidate.folder_name, recipe)
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
            measured[name] = len(scorer.measured)
        except VirtualContrastError as error:
            failures.append(f"{name}: {error}")
    for name, count in measured.items():
        if count < max(measured.values()):
            failures.append(f"{name}: {max(measured.values()) - count} of its synthetic images cannot be measured.")
            del table[name]
    return table


@contextlib.contextmanager
def _cases(request: SelectionRequest, package: ModelPackage) -> Iterator[tuple[Path, str]]:
    """The validation cases and what they are; phantoms with the model's phase times where none were named."""
    if request.validation is not None:
        yield request.validation, data_given(path.parent for path in request.validation.glob("*/case.json"))
        return
    seed = FIRST_SEED + request.seed
    with tempfile.TemporaryDirectory(prefix="virtual-contrast-phantoms-") as place:
        write_phantoms(Path(place), package, count=request.phantoms, seed=seed)
        yield Path(place), f"{described(package.card, request.phantoms, seed)}; no patient data"


def _scorer(request: SelectionRequest, cases: Path) -> Scorer:
    device = choose_device("auto")
    networks = Networks(fid=request.fid, device=device.device).features()
    if other := [name for name, network in networks.items() if distance_names(network.kind)[0] != "FID"]:
        raise InputError(f"SAMe takes FID, and the distance on the features of {other[0]} is none; leave it out.")
    try:
        return Scorer(cases, device, load_lpips(device=device.device), "", networks)
    except InputError as error:  # LPIPS is none of SAMe's metrics in the papers
        return Scorer(cases, device, None, str(error), networks)


def _metric(name: str, value: float, data: str) -> Metric:
    said = "scaled aggregate measure over the checkpoints of the run, 0 best" if name == "same" else definition(name)
    return Metric(name=name, value=value, definition=said, data=data)
