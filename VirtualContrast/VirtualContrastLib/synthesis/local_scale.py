"""The scale of a whole study where a network learned from crops: at each place that of the crop around it.

A coil makes tissue near it several times brighter than tissue far from it, and where fat suppression fails a whole
region is bright. A crop around a lesion was divided by the percentile of its own tissue, so a network that learned from
crops has never seen such differences and takes bright regions for lesions. So each place is divided by the percentile
of the tissue around it, within the size of a crop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from ..events import InputError
from ..metrics.tissue import scale_of

WINDOW_MM = (40.0, 80.0, 80.0)
"""Extent along k, j, i of a window: about that of the crops of a training patient."""

_STEP_MM = 20.0
_FINE_MM = 4.0
_LEAST_SHARE = 0.1
"""Windows with less breast tissue than this share of them take the scale of the nearest that has more."""


@dataclass(frozen=True)
class LocalScale:
    """A smooth scale at every voxel, worked out for the slices that are asked for.

    Attributes:
        planes: The scale in full planes [place, j, i] at the `places`.
        places: Slices k of those planes, rising; they need not be whole numbers.
    """

    planes: NDArray[np.float32]
    places: NDArray[np.float64]

    @classmethod
    def one(cls, scale: float) -> LocalScale:
        """The same scale everywhere."""
        return cls(np.full((1, 1, 1), scale, np.float32), np.zeros(1))

    def slices(self, k: NDArray[np.intp]) -> NDArray[np.float32]:
        """The scale in the slices `k` [n, j, i], or [n, 1, 1] where it is one; in the units of the volume."""
        return _between(self.planes, self.places, k, axis=0)


def local_scale(pre: sitk.Image, breast: NDArray[np.bool_]) -> LocalScale | None:
    """The 90th percentile of breast tissue in a window around each voxel, smooth, in the units of `pre`.

    Args:
        pre: Pre-contrast volume.
        breast: True in the breasts [k, j, i].

    Returns:
        The scale, or None where no window holds enough tissue.
    """
    stored = sitk.GetArrayViewFromImage(pre)
    spacing_mm = np.array(pre.GetSpacing()[::-1])
    every = np.maximum(1, np.round(_FINE_MM / spacing_mm)).astype(int)
    thin = tuple(slice(None, None, step) for step in every)
    values, inside = np.asarray(stored[thin], np.float32), breast[thin]
    fine_mm = every * spacing_mm
    axes = [_centers(count, step) for count, step in zip(values.shape, _STEP_MM / fine_mm, strict=True)]
    half = np.maximum(1, np.round(np.array(WINDOW_MM) / fine_mm / 2)).astype(int)
    found = np.full([len(axis) for axis in axes], np.nan, np.float32)
    for place in np.ndindex(*found.shape):
        center = [int(axis[n]) for axis, n in zip(axes, place, strict=True)]
        window = tuple(slice(max(0, c - h), c + h + 1) for c, h in zip(center, half, strict=True))
        found[place] = _percentile(values[window], inside[window])
    if not np.isfinite(found).any():
        return None
    nearest = ndimage.distance_transform_edt(~np.isfinite(found), return_distances=False, return_indices=True)
    smooth = ndimage.gaussian_filter(found[tuple(nearest)], 0.7, mode="nearest")
    for axis in (1, 2):
        smooth = _between(smooth, axes[axis] * every[axis], np.arange(stored.shape[axis]), axis)
    return LocalScale(smooth, axes[0] * every[0])


def _centers(count: int, step: float) -> NDArray[np.float64]:
    """Evenly spaced places along an axis of `count` voxels, about `step` apart, the ends among them."""
    return np.linspace(0, count - 1, max(1, round((count - 1) / step)) + 1) if count > 1 else np.zeros(1)


def _percentile(values: NDArray[np.float32], inside: NDArray[np.bool_]) -> float:
    if inside.mean() < _LEAST_SHARE:
        return float("nan")
    try:
        return scale_of(values[inside])
    except InputError:  # no signal above zero here; a neighbor's scale is taken
        return float("nan")


def _between(
    known: NDArray[np.float32], places: NDArray[np.float64], wanted: NDArray[np.intp], axis: int
) -> NDArray[np.float32]:
    """`known` at the `places` along an axis, at the `wanted` ones by linear interpolation; constant beyond the ends."""
    at = np.interp(wanted, places, np.arange(len(places)))
    low = np.minimum(at.astype(int), max(0, len(places) - 2))
    high = np.minimum(low + 1, len(places) - 1)
    share = (at - low).astype(np.float32).reshape([-1 if n == axis else 1 for n in range(known.ndim)])
    return np.asarray(known.take(low, axis) * (1 - share) + known.take(high, axis) * share, np.float32)
