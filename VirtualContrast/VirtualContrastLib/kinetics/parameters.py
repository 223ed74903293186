"""Arithmetic of enhancement curves on numpy arrays; no images, no files.

Every function takes signals shaped (..., T), with time along the last axis and the pre-contrast phase first,
and `times_s` shaped (T,): seconds after injection, 0 for the pre-contrast phase, strictly rising. Any number
of leading axes (voxels, lesions) is worked on at once. Values that are not defined are NaN and never raise.

Sources. Percent enhancement, signal enhancement ratio: Hylton et al., Radiology 263 (2012) 663, and the I-SPY
2 practice of one early phase about 2.5 min and one late phase about 7.5 min after injection. Curve types:
Kuhl et al., Radiology 211 (1999) 101, with the +-10 % band that ACR BI-RADS and commercial workstations use
for the late phase.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..events import InputError

Array = NDArray[np.float64]

INITIAL_WORDS = ("slow", "medium", "fast")
"""BI-RADS words of the initial phase, in order."""
SLOW_PERCENT, FAST_PERCENT = 50.0, 100.0
"""Initial enhancement is slow below the first and fast above the second (ACR BI-RADS Atlas, 5th edition, MRI)."""

# Enhancement below this fraction of the baseline is noise; a ratio with it in the denominator has no meaning.
NEGLIGIBLE_ENHANCEMENT = 0.01


class CurveType(enum.IntEnum):
    """Kuhl's curve type; the numbers are the voxel values of type maps.

    Attributes:
        NO_ENHANCEMENT: Peak enhancement below the rule's minimum, so no type is given.
        PERSISTENT: Type I.
        PLATEAU: Type II.
        WASHOUT: Type III.
        UNASSESSED: No phase was acquired late enough, or the signal cannot be used.
    """

    NO_ENHANCEMENT = 0
    PERSISTENT = 1
    PLATEAU = 2
    WASHOUT = 3
    UNASSESSED = 4


@dataclass(frozen=True)
class CurveRules:
    """What decides the early phase, the late phase and the curve type.

    Attributes:
        early_s: The early phase is the one nearest to this time (I-SPY 2), see `early_and_late`.
        late_s: The late phase is the one nearest to this time.
        early_limit_s: End of Kuhl's early period, the first 3 minutes. Curve type and wash-in rest on the highest
            signal in it, the early maximum, which each curve has at a phase of its own.
        plateau_percent: A late signal within +- this many percent of the early maximum is a plateau.
        minimum_pe_percent: Peak enhancement under which no type is given. 50 % is where BI-RADS lets "medium" initial
            enhancement begin and the lowest threshold of commercial workstations (50, 80, 100 %). The peak over all
            phases counts, so that slowly but persistently enhancing tissue keeps its type.
    """

    early_s: float = 150.0
    late_s: float = 450.0
    early_limit_s: float = 180.0
    plateau_percent: float = 10.0
    minimum_pe_percent: float = 50.0


@dataclass(frozen=True)
class CurveParameters:
    """Parameters of curves; every field has the leading shape of the signals (0-d for one curve).

    Attributes:
        early_pe_percent: PE of the early phase, see `early_and_late`.
        peak_pe_percent: The highest PE after injection.
        time_to_peak_s: When it is first reached.
        wash_in_percent_per_min: PE of the early maximum divided by minutes since injection.
        wash_out_percent_per_min: Slope of PE from the peak to the last phase, <= 0, and 0 where the peak is the last
            phase.
        late_change_percent: Change of signal from the early maximum to the last phase, in percent of the early
            maximum; the type rests on it.
        ser: Signal enhancement ratio, without unit.
        auc_percent_min: Area under PE from injection to the last phase.
        initial_auc_percent_min: Area under PE from injection to `early_limit_s`.
        curve_type: CurveType, uint8.
    """

    early_pe_percent: Array
    peak_pe_percent: Array
    time_to_peak_s: Array
    wash_in_percent_per_min: Array
    wash_out_percent_per_min: Array
    late_change_percent: Array
    ser: Array
    auc_percent_min: Array
    initial_auc_percent_min: Array
    curve_type: NDArray[np.uint8]


def check_times(times_s: Sequence[float | None]) -> Array:
    """The times as an array; raises InputError unless all are known, the first is 0, and they rise."""
    if len(times_s) < 2:
        raise InputError("A curve needs the pre-contrast phase and at least one post-contrast phase.")
    if any(time is None for time in times_s):
        raise InputError("The acquisition time of a phase is unknown; give the times in seconds after injection.")
    times = np.asarray(times_s, dtype=np.float64)
    if not np.isfinite(times).all() or times[0] != 0 or (np.diff(times) <= 0).any():
        given = ", ".join(f"{time:g}" for time in times)
        raise InputError(f"Phase times must start at 0 s and rise from phase to phase, but they are {given} s.")
    return times


def initial_word(early_pe_percent: float) -> str:
    """The word of `INITIAL_WORDS` for an early enhancement in percent."""
    if early_pe_percent < SLOW_PERCENT:
        return INITIAL_WORDS[0]
    return INITIAL_WORDS[1 if early_pe_percent <= FAST_PERCENT else 2]


def percent_enhancement(signals: ArrayLike) -> Array:
    """PE(t) = 100 (S(t) - S0) / S0 in percent, shaped as `signals`; NaN where the baseline S0 is not > 0."""
    values = np.asarray(signals, dtype=np.float64)
    baseline = values[..., :1]
    usable = np.where(baseline > 0, baseline, np.nan)
    return 100.0 * (values - usable) / usable


def early_and_late(times_s: ArrayLike, rules: CurveRules | None = None) -> tuple[int, int | None]:
    """Indices of the early and the late phase; the one rule for outlines, early PE, hot spot, SER, FTV and the report.

    The early phase is the post-contrast phase nearest to 150 s after injection, the earlier of two equally near ones.
    The late phase is the one nearest to 450 s among those after the early one; None where there is none.
    """
    rules = rules or CurveRules()
    times = np.asarray(times_s, dtype=np.float64)
    early = 1 + int(np.abs(times[1:] - rules.early_s).argmin())
    if early + 1 == len(times):
        return early, None
    return early, early + 1 + int(np.abs(times[early + 1 :] - rules.late_s).argmin())


def signal_enhancement_ratio(signals: ArrayLike, times_s: ArrayLike, rules: CurveRules | None = None) -> Array:
    """SER = (S_early - S0) / (S_late - S0).

    Args:
        signals: Signals shaped (..., T), the pre-contrast phase first.
        times_s: The T times after injection, in seconds; that of the pre-contrast phase is 0.
        rules: Which phases are the early and the late one; None for the defaults.

    Returns:
        SER, without unit, shaped as the leading axes. NaN where the late enhancement is within 1 % of the baseline,
        where the baseline is not positive, or where there is no phase after the early one.
    """
    values = np.asarray(signals, dtype=np.float64)
    early, late = early_and_late(times_s, rules)
    if late is None:
        return np.full_like(values[..., 0], np.nan)
    return enhancement_ratio(values[..., 0], values[..., early], values[..., late])


def enhancement_ratio(baseline: ArrayLike, early: ArrayLike, late: ArrayLike) -> Array:
    """SER of signals of one shape before contrast, early and late; NaN as `signal_enhancement_ratio` says.

    Args:
        baseline: Signal before contrast.
        early: Signal of the early phase.
        late: Signal of the late phase.

    Returns:
        SER, without unit.
    """
    before, first, last = (np.asarray(signal, dtype=np.float64) for signal in (baseline, early, late))
    denominator = last - before
    usable = (np.abs(denominator) > NEGLIGIBLE_ENHANCEMENT * before) & (before > 0)
    return np.asarray((first - before) / np.where(usable, denominator, np.nan))


def enhancement_area(pe_percent: ArrayLike, times_s: ArrayLike, until_s: float | None = None) -> Array:
    """Area under the percent enhancement (PE) from injection, by the trapezoid rule.

    Args:
        pe_percent: PE shaped (..., T), in percent.
        times_s: The T times after injection, in seconds.
        until_s: End of the area in seconds, where PE is interpolated linearly; None for the last phase.

    Returns:
        The area in % * min, shaped as the leading axes; NaN where the series ends before `until_s`.
    """
    times = np.asarray(times_s, dtype=np.float64)
    pe = np.asarray(pe_percent, dtype=np.float64)
    end = times[-1] if until_s is None else float(until_s)
    if end > times[-1]:
        return np.full(pe.shape[:-1], np.nan)
    width = np.diff(times)
    covered = np.clip(end - times[:-1], 0, width)
    right = pe[..., :-1] + (pe[..., 1:] - pe[..., :-1]) * (covered / width)
    return (covered * (pe[..., :-1] + right) / 2).sum(axis=-1) / 60.0


def early_maximum(signals: ArrayLike, times_s: ArrayLike, rules: CurveRules | None = None) -> NDArray[np.intp]:
    """Index of the highest signal among the early post-contrast phases.

    Args:
        signals: Signals shaped (..., T), the pre-contrast phase first.
        times_s: The T times after injection, in seconds.
        rules: Phases up to its `early_limit_s` are early; None for the defaults.

    Returns:
        The index on the last axis, shaped as the leading axes; 1 where no phase is early.
    """
    rules = rules or CurveRules()
    values = np.asarray(signals, dtype=np.float64)
    count = max(1, int((np.asarray(times_s)[1:] <= rules.early_limit_s).sum()))
    return 1 + np.nan_to_num(values[..., 1 : 1 + count], nan=-np.inf).argmax(axis=-1)


def late_change(signals: ArrayLike, times_s: ArrayLike, rules: CurveRules | None = None) -> Array:
    """Change from the early maximum to the last phase, 100 (S_last - S_early maximum) / S_early maximum.

    Args:
        signals: Signals shaped (..., T), the pre-contrast phase first.
        times_s: The T times after injection, in seconds.
        rules: Up to when a phase is early; None for the defaults.

    Returns:
        The change in percent, shaped as the leading axes; NaN where the early maximum is not positive.
    """
    values = np.asarray(signals, dtype=np.float64)
    early = _at(values, early_maximum(values, times_s, rules))
    return 100.0 * (values[..., -1] - early) / np.where(early > 0, early, np.nan)


def curve_type(signals: ArrayLike, times_s: ArrayLike, rules: CurveRules | None = None) -> NDArray[np.uint8]:
    """Curve type by the change from the early maximum to the last phase.

    A late signal above the early maximum by more than `plateau_percent` is persistent (type I), below it by more than
    that washout (III), in between plateau (II).

    Args:
        signals: Signals shaped (..., T), the pre-contrast phase first.
        times_s: The T times after injection, in seconds.
        rules: The limits; None for the defaults.

    Returns:
        CurveType per curve, uint8, shaped as the leading axes. UNASSESSED where the last phase is not later than
        `early_limit_s` or is the only post-contrast phase, or where a value is not finite.
    """
    rules = rules or CurveRules()
    values = np.asarray(signals, dtype=np.float64)
    times = np.asarray(times_s, dtype=np.float64)
    pe = percent_enhancement(values)
    change = late_change(values, times, rules)
    kinds = np.full(values.shape[:-1], CurveType.PLATEAU, dtype=np.uint8)
    kinds = np.where(change > rules.plateau_percent, CurveType.PERSISTENT, kinds)
    kinds = np.where(change < -rules.plateau_percent, CurveType.WASHOUT, kinds)
    kinds = np.where(pe[..., 1:].max(axis=-1) < rules.minimum_pe_percent, CurveType.NO_ENHANCEMENT, kinds)
    assessable = len(times) > 2 and times[-1] > rules.early_limit_s
    unusable = ~(np.isfinite(pe).all(axis=-1) & np.isfinite(change) & assessable)
    return np.where(unusable, CurveType.UNASSESSED, kinds).astype(np.uint8)


def curve_parameters(
    signals: ArrayLike, times_s: Sequence[float | None] | Array, rules: CurveRules | None = None
) -> CurveParameters:
    """All parameters of curves.

    Args:
        signals: Signals shaped (..., T), the pre-contrast phase first.
        times_s: The T times after injection, in seconds.
        rules: Times and tolerances by which curves are classified; None for the defaults.

    Returns:
        The parameters, each shaped as the leading axes of `signals`.

    Raises:
        InputError: A time is unknown, or the times do not rise.
        ValueError: There are not as many times as signals.
    """
    rules = rules or CurveRules()
    times = check_times(list(times_s))
    values = np.asarray(signals, dtype=np.float64)
    if values.shape[-1] != len(times):
        raise ValueError(f"{values.shape[-1]} signals but {len(times)} times")
    pe = percent_enhancement(values)
    undefined = np.isnan(pe).any(axis=-1)
    early = early_maximum(values, times, rules)
    peak = 1 + np.nan_to_num(pe[..., 1:], nan=-np.inf).argmax(axis=-1)
    return CurveParameters(
        early_pe_percent=pe[..., early_and_late(times, rules)[0]],
        peak_pe_percent=np.where(undefined, np.nan, _at(pe, peak)),
        time_to_peak_s=np.where(undefined, np.nan, times[peak]),
        wash_in_percent_per_min=_at(pe, early) / (times[early] / 60.0),
        wash_out_percent_per_min=_wash_out(pe, times, peak),
        late_change_percent=late_change(values, times, rules),
        ser=signal_enhancement_ratio(values, times, rules),
        auc_percent_min=enhancement_area(pe, times),
        initial_auc_percent_min=enhancement_area(pe, times, rules.early_limit_s),
        curve_type=curve_type(values, times, rules),
    )


def _wash_out(pe: Array, times: Array, peak: NDArray[np.intp]) -> Array:
    """Slope of PE from the peak to the last phase, % per minute; 0 where the peak is the last phase."""
    minutes = (times[-1] - times[peak]) / 60.0
    fall = pe[..., -1] - _at(pe, peak)
    return np.where(minutes > 0, fall / np.where(minutes > 0, minutes, 1.0), fall)


def _at(values: Array, index: NDArray[np.intp]) -> Array:
    """values[..., index] with one index per curve."""
    return np.take_along_axis(values, np.asarray(index)[..., None], axis=-1)[..., 0]
