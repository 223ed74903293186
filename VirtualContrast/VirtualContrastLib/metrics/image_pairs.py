"""Error of a synthetic image against the real one, on float values: the one definition for runs and for evaluation.

For images S and R over the voxels of a region: MSE = mean((S - R)^2), MAE = mean(|S - R|), PSNR = 10 log10(L^2 / MSE)
in dB. A run takes L = max(R) - min(R) over the whole real volume. SSIM is that of `metrics.similarity` with the same L,
computed in each slice: over the whole image the mean over slices without a border of 5 pixels, over a region the mean
of the SSIM map inside the region.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..io.volumes import voxels_of
from .measure import Measure
from .similarity import SMALLEST_SIDE, Similarity

WHOLE_IMAGE = "whole image"
_AT_ONCE = 2**20
"""Voxels whose differences are worked on together."""


def mse(real: NDArray[Any], synthetic: NDArray[Any]) -> float:
    """Mean squared error of two arrays of one shape, in squared input units."""
    return sum(float(np.vdot(part, part)) for part in _differences(real, synthetic)) / real.size


def mae(real: NDArray[Any], synthetic: NDArray[Any]) -> float:
    """Mean absolute error of two arrays of one shape, in input units."""
    return sum(float(np.sum(np.abs(part, out=part))) for part in _differences(real, synthetic)) / real.size


def _differences(real: NDArray[Any], synthetic: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
    """Differences in parts along the first axis: those of a study in float64 would be two copies of it."""
    rows = max(1, _AT_ONCE * len(real) // max(real.size, 1))
    for start in range(0, len(real), rows):
        part = slice(start, start + rows)
        yield np.asarray(np.subtract(synthetic[part], real[part], dtype=np.float64))


def psnr(squared_error: float, data_range: float) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(data_range^2 / MSE); infinite for identical images."""
    if squared_error == 0:
        return math.inf
    return 10.0 * math.log10(data_range**2 / squared_error)


class ComparedRegion:
    """Voxels of a real and of another image in one region; each property is the value of one measure."""

    def __init__(self, real: NDArray[Any], values: NDArray[Any], data_range: float, similarity: float) -> None:
        """Take the voxels of both images as their files hold them, to be subtracted in float64, and their SSIM."""
        self.real, self.values = real, values
        self.data_range, self.ssim = data_range, similarity

    @cached_property
    def mse(self) -> float:
        """See `mse`."""
        return mse(self.real, self.values)

    @property
    def mae(self) -> float:
        """See `mae`."""
        return mae(self.real, self.values)

    @property
    def psnr_db(self) -> float:
        """See `psnr`."""
        return psnr(self.mse, self.data_range)


MEASURES = (
    Measure("mse", "MSE", "files squared", "lower",
            "mean squared error, squared units of the input; 0 and up, 0 is equal", lambda region: region.mse),
    Measure("mae", "MAE", "files", "lower",
            "mean absolute error, units of the input; 0 and up, 0 is equal", lambda region: region.mae),
    Measure("psnr_db", "PSNR (dB)", "dB", "higher",
            "10 log10(range^2 / MSE) in dB, infinite for equal images", lambda region: region.psnr_db),
    Measure("ssim", "SSIM", "", "higher",
            "structural similarity; -1 to 1, 1 is equal; NaN where a slice is smaller than the window",
            lambda region: region.ssim),
)  # fmt: skip
"""What a run says of a pair of images, from a `ComparedRegion`: comparison.csv, the report and the command follow."""


@dataclass(frozen=True)
class PairMetrics:
    """How near an image comes to a real phase in one region.

    Attributes:
        phase: Index of the real phase.
        compared: What was compared with it: "synthetic", or for the baseline of doing nothing "pre" or "phase_N", the
            last phase that the model read.
        region: Its name.
        voxels: How many it has.
        data_range: Range of the real volume, in input units.
        values: Value by name of the measure.
    """

    phase: int
    compared: str
    region: str
    voxels: int
    data_range: float
    values: Mapping[str, float]


def compare_images(
    image: sitk.Image,
    real: sitk.Image,
    regions: Mapping[str, NDArray[np.bool_]],
    *,
    phase: int,
    compared: str = "synthetic",
) -> list[PairMetrics]:
    """Metrics of an image against the real one, over the whole image and over regions. The arithmetic is in float64.

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
    values, real_values = voxels_of(image), voxels_of(real)
    if values.shape != real_values.shape:
        raise ValueError(f"Images to compare differ in size: {image.GetSize()} and {real.GetSize()}.")
    if not (np.isfinite(values).all() and np.isfinite(real_values).all()):
        raise ValueError("Images to compare hold values that are NaN or infinite.")
    data_range = float(real_values.max()) - float(real_values.min())
    if data_range == 0:
        raise ValueError("The real image is constant, so PSNR and SSIM have no data range.")
    regions = {name: mask for name, mask in regions.items() if mask.any()}
    alike = _ssim(values, real_values, data_range, regions)
    parts = {WHOLE_IMAGE: ComparedRegion(real_values, values, data_range, alike[WHOLE_IMAGE])}
    for name, mask in regions.items():
        parts[name] = ComparedRegion(real_values[mask], values[mask], data_range, alike[name])
    return [
        PairMetrics(phase, compared, name, part.real.size, data_range, {m.name: m.of(part) for m in MEASURES})
        for name, part in parts.items()
    ]


def _ssim(
    values: NDArray[Any], real_values: NDArray[Any], data_range: float, regions: Mapping[str, NDArray[np.bool_]]
) -> dict[str, float]:
    """Mean SSIM over slices, and over the voxels of each region; NaN where a slice is too small."""
    if min(real_values.shape[1:]) < SMALLEST_SIDE:
        return dict.fromkeys((WHOLE_IMAGE, *regions), math.nan)
    sums = dict.fromkeys((WHOLE_IMAGE, *regions), 0.0)
    for k in range(len(real_values)):
        similarity = Similarity(real_values[k], values[k])
        sums[WHOLE_IMAGE] += similarity.ssim(data_range)
        for name, mask in regions.items():
            sums[name] += float(similarity.ssim_map(data_range)[mask[k]].sum())
    counts = {WHOLE_IMAGE: len(real_values)} | {name: np.count_nonzero(mask) for name, mask in regions.items()}
    return {name: total / counts[name] for name, total in sums.items()}
