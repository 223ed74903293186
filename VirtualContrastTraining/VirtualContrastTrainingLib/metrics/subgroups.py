"""Scores of subgroups of patients and the gaps between them, with bootstrap intervals by patient.

The largest gap between groups is never negative and grows with the number of groups, so its interval says little about
whether there is one. `gap_p` does: the share of random regroupings of the patients that show a gap as large.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from VirtualContrastLib.metrics.bootstrap import Interval, percentile_interval

from .bootstrap import PatientSums, resampled_means

FEWEST_PATIENTS = 3
"""Groups of fewer patients are shown and take no part in the gap."""
DEFINITIONS = {
    "minus_rest": "mean of the group minus mean of all other patients, ci95 a bootstrap over the patients of both",
    "gap": f"largest minus smallest mean of the groups with {FEWEST_PATIENTS} patients or more; 0 and up",
    "gap_p": "share of random regroupings of the patients with a gap as large; small where chance does not explain it",
}

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GroupScore:
    """One measure in one group of patients.

    Attributes:
        mean: over the samples of the group.
        std: their population standard deviation.
        ci95: interval of the mean by patient; None for one patient.
        n: number of samples.
        patients: number of patients.
        minus_rest: mean of the group minus mean of all other patients; None where there are none.
        minus_rest_ci95: its interval; None where a side has one patient.
    """

    mean: float
    std: float
    ci95: Interval | None
    n: int
    patients: int
    minus_rest: float | None
    minus_rest_ci95: Interval | None


@dataclass(frozen=True)
class GroupComparison:
    """One measure by group, and the largest gap between groups; what too few patients cannot tell is None.

    Attributes:
        groups: score by group.
        gap: largest minus smallest mean of the groups with enough patients.
        gap_ci95: its interval.
        gap_p: share of random regroupings with a gap as large.
    """

    groups: Mapping[str, GroupScore]
    gap: float | None = None
    gap_ci95: Interval | None = None
    gap_p: float | None = None


Scores = Mapping[str, Mapping[str, GroupComparison]]
"""Comparison by group of measures ("true", "true_in_lesion" ...) and metric."""


def compare_groups(
    sums: PatientSums, group_of: Mapping[str, str], *, repeats: int = 1000, seed: int = 0
) -> GroupComparison:
    """Summaries by group, differences to the rest, and the largest gap of one measure.

    Args:
        sums: the measure, by patient; patients without a group are left out.
        group_of: group by patient.
        repeats: bootstrap samples, and random regroupings.
        seed: of both.

    Returns:
        The groups in alphabetical order, and their gap.
    """
    counts, totals, values = sums.table(group_of)
    names = sorted(set(values))
    rng = np.random.default_rng(seed)
    groups, draws = {}, {}
    for name, part in sums.by_group(group_of).items():
        inside = np.array([value == name for value in values])
        summary = part.summary(repeats=repeats, seed=seed)
        assert summary is not None
        groups[name] = GroupScore(**vars(summary), **_minus_rest(counts, totals, inside, repeats, rng))
        if inside.sum() >= FEWEST_PATIENTS:
            draws[name] = resampled_means(counts[inside], totals[inside], repeats, rng)
    ordered = {name: groups[name] for name in names}
    if len(draws) < 2:
        return GroupComparison(ordered)
    kept = np.array([value in draws for value in values])
    index = np.array([sorted(draws).index(value) for value in values if value in draws])
    gap = _gap(counts[kept], totals[kept], index)
    spread = np.ptp(np.stack(list(draws.values())), axis=0)
    chance = [_gap(counts[kept], totals[kept], rng.permutation(index)) for _ in range(repeats)]
    p = float((1 + np.count_nonzero(np.array(chance) >= gap * (1 - 1e-12))) / (repeats + 1))
    return GroupComparison(ordered, gap, percentile_interval(spread), p)


class _MinusRest(TypedDict):
    minus_rest: float | None
    minus_rest_ci95: Interval | None


def _minus_rest(
    counts: Array, totals: Array, inside: NDArray[np.bool_], repeats: int, rng: np.random.Generator
) -> _MinusRest:
    """The difference to all other patients; without an interval where a side has one patient, None without others."""
    if inside.all():
        return {"minus_rest": None, "minus_rest_ci95": None}
    sides = [(counts[side], totals[side]) for side in (inside, ~inside)]
    means = [float(total.sum() / count.sum()) for count, total in sides]
    interval = None
    if min(len(count) for count, _ in sides) > 1:
        interval = percentile_interval(np.subtract(*(resampled_means(*side, repeats, rng) for side in sides)))
    return {"minus_rest": means[0] - means[1], "minus_rest_ci95": interval}


def _gap(counts: Array, totals: Array, index: NDArray[np.intp]) -> float:
    """Largest minus smallest mean over samples of the groups numbered by `index`."""
    return float(np.ptp(np.bincount(index, totals) / np.bincount(index, counts)))
