"""SSIM and MS-SSIM of a real and a synthetic image, in float64 with a stated data range: the one definition of each.

SSIM of Wang et al. 2004 (Gaussian window 11 x 11, sigma 1.5, population covariance,
K1 = 0.01, K2 = 0.03, mean over windows that lie inside the image: scikit-image with gaussian_weights=True,
use_sample_covariance=False); MS-SSIM of Wang et al. 2003 with its five weights, as torchmetrics computes it
(contrast factors over windows inside the image, the last scale's SSIM over all pixels with mirrored borders,
negative factors set to 0).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

RADIUS = 5
SIGMA = 1.5
SMALLEST_SIDE = 2 * RADIUS + 1
"""SSIM needs one whole window."""
MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SMALLEST_SIDE = 176
"""MS-SSIM halves the image four times and then still needs one 11 x 11 window."""


class Similarity:
    """SSIM and MS-SSIM of one pair of slices [j, i]; local moments are computed once per scale and shared
    by all data ranges.
    """

    def __init__(self, real: np.ndarray, synthetic: np.ndarray) -> None:
        if real.ndim != 2 or real.shape != synthetic.shape:
            raise ValueError(f"two slices of one shape are needed, got {real.shape} and {synthetic.shape}")
        if min(real.shape) < SMALLEST_SIDE:
            raise ValueError(f"SSIM needs at least {SMALLEST_SIDE} pixels on a side, got {real.shape}")
        self._scales = [(real.astype(np.float64), synthetic.astype(np.float64))]
        self._moments: list[_Moments] = []
        self._contrasts: dict[tuple[int, float], Float64] = {}
        self._ranges: dict[int, float] = {}

    def ssim_map(self, data_range: float) -> np.ndarray:
        """SSIM at every pixel [j, i]; windows that reach over the border see the image mirrored."""
        return self._moments_at(0).likeness(data_range) * self._contrast(0, data_range)

    def ssim(self, data_range: float, *, with_border: bool = False) -> float:
        """Mean SSIM over windows inside the image, or over all pixels `with_border` (torchmetrics'
        choice).
        """
        full = self.ssim_map(data_range)
        return float(np.mean(full if with_border else full[RADIUS:-RADIUS, RADIUS:-RADIUS]))

    def ms_ssim(self, data_range: float | None) -> float:
        """Multi-scale SSIM; `data_range` None takes each scale's larger range of the two images, as
        torchmetrics does.

        Raises ValueError when a side is below 176 pixels.
        """
        if min(self._scales[0][0].shape) < MS_SMALLEST_SIDE:
            raise ValueError(
                f"MS-SSIM needs at least {MS_SMALLEST_SIDE} pixels on a side, got {self._scales[0][0].shape}"
            )
        value = 1.0
        last = len(MS_WEIGHTS) - 1
        for scale, weight in enumerate(MS_WEIGHTS):
            width = data_range if data_range is not None else self.own_range(scale)
            contrast = self._contrast(scale, width)
            if scale == last:
                factor = self._moments_at(scale).likeness(width) * contrast
            else:
                factor = contrast[RADIUS:-RADIUS, RADIUS:-RADIUS]
            value *= max(float(np.mean(factor)), 0.0) ** weight
        return value

    def own_range(self, scale: int = 0) -> float:
        """The larger of the two images' own ranges (max - min) at a scale."""
        if scale not in self._ranges:
            self._ranges[scale] = float(max(np.ptp(image) for image in self._at(scale)))
        return self._ranges[scale]

    def _at(self, scale: int) -> tuple[np.ndarray, np.ndarray]:
        while len(self._scales) <= scale:
            real, synthetic = self._scales[-1]
            self._scales.append((_halve(real), _halve(synthetic)))
        return self._scales[scale]

    def _contrast(self, scale: int, data_range: float) -> Float64:
        """The contrast-structure factor at one scale, which SSIM and MS-SSIM share."""
        if (scale, data_range) not in self._contrasts:
            self._contrasts[scale, data_range] = self._moments_at(scale).contrast(data_range)
        return self._contrasts[scale, data_range]

    def _moments_at(self, scale: int) -> _Moments:
        self._at(scale)
        while len(self._moments) <= scale:
            self._moments.append(_Moments.of(*self._scales[len(self._moments)]))
        return self._moments[scale]


