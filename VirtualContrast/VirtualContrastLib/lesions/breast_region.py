"""Where the breasts are: the part of a prone bilateral volume in front of the chest wall.

The heart and the great vessels enhance more than any lesion, so a threshold needs this region first. The rule
is geometric and needs no training: the body's anterior surface dips between the breasts, and there the
sternum lies just under the skin. From that point the chest wall curves back on both sides like an ellipse;
what lies in front of it is breast.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from ..events import Events

Mask = NDArray[np.bool_]

SMOOTHING_MM = 2.0
SKIN_MM = 3.0
MIDLINE_DEPTH_MM = 5.0
CHEST_HALF_WIDTH_MM = 165.0
CHEST_HALF_DEPTH_MM = 95.0
BILATERAL_WIDTH_MM = 200.0
MINIMUM_DIP_MM = 10.0


def breast_region(pre: sitk.Image, events: Events | None = None) -> Mask:
    """Mask [k, j, i] of breast tissue without the outer 3 mm (skin), on the grid of `pre`.

    Works in any orientation by the direction cosines. A single slice, one breast, or a volume whose anterior
    surface shows no dip between two breasts gives the body without its skin instead, with a warning to
    `events`, because the chest wall cannot be found there.
    """
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(pre.GetDirection())
    image = sitk.DICOMOrient(sitk.Cast(pre, sitk.sitkFloat32), "LPS")
    body = body_mask(image)
    region = _without_skin(body, image.GetSpacing())
    border = _chest_border(body, image.GetSpacing())
    if border is None:
        if events is not None:
            events.warn(
                "The chest wall was not found in the pre-contrast image, so lesions were looked for in the "
                "whole body; check that none lies in the heart or chest."
            )
    else:
        region &= np.arange(body.shape[1])[None, :, None] < border[:, None, :]
    oriented = sitk.GetImageFromArray(region.astype(np.uint8))
    oriented.CopyInformation(image)
    return sitk.GetArrayFromImage(sitk.DICOMOrient(oriented, code)).astype(bool)


def body_mask(image: sitk.Image) -> Mask:
    """The body [k, j, i] by Otsu's threshold on the logarithm of the smoothed image.

    The largest connected part counts, with holes filled in each slice. The logarithm keeps suppressed fat,
    far darker than glandular tissue, on the body's side of the threshold.
    """
    smooth = image
    for axis, (size, spacing) in enumerate(zip(image.GetSize(), image.GetSpacing(), strict=True)):
        if size >= 4:
            sigma = max(SMOOTHING_MM, 0.5 * spacing)
            smooth = sitk.RecursiveGaussian(smooth, sigma, direction=axis)
    values = np.clip(sitk.GetArrayFromImage(smooth), 0, None)
    bright = float(np.percentile(values, 99))
    logarithm = sitk.GetImageFromArray(np.log(values + 0.02 * bright + 1e-12))
    body = sitk.GetArrayFromImage(sitk.OtsuThreshold(logarithm, 0, 1)).astype(bool)
    parts, count = ndimage.label(body)
    if count > 1:
        body = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    return np.stack([ndimage.binary_fill_holes(plane) for plane in body])


def _without_skin(body: Mask, spacing: tuple[float, ...]) -> Mask:
    """The body eroded in each slice by the skin's thickness; the image's own borders are no skin."""
    radius_i, radius_j = (max(1, round(SKIN_MM / step)) for step in spacing[:2])
    eroded = sitk.BinaryErode(
        sitk.GetImageFromArray(body.astype(np.uint8)), (radius_i, radius_j, 0), sitk.sitkBall, 0.0, 1.0, True
    )
    return sitk.GetArrayFromImage(eroded).astype(bool)


def _chest_border(body: Mask, spacing: tuple[float, ...]) -> NDArray[np.float64] | None:
    """First row j behind the breasts by slice and column [k, i]; None where no two breasts are seen.

    `body` is in LPS order, so j rises from anterior to posterior.
    """
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    if body.shape[0] < 2 or len(columns) * spacing[0] < BILATERAL_WIDTH_MM:
        return None
    surface = np.where(body.any(axis=1), body.argmax(axis=1), np.nan)
    midline = _midline(surface, columns, spacing)
    if midline is None:
        return None
    sternum = _sternum_level(surface, midline)
    aside = np.abs(np.arange(body.shape[2]) - midline) * spacing[0]
    wall = 1 - np.sqrt(np.clip(1 - (aside / CHEST_HALF_WIDTH_MM) ** 2, 0, 1))
    depth = (MIDLINE_DEPTH_MM + CHEST_HALF_DEPTH_MM * wall) / spacing[1]
    return sternum[:, None] + depth[None, :]


def _midline(surface: NDArray[np.float64], columns: NDArray[np.intp], spacing: tuple[float, ...]) -> int | None:
    """Column of the deepest point between the breasts, or None where the dip is under 10 mm on either side.

    `surface` [k, i] is the anterior surface's row; the most anterior fifth over the slices stands for each
    column, so that slices above and below the breasts, where there is no dip, do not hide it.
    """
    first, last = int(columns[0]), int(columns[-1])
    profile = np.nanpercentile(surface[:, first : last + 1], 20, axis=0)
    profile = ndimage.gaussian_filter1d(profile, 5.0 / spacing[0])
    third = len(profile) // 3
    dip = third + int(profile[third : 2 * third].argmax())
    shallower = max(profile[:dip].min(), profile[dip + 1 :].min())
    if (profile[dip] - shallower) * spacing[1] < MINIMUM_DIP_MM:
        return None
    return first + dip


def _sternum_level(surface: NDArray[np.float64], midline: int) -> NDArray[np.float64]:
    """Row of the anterior surface at the midline by slice (k,), smoothed, gaps filled from neighbors."""
    window = surface[:, max(midline - 2, 0) : midline + 3]
    slices = np.arange(len(window))
    known = np.isfinite(window).any(axis=1)
    level = np.interp(slices, slices[known], np.nanmedian(window[known], axis=1))
    return ndimage.median_filter(level, size=5, mode="nearest")
