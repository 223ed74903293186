"""The one interval of all bootstraps: between the 2.5th and the 97.5th percentile of what the resamples gave."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

Interval = tuple[float, float]
"""Lower and upper end."""


def percentile_interval(values: ArrayLike, repeats: int = 0) -> Interval | None:
    """The 95 % percentile interval of a statistic over resamples.

    Args:
        values: The statistic of each resample (n,); those that are not finite were not defined and are left out.
        repeats: Resamples drawn, where undefined ones may be missing from `values` already.

    Returns:
        The interval; None where no value is finite, or fewer than half of `repeats` are.
    """
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not known.size or 2 * known.size < repeats:
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