@dataclass(frozen=True)
class _Moments:
    """What all data ranges share at one scale, each [j, i], of the local means a, b and variances of two images:
    2 a b, a^2 + b^2, twice the covariance and the sum of the variances.
    """

    product: Float64
    squares: Float64
    covariance: Float64
    variance: Float64

    @classmethod
    def of(cls, a: Float64, b: Float64) -> Self:
        """Those of two images [j, i], in stripes of rows that stay in the processor's cache."""
        found = np.empty((4, *a.shape))
        for rows, (mean_a, mean_b, squares, products) in _blurred_stripes(_padded_products(a, b)):
            product, of_means, covariance, variance = found[:, rows]
            np.multiply(mean_a, mean_b, out=product)
            np.subtract(products, product, out=covariance)
            np.multiply(mean_a, mean_a, out=of_means)
            mean_b *= mean_b
            of_means += mean_b
            np.subtract(squares, of_means, out=variance)
            np.maximum(variance, 0, out=variance)
            product *= 2
            covariance *= 2
        return cls(*found)

    def contrast(self, data_range: float) -> Float64:
        """The contrast-structure factor of SSIM."""
        c2 = (0.03 * data_range) ** 2
        return (self.covariance + c2) / (self.variance + c2)

    def likeness(self, data_range: float) -> Float64:
        """The luminance factor of SSIM."""
        c1 = (0.01 * data_range) ** 2
        return (self.product + c1) / (self.squares + c1)


def ssim_3d(real: np.ndarray, synthetic: np.ndarray, data_range: float) -> float:
    """SSIM of two volumes with an 11^3 Gaussian window in voxels.

    Args:
        real: Acquired volume [k, j, i].
        synthetic: Synthetic volume of the same shape.
        data_range: Range of the values, in their units.

    Returns:
        The mean over all voxels, at most 1.

    Raises:
        ValueError: A side has fewer than 11 voxels.
    """
    from skimage.metrics import structural_similarity

    if min(real.shape) < SMALLEST_SIDE:
        raise ValueError(f"3-D SSIM needs at least {SMALLEST_SIDE} voxels on a side, got {real.shape}")
    value = structural_similarity(
        real.astype(np.float32),
        synthetic.astype(np.float32),
        data_range=data_range,
        gaussian_weights=True,
        sigma=SIGMA,
        use_sample_covariance=False,
    )
    return float(value)


_BLOCK = 24
"""Pixels that one product of matrices blurs: fewer make more products, more multiply more zeros."""


def _band() -> Float64:
    """The matrix [_BLOCK + 2 RADIUS, _BLOCK] that correlates rows with the Gaussian window."""
    taps = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    band = np.zeros((_BLOCK + 2 * RADIUS, _BLOCK))
    for column in range(_BLOCK):
        band[column : column + 2 * RADIUS + 1, column] = taps / taps.sum()
    return band


_BAND = _band()


def _padded_products(a: Float64, b: Float64) -> Float64:
    """a, b, a^2 + b^2 and a b [4, j, i], mirrored at the border by the width of the window."""
    rows, columns = (side + 2 * RADIUS for side in a.shape)
    padded = np.empty((4, rows, columns))
    for place, image in zip(padded, (a, b), strict=False):
        _mirror_into(place, image)
    np.multiply(padded[0], padded[0], out=padded[2])
    np.multiply(padded[1], padded[1], out=padded[3])
    padded[2] += padded[3]
    np.multiply(padded[0], padded[1], out=padded[3])
    return padded


def _mirror_into(place: Float64, image: Float64) -> None:
    """Fill `place` with an image mirrored at its border, as `np.pad` with mode "reflect" does more slowly."""
    inside, width = slice(RADIUS, -RADIUS), RADIUS
    place[inside, inside] = image
    for sides in (place[:, inside], place.T):
        sides[:width] = sides[2 * width : width : -1]
        sides[-width:] = sides[-width - 2 : -2 * width - 2 : -1]


def _blurred_stripes(padded: Float64) -> Iterator[tuple[slice, Float64]]:
    """Rows, and those rows of the padded images [n, j, i] under the Gaussian window.

    By products with a band matrix: they take 0.4 of the time of SciPy's correlation.
    """
    count, rows, columns = (
        side - margin for side, margin in zip(padded.shape, (0, 2 * RADIUS, 2 * RADIUS), strict=True)
    )
    for start in range(0, rows, _BLOCK):
        stop = min(start + _BLOCK, rows)
        along = (_part(stop - start).T @ padded[:, start : stop + 2 * RADIUS]).reshape(-1, padded.shape[2])
        blurred = np.empty((len(along), columns))
        blocks, left = columns // _BLOCK, columns // _BLOCK * _BLOCK
        np.matmul(_side_by_side(along, blocks, _BLOCK + 2 * RADIUS), _BAND, out=_side_by_side(blurred, blocks, _BLOCK))
        blurred[:, left:] = along[:, left:] @ _part(columns - left)
        yield slice(start, stop), blurred.reshape(count, stop - start, columns)


def _side_by_side(image: Float64, count: int, width: int) -> Float64:
    """A view [count, j, width] of `count` parts of an image, one every _BLOCK columns."""
    down, along = image.strides
    return as_strided(image, (count, len(image), width), (_BLOCK * along, down, along))


def _part(count: int) -> Float64:
    """The band for a block of `count` pixels."""
    return _BAND[: count + 2 * RADIUS, :count]


def _halve(image: np.ndarray) -> np.ndarray:
    """Mean of 2 x 2 blocks; an odd last row or column is dropped."""
    j, i = (side // 2 * 2 for side in image.shape)
    even = image[:j, :i]
    return np.asarray((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4)
