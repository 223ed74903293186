"""How far synthetic curves agree with real curves of the same lesions.

Bias and limits of agreement: Bland and Altman, Lancet 1 (1986) 307. Kappa: Cohen, Educ. Psychol. Meas. 20
(1960) 37. Differences are always synthetic minus real. A number that its sample cannot give is NaN (limits
and intervals of one lesion, kappa where only one type occurs), never an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..metrics.bootstrap import percentile_interval
from .curves import LesionCurve
from .parameters import Array, CurveType

MINIMUM_FOR_INTERVAL = 5
BOOTSTRAP_SAMPLES = 2000


@dataclass(frozen=True)
class BlandAltman:
    """Bias and limits of agreement of differences.

    Attributes:
        n: Number of differences.
        bias: Their mean.
        sd: Their standard deviation (N - 1).
        lower: Bias - 1.96 sd.
        upper: Bias + 1.96 sd.
    """

    n: int
    bias: float
    sd: float
    lower: float
    upper: float


@dataclass(frozen=True)
class LesionAgreement:
    """One lesion, synthetic against real.

    Attributes:
        label: Number of the lesion.
        synthetic_type: Curve type of the synthetic phases.
        real_type: Curve type of the real phases.
        pe_error_percent: Difference of PE per post-contrast phase, in percentage points.
        peak_ratio: Synthetic peak PE over real peak PE.
        spearman: Rank correlation of the two curves, pre-contrast included.
        same_order: The phases, pre-contrast included, are ranked alike by signal.
    """

    label: int
    synthetic_type: CurveType
    real_type: CurveType
    pe_error_percent: Array
    peak_ratio: float
    spearman: float
    same_order: bool


@dataclass(frozen=True)
class Agreement:
    """All lesions together.

    Attributes:
        lesions: Each lesion.
        pe_by_phase: Percent enhancement per post-contrast phase.
        peak_pe: Differences of the peak PE.
        ser: Differences of the signal enhancement ratio.
        wash_in: Differences of the wash-in.
        types_compared: Lesions of which both types were assessed.
        type_agreement: Fraction of them with equal types.
        type_agreement_interval: Bootstrap interval over lesions (2.5 to 97.5 %), from 5 lesions on.
        kappa: The agreement of types corrected for chance.
        kappa_interval: Its interval, found likewise.
        type_counts: The 4 x 4 confusion table [real, synthetic] of CurveType 0..3.
        order_agreement: Fraction of lesions whose phases are ranked alike.
        mean_spearman: Mean over lesions of the rank correlation of the two curves.
        largest_time_difference_s: Largest difference between the times of matched phases, in seconds.
    """

    lesions: list[LesionAgreement]
    pe_by_phase: list[BlandAltman]
    peak_pe: BlandAltman
    ser: BlandAltman
    wash_in: BlandAltman
    types_compared: int
    type_agreement: float
    type_agreement_interval: tuple[float, float]
    kappa: float
    kappa_interval: tuple[float, float]
    type_counts: np.ndarray
    order_agreement: float
    mean_spearman: float
    largest_time_difference_s: float


def agreement(synthetic: list[LesionCurve], real: list[LesionCurve], *, seed: int = 0) -> Agreement:
    """Compare curves of the same lesions phase by phase, whatever their times.

    Args:
        synthetic: Curves of the synthetic phases, one per lesion.
        real: Curves of the acquired phases of the same lesions, in the same order; they are matched by label.
        seed: Of the bootstrap, so that its intervals are repeatable.

    Returns:
        The agreement; `largest_time_difference_s` says how far the times of the compared phases are apart.

    Raises:
        ValueError: The labels or the numbers of phases differ, or there is no lesion.
    """
    by_label = {curve.label: curve for curve in real}
    if [curve.label for curve in synthetic] != list(by_label) or not synthetic:
        raise ValueError("synthetic and real curves must cover the same lesions in the same order")
    pairs = [(curve, by_label[curve.label]) for curve in synthetic]
    lesions = [_lesion(*pair) for pair in pairs]
    counts = _type_counts(lesions)
    errors = np.stack([lesion.pe_error_percent for lesion in lesions])
    interval, kappa_interval = _bootstrap(lesions, seed)
    compared = int(counts.sum())
    return Agreement(
        lesions=lesions,
        pe_by_phase=[bland_altman(column) for column in errors.T],
        peak_pe=_parameter(pairs, "peak_pe_percent"),
        ser=_parameter(pairs, "ser"),
        wash_in=_parameter(pairs, "wash_in_percent_per_min"),
        types_compared=compared,
        type_agreement=float(np.trace(counts) / compared) if compared else float("nan"),
        type_agreement_interval=interval,
        kappa=cohen_kappa(counts),
        kappa_interval=kappa_interval,
        type_counts=counts,
        order_agreement=float(np.mean([lesion.same_order for lesion in lesions])),
        mean_spearman=_mean([lesion.spearman for lesion in lesions]),
        largest_time_difference_s=max(float(np.abs(a.times_s - b.times_s).max()) for a, b in pairs),
    )


def bland_altman(differences: ArrayLike) -> BlandAltman:
    """Bias and limits of agreement of differences shaped (n,); values that are not finite are left out."""
    values = np.asarray(differences, dtype=np.float64)
    values = values[np.isfinite(values)]
    bias = float(values.mean()) if len(values) else float("nan")
    sd = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return BlandAltman(len(values), bias, sd, bias - 1.96 * sd, bias + 1.96 * sd)


def cohen_kappa(counts: ArrayLike) -> float:
    """Unweighted kappa of a square table; NaN where it is empty or chance alone gives full agreement."""
    table = np.asarray(counts, dtype=np.float64)
    total = table.sum()
    if total == 0:
        return float("nan")
    observed = np.trace(table) / total
    chance = float(table.sum(axis=0) @ table.sum(axis=1)) / total**2
    return float((observed - chance) / (1 - chance)) if chance < 1 else float("nan")


def _lesion(synthetic: LesionCurve, real: LesionCurve) -> LesionAgreement:
    """Compare two curves of one lesion."""
    if len(synthetic.times_s) != len(real.times_s):
        raise ValueError(f"the curves of lesion {real.label} have different numbers of phases")
    from scipy.stats import rankdata, spearmanr  # takes seconds to import, and only comparisons need it

    made, acquired = synthetic.signal_mean, real.signal_mean
    flat = np.ptp(made) == 0 or np.ptp(acquired) == 0
    real_peak = float(real.parameters.peak_pe_percent)
    return LesionAgreement(
        label=real.label,
        synthetic_type=synthetic.curve_type,
        real_type=real.curve_type,
        pe_error_percent=(synthetic.pe_percent - real.pe_percent)[1:],
        peak_ratio=float(synthetic.parameters.peak_pe_percent) / real_peak if real_peak > 0 else float("nan"),
        spearman=float("nan") if flat else float(spearmanr(made, acquired).statistic),
        same_order=bool((rankdata(made) == rankdata(acquired)).all()),
    )


def _parameter(pairs: Sequence[tuple[LesionCurve, LesionCurve]], name: str) -> BlandAltman:
    """Bland-Altman of one curve parameter."""
    return bland_altman([getattr(a.parameters, name) - getattr(b.parameters, name) for a, b in pairs])


def _type_counts(lesions: Sequence[LesionAgreement]) -> np.ndarray:
    """Confusion table [real, synthetic] over lesions where both types were assessed."""
    counts = np.zeros((4, 4), dtype=np.int64)
    for lesion in lesions:
        if CurveType.UNASSESSED not in (lesion.real_type, lesion.synthetic_type):
            counts[lesion.real_type, lesion.synthetic_type] += 1
    return counts


def _bootstrap(lesions: Sequence[LesionAgreement], seed: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Percentile intervals of type agreement and of kappa over resampled lesions; NaN below 5 lesions.

    Resamples in which only one type occurs have no kappa and are left out of its interval.
    """
    cells = np.argwhere(_type_counts(lesions))
    repeats = _type_counts(lesions)[tuple(cells.T)]
    if repeats.sum() < MINIMUM_FOR_INTERVAL:
        return (float("nan"),) * 2, (float("nan"),) * 2
    draws = np.random.default_rng(seed).multinomial(repeats.sum(), repeats / repeats.sum(), BOOTSTRAP_SAMPLES)
    tables = np.zeros((BOOTSTRAP_SAMPLES, 4, 4))
    tables[:, cells[:, 0], cells[:, 1]] = draws
    fractions = np.trace(tables, axis1=1, axis2=2) / repeats.sum()
    kappas = np.array([cohen_kappa(table) for table in tables])
    return _interval(fractions), _interval(kappas)


def _interval(values: Array) -> tuple[float, float]:
    """The percentile interval, NaN where no value is finite."""
    return percentile_interval(values) or (float("nan"), float("nan"))


def _mean(values: Sequence[float]) -> float:
    """Mean of the finite values, NaN where there is none."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
