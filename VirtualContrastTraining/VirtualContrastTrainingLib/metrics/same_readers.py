"""Does a measure rank models as readers do? SAMe and the metrics behind it against the readers' answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from VirtualContrastLib.events import InputError
from VirtualContrastLib.metrics.bootstrap import Interval, percentile_interval
from VirtualContrastLib.reader_study.answers import REFERENCE

from .reads import Read

FEWEST = 3
"""Two models are always ranked alike or the other way round."""
QUALITIES = {"score": "score", "detection": "correct"}
"""Answers of which more is better, by the field of a read; means over readers and cases stand for a model."""
DEFINITIONS = {
    "spearman": "rank correlation over models (conditions of the reads) of the measure with the readers' mean answer; "
    "-1 to 1; a good measure of which low is better (SAMe, MAE) has -1",
    "ci95": "percentile bootstrap over cases: of the readers' answers alone, the measure stays as it is",
}

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RankAgreement:
    """How far a measure ranks models as one kind of the readers' answers does.

    Attributes:
        measure: its name.
        answer: of QUALITIES.
        models: number of models.
        cases: number of cases that were read of every model.
        spearman: rank correlation; None where the readers' answers do not differ.
        ci95: its interval over cases.
    """

    measure: str
    answer: str
    models: int
    cases: int
    spearman: float | None
    ci95: Interval | None


def against_readers(
    reads: Sequence[Read], measures: Mapping[str, Mapping[str, float]], *, repeats: int = 2000, seed: int = 0
) -> list[RankAgreement]:
    """Rank correlation of every measure with every answer that rates quality.

    Args:
        reads: Their conditions are the models.
        measures: Values by measure of each model.
        repeats: Bootstrap samples of cases.
        seed: Of the bootstrap.

    Returns:
        One row per answer and measure.

    Raises:
        InputError: Fewer than three models were both read and measured.
    """
    models = [name for name in measures if any(read.condition == name for read in reads)]
    if len(models) < FEWEST:
        raise InputError(
            f"{len(models)} of {len(measures)} checkpoints in the table of SAMe are conditions of the reads; a ranking "
            f"needs {FEWEST}. Call the conditions as the checkpoints."
        )
    rows = []
    for answer, field in QUALITIES.items():
        table = _means(reads, models, field)
        if table is None:
            continue
        draws = np.random.default_rng(seed).integers(0, table.shape[1], (repeats, table.shape[1]))
        for name in [key for key in measures[models[0]] if all(key in measures[model] for model in models)]:
            values = np.array([measures[model][name] for model in models])
            if np.ptp(values) == 0:
                continue
            found = [_correlation(values, table[:, draw]) for draw in draws] if table.shape[1] > 1 else []
            value = _correlation(values, table)
            spearman = value if np.isfinite(value) else None
            rows.append(
                RankAgreement(name, answer, len(models), table.shape[1], spearman, percentile_interval(found, repeats))
            )
    return rows


def _means(reads: Sequence[Read], models: Sequence[str], field: str) -> Array | None:
    """Mean over readers [model, case] of the cases that were read of every model; None where there is none."""
    answers: dict[tuple[str, str], list[float]] = {}
    for read in reads:
        value = getattr(read, field)
        if value is not None and read.reader != REFERENCE:
            answers.setdefault((read.condition, read.case), []).append(float(value))
    cases = sorted({case for _, case in answers if all((model, case) in answers for model in models)})
    return np.array([[np.mean(answers[model, case]) for case in cases] for model in models]) if cases else None


def _correlation(values: Array, table: Array) -> float:
    means = table.mean(axis=1)
    return float(spearmanr(values, means).statistic) if np.ptp(means) > 0 else float("nan")
