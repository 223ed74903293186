"""Error of a synthetic image against the real one, on float values: the one definition for runs and for evaluation.

For images S and R over the voxels of a region: MSE = mean((S - R)^2), MAE = mean(|S - R|), PSNR = 10 log10(L^2 / MSE)
in dB. A run takes L = max(R) - min(R) over the whole real volume. SSIM is that of `metrics.similarity` with the same L,
computed in each slice: over the whole image the mean over slices without a border of 5 pixels, over a region the mean
of the SSIM map inside the region.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from .similarity import SMALLEST_SIDE, Similarity

WHOLE_IMAGE = "whole image"


def mse(real: NDArray[Any], synthetic: NDArray[Any]) -> float:
    """Mean squared error of two arrays of one shape, in squared input units."""
    difference = synthetic.astype(np.float64) - real
    return float(np.mean(difference * difference))


def mae(real: NDArray[Any], synthetic: NDArray[Any]) -> float:
    """Mean absolute error of two arrays of one shape, in input units."""
    return float(np.mean(np.abs(synthetic.astype(np.float64) - real)))


def psnr(squared_error: float, data_range: float) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(data_range^2 / MSE); infinite for identical images."""
    if squared_error == 0:
        return math.inf
    return 10.0 * math.log10(data_range**2 / squared_error)


@dataclass(frozen=True)
class PairMetrics:
    """How near an image comes to the real phase `phase` in one region.

    `compared` says what was compared with the real phase: "synthetic", or for the baseline of doing nothing "pre" or
    "phase_N", the last phase that the model read. `mse` is in squared input units, `mae` and `data_range` in input
    units, `psnr_db` in dB (infinite for equal images), `ssim` in -1..1, NaN where the slice is smaller than the window.
    """

    phase: int
    compared: str
    region: str
    voxels: int
    data_range: float
    mse: float
    mae: float
    psnr_db: float
    ssim: float


def compare_images(
    image: sitk.Image,
    real: sitk.Image,
    regions: Mapping[str, NDArray[np.bool_]],
    *,
    phase: int,
    compared: str = "synthetic",
) -> list[PairMetrics]:
    """Metrics of an image against the real one, over the whole image and over regions. Values are taken as float64.

    Args:
        image: The image to assess.
        real: The acquired image, of the same size.
        regions: Masks [k, j, i] by name, True inside; empty ones are left out.
        phase: Index of the phase, for the rows.
        compared: What `image` is: "synthetic" or the name of a baseline.

    Returns:
        One row for the whole image and one per region.

    Raises:
        ValueError: Sizes differ, a value is not finite, or the real image is constant (no data range).
    """
    values = sitk.GetArrayFromImage(image).astype(np.float64)
    real_values = sitk.GetArrayFromImage(real).astype(np.float64)
    if values.shape != real_values.shape:
        raise ValueError(f"Images to compare differ in size: {image.GetSize()} and {real.GetSize()}.")
    if not (np.isfinite(values).all() and np.isfinite(real_values).all()):
        raise ValueError("Images to compare hold values that are NaN or infinite.")
    data_range = float(real_values.max() - real_values.min())
    if data_range == 0:
        raise ValueError("The real image is constant, so PSNR and SSIM have no data range.")
    ssim_whole, ssim_map = _ssim(values, real_values, data_range)
    rows = [_row(values, real_values, None, ssim_whole, data_range, phase, compared, WHOLE_IMAGE)]
    for name, mask in regions.items():
        if mask.any():
            ssim = float(ssim_map[mask].mean())
            rows.append(_row(values, real_values, mask, ssim, data_range, phase, compared, name))
    return rows


def _row(
    values: NDArray[np.float64],
    real_values: NDArray[np.float64],
    mask: NDArray[np.bool_] | None,
    ssim: float,
    data_range: float,
    phase: int,
    compared: str,
    region: str,
) -> PairMetrics:
    inside = (real_values, values) if mask is None else (real_values[mask], values[mask])
    squared = mse(*inside)
    return PairMetrics(
        phase,
        compared,
        region,
        inside[0].size,
        data_range,
        squared,
        mae(*inside),
        psnr(squared, data_range),
        ssim,
    )


def _ssim(
    values: NDArray[np.float64], real_values: NDArray[np.float64], data_range: float
) -> tuple[float, NDArray[np.float64]]:
    """Mean SSIM over slices, and the SSIM map [k, j, i]; NaN where a slice is too small."""
    maps = np.full(real_values.shape, np.nan)
    if min(real_values.shape[1:]) < SMALLEST_SIDE:
        return math.nan, maps
    total = 0.0
    for k in range(real_values.shape[0]):
        similarity = Similarity(real_values[k], values[k])
        maps[k] = similarity.ssim_map(data_range)
        total += similarity.ssim(data_range)
    return total / real_values.shape[0], maps
