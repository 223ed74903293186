"""From what the network predicts to what is shown, and how sure one may be of it: pure functions.

Shown is background x careful + p x (lesion x median - background x careful), with p the probability that the pixel
enhances (the logistic function of its logit less a threshold) and no lift below the careful value. Where the network
doubts, only the shrunk careful prediction is left, so that tissue that does not enhance is hardly brightened.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..models.calibration import Display
from ..networks.residual_enhancement import careful, enhancing_logit, quantile

if TYPE_CHECKING:
    from ..models.calibration import Calibration

MEDIAN, LOW, HIGH = 0.5, 0.1, 0.9
_PLAIN = Display(background=1.0, lesion=0.0, threshold=0.0)


@dataclass(frozen=True)
class Enhancement:
    """Enhancement of one phase over the study's scale, [slice, row, column].

    `shown` is what the synthetic phase adds; means of `lower` and `upper` over a lesion bound its real mean
    enhancement in as many patients as the calibration says. `probability` of more than 70 % enhancement: 0..1.
    """

    shown: Tensor
    lower: Tensor
    upper: Tensor
    probability: Tensor


def enhancement(heads: Tensor, phase: int, calibration: Calibration | None) -> Enhancement:
    """Enhancement of `phase` (0 early, 1 late) from the network's `heads` [slice, channel, row, column].

    Without a calibration the careful prediction is shown as it is, between the network's own quantiles.
    """
    median = quantile(heads, phase, MEDIAN)
    factor = calibration.bands[phase].factor if calibration else 1.0
    display = calibration.display[phase] if calibration else _PLAIN
    return Enhancement(
        shown=shown(heads, phase, display),
        lower=median - factor * (median - quantile(heads, phase, LOW)).clamp(min=0),
        upper=median + factor * (quantile(heads, phase, HIGH) - median).clamp(min=0),
        probability=enhancing_probability(heads, phase, display),
    )


def shown(heads: Tensor, phase: int, display: Display) -> Tensor:
    """Enhancement to show [slice, row, column]."""
    quiet = display.background * careful(heads, phase)
    sure = enhancing_probability(heads, phase, display)
    return quiet + sure * (display.lesion * quantile(heads, phase, MEDIAN) - quiet).clamp(min=0)


def enhancing_probability(heads: Tensor, phase: int, display: Display) -> Tensor:
    """How sure the network is that a pixel enhances by more than 70 % [slice, row, column], 0..1."""
    return torch.sigmoid(enhancing_logit(heads, phase) - display.threshold)


def conformal_factor(scores: Sequence[float], coverage: float) -> float:
    """The factor that bands need to hold for a new exchangeable case with probability `coverage`.

    `scores` are the factors that each calibration case would have needed. The split-conformal quantile: the
    ceil((n + 1) coverage)-th smallest. Raises ValueError where there are too few cases for that.
    """
    rank = math.ceil((len(scores) + 1) * coverage)
    if rank > len(scores):
        raise ValueError(f"{len(scores)} cases are too few for bands that hold in {100 * coverage:g} %")
    return float(np.sort(np.asarray(scores))[rank - 1])


def needed_factor(real: float, low: float, median: float, high: float) -> float:
    """The factor by which a band from `low` to `high` about `median` has to be stretched to reach `real`."""
    distance = high - median if real >= median else median - low
    return abs(real - median) / max(distance, 1e-6)
