"""Where the chest wall begins behind the breasts, from the shape of the body's surface alone.

Bodies [k, j, i] are in LPS order: j rises from anterior to posterior; steps are the millimeters of k, j, i.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Rows = NDArray[np.float64]

MIDLINE_DEPTH_MM = 5.0
CHEST_HALF_WIDTH_MM = 165.0
CHEST_HALF_DEPTH_MM = 95.0
BILATERAL_WIDTH_MM = 200.0
MINIMUM_DIP_MM = 10.0
SMOOTHING_MM = 5.0
EDGE_MM = 10.0
FLAT_MM = 4.0
"""The surface over the sternum changes by less than this over EDGE_MM; the side of a breast changes by more."""
BREAST_WIDTH_MM = 150.0
"""Wider than a breast: no breast fits into the surface opened by a window of this size."""
WALL_DEPTH_MM = 12.0
MINIMUM_PROTRUSION_MM = 10.0
PROTRUDING_SHARE = 0.1
"""A slice shows breast where this share of the body's columns stands out by that much."""


def behind_two_breasts(body: Mask, steps: tuple[float, ...]) -> Mask | None:
    """What lies behind both breasts, None where they are not seen.

    The body's anterior surface dips between the breasts, and there the sternum lies just under the skin. From that
    point the chest wall curves back on both sides like an ellipse.
    """
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    if len(columns) * steps[2] < BILATERAL_WIDTH_MM:
        return None
    surface = _surface(body)
    midline = _midline(surface, columns, steps)
    if midline is None:
        return None
    return _behind_ellipse(body, surface, midline, steps)


def behind_half_view(body: Mask, steps: tuple[float, ...]) -> Mask | None:
    """What lies behind the one breast of an axial half field of view, None where it does not reach to the sternum.

    The sternum is then at one edge of the picture: the surface is flat there, and less deep than on the body's side.
    """
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    if not len(columns) or len(columns) * steps[2] >= BILATERAL_WIDTH_MM:
        return None
    profile = _profile(_surface(body), columns, steps)
    outer = max(2, round(EDGE_MM / steps[2]))
    ends = [profile[:outer], profile[-outer:]]
    flat = [
        np.ptp(end) * steps[1] <= FLAT_MM and columns_end in (0, body.shape[2] - 1)
        for end, columns_end in zip(ends, (columns[0], columns[-1]), strict=True)
    ]
    levels = [float(np.median(end)) if is_flat else np.inf for end, is_flat in zip(ends, flat, strict=True)]
    medial = int(np.argmin(levels))
    if not np.isfinite(levels[medial]) or (levels[medial] - profile.min()) * steps[1] < MINIMUM_DIP_MM:
        return None
    return _behind_ellipse(body, _surface(body), int(columns[(0, -1)[medial]]), steps)


def behind_protrusion(body: Mask, steps: tuple[float, ...]) -> Mask | None:
    """What lies behind a breast that stands out of the chest's surface; None where nothing does.

    For sagittal slices and flat breasts: the surface, opened by a window that no breast fills, is the chest's own, and
    the wall lies a little under it. Only directions in which the picture is longer than the window can show it.
    """
    surface = _surface(body)
    if not np.isfinite(surface).any():
        return None
    # Columns that hold no body are as deep as the picture.
    height = body.shape[1] - np.where(np.isfinite(surface), surface, body.shape[1])
    window = [max(1, round(BREAST_WIDTH_MM / steps[axis])) for axis in (0, 2)]
    opened = [
        ndimage.grey_opening(height, shape, mode="nearest")
        for shape, length, size in zip(((window[0], 1), (1, window[1])), window, height.shape, strict=True)
        if length <= size
    ]
    if not opened:
        return None
    chest = np.max(opened, axis=0)
    shown = _protrudes(np.where(np.isfinite(surface), (height - chest) * steps[1], np.nan))
    if not shown.any():
        return None
    behind = _from_row(body, body.shape[1] - chest + WALL_DEPTH_MM / steps[1])
    behind[~shown] = True
    return behind


def _surface(body: Mask) -> Rows:
    """Row of the body's anterior surface [k, i], NaN where there is no body."""
    return np.where(body.any(axis=1), body.argmax(axis=1), np.nan)


def _protrudes(protrusion_mm: Rows) -> Mask:
    """Slices (k,) that show breast, by how far each column [k, i] stands out; NaN where there is no body."""
    columns = np.isfinite(protrusion_mm).sum(axis=1)
    standing = (protrusion_mm >= MINIMUM_PROTRUSION_MM).sum(axis=1)
    return np.asarray((standing > 0) & (standing >= PROTRUDING_SHARE * columns))


def _from_row(body: Mask, first: Rows) -> Mask:
    """Everything from row `first` [k, i] on."""
    return np.asarray(np.arange(body.shape[1])[None, :, None] >= first[:, None, :])


def _midline(surface: Rows, columns: NDArray[np.intp], steps: tuple[float, ...]) -> int | None:
    """Column of the deepest point between the breasts, or None where the dip is under 10 mm on either side."""
    profile = _profile(surface, columns, steps)
    third = len(profile) // 3
    dip = third + int(profile[third : 2 * third].argmax())
    shallower = max(profile[:dip].min(), profile[dip + 1 :].min())
    if (profile[dip] - shallower) * steps[1] < MINIMUM_DIP_MM:
        return None
    return int(columns[0]) + dip


def _profile(surface: Rows, columns: NDArray[np.intp], steps: tuple[float, ...]) -> Rows:
    """Row of the anterior surface by column, from the first to the last of `columns`, smoothed.

    The most anterior fifth over the slices stands for each column, so that slices above and below the breasts,
    where there is no dip, do not hide it.
    """
    profile = np.nanpercentile(surface[:, columns[0] : columns[-1] + 1], 20, axis=0)
    return np.asarray(ndimage.gaussian_filter1d(profile, SMOOTHING_MM / steps[2]))


def _behind_ellipse(body: Mask, surface: Rows, midline: int, steps: tuple[float, ...]) -> Mask:
    """What lies behind the chest wall that curves back from the sternum at column `midline`; slices without breast."""
    sternum = _sternum_level(surface, midline)
    aside = np.abs(np.arange(body.shape[2]) - midline) * steps[2]
    curve = 1 - np.sqrt(np.clip(1 - (aside / CHEST_HALF_WIDTH_MM) ** 2, 0, 1))
    depth = (MIDLINE_DEPTH_MM + CHEST_HALF_DEPTH_MM * curve) / steps[1]
    behind = _from_row(body, sternum[:, None] + depth[None, :])
    behind[~_protrudes((sternum[:, None] - surface) * steps[1])] = True
    return behind


def _sternum_level(surface: Rows, midline: int) -> Rows:
    """Row of the anterior surface at the midline by slice (k,), smoothed, gaps filled from neighbors."""
    window = surface[:, max(midline - 2, 0) : midline + 3]
    slices = np.arange(len(window))
    known = np.isfinite(window).any(axis=1)
    level = np.interp(slices, slices[known], np.nanmedian(window[known], axis=1))
    return ndimage.median_filter(level, size=5, mode="nearest")
