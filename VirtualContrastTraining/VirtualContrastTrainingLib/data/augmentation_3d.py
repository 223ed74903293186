"""Augmentation of 3-D patches as the iterU-Net was trained; every draw is shared by all phases of the patch."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Augmentation = Literal["published", "geometric", "none"]
Float32 = NDArray[np.float32]

NOISE_SD = 0.02
SHARPEN_ALPHA = (15.0, 40.0)
_SMOOTH_SIGMA = (0.25, 1.5)
_SHARPEN_SIGMA = (0.5, 1.0)


def augment(series: Float32, lesions: Float32, kind: Augmentation, rng: np.random.Generator) -> tuple[Float32, Float32]:
    """Change a patch and its mask at random.

    "published": noise of 0.02 (probability 1/2), smoothing and sharpening (1/5 each), then as "geometric": a flip along
    one random axis (1/2) and a turn by 90, 180 or 270 degrees in the axial plane (1/2).

    Args:
        series: Patch [phase, k, j, i] in TI-norm units.
        lesions: Lesion mask [k, j, i] of the patch.
        kind: "none", "geometric" or "published".
        rng: Draws the changes.

    Returns:
        The changed patch and mask.
    """
    if kind == "none":
        return series, lesions
    if kind == "published":
        series = _intensity(series, rng)
    if rng.random() < 0.5:
        axis = int(rng.integers(3))
        series, lesions = np.flip(series, axis + 1), np.flip(lesions, axis)
    if rng.random() < 0.5:
        square = lesions.shape[1] == lesions.shape[2]
        turns = int(rng.integers(1, 4)) if square else 2
        series, lesions = np.rot90(series, turns, (2, 3)), np.rot90(lesions, turns, (1, 2))
    return series, lesions


def _intensity(series: Float32, rng: np.random.Generator) -> Float32:
    if rng.random() < 0.5:
        series = series + rng.normal(0.0, NOISE_SD, series.shape[1:]).astype(np.float32)
    if rng.random() < 0.2:
        series = _smoothed(series, rng.uniform(*_SMOOTH_SIGMA, 3))
    if rng.random() < 0.2:
        # Unsharp mask: what a second, lighter smoothing takes away is added back many times.
        blurred = _smoothed(series, rng.uniform(*_SHARPEN_SIGMA, 3))
        detail = blurred - _smoothed(blurred, np.full(3, _SHARPEN_SIGMA[0]))
        series = blurred + np.float32(rng.uniform(*SHARPEN_ALPHA)) * detail
    return series


def _smoothed(series: Float32, sigma_kji: NDArray[np.float64]) -> Float32:
    return ndimage.gaussian_filter(series, (0.0, *sigma_kji), mode="nearest")
