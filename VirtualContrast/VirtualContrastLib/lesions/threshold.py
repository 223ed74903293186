"""Lesions by enhancement threshold, the rule behind functional tumor volume, made automatic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from ..events import Events, InputError
from ..io.volumes import like, same_geometry, to_array, voxels_of
from ..synthesis.breast_region import breast_region
from .measurement import in_plane_diameter, longest_diameter

Mask = NDArray[np.bool_]

VESSEL_RADIUS_MM = 2.5


@dataclass(frozen=True)
class ThresholdSettings:
    """Settings of `segment_by_threshold`.

    Attributes:
        pe_percent: Least percent enhancement of a lesion voxel; 70 % as in I-SPY 2's functional tumor volume.
        background_fraction: Voxels darker before contrast than this share of `background_percentile` of the breast
            region are left out, since a small baseline makes any noise a large percentage. I-SPY 2's software takes
            0.6 in a region drawn around the tumor; over whole breasts that loses lesions darker than gland before
            contrast. Of 31 phantom lesions 0.6 missed 4 (mean Dice 0.78), 0.5 one (0.90), 0.4 none (0.92), 0.3 none
            (0.90); on 89 slices of training patients 0.4 and 0.3 find as many (0.79 and 0.78 of the slices' tumors),
            and the ring-enhancing tumor of the real sagittal slice, dark before contrast, is whole at 0.3 (86 %) and
            in pieces at 0.4 (26 %).
        background_percentile: The percentile of the breast region that the share is taken of.
        smoothing_mm: Standard deviation of an in-plane Gaussian on both volumes before PE is worked out; 0 for none.
        minimum_volume_mm3: 65 mm3 is a sphere of 5 mm, under which BI-RADS speaks of a focus and not of a lesion.
        connectivity: 26 (voxels touching at a corner belong together) or 6 (faces only).
        maximum_elongation: Parts longer than this multiple of their greatest thickness are vessels, see
            `without_vessels`.
    """

    pe_percent: float = 70.0
    background_fraction: float = 0.3
    background_percentile: float = 95.0
    smoothing_mm: float = 0.0
    minimum_volume_mm3: float = 65.0
    connectivity: int = 26
    maximum_elongation: float = 4.0


def segment_by_threshold(
    pre: sitk.Image,
    post: sitk.Image,
    settings: ThresholdSettings | None = None,
    events: Events | None = None,
    region: Mask | None = None,
) -> sitk.Image:
    """Segment lesions in the breasts by their percent enhancement.

    Limits: necrotic centers are left out, a vessel touching a lesion becomes part of it, and long thin non-mass
    enhancement is taken for a vessel.

    Args:
        pre: Pre-contrast volume.
        post: An early post-contrast phase on the same grid.
        settings: The thresholds; None for the defaults.
        events: Receives progress, and carries the request to cancel.
        region: The breasts [k, j, i] on that grid; None finds them.

    Returns:
        Instance labels 1..n, largest first, on the grid of `pre`, uint8, or uint16 where there are more than 255; 0
        elsewhere. No lesion is a valid answer: all labels are then 0.

    Raises:
        InputError: The geometries differ.
    """
    settings = settings or ThresholdSettings()
    difference = same_geometry(post, pre)
    if difference:
        raise InputError(f"The post-contrast volume does not lie on the pre-contrast grid: {difference}")
    region = breast_region(pre, events) if region is None else region
    baseline, signal = (_smooth(image, settings.smoothing_mm) for image in (pre, post))
    enhancing = region & enhancing_mask(baseline, signal, region, settings)
    del baseline, signal  # where they were smoothed they are copies of the volumes
    # What is too small is dropped first: noise makes hundreds of such parts, and to measure each takes a while.
    large = instance_labels(
        enhancing, pre, minimum_volume_mm3=settings.minimum_volume_mm3, connectivity=settings.connectivity
    )
    enhancing &= voxels_of(large) > 0
    lesions = without_vessels(enhancing, pre.GetSpacing()[::-1], settings.maximum_elongation, settings.connectivity)
    return instance_labels(
        lesions, pre, minimum_volume_mm3=settings.minimum_volume_mm3, connectivity=settings.connectivity
    )


def enhancing_mask(baseline: NDArray[Any], signal: NDArray[Any], region: Mask, settings: ThresholdSettings) -> Mask:
    """Voxels above the background threshold whose percent enhancement reaches `pe_percent`.

    Args:
        baseline: Pre-contrast signal [k, j, i].
        signal: Post-contrast signal [k, j, i], in the same units.
        region: Voxels [k, j, i] from which the background threshold is taken.
        settings: The thresholds.

    Returns:
        The mask [k, j, i].
    """
    return tissue_mask(baseline, region, settings) & (signal >= (1 + settings.pe_percent / 100) * baseline)


def tissue_mask(baseline: NDArray[Any], region: Mask, settings: ThresholdSettings | None = None) -> Mask:
    """Voxels whose signal before contrast is above the background threshold, also outside `region`.

    Below it, in suppressed fat and air, noise alone makes any percentage.

    Args:
        baseline: Pre-contrast signal [k, j, i].
        region: Voxels [k, j, i] from which the threshold is taken.
        settings: The percentile and its fraction; None for the defaults.

    Returns:
        The mask [k, j, i], empty where the region is empty.
    """
    settings = settings or ThresholdSettings()
    if not region.any():
        return np.zeros_like(region)
    background = settings.background_fraction * np.percentile(baseline[region], settings.background_percentile)
    return (baseline >= background) & (baseline > 0)


def instance_labels(
    mask: Mask, reference: sitk.Image, *, minimum_volume_mm3: float, connectivity: int = 26
) -> sitk.Image:
    """Connected parts of a mask as labels 1..n, largest first.

    Args:
        mask: Voxels [k, j, i].
        reference: Image whose grid the labels get.
        minimum_volume_mm3: Smaller parts are dropped.
        connectivity: 26 or 6 neighbors.

    Returns:
        The labels, uint8, or uint16 where there are more than 255.
    """
    parts, _ = ndimage.label(mask, _structure(connectivity))
    numbers = parts[mask]
    counts = np.bincount(numbers, minlength=1)
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] * float(np.prod(reference.GetSpacing())) >= max(minimum_volume_mm3, 1e-9)]
    new_labels = np.zeros(len(counts), dtype=np.uint8 if len(order) <= 255 else np.uint16)
    new_labels[order] = np.arange(1, len(order) + 1)
    labels = np.zeros(mask.shape, new_labels.dtype)
    labels[mask] = new_labels[numbers]
    return like(labels, reference)


def without_vessels(
    mask: Mask, spacing_kji: tuple[float, ...], maximum_elongation: float, connectivity: int = 26
) -> Mask:
    """The mask without its thin long parts.

    A connected part whose `elongation` is too great is opened with a ball of 2.5 mm radius, which cuts vessels off a
    lesion that they touch; what is left of it and still too long, or all of it where it is thinner, is dropped.

    Args:
        mask: Voxels [k, j, i].
        spacing_kji: Voxel spacing in mm, slowest axis first.
        maximum_elongation: Longest over shortest extent that a lesion may have.
        connectivity: 26 or 6 neighbors.

    Returns:
        The mask [k, j, i] of what is left.
    """
    parts, _ = ndimage.label(mask, _structure(connectivity))
    kept = np.zeros_like(mask)
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        part = parts[box] == number
        if elongation(part, spacing_kji) > maximum_elongation:
            pieces, _ = ndimage.label(_opened(part, spacing_kji), _structure(connectivity))
            part = np.zeros_like(part)
            for label, place in enumerate(ndimage.find_objects(pieces), start=1):
                piece = pieces[place] == label
                if elongation(piece, spacing_kji) <= maximum_elongation:
                    part[place] |= piece
        kept[box] |= part
    return kept


def elongation(part: Mask, spacing_kji: tuple[float, ...]) -> float:
    """Longest diameter of a part [k, j, i] over its greatest thickness, without unit; about 1 for a ball.

    The thickness is the diameter of the largest inscribed ball, holes filled, so that an enhancing rim counts
    as the mass it surrounds. A part within one slice is judged by its in-plane shape.
    """
    flat = part.any(axis=(1, 2)).sum() == 1
    length = in_plane_diameter(part, spacing_kji) if flat else longest_diameter(part, spacing_kji)
    return length / (2 * float(_depth(part, spacing_kji).max()))


def _depth(part: Mask, spacing_kji: tuple[float, ...]) -> NDArray[np.float64]:
    """Distance in mm of each voxel of `part` [k, j, i], its holes filled by slice, to the surface; 0 outside.

    Thick slices are cut into thinner ones first, or the surface above and below would seem a whole slice
    away. Along k a part within one slice has no surface.
    """
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in part])
    flat = filled.any(axis=(1, 2)).sum() == 1
    pixel = min(spacing_kji[1:])
    cuts = max(1, round(spacing_kji[0] / pixel))
    fine = np.pad(np.repeat(filled, cuts, axis=0), 1)
    sampling = (1e6 if flat else spacing_kji[0] / cuts, *spacing_kji[1:])
    depth = ndimage.distance_transform_edt(fine, sampling=sampling)[1:-1, 1:-1, 1:-1]
    depth = depth.reshape(len(part), cuts, *part.shape[1:]).max(axis=1)
    # Distances run between voxel centers; the surface lies half a voxel nearer.
    return np.maximum(depth - pixel / 2, 0)


def _opened(part: Mask, spacing_kji: tuple[float, ...]) -> Mask:
    """The voxels of `part` that a ball of VESSEL_RADIUS_MM inside it, holes filled, can reach."""
    core = _depth(part, spacing_kji) > VESSEL_RADIUS_MM
    if not core.any():
        return core
    reach = VESSEL_RADIUS_MM + min(spacing_kji[1:]) / 2
    return part & (ndimage.distance_transform_edt(~core, sampling=spacing_kji) <= reach)


def _structure(connectivity: int) -> Mask:
    """Neighborhood of 26 or of 6 voxels."""
    return ndimage.generate_binary_structure(3, 3 if connectivity == 26 else 1)


def _smooth(image: sitk.Image, sigma_mm: float) -> NDArray[Any]:
    """The voxels [k, j, i] after in-plane Gaussian smoothing, float32; as they are, not copied, for 0 mm."""
    if sigma_mm <= 0:
        return voxels_of(image)
    columns_mm, rows_mm, _ = image.GetSpacing()
    return ndimage.gaussian_filter(to_array(image), (0, sigma_mm / rows_mm, sigma_mm / columns_mm))
