"""Streaming means with confidence intervals by patient: slices of one patient are not independent samples."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from VirtualContrastLib.metrics.bootstrap import Interval, percentile_interval


@dataclass(frozen=True)
class Summary:
    """A statistic over samples with its interval by patient.

    Attributes:
        mean: over the samples.
        std: their population standard deviation.
        ci95: percentile bootstrap interval over patients; None where there is only one patient.
        n: number of samples.
        patients: number of patients.
    """

    mean: float
    std: float
    ci95: Interval | None
    n: int
    patients: int


@dataclass
class PatientSums:
    """Count, sum and sum of squares per patient: memory grows with patients, not with slices."""

    _sums: dict[Hashable, np.ndarray] = field(default_factory=dict)

    def add(self, patient: Hashable, value: float) -> None:
        """Add one finite sample of one patient; raises ValueError for NaN and infinity."""
        if not math.isfinite(value):
            raise ValueError(f"a sample must be finite, got {value}")
        sums = self._sums.setdefault(patient, np.zeros(3))
        sums += (1.0, value, value * value)

    def by_group(self, group_of: Mapping[str, str]) -> dict[str, PatientSums]:
        """The sums of each group's patients; patients without a group are left out."""
        parts: dict[str, PatientSums] = {}
        for patient, sums in self._sums.items():
            if str(patient) in group_of:
                parts.setdefault(group_of[str(patient)], PatientSums())._sums[patient] = sums
        return parts

    def table(self, group_of: Mapping[str, str]) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
        """Counts, sums and groups of the patients that have a group, all in one order."""
        known = [(sums, group_of[str(patient)]) for patient, sums in self._sums.items() if str(patient) in group_of]
        counts, totals = np.array([sums[:2] for sums, _ in known]).reshape(-1, 2).T
        return counts, totals, [group for _, group in known]

    def summary(self, *, repeats: int = 1000, seed: int = 0) -> Summary | None:
        """Summary of what was added. The statistic is the mean over all samples of the patients.

        Args:
            repeats: Bootstrap samples, each of whole patients with replacement.
            seed: Of the bootstrap.

        Returns:
            Mean, standard deviation, interval and counts; None when nothing was added.
        """
        if not self._sums:
            return None
        table = np.array(list(self._sums.values()))
        n, total, squares = table.sum(axis=0)
        mean = total / n
        std = math.sqrt(max(squares / n - mean * mean, 0.0))
        interval = None
        if len(table) > 1:
            interval = percentile_interval(
                resampled_means(table[:, 0], table[:, 1], repeats, np.random.default_rng(seed))
            )
        return Summary(float(mean), std, interval, int(n), len(table))


def resampled_means(counts: np.ndarray, sums: np.ndarray, repeats: int, rng: np.random.Generator) -> np.ndarray:
    """Means of samples of patients with replacement, drawn in blocks so that memory stays small.

    Args:
        counts: Samples of each patient.
        sums: Sum of the samples of each patient.
        repeats: How often patients are drawn.
        rng: Draws them.

    Returns:
        The means [repeats].
    """
    patients = len(counts)
    means = np.empty(repeats)
    for start in range(0, repeats, 100):
        drawn = rng.integers(0, patients, size=(min(100, repeats - start), patients))
        means[start : start + len(drawn)] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return means
