"""Pairwise evaluation of images as a whole: measures, distances, files."""

from __future__ import annotations

import csv
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from VirtualContrastLib.events import InputError
from VirtualContrastLib.files import atomic_file
from VirtualContrastLib.free_memory import keep_freed
from VirtualContrastLib.run.cluster import LostError, spread

from ..console import progress
from ..metrics.as_published import PROTOCOLS
from ..metrics.distributions import (
    FeatureReader,
    ImageDistances,
    PairFeatures,
    Preparation,
    distances_of,
    pair_features,
)
from ..metrics.evaluation import METRICS, Evaluation, Settings
from ..metrics.feature_networks import FeatureNetwork, load_feature_network
from ..metrics.lpips import Lpips
from ..metrics.measured_pair import MeasuredPair, measure
from ..metrics.neighbors import set_report
from ..metrics.pairs import Pair
from ..metrics.patient_groups import patient_groups
from ..metrics.radiomics_distance import distance_of, pair_radiomics
from ..metrics.weights import feature_weights
from .evaluation_report import EvaluationResult, write_evaluation
from .inputs import Images, Networks
from .phantom_cohort import data_given
from .subgroup_report import write_subgroups

Found = TypeVar("Found")


@dataclass(frozen=True)
class EvaluationRequest:
    """What `evaluate` is asked for.

    Attributes:
        images: what is compared.
        settings: how.
        networks: for LPIPS, FID and KID.
        radiomics: feature groups of the lesions' radiomics distance, () for none.
        output: folder for the files, None for none.
        data: where the images come from, None to say that they were given.
        by: columns by whose values patients are grouped.
        patients: table of these columns, None where prepared cases have them.
        diversity: also how different the synthetic images are from each other.
        training: folder of training images that the synthetic ones may repeat, None for no check.
        scheduler: of a Dask cluster whose workers read and measure the pairs, None to do it here.
    """

    images: Images
    settings: Settings
    networks: Networks = field(default_factory=Networks)
    radiomics: Sequence[str] = ()
    output: Path | None = None
    data: str | None = None
    by: Sequence[str] = ()
    patients: Path | None = None
    diversity: bool = False
    training: Path | None = None
    scheduler: str | None = None


def evaluate(request: EvaluationRequest) -> EvaluationResult:
    """Measure all pairs and write the files; raises InputError where no pair can be measured."""
    pairs = request.images.pairs()
    groups = patient_groups(pairs, request.by, request.patients) if request.by else {}
    lpips, missing = request.networks.lpips()
    networks = request.networks.features()
    keep_freed()
    with _rows(request.output) as rows:
        evaluation = Evaluation(request.settings, lpips, missing, rows)
        if request.scheduler is None:
            usable = [pair for pair in progress(pairs, len(pairs), "evaluating") if evaluation.try_add(pair)]
        else:
            usable = _add_from_workers(evaluation, pairs, request.scheduler, request.networks)
        report = evaluation.report()
        distances = _distances(request, usable, networks)
        radiomics = None
        if request.radiomics:
            call = functools.partial(pair_radiomics, tuple(request.radiomics), None)
            radiomics = distance_of(_over(request.scheduler, call, usable), request.radiomics)
    sets = None
    if request.diversity or request.training is not None:
        sets = set_report(usable, request.training, request.images.patient_pattern, request.settings.seed)
    result = EvaluationResult(
        data=request.data or data_given(pair.real.parent for pair in pairs),
        report=report,
        distances=distances,
        radiomics=radiomics,
        sets=sets,
        by={name: evaluation.by(group_of) for name, group_of in groups.items()},
    )
    if request.output is not None:
        write_evaluation(result, request.output)
        if groups:
            write_subgroups(result.by, result.data, request.output)
    return result


def _distances(
    request: EvaluationRequest, usable: Sequence[Pair], networks: Mapping[str, FeatureNetwork]
) -> dict[str, ImageDistances]:
    """Distances between the sets of images, resized and normalized as published where a protocol is repeated."""
    protocol, seed = PROTOCOLS[request.settings.protocol], request.settings.seed
    preparation = Preparation(size=224 if protocol.size == 224 else 299, normalize=protocol.normalize)
    return {
        name: distances_of(usable, _features(request, usable, name, network, preparation), network.kind, seed=seed)
        for name, network in networks.items()
    }


