"""How far synthetic enhancement curves agree with real ones: per lesion, and over a data set with intervals by patient.

Differences are synthetic minus real. PE is percent enhancement over the pre-contrast signal of the same series, so that
two series of different units can be compared. Bland-Altman, kappa, rank correlation and phase order are the engine's
(`VirtualContrastLib.kinetics.agreement`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from VirtualContrastLib.kinetics.agreement import agreement, bland_altman, cohen_kappa
from VirtualContrastLib.kinetics.curves import LesionCurve
from VirtualContrastLib.kinetics.parameters import CurveType
from VirtualContrastLib.metrics.measure import definitions

from .bootstrap import PatientSums
from .lesion_picture import LesionPicture
from .measures import CURVES
from .published_kinetics import PublishedPair

TYPES = ("no enhancement", "I", "II", "III")
"""Curve types in the order of CurveType 0..3."""
DEFINITIONS = definitions(CURVES)
_AVERAGED = (
    *("enhancement_error", "enhancement_error_squared", "spearman", "dtw"),
    *("same_order", "same_order_as_published"),
)
_PARAMETERS = {
    "peak_pe": ("peak_pe_percent", "percentage points"),
    "ser": ("ser", "ratio"),
    "time_to_peak": ("time_to_peak_s", "s"),
}


@dataclass(frozen=True)
class CurvePair:
    """The two curves of one lesion over the same phases; `patient` groups lesions for intervals.

    `published`: the same as the paper's notebook takes them, `picture`: what the lesion looks like; both None where the
    volumes are not at hand.
    """

    patient: str
    case: int
    synthetic: LesionCurve
    real: LesionCurve
    published: PublishedPair | None = None
    picture: LesionPicture | None = None


def dtw(first: np.ndarray, second: np.ndarray) -> float:
    """Dynamic time warping distance of two curves [n] and [m]: least sum of absolute differences along a path.

    Steps are (1, 0), (0, 1) and (1, 1), without weights or window. Raises ValueError for an empty curve.
    """
    if not len(first) or not len(second):
        raise ValueError("a curve needs at least one point")
    cost = np.abs(np.subtract.outer(np.asarray(first, float), np.asarray(second, float)))
    total = np.full((len(first) + 1, len(second) + 1), np.inf)
    total[0, 0] = 0.0
    for i, j in np.ndindex(*cost.shape):
        total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    return float(total[-1, -1])


def lesion_row(pair: CurvePair) -> dict[str, Any]:
    """One lesion as plain values; what is not defined is None."""
    found = agreement([pair.synthetic], [pair.real]).lesions[0]
    error = found.pe_error_percent
    row: dict[str, Any] = {
        "case": pair.case,
        "lesion": pair.real.label,
        "phases": len(error),
        "enhancement_error": float(np.abs(error).mean()),
        "enhancement_error_squared": float(np.mean((error / 100) ** 2)),
        "spearman": found.spearman,
        "dtw": dtw(pair.synthetic.pe_percent, pair.real.pe_percent),
        "same_order": found.same_order,
        "same_order_as_published": None if pair.published is None else pair.published.same_order,
        "type_real": _type_name(found.real_type),
        "type_synthetic": _type_name(found.synthetic_type),
    }
    for name, (field, _) in _PARAMETERS.items():
        for side, curve in (("real", pair.real), ("synthetic", pair.synthetic)):
            row[f"{name}_{side}"] = float(getattr(curve.parameters, field))
    return {name: _defined(value) for name, value in row.items()}


def kinetic_report(pairs: Sequence[CurvePair], *, repeats: int = 2000, seed: int = 0) -> dict[str, Any]:
    """All lesions together: means with bootstrap intervals by patient, Bland-Altman, types.

    Cases may have different numbers of phases; each phase uses the lesions that have it.

    Args:
        pairs: Real and synthetic curve of each lesion.
        repeats: Bootstrap samples of patients.
        seed: Of the bootstrap.

    Returns:
        The report, ready for JSON.

    Raises:
        ValueError: There is no lesion.
    """
    if not pairs:
        raise ValueError("there is no lesion to compare")
    rows = [lesion_row(pair) for pair in pairs]
    statistics = {}
    for name in _AVERAGED:
        sums = PatientSums()
        for pair, row in zip(pairs, rows, strict=True):
            if row[name] is not None:
                sums.add(pair.patient, float(row[name]))
        summary = sums.summary(repeats=repeats, seed=seed)
        statistics[name] = None if summary is None else summary.as_dict()
    gaps = [float(np.abs(pair.synthetic.times_s - pair.real.times_s).max()) for pair in pairs]
    return {
        "lesions": len(pairs),
        "cases": len({pair.case for pair in pairs}),
        "patients": len({pair.patient for pair in pairs}),
        "statistics": statistics,
        "types": _types(pairs, rows, repeats, seed),
        "bland_altman": _bland_altman_table(pairs),
        "largest_time_difference_s": max(gaps),
        "definitions": DEFINITIONS,
        "per_lesion": rows,
    }


def differences(pairs: Sequence[CurvePair], name: str) -> tuple[np.ndarray, np.ndarray]:
    """(means, differences) of `peak_pe`, `ser` or `time_to_peak` over lesions, NaN where one is not defined."""
    field = _PARAMETERS[name][0]
    made, real = (
        np.array([float(getattr(curve.parameters, field)) for curve in curves])
        for curves in ([p.synthetic for p in pairs], [p.real for p in pairs])
    )
    return (made + real) / 2, made - real


def _bland_altman_table(pairs: Sequence[CurvePair]) -> list[dict[str, Any]]:
    longest = max(len(pair.real.times_s) for pair in pairs)
    rows = []
    for phase in range(1, longest):
        have = [pair for pair in pairs if len(pair.real.times_s) > phase]
        errors = [pair.synthetic.pe_percent[phase] - pair.real.pe_percent[phase] for pair in have]
        rows.append((f"PE, phase {phase}", "percentage points", bland_altman(errors)))
    labels = {"peak_pe": "peak PE", "ser": "SER", "time_to_peak": "time to peak"}
    rows += [(labels[n], unit, bland_altman(differences(pairs, n)[1])) for n, (_, unit) in _PARAMETERS.items()]
    return [
        {
            "quantity": quantity,
            "unit": unit,
            "n": found.n,
            **{key: _defined(getattr(found, key)) for key in ("bias", "sd", "lower", "upper")},
        }
        for quantity, unit, found in rows
    ]


def _types(pairs: Sequence[CurvePair], rows: Sequence[dict[str, Any]], repeats: int, seed: int) -> dict[str, Any]:
    """Confusion table [real, synthetic], share of equal types and kappa, with intervals over resampled patients."""
    patients = sorted({pair.patient for pair in pairs})
    place = {patient: n for n, patient in enumerate(patients)}
    counts = np.zeros((len(patients), len(TYPES), len(TYPES)), int)
    for pair, row in zip(pairs, rows, strict=True):
        if row["type_real"] in TYPES and row["type_synthetic"] in TYPES:
            counts[place[pair.patient], TYPES.index(row["type_real"]), TYPES.index(row["type_synthetic"])] += 1
    table, rng = counts.sum(axis=0), np.random.default_rng(seed)
    shares, kappas = [], []
    for _ in range(repeats if len(patients) > 1 else 0):
        drawn = counts[rng.integers(0, len(patients), len(patients))].sum(axis=0)
        if drawn.sum():
            shares.append(np.trace(drawn) / drawn.sum())
            kappas.append(cohen_kappa(drawn))
    compared = int(table.sum())
    return {
        "labels": list(TYPES),
        "confusion": table.tolist(),
        "compared": compared,
        "same_type": float(np.trace(table) / compared) if compared else None,
        "same_type_ci95": _interval(shares, repeats),
        "kappa": _defined(cohen_kappa(table)),
        "kappa_ci95": _interval(kappas, repeats),
    }


def _interval(values: Sequence[float], repeats: int) -> list[float] | None:
    """2.5 and 97.5 percentiles of the defined values; None where fewer than half of the resamples are defined."""
    defined = [value for value in values if math.isfinite(value)]
    return [float(q) for q in np.quantile(defined, [0.025, 0.975])] if 2 * len(defined) > repeats else None


def _type_name(kind: CurveType) -> str:
    return TYPES[kind] if kind < len(TYPES) else "not assessed"


def _defined(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
