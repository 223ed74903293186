"""Agreement of lesion masks: Dice, 95th percentile Hausdorff distance, lesion-wise sensitivity and false positives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Dice coefficient of two masks of one shape, 0..1; 1 when both are empty."""
    a, b = _masks(predicted, truth)
    total = int(a.sum()) + int(b.sum())
    return 1.0 if total == 0 else 2 * int((a & b).sum()) / total


def hd95(predicted: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float] | None = None) -> float:
    """95th percentile Hausdorff distance between the masks' surface voxels, the larger of the two directed percentiles.

    Args:
        predicted: Predicted mask.
        truth: True mask of the same shape.
        spacing_mm: Spacing in the order of the array's axes; None counts pixels.

    Returns:
        The distance in mm, or pixels; 0 when both masks are empty, infinite when one is.
    """
    a, b = _masks(predicted, truth)
    if not a.any() or not b.any():
        return 0.0 if a.any() == b.any() else math.inf
    surface_a, surface_b = _surface(a), _surface(b)
    to_b = ndimage.distance_transform_edt(~surface_b, sampling=spacing_mm)[surface_a]
    to_a = ndimage.distance_transform_edt(~surface_a, sampling=spacing_mm)[surface_b]
    return float(max(np.percentile(to_a, 95), np.percentile(to_b, 95)))


def hd95_of_challenge(predicted: np.ndarray, truth: np.ndarray) -> float:
    """HD95 in pixels as MAMA-SYNTH 2026 computes it: surface voxels to the nearest voxel of the other mask.

    A surface voxel inside the other mask counts 0, and the percentile is that of both directions' distances together;
    both make it smaller than `hd95`. 0 when both masks are empty, infinite when one is.
    """
    a, b = _masks(predicted, truth)
    if not a.any() or not b.any():
        return 0.0 if a.any() == b.any() else math.inf
    to_b = ndimage.distance_transform_edt(~b)[_surface(a)]
    to_a = ndimage.distance_transform_edt(~a)[_surface(b)]
    return float(np.percentile(np.concatenate([to_a, to_b]), 95))


@dataclass(frozen=True)
class LesionCounts:
    """Lesions counted against the truth.

    Attributes:
        lesions: True lesions.
        found: Those that were found.
        false_positives: Predicted components that touch no true lesion.
    """

    lesions: int
    found: int
    false_positives: int

    @property
    def sensitivity(self) -> float | None:
        """Share of lesions found; None without lesions."""
        return self.found / self.lesions if self.lesions else None

    def __add__(self, other: LesionCounts) -> LesionCounts:
        """Counts of two cases together."""
        return LesionCounts(
            self.lesions + other.lesions,
            self.found + other.found,
            self.false_positives + other.false_positives,
        )


def lesion_counts(predicted: np.ndarray, truth: np.ndarray, *, overlap: float = 0.0) -> LesionCounts:
    """Count lesions found and false positives between two masks.

    Components of the truth (voxels that touch by face, edge or corner) are lesions. A predicted component that touches
    no lesion is a false positive.

    Args:
        predicted: Predicted mask.
        truth: True mask of the same shape.
        overlap: A lesion is found when predicted voxels cover more than this share of it.

    Returns:
        The counts.
    """
    a, b = _masks(predicted, truth)
    touching = ndimage.generate_binary_structure(a.ndim, a.ndim)
    lesions, n_lesions = ndimage.label(b, touching)
    parts, n_parts = ndimage.label(a, touching)
    covered = ndimage.mean(a, lesions, np.arange(1, n_lesions + 1)) if n_lesions else np.zeros(0)
    hit = ndimage.maximum(b, parts, np.arange(1, n_parts + 1)) if n_parts else np.zeros(0)
    return LesionCounts(n_lesions, int((np.asarray(covered) > overlap).sum()), int((np.asarray(hit) == 0).sum()))


def _surface(mask: np.ndarray) -> np.ndarray:
    """Voxels of the mask with a face neighbor outside; the array's border counts as outside."""
    return mask & ~ndimage.binary_erosion(mask)


def _masks(predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if predicted.shape != truth.shape:
        raise ValueError(f"masks must have one shape, got {predicted.shape} and {truth.shape}")
    return predicted.astype(bool), truth.astype(bool)
