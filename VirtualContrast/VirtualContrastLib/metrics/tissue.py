"""Which pixels of a pre-contrast study are tissue, and the one scale of the study that enhancement is measured in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..events import InputError

FLOOR, TOP_PERCENTILE, SCALE_PERCENTILE = 0.08, 99.5, 90.0


def tissue_of(pre: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels of `pre` (any shape) above 8 % of its 99.5th percentile: all but air and noise."""
    return np.asarray(pre > FLOOR * np.percentile(pre, TOP_PERCENTILE))


def scale_of(pre: NDArray[Any]) -> float:
    """The scale q of a study: the 90th percentile of its tissue, in the units of `pre`.

    Raises InputError where nothing is brighter than zero.
    """
    tissue = tissue_of(pre)
    scale = float(np.percentile(pre[tissue], SCALE_PERCENTILE)) if tissue.any() else 0.0
    if not np.isfinite(scale) or scale <= 0:
        raise InputError("The pre-contrast volume shows no tissue: it has no signal above zero.")
    return scale
