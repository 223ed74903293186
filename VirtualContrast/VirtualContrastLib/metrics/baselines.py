"""What a model has to beat: no change, one factor, and a table of enhancement by pre-contrast intensity.

Gain and table are fitted on the training patients and travel in the model's card, so that every later evaluation
compares with the same numbers. Both know nothing of where a lesion is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .tissue import scale_of, tissue_of

IDENTITY, GAIN, TABLE = "identity", "gain", "intensity table"

Array = NDArray[Any]


@dataclass(frozen=True)
class Baselines:
    """Fitted baselines of one phase.

    Attributes:
        gain: Factor on the pre-contrast signal.
        signals: Pre-contrast signals over the study's scale q.
        enhancements: Mean enhancement at each of them, over q; linear in between, constant beyond the ends.
    """

    gain: float
    signals: Sequence[float]
    enhancements: Sequence[float]

    def apply(self, name: str, pre: Array) -> NDArray[np.float64]:
        """The phase that the baseline `name` makes of the slices `pre` of one patient."""
        pre = np.asarray(pre, np.float64)
        if name == IDENTITY:
            return pre
        if name == GAIN:
            return pre * self.gain
        scale = scale_of(pre)
        return np.asarray(pre + scale * np.interp(pre / scale, self.signals, self.enhancements))


def fit_baselines(patients: Sequence[tuple[Array, Array]], bins: int = 32) -> Baselines:
    """Baselines of training patients, each (pre, post) slices in the same units; every patient counts alike.

    The gain minimizes the mean over patients of the mean absolute error over tissue, to 0.01. The table has `bins`
    signals at equal shares of tissue pixels.
    """
    gains = np.arange(0.8, 2.5, 0.01)
    errors = np.zeros_like(gains)
    signals, changes, weights = [], [], []
    for pre, post in patients:
        tissue, scale = tissue_of(pre), scale_of(pre)
        x, y = np.asarray(pre[tissue], np.float64), np.asarray(post[tissue], np.float64)
        errors += [float(np.abs(y - gain * x).mean()) for gain in gains]
        signals.append(x / scale)
        changes.append((y - x) / scale)
        weights.append(np.full(x.size, 1 / x.size))
    signal, change, weight = (np.concatenate(parts) for parts in (signals, changes, weights))
    edges = np.quantile(signal, np.linspace(0, 1, bins + 1))
    place = np.clip(np.searchsorted(edges, signal, side="right") - 1, 0, bins - 1)
    total = np.bincount(place, weight, minlength=bins)
    there = total > 0
    return Baselines(
        gain=round(float(gains[errors.argmin()]), 2),
        signals=_mean(place, weight * signal, total, there),
        enhancements=_mean(place, weight * change, total, there),
    )


def _mean(place: Array, values: Array, total: Array, there: NDArray[np.bool_]) -> list[float]:
    sums = np.bincount(place, values, minlength=total.size)
    return [round(float(value), 4) for value in sums[there] / total[there]]
