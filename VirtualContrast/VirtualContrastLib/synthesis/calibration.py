"""From what the network predicts to what is shown, and how sure one may be of it: pure functions.

Where the network is not sure that a pixel enhances, little is shown: a share of what 70 of 100 such pixels exceed, and
a hint that rises with the probability, up to what is plausible, so that the eye is led to where a lesion may be. Where
the network is sure, its median prediction is shown, magnified to make up for what a median misses of strong
enhancement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..networks.residual_enhancement import careful, enhancing_logit, quantile

if TYPE_CHECKING:
    from ..models.calibration import Calibration, Display

MEDIAN, LOW, HIGH = 0.5, 0.1, 0.9
_QUIET, _PLAUSIBLE = 0.3, 0.7


@dataclass(frozen=True)
class Enhancement:
    """Enhancement of one phase over the study's scale, [slice, row, column].

    The means of `lower` and `upper` over a lesion bound its real mean enhancement in as many patients as the
    calibration says.

    Attributes:
        shown: What the synthetic phase adds.
        lower: Lower bound.
        upper: Upper bound.
        probability: Probability, 0 to 1, of more than 70 % enhancement.
    """

    shown: Tensor
    lower: Tensor
    upper: Tensor
    probability: Tensor


def enhancement(heads: Tensor, phase: int, calibration: Calibration | None) -> Enhancement:
    """Enhancement of a phase, to show and in bounds.

    Args:
        heads: Output of the network [slice, channel, row, column].
        phase: 0 (early) or 1 (late).
        calibration: Measured on cases outside the training; without it the careful prediction is shown as it is,
            between the network's own quantiles.

    Returns:
        The enhancement over q, each part [slice, row, column].
    """
    median = quantile(heads, phase, MEDIAN)
    factor = calibration.bands[phase].factor if calibration else 1.0
    return Enhancement(
        shown=shown(heads, phase, calibration.display[phase]) if calibration else careful(heads, phase),
        lower=lower_bound(heads, phase, factor),
        upper=median + factor * (quantile(heads, phase, HIGH) - median).clamp(min=0),
        probability=enhancing_probability(heads, phase),
    )


def lower_bound(heads: Tensor, phase: int, factor: float) -> Tensor:
    """Lower conformal bound of the enhancement; its mean over a lesion counts.

    Args:
        heads: Output of the network [slice, channel, row, column].
        phase: 0 (early) or 1 (late).
        factor: Conformal factor by which the network's own band is stretched.

    Returns:
        The bound over q [slice, row, column].
    """
    median = quantile(heads, phase, MEDIAN)
    return median - factor * (median - quantile(heads, phase, LOW)).clamp(min=0)


def shown(heads: Tensor, phase: int, display: Display) -> Tensor:
    """Enhancement to show.

    Args:
        heads: Output of the network [slice, channel, row, column].
        phase: 0 (early) or 1 (late).
        display: Calibrated weights of background, hint and lesion.

    Returns:
        The enhancement over q [slice, row, column].
    """
    probability = enhancing_probability(heads, phase)
    hint = torch.minimum(display.hint * probability, quantile(heads, phase, _PLAUSIBLE).clamp(min=0))
    quiet = display.background * quantile(heads, phase, _QUIET) + hint
    sure = torch.sigmoid((enhancing_logit(heads, phase) - display.threshold) / display.softness)
    return quiet + sure * (display.lesion * quantile(heads, phase, MEDIAN) - quiet).clamp(min=0)


def enhancing_probability(heads: Tensor, phase: int) -> Tensor:
    """How sure the network is that a pixel enhances by more than 70 % [slice, row, column], 0..1.

    It is the probability where as many pixels enhance as do not.
    """
    return torch.sigmoid(enhancing_logit(heads, phase))


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
    """The factor by which a band about the median has to be stretched to reach the real value.

    Args:
        real: Measured value.
        low: Lower end of the band.
        median: Median of the band.
        high: Upper end of the band.

    Returns:
        The factor, without unit, at least 0.
    """
    distance = high - median if real >= median else median - low
    return abs(real - median) / max(distance, 1e-6)
