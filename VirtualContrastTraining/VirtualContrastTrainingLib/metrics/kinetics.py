"""How far synthetic enhancement curves agree with real ones: per lesion, and over a data set with intervals by patient.

Differences are synthetic minus real. PE is percent enhancement over the pre-contrast signal of the same series, so that
two series of different units can be compared. Bland-Altman, kappa, rank correlation and phase order are the engine's
(`VirtualContrastLib.kinetics.agreement`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from VirtualContrastLib.kinetics.agreement import agreement, bland_altman, cohen_kappa
from VirtualContrastLib.kinetics.curves import LesionCurve
from VirtualContrastLib.kinetics.parameters import INITIAL_WORDS, CurveType, initial_word
from VirtualContrastLib.metrics.bootstrap import Interval, percentile_interval
from VirtualContrastLib.metrics.measure import definitions

from .bootstrap import PatientSums, Summary
from .lesion_picture import LesionPicture
from .measures import CURVES
from .published_kinetics import PublishedPair

TYPES = ("no enhancement", "I", "II", "III")
"""Curve types in the order of CurveType 0..3."""
NOT_ASSESSED = "not assessed"
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
    """The two curves of one lesion over the same phases.

    Attributes:
        patient: groups lesions for intervals.
        case: number of the case.
        synthetic: curve of the synthetic phases.
        real: curve of the real phases.
        published: both curves as the paper's notebook takes them; None where the volumes are not available.
        picture: what the lesion looks like; None where the volumes are not available.
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


@dataclass(frozen=True)
class LesionRow:
    """How far the two curves of one lesion agree; what is not defined is None.

    Attributes:
        case: number of the case.
        lesion: label of the lesion.
        phases: number of post-contrast phases.
        enhancement_error: mean over phases of the absolute difference of PE, percentage points.
        enhancement_error_squared: mean over phases of the squared difference of PE / 100.
        spearman: rank correlation of the signals.
        dtw: time warping distance of the PE, percentage points.
        same_order: whether the phases are ranked alike.
        same_order_as_published: the same as the paper's notebook takes it.
        type_real: curve type of the real curve.
        type_synthetic: curve type of the synthetic curve.
        worst_real: worst curve type of the real voxels.
        worst_synthetic: worst curve type of the synthetic voxels.
        initial_real: BI-RADS word for the early enhancement of the real curve.
        initial_synthetic: the same of the synthetic curve.
        peak_pe_real: peak PE of the real curve, percent.
        peak_pe_synthetic: peak PE of the synthetic curve, percent.
        ser_real: signal enhancement ratio of the real curve.
        ser_synthetic: signal enhancement ratio of the synthetic curve.
        time_to_peak_real: seconds to the peak of the real curve.
        time_to_peak_synthetic: seconds to the peak of the synthetic curve.
    """

    case: int
    lesion: int
    phases: int
    enhancement_error: float
    enhancement_error_squared: float
    spearman: float | None
    dtw: float
    same_order: bool
    same_order_as_published: bool | None
    type_real: str
    type_synthetic: str
    worst_real: str
    worst_synthetic: str
    initial_real: str
    initial_synthetic: str
    peak_pe_real: float | None
    peak_pe_synthetic: float | None
    ser_real: float | None
    ser_synthetic: float | None
    time_to_peak_real: float | None
    time_to_peak_synthetic: float | None

    @classmethod
    def of(cls, pair: CurvePair) -> LesionRow:
        """The agreement of a pair of curves."""
        found = agreement([pair.synthetic], [pair.real]).lesions[0]
        error = found.pe_error_percent
        parameters = {
            f"{name}_{side}": _defined(getattr(curve.parameters, field))
            for name, (field, _) in _PARAMETERS.items()
            for side, curve in (("real", pair.real), ("synthetic", pair.synthetic))
        }
        return cls(
            case=pair.case,
            lesion=pair.real.label,
            phases=len(error),
            enhancement_error=float(np.abs(error).mean()),
            enhancement_error_squared=float(np.mean((error / 100) ** 2)),
            spearman=_defined(found.spearman),
            dtw=dtw(pair.synthetic.pe_percent, pair.real.pe_percent),
            same_order=found.same_order,
            same_order_as_published=None if pair.published is None else pair.published.same_order,
            type_real=_type_name(found.real_type),
            type_synthetic=_type_name(found.synthetic_type),
            worst_real=_type_name(pair.real.worst_type),
            worst_synthetic=_type_name(pair.synthetic.worst_type),
            initial_real=_initial(pair.real),
            initial_synthetic=_initial(pair.synthetic),
            **parameters,
        )