def _features(
    request: EvaluationRequest, usable: Sequence[Pair], name: str, network: FeatureNetwork, preparation: Preparation
) -> Iterable[PairFeatures | None]:
    """The features of a network of each pair; workers keep networks of their own."""
    if request.scheduler is None:
        return map(functools.partial(pair_features, FeatureReader(network, preparation)), usable)
    path = feature_weights(name, request.networks.fid[name]).absolute()
    call = functools.partial(_features_on_worker, path, request.networks.device, preparation)
    return _over(request.scheduler, call, usable)


def _over(scheduler: str | None, call: Callable[[Pair], Found], pairs: Sequence[Pair]) -> Iterator[Found]:
    """What `call` finds of each pair, in their order: here, or on the workers of a cluster.

    Raises VirtualContrastError where a worker finds no answer.
    """
    if scheduler is None:
        yield from map(call, pairs)
        return
    for found in _from_workers(scheduler, call, pairs, "comparing sets"):
        if isinstance(found, LostError):
            raise found
        yield found


def _add_from_workers(evaluation: Evaluation, pairs: Sequence[Pair], scheduler: str, networks: Networks) -> list[Pair]:
    """Add what the workers of a cluster measured; the pairs that could be."""
    pairs = [_absolute(pair) for pair in pairs]
    usable: list[Pair] = []
    call = functools.partial(_measure_on_worker, networks.alexnet, networks.device, evaluation.settings)
    for pair, found in zip(pairs, _from_workers(scheduler, call, pairs, "evaluating"), strict=True):
        if isinstance(found, MeasuredPair):
            evaluation.take(pair, found)
            usable.append(pair)
        else:
            evaluation.leave_out(pair, str(found))
    return usable


def _from_workers(
    scheduler: str, call: Callable[[Pair], Found], pairs: Sequence[Pair], doing: str
) -> Iterator[Found | LostError]:
    """What the workers of a cluster found of each pair, in the order of the pairs, so that sums are of one machine."""
    waiting: dict[int, Found | LostError] = {}
    due = 0
    for number, found in progress(spread(scheduler, call, pairs), len(pairs), doing):
        waiting[number] = found
        while due in waiting:
            yield waiting.pop(due)
            due += 1


def _absolute(pair: Pair) -> Pair:
    """The pair as a worker finds it, which has another working folder."""
    paths: dict[str, Any] = {name: path.absolute() for name, path in vars(pair).items() if isinstance(path, Path)}
    return dataclasses.replace(pair, **paths)


@functools.cache
def _resident_lpips(alexnet: Path | None, device: str) -> tuple[Lpips | None, str]:
    """The network that a worker keeps as long as it lives."""
    return Networks(alexnet, device=device).lpips()


def _measure_on_worker(alexnet: Path | None, device: str, settings: Settings, pair: Pair) -> MeasuredPair | InputError:
    lpips, missing = _resident_lpips(alexnet, device)
    keep_freed()
    try:
        return measure(pair, settings, lpips, missing)
    except InputError as error:
        return error


@functools.cache
def _resident_network(path: Path, device: str) -> FeatureNetwork:
    return load_feature_network(path, device=device)


def _features_on_worker(path: Path, device: str, preparation: Preparation, pair: Pair) -> PairFeatures | None:
    return pair_features(FeatureReader(_resident_network(path, device), preparation), pair)


@contextmanager
def _rows(folder: Path | None) -> Iterator[Callable[[Mapping[str, Any]], None] | None]:
    """A writer of slices.csv; it names no file, as file names may carry patient ids.

    Where the block raises, neither the file nor a folder that was made for it stays.
    """
    if folder is None:
        yield None
        return
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    groups = ("true", "as_published", "true_in_lesion", "true_in_breast")
    columns = ["pair", "slice", *(f"{group}.{metric}" for group in groups for metric in METRICS)]
    with ExitStack() as undo:
        for place in reversed(made):  # the innermost is removed first
            undo.callback(_remove_empty, place)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / "slices.csv") as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            yield writer.writerow
        undo.pop_all()


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
