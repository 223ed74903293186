"""Cohen's kappa of two ratings of the same cases, weighted, with a bootstrap over cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from VirtualContrastLib.metrics.bootstrap import Interval, percentile_interval


@dataclass(frozen=True)
class KappaEstimate:
    """Agreement of two ratings of the same cases.

    Attributes:
        kappa: weighted kappa; None where chance alone would agree fully.
        ci95: its percentile bootstrap interval over cases; None where fewer than half of the samples define kappa.
        cases: number of cases.
        confusion: counts [first][second] in the order of the labels.
    """

    kappa: float | None
    ci95: Interval | None
    cases: int
    confusion: Sequence[Sequence[int]]


def confusion(first: Sequence[str], second: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Counts of two ratings of the same cases.

    Args:
        first: Ratings of the cases.
        second: Other ratings of them, in the same order.
        labels: All possible ratings.

    Returns:
        Counts [first, second] in the order of `labels`.
    """
    place = {label: n for n, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), int)
    for a, b in zip(first, second, strict=True):
        table[place[a], place[b]] += 1
    return table


def weighted_kappa(table: np.ndarray, weights: str = "linear") -> float | None:
    """Cohen's kappa of confusion tables [..., n, n]; weights "linear", "quadratic" or "none" (Cohen 1968).

    None where chance alone would agree fully (all ratings in one class).
    """
    value = float(_kappas(np.asarray(table)[None], weights)[0])
    return None if np.isnan(value) else value


def kappa_interval(
    first: Sequence[str],
    second: Sequence[str],
    labels: Sequence[str],
    *,
    weights: str = "linear",
    repeats: int = 2000,
    seed: int = 0,
) -> KappaEstimate:
    """Weighted kappa of paired ratings with a percentile bootstrap interval over cases.

    Args:
        first: Ratings of the cases.
        second: Other ratings of them, in the same order.
        labels: All possible ratings, in order.
        weights: "linear", "quadratic" or "none".
        repeats: Bootstrap samples; those in which kappa is not defined are left out.
        seed: Of the bootstrap.

    Returns:
        Kappa with its interval.
    """
    place = {label: n for n, label in enumerate(labels)}
    codes = np.array([place[a] * len(labels) + place[b] for a, b in zip(first, second, strict=True)])
    rng = np.random.default_rng(seed)
    size = len(labels) ** 2
    counts = np.array([np.bincount(rng.choice(codes, len(codes)), minlength=size) for _ in range(repeats)])
    drawn = _kappas(counts.reshape(repeats, len(labels), len(labels)), weights)
    table = confusion(first, second, labels)
    interval = percentile_interval(drawn, repeats)
    return KappaEstimate(weighted_kappa(table, weights), interval, len(codes), table.tolist())


def _kappas(tables: np.ndarray, weights: str) -> np.ndarray:
    """Kappa of every table [m, n, n]; NaN where it is not defined."""
    if weights not in ("linear", "quadratic", "none"):
        raise ValueError(f"weights must be linear, quadratic or none, got {weights}")
    n = tables.shape[-1]
    distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n))).astype(float)
    cost = {"linear": distance, "quadratic": distance**2, "none": (distance > 0).astype(float)}[weights]
    total = tables.sum(axis=(1, 2)).astype(float)
    chance = tables.sum(axis=2)[:, :, None] * tables.sum(axis=1)[:, None, :] / total[:, None, None]
    expected = (cost * chance).sum(axis=(1, 2))
    return np.asarray(1 - (cost * tables).sum(axis=(1, 2)) / np.where(expected == 0, np.nan, expected))
