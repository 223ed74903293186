"""The slices that show a tumor, with a margin: what the joint model of Osuala et al. 2025 learns and is measured on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PUBLISHED_MARGIN = 0.05


def tumor_slices(mask: NDArray[Any], margin: float) -> NDArray[np.int64]:
    """Indices from the first to the last slice of `mask` [k, j, i] that is not empty, and `margin` more on either side.

    `margin` is a share of all slices of the volume, rounded to whole slices. None for an empty mask.
    """
    found = np.flatnonzero(mask.any(axis=(1, 2)))
    if not len(found):
        return np.array([], np.int64)
    wide = round(margin * len(mask))
    return np.arange(max(int(found[0]) - wide, 0), min(int(found[-1]) + wide, len(mask) - 1) + 1)
