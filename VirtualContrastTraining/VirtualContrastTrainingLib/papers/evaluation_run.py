"""Pairwise evaluation of images as a whole: measures, distances, files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..console import progress
from ..metrics.as_published import PROTOCOLS
from ..metrics.distributions import Preparation, image_distances
from ..metrics.evaluation import METRICS, Evaluation, EvaluationReport, Settings
from ..metrics.radiomics_distance import lesion_distance
from .inputs import Images, Networks
from .phantom_cohort import data_given
from .reports import write_evaluation


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
    """

    images: Images
    settings: Settings
    networks: Networks = field(default_factory=Networks)
    radiomics: Sequence[str] = ()
    output: Path | None = None
    data: str | None = None


@dataclass(frozen=True)
class Evaluated:
    """What came of it: the report of pairs, and `values` of the JSON file, with distances where asked for."""

    report: EvaluationReport
    values: Mapping[str, Any]


def evaluate(request: EvaluationRequest) -> Evaluated:
    """Measure all pairs and write the files; raises InputError where no pair can be measured."""
    pairs = request.images.pairs()
    lpips, missing = request.networks.lpips()
    networks = request.networks.features()
    with _rows(request.output) as rows:
        evaluation = Evaluation(request.settings, lpips, missing, rows)
        usable = [pair for pair in progress(pairs, len(pairs), "evaluating") if evaluation.try_add(pair)]
    report = evaluation.report()
    data = request.data or data_given(pair.real.parent for pair in pairs)
    values: dict[str, Any] = {"data": data, **report.as_json()}
    if networks:
        # Resized and normalized as published where a paper's protocol is repeated.
        protocol, seed = PROTOCOLS[request.settings.protocol], request.settings.seed
        preparation = Preparation(size=224 if protocol.size == 224 else 299, normalize=protocol.normalize)
        values["distances"] = {
            name: image_distances(usable, network, preparation, seed=seed) for name, network in networks.items()
        }
    if request.radiomics:
        values["radiomics"] = lesion_distance(usable, request.radiomics)
    if request.output is not None:
        write_evaluation(report, values, request.output)
    return Evaluated(report, values)


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
