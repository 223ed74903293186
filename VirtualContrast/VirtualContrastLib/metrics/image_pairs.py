"""Pairwise image metrics between a synthetic and a real phase, on float values, with every definition stated.

For images S and R over the voxels of a region: MSE = mean((S - R)^2), MAE = mean(|S - R|), PSNR = 10
log10(L^2 / MSE) in dB with L = max(R) - min(R) over the whole real volume. SSIM is that of Wang et al.,
IEEE Trans. Image Process. 13 (2004) 600: Gaussian window of sigma 1.5 pixels (11 x 11), population
covariance, K1 = 0.01, K2 = 0.03 and the same L, computed in each slice. Over the whole image it leaves out
a border of 5 pixels as scikit-image does; over a region it is the mean of the SSIM map inside the region.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

WHOLE_IMAGE = "whole image"
_SIGMA = 1.5
_WINDOW = 11


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
    """Metrics of `image` against `real` over the whole image and over each region ([k, j, i], True inside).

    Empty regions are left out. Both images must have the same size; values are taken as float64.

    Raises:
        ValueError: sizes differ, a value is not finite, or the real image is constant (no data range).
    """
    ours = sitk.GetArrayFromImage(image).astype(np.float64)
    truth = sitk.GetArrayFromImage(real).astype(np.float64)
    if ours.shape != truth.shape:
        raise ValueError(f"Images to compare differ in size: {image.GetSize()} and {real.GetSize()}.")
    if not (np.isfinite(ours).all() and np.isfinite(truth).all()):
        raise ValueError("Images to compare hold values that are NaN or infinite.")
    data_range = float(truth.max() - truth.min())
    if data_range == 0:
        raise ValueError("The real image is constant, so PSNR and SSIM have no data range.")
    ssim_whole, ssim_map = _ssim(ours, truth, data_range)
    rows = [_row(ours, truth, None, ssim_whole, data_range, phase, compared, WHOLE_IMAGE)]
    for name, mask in regions.items():
        if mask.any():
            ssim = float(ssim_map[mask].mean())
            rows.append(_row(ours, truth, mask, ssim, data_range, phase, compared, name))
    return rows


def _row(
    ours: NDArray[np.float64],
    truth: NDArray[np.float64],
    mask: NDArray[np.bool_] | None,
    ssim: float,
    data_range: float,
    phase: int,
    compared: str,
    region: str,
) -> PairMetrics:
    difference = (ours - truth).ravel() if mask is None else ours[mask] - truth[mask]
    mse = float(np.mean(difference**2))
    psnr = math.inf if mse == 0 else 10 * math.log10(data_range**2 / mse)
    mae = float(np.mean(np.abs(difference)))
    return PairMetrics(phase, compared, region, difference.size, data_range, mse, mae, psnr, ssim)


def _ssim(
    ours: NDArray[np.float64], truth: NDArray[np.float64], data_range: float
) -> tuple[float, NDArray[np.float64]]:
    """Mean SSIM over slices, and the SSIM map [k, j, i]; NaN when a slice is below 11 x 11 pixels."""
    from skimage.metrics import structural_similarity

    maps = np.full(truth.shape, np.nan)
    if min(truth.shape[1:]) < _WINDOW:
        return math.nan, maps
    means = []
    for k in range(truth.shape[0]):
        mean, maps[k] = structural_similarity(
            ours[k],
            truth[k],
            data_range=data_range,
            gaussian_weights=True,
            sigma=_SIGMA,
            use_sample_covariance=False,
            full=True,
        )
        means.append(mean)
    return float(np.mean(means)), maps
