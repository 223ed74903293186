"""The table that says what a model knows of patients beyond its baselines, by cohort, with intervals by patient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from VirtualContrastLib.metrics.baselines import GAIN, IDENTITY, TABLE, Baselines
from VirtualContrastLib.metrics.bootstrap import percentile_interval
from VirtualContrastLib.metrics.patients import PatientScores, PatientTruth, score_patient

from ..data.crops import CropPatient

MODEL = "model"
METHODS = (IDENTITY, GAIN, TABLE, MODEL)
MEASURES = ("mae", "ssim", "worse", "harm_p95", "lesion_mae", "recovered", "brightening", "auroc")
"""Columns: means over patients, but `worse` (share made worse than the identity) and `harm_p95` (95th percentile)."""
PAIRED = ("mae", "lesion_mae", "ssim", "auroc")
"""Measures whose paired difference between model and baseline is reported."""

_REPEATS = 2000

Array = NDArray[np.float64]
Synthesize = Callable[[CropPatient], Sequence[NDArray[np.float32]]]
"""The synthetic phases of a patient: early and late, or early alone, in the units of the patient's images."""


@dataclass(frozen=True)
class Row:
    """Scores of one method on one patient's phase.

    Attributes:
        patient: Id of the patient.
        cohort: Cohort of the patient.
        phase: 0 (early) or 1 (late).
        method: Name of the method.
        scores: Its scores.
    """

    patient: str
    cohort: str
    phase: int
    method: str
    scores: PatientScores


@dataclass(frozen=True)
class Estimate:
    """A value over patients with its 95 % bootstrap interval.

    Attributes:
        value: The value.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def score_all(
    patients: Iterable[CropPatient], synthesize: Synthesize, baselines: Sequence[Baselines]
) -> Iterable[list[Row]]:
    """Scores of all methods for each phase that both the model and the baselines have.

    Args:
        patients: The patients.
        synthesize: Makes the synthetic phases of a patient.
        baselines: Fitted baselines of each phase.

    Yields:
        The rows of each patient in turn.
    """
    for patient in patients:
        made = synthesize(patient)
        rows = []
        for phase, (synthetic, fitted) in enumerate(zip(made, baselines, strict=False)):
            truth = PatientTruth.of(patient.pre, patient.phases[1 + phase], patient.box)
            images = {name: fitted.apply(name, patient.pre) for name in METHODS[:-1]} | {MODEL: synthetic}
            rows += [
                Row(patient.name, patient.cohort, phase, name, score_patient(truth, image))
                for name, image in images.items()
            ]
        yield rows


def summarize(rows: Sequence[Row], phase: int, cohort: str | None = None, seed: int = 0) -> dict[str, object]:
    """Summary of a cohort.

    Args:
        rows: The rows of `score_all`.
        phase: 0 (early) or 1 (late).
        cohort: The cohort; None for all.
        seed: Of the bootstrap.

    Returns:
        `patients` (count), `methods` (measures by name) and `paired` (model minus baseline).
    """
    chosen = [row for row in rows if row.phase == phase and cohort in (None, row.cohort)]
    tables = {name: _values([row.scores for row in chosen if row.method == name]) for name in METHODS}
    count = len(tables[MODEL]["mae"])
    draws = np.random.default_rng(seed).integers(0, count, (_REPEATS, count))
    methods = {
        name: {measure: _estimate(values, measure, draws) for measure in MEASURES} for name, values in tables.items()
    }
    paired = {
        name: {m: _mean_estimate(tables[MODEL][m] - tables[name][m], draws) for m in PAIRED} for name in METHODS[:-1]
    }
    return {"patients": count, "methods": methods, "paired": paired}


def as_text(summary: Mapping[str, object], title: str) -> str:
    """A summary as Markdown: a row per method, then the paired differences."""
    lines = [f"### {title}: {summary['patients']} patients", "", "| | " + " | ".join(_TITLES.values()) + " |"]
    lines.append("|" + "---|" * (len(_TITLES) + 1))
    methods: Mapping[str, Mapping[str, Estimate]] = summary["methods"]  # type: ignore[assignment]
    for name, measures in methods.items():
        cells = [_cell(measure, measures[measure]) for measure in _TITLES]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines.append("")
    paired: Mapping[str, Mapping[str, Estimate]] = summary["paired"]  # type: ignore[assignment]
    for name, measures in paired.items():
        differences = ", ".join(f"{_TITLES[measure]} {measures[measure]}" for measure in PAIRED)
        lines.append(f"model minus {name}: {differences}")
    return "\n".join(lines)


def as_values(summary: Mapping[str, object]) -> dict[str, object]:
    """A summary as plain numbers for JSON, None where a value is not known."""
    return {name: _plain(part) for name, part in summary.items()}


def _plain(part: object) -> object:
    if isinstance(part, Estimate):
        return {end: value if np.isfinite(value) else None for end, value in vars(part).items()}
    return {name: _plain(inner) for name, inner in part.items()} if isinstance(part, Mapping) else part


_TITLES = {
    "mae": "MAE",
    "ssim": "SSIM",
    "worse": "made worse",
    "harm_p95": "p95 of harm",
    "lesion_mae": "lesion MAE",
    "recovered": "recovered",
    "brightening": "brightening",
    "auroc": "AUROC",
}
_SHARES = ("worse", "harm_p95", "recovered", "brightening")


def _cell(measure: str, estimate: Estimate) -> str:
    if not np.isfinite(estimate.value):
        return "-"
    if measure in _SHARES:
        return f"{100 * estimate.value:.1f} % [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
    return str(estimate)


def _values(scores: Sequence[PatientScores]) -> dict[str, Array]:
    names = ("mae", "harm", "ssim", "lesion_mae", "recovered", "brightening", "auroc")
    return {name: np.array([getattr(score, name) for score in scores], np.float64) for name in names}


def _estimate(values: Mapping[str, Array], measure: str, draws: NDArray[np.int64]) -> Estimate:
    if measure == "worse":
        return _mean_estimate((values["harm"] > 0).astype(np.float64), draws)
    if measure == "harm_p95":
        harm = values["harm"]
        drawn = np.percentile(harm[draws], 95, axis=1)
        return Estimate(float(np.percentile(harm, 95)), *_interval(drawn))
    return _mean_estimate(values[measure], draws)


def _mean_estimate(values: Array, draws: NDArray[np.int64]) -> Estimate:
    """Mean over the patients where the value is known."""
    known = np.isfinite(values)
    if not known.any():
        return Estimate(float("nan"), float("nan"), float("nan"))
    filled = np.where(known, values, 0.0)
    weight = known[draws].sum(axis=1)
    means = filled[draws].sum(axis=1)[weight > 0] / weight[weight > 0]
    return Estimate(float(values[known].mean()), *_interval(means))


def _interval(values: Array) -> tuple[float, float]:
    return percentile_interval(values) or (float("nan"), float("nan"))