@dataclass(frozen=True)
class BiasRow:
    """Bias and limits of agreement of one quantity, synthetic minus real; None where too few lesions define it.

    Attributes:
        quantity: its name.
        unit: of the differences.
        n: number of lesions.
        bias: mean difference.
        sd: standard deviation of the differences.
        lower: lower limit of agreement.
        upper: upper limit of agreement.
    """

    quantity: str
    unit: str
    n: int
    bias: float | None
    sd: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class TypeAgreement:
    """How far a kinetic category of lesions agrees.

    Attributes:
        labels: the categories.
        confusion: counts [real][synthetic] in the order of `labels`.
        compared: lesions of which both categories could be assessed.
        same_type: share of them with equal categories.
        same_type_ci95: its interval over resampled patients.
        kappa: Cohen's kappa of the categories.
        kappa_ci95: its interval over resampled patients.
    """

    labels: Sequence[str]
    confusion: Sequence[Sequence[int]]
    compared: int
    same_type: float | None
    same_type_ci95: Interval | None
    kappa: float | None
    kappa_ci95: Interval | None


@dataclass(frozen=True)
class KineticReport:
    """How far the curves of all lesions agree.

    Attributes:
        lesions: number of lesions.
        cases: number of cases.
        patients: number of patients.
        statistics: summary by measure, None where no lesion defines it.
        types: agreement of the types of mean curves.
        worst_types: agreement of the worst curve types.
        initial: agreement of the BI-RADS words for early enhancement.
        bland_altman: bias and limits of agreement by quantity.
        largest_time_difference_s: between phases of one number, in seconds.
        definitions: definition by measure.
        per_lesion: one row per lesion.
    """

    lesions: int
    cases: int
    patients: int
    statistics: Mapping[str, Summary | None]
    types: TypeAgreement
    worst_types: TypeAgreement
    initial: TypeAgreement
    bland_altman: Sequence[BiasRow]
    largest_time_difference_s: float
    definitions: Mapping[str, str]
    per_lesion: Sequence[LesionRow]


def kinetic_report(pairs: Sequence[CurvePair], *, repeats: int = 2000, seed: int = 0) -> KineticReport:
    """All lesions together: means with bootstrap intervals by patient, Bland-Altman, types.

    Cases may have different numbers of phases; each phase uses the lesions that have it.

    Args:
        pairs: Real and synthetic curve of each lesion.
        repeats: Bootstrap samples of patients.
        seed: Of the bootstrap.

    Returns:
        The report.

    Raises:
        ValueError: There is no lesion.
    """
    if not pairs:
        raise ValueError("there is no lesion to compare")
    rows = [LesionRow.of(pair) for pair in pairs]
    statistics = {}
    for name in _AVERAGED:
        sums = PatientSums()
        for pair, row in zip(pairs, rows, strict=True):
            value = getattr(row, name)
            if value is not None:
                sums.add(pair.patient, float(value))
        statistics[name] = sums.summary(repeats=repeats, seed=seed)
    patients = [pair.patient for pair in pairs]

    def agree(name: str, labels: Sequence[str]) -> TypeAgreement:
        named = [(str(getattr(row, f"{name}_real")), str(getattr(row, f"{name}_synthetic"))) for row in rows]
        return _categories(patients, named, labels, repeats, seed)

    gaps = [float(np.abs(pair.synthetic.times_s - pair.real.times_s).max()) for pair in pairs]
    return KineticReport(
        lesions=len(pairs),
        cases=len({pair.case for pair in pairs}),
        patients=len({pair.patient for pair in pairs}),
        statistics=statistics,
        types=agree("type", TYPES),
        worst_types=agree("worst", TYPES),
        initial=agree("initial", INITIAL_WORDS),
        bland_altman=_bland_altman_table(pairs),
        largest_time_difference_s=max(gaps),
        definitions=DEFINITIONS,
        per_lesion=rows,
    )


