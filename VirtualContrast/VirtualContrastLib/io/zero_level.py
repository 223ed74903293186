"""Where the gray values of an MR volume begin: at 0 for a magnitude image, whatever padding and resampling left below.

A magnitude has no negative values, yet files hold them: padding (-1024, -2000, one dead voxel), undershoot of a spline,
and storage shifted as a whole. Only the last one moves the level of air.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from .volumes import like

_STRAY_SHARE = 0.1
"""Fewer negative voxels than this are remains of padding and resampling; shifted air is more of a volume."""
_UNDERSHOOT = 0.05
"""Negative values of less than this part of the bright tissue are ringing or noise about 0."""
_ISOLATED = 0.5
"""A lowest value is an outlier where the next one is further up than this part of the bright tissue."""
_REPEATED = 4
"""A lowest value is padding where it comes this many times as often as all other negative ones together."""
_PEELS = 3
_GAP_SHARE = 0.05
"""A spline leaves fewer voxels than this between smeared padding and the air, of those that are no padding."""
_AIR_SHARE = 0.1
"""Air at 0 is at least this part of what is no padding, within a twentieth of the bright tissue."""


def zero_level(values: NDArray[Any]) -> float:
    """The gray value of no signal, in the units of `values` (any shape, finite): 0, or less where storage was shifted.

    Padding and single outliers below it do not count: of the negative values a lowest one is left out (up to three
    times) that stands far from the rest or is repeated more often than the others together. What is left means a shift
    only where it is a tenth of all voxels or more, reaches deeper than a twentieth of the bright tissue (99th
    percentile) and is no smeared padding; the level is then its minimum.
    """
    negative = values[values < 0]
    if not negative.size:
        return 0.0
    bright = float(np.percentile(values, 99))
    scale = abs(bright) or 1.0
    for _ in range(_PEELS):
        lowest = negative.min()
        above = negative[negative > lowest]
        if not above.size:
            break
        repeated = negative.size - above.size >= _REPEATED * above.size
        if not repeated and float(above.min()) - float(lowest) <= _ISOLATED * scale:
            break
        negative = above
    single = negative.min() == negative.max()
    stray = negative.size < _STRAY_SHARE * values.size
    if bright > 0 and (single or stray or _smeared_padding(values, negative, bright)):
        return 0.0
    if bright > 0 and float(np.percentile(negative, 1)) >= -_UNDERSHOOT * scale:
        return 0.0
    return float(negative.min())


def _smeared_padding(values: NDArray[Any], negative: NDArray[Any], bright: float) -> bool:
    """Whether the negative values are padding that a spline gave many values: a heap far below the air, which is at 0.

    Air that was shifted has nothing at 0 but some tissue, and tissue of all brightness above it.
    """
    heap = 0.8 * float(np.percentile(negative, 1))
    rest = values[values > heap]
    between = int(np.count_nonzero(rest < -0.1 * bright))
    air = int(np.count_nonzero(np.abs(rest) < 0.05 * bright))
    return heap < -0.1 * bright and between < _GAP_SHARE * rest.size and air > _AIR_SHARE * rest.size


def without_values_below_zero(image: sitk.Image) -> tuple[sitk.Image, int]:
    """The image with every voxel below its zero level set to that level, and how many those were.

    The data type stays. An image without such voxels is given back as it is.
    """
    values = sitk.GetArrayViewFromImage(image)
    if values.dtype.kind == "u" or values.min() >= 0:
        return image, 0
    level = zero_level(values)
    below = values < level
    count = int(below.sum())
    if not count:
        return image, 0
    return like(np.where(below, np.asarray(level, values.dtype), values), image), count
