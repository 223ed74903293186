"""Volumes on a scale of their own, 0..255 by minimum and maximum, as the published models know and make them.

What such a model makes has the scale of the real phase that it stands for, which nobody knows without that phase
(`arbitrary_units` of the manifest). It is compared on that scale: every acquired volume is brought to it here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..io.volumes import like, to_array
from ..study import Phase

TOP = 255.0


def on_own_scale(array: NDArray[Any]) -> NDArray[np.float32]:
    """The array (any shape) mapped to 0..255 by its own minimum and maximum, not rounded; a constant one becomes 0."""
    low, high = float(array.min()), float(array.max())
    if high == low:
        return np.zeros(array.shape, np.float32)
    return ((array.astype(np.float64) - low) * (TOP / (high - low))).astype(np.float32)


def image_on_own_scale(image: sitk.Image) -> sitk.Image:
    """A float32 volume like `image`, mapped as `on_own_scale` does."""
    return like(on_own_scale(to_array(image)), image)


def phases_on_own_scale(phases: Iterable[Phase]) -> list[Phase]:
    """The phases, each mapped as `image_on_own_scale` does."""
    return [replace(phase, image=image_on_own_scale(phase.image)) for phase in phases]


def in_units_of(real: NDArray[Any], own: NDArray[Any]) -> NDArray[np.float32]:
    """The inverse: `own`, on the 0..255 scale of the whole volume `real`, in the units of `real`."""
    low, high = float(real.min()), float(real.max())
    return (own.astype(np.float64) * ((high - low) / TOP) + low).astype(np.float32)