def differences(pairs: Sequence[CurvePair], name: str) -> tuple[np.ndarray, np.ndarray]:
    """(means, differences) of `peak_pe`, `ser` or `time_to_peak` over lesions, NaN where one is not defined."""
    field = _PARAMETERS[name][0]
    made, real = (
        np.array([float(getattr(curve.parameters, field)) for curve in curves])
        for curves in ([p.synthetic for p in pairs], [p.real for p in pairs])
    )
    return (made + real) / 2, made - real


def _bland_altman_table(pairs: Sequence[CurvePair]) -> list[BiasRow]:
    longest = max(len(pair.real.times_s) for pair in pairs)
    rows = []
    for phase in range(1, longest):
        have = [pair for pair in pairs if len(pair.real.times_s) > phase]
        errors = [pair.synthetic.pe_percent[phase] - pair.real.pe_percent[phase] for pair in have]
        rows.append((f"PE, phase {phase}", "percentage points", bland_altman(errors)))
    labels = {"peak_pe": "peak PE", "ser": "SER", "time_to_peak": "time to peak"}
    rows += [(labels[n], unit, bland_altman(differences(pairs, n)[1])) for n, (_, unit) in _PARAMETERS.items()]
    return [
        BiasRow(quantity, unit, found.n, *map(_defined, (found.bias, found.sd, found.lower, found.upper)))
        for quantity, unit, found in rows
    ]


def _categories(
    patient_of: Sequence[str], named: Sequence[tuple[str, str]], labels: Sequence[str], repeats: int, seed: int
) -> TypeAgreement:
    """Agreement of the categories `named` (real, synthetic) of lesions, with intervals over resampled patients."""
    patients = sorted(set(patient_of))
    place = {patient: n for n, patient in enumerate(patients)}
    counts = np.zeros((len(patients), len(labels), len(labels)), int)
    for patient, (real, synthetic) in zip(patient_of, named, strict=True):
        if real in labels and synthetic in labels:
            counts[place[patient], labels.index(real), labels.index(synthetic)] += 1
    table, rng = counts.sum(axis=0), np.random.default_rng(seed)
    shares, kappas = [], []
    for _ in range(repeats if len(patients) > 1 else 0):
        drawn = counts[rng.integers(0, len(patients), len(patients))].sum(axis=0)
        if drawn.sum():
            shares.append(np.trace(drawn) / drawn.sum())
            kappas.append(cohen_kappa(drawn))
    compared = int(table.sum())
    return TypeAgreement(
        labels=labels,
        confusion=table.tolist(),
        compared=compared,
        same_type=float(np.trace(table) / compared) if compared else None,
        same_type_ci95=percentile_interval(shares, repeats),
        kappa=_defined(cohen_kappa(table)),
        kappa_ci95=percentile_interval(kappas, repeats),
    )


def _type_name(kind: CurveType) -> str:
    return TYPES[kind] if kind < len(TYPES) else NOT_ASSESSED


def _initial(curve: LesionCurve) -> str:
    early = float(curve.parameters.early_pe_percent)
    return initial_word(early) if math.isfinite(early) else NOT_ASSESSED


def _defined(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
