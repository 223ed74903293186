"""SSIM and MS-SSIM of a real and a synthetic image, in float64 with a stated data range: the one definition of each.

SSIM of Wang et al. 2004 (Gaussian window 11 x 11, sigma 1.5, population covariance,
K1 = 0.01, K2 = 0.03, mean over windows that lie inside the image: scikit-image with gaussian_weights=True,
use_sample_covariance=False); MS-SSIM of Wang et al. 2003 with its five weights, as torchmetrics computes it
(contrast factors over windows inside the image, the last scale's SSIM over all pixels with mirrored borders,
negative factors set to 0).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

RADIUS = 5
SIGMA = 1.5
_INSIDE = slice(RADIUS, -RADIUS)
SMALLEST_SIDE = 2 * RADIUS + 1
"""SSIM needs one whole window."""
MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SMALLEST_SIDE = 176
"""MS-SSIM halves the image four times and then still needs one 11 x 11 window."""


class Similarity:
    """SSIM and MS-SSIM of one pair of slices [j, i]. The local moments take most of the time: at each scale they are
    made once for all data ranges that are known by then, and are not kept.
    """

    def __init__(self, real: np.ndarray, synthetic: np.ndarray, ranges: Collection[float | None] = ()) -> None:
        """Take two slices; `ranges` will be asked for, None for each scale's own one, and are worked out together."""
        if real.ndim != 2 or real.shape != synthetic.shape:
            raise ValueError(f"two slices of one shape are needed, got {real.shape} and {synthetic.shape}")
        if min(real.shape) < SMALLEST_SIDE:
            raise ValueError(f"SSIM needs at least {SMALLEST_SIDE} pixels on a side, got {real.shape}")
        self._ranges = ranges
        self._scales = [(real, synthetic)]
        self._own_ranges: dict[int, float] = {}
        self._alike: dict[tuple[int, float], _Alike] = {}

    def ssim_map(self, data_range: float) -> np.ndarray:
        """SSIM at every pixel [j, i]; windows that reach over the border see the image mirrored."""
        return self._compared(0, data_range).ssim

    def ssim(self, data_range: float, *, with_border: bool = False) -> float:
        """Mean SSIM over windows inside the image, or over all pixels `with_border` (torchmetrics'
        choice).
        """
        full = self.ssim_map(data_range)
        return float(np.mean(full if with_border else full[_INSIDE, _INSIDE]))

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
            alike = self._compared(scale, self.own_range(scale) if data_range is None else data_range)
            factor = float(np.mean(alike.ssim)) if scale == last else alike.contrast_inside
            value *= max(factor, 0.0) ** weight
        return value

    def own_range(self, scale: int = 0) -> float:
        """The larger of the two images' own ranges (max - min) at a scale."""
        if scale not in self._own_ranges:
            self._own_ranges[scale] = max(float(image.max()) - float(image.min()) for image in self._at(scale))
        return self._own_ranges[scale]

    def _at(self, scale: int) -> tuple[np.ndarray, np.ndarray]:
        while len(self._scales) <= scale:
            real, synthetic = self._scales[-1]
            self._scales.append((_halve(real), _halve(synthetic)))
        return self._scales[scale]

    def _compared(self, scale: int, data_range: float) -> _Alike:
        if (scale, data_range) not in self._alike:
            known = (self.own_range(scale) if one is None else one for one in self._ranges)
            missing = {data_range, *(one for one in known if one > 0 and (scale, one) not in self._alike)}
            for one, alike in zip(missing, _compare(*self._at(scale), missing), strict=True):
                self._alike[scale, one] = alike
        return self._alike[scale, data_range]


@dataclass
class _Alike:
    """How alike two images are at one scale, for one data range.

    Attributes:
        ssim: SSIM at every pixel [j, i].
        contrast_inside: Mean of its contrast-structure factor over the windows inside the image.
    """

    ssim: Float64
    contrast_inside: float = 0.0


def _compare(a: np.ndarray, b: np.ndarray, ranges: Collection[float]) -> list[_Alike]:
    """How alike two images [j, i] are, for each data range; in stripes of rows that stay in the processor's cache."""
    rows, columns = a.shape
    inside = (rows - 2 * RADIUS) * (columns - 2 * RADIUS)
    found = [_Alike(np.empty(a.shape)) for _ in ranges]
    for stripe, moments in _moments(a, b):
        within = slice(max(RADIUS - stripe.start, 0), max(rows - RADIUS - stripe.start, 0))
        for data_range, alike in zip(ranges, found, strict=True):
            product, of_means, covariance, variance = moments
            contrast = _ratio(covariance, variance, (0.03 * data_range) ** 2)
            np.multiply(_ratio(product, of_means, (0.01 * data_range) ** 2), contrast, out=alike.ssim[stripe])
            alike.contrast_inside += float(contrast[within, _INSIDE].sum()) / inside
    return found


def _ratio(above: Float64, below: Float64, constant: float) -> Float64:
    """A factor of SSIM: both with the constant that keeps it defined where there is no signal or contrast."""
    ratio: Float64 = above + constant
    ratio /= below + constant
    return ratio


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


_BLOCK = 8
"""Pixels that one product of matrices blurs: fewer make more products, more multiply more zeros."""
_WINDOW = _BLOCK + 2 * RADIUS
_STRIPE = 64
"""Rows that are worked on at once."""


def _band() -> Float64:
    """The matrix [_BLOCK + 2 RADIUS, _BLOCK] that correlates pixels with the Gaussian window."""
    taps = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    band = np.zeros((_BLOCK + 2 * RADIUS, _BLOCK))
    for column in range(_BLOCK):
        band[column : column + 2 * RADIUS + 1, column] = taps / taps.sum()
    return band


_BAND = _band()


def _moments(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, tuple[Float64, Float64, Float64, Float64]]]:
    """Rows, and in them, from the local means a, b and variances of two images [j, i]: 2 a b, a^2 + b^2, twice the
    covariance, and the sum of the variances.
    """
    rows = len(a)
    for start in range(0, rows, _STRIPE):
        stripe = slice(start, min(start + _STRIPE, rows))
        mean_a, mean_b, squares, products = _blurred(_padded_products(a, b, stripe))
        product = mean_a * mean_b
        mean_a *= mean_a
        mean_b *= mean_b
        mean_a += mean_b
        squares -= mean_a
        products -= product
        product *= 2
        products *= 2
        yield stripe, (product, mean_a, products, np.maximum(squares, 0, out=squares))


def _padded_products(a: np.ndarray, b: np.ndarray, stripe: slice) -> Float64:
    """a, b, a^2 + b^2 and a b [4, j, i] in a stripe of rows and around it by the width of the window, mirrored at the
    images' border.
    """
    rows, columns = a.shape
    index = np.abs(np.arange(stripe.start - RADIUS, stripe.stop + RADIUS))
    index = rows - 1 - np.abs(rows - 1 - index)
    padded = np.empty((4, len(index), columns + 2 * RADIUS))
    for place, image in zip(padded, (a, b), strict=False):
        place[:, _INSIDE] = image[index]
        place[:, :RADIUS] = place[:, 2 * RADIUS : RADIUS : -1]
        place[:, -RADIUS:] = place[:, -RADIUS - 2 : -2 * RADIUS - 2 : -1]
    np.multiply(padded[0], padded[0], out=padded[2])
    np.multiply(padded[1], padded[1], out=padded[3])
    padded[2] += padded[3]
    np.multiply(padded[0], padded[1], out=padded[3])
    return padded


def _blurred(padded: Float64) -> Float64:
    """Padded images [n, j, i] under the Gaussian window, without their padding.

    By products with a band matrix: they take a third of the time of SciPy's correlation.
    """
    count, rows, columns = padded.shape
    along = np.empty((count, rows - 2 * RADIUS, columns))
    blurred = np.empty((*along.shape[:2], columns - 2 * RADIUS))
    if whole := along.shape[1] // _BLOCK * _BLOCK:
        windows = sliding_window_view(padded, _WINDOW, axis=1)[:, ::_BLOCK].swapaxes(2, 3)
        np.matmul(_BAND.T, windows, out=along[:, :whole].reshape(count, -1, _BLOCK, columns))
    along[:, whole:] = _part(along.shape[1] - whole).T @ padded[:, whole:]
    whole = blurred.shape[2] // _BLOCK * _BLOCK
    windows = sliding_window_view(along, _WINDOW, axis=2)[:, :, ::_BLOCK].swapaxes(1, 2)
    np.matmul(windows, _BAND, out=blurred[:, :, :whole].reshape(*along.shape[:2], -1, _BLOCK).swapaxes(1, 2))
    blurred[:, :, whole:] = along[:, :, whole:] @ _part(blurred.shape[2] - whole)
    return blurred


def _part(count: int) -> Float64:
    """The band for the last, smaller block of `count` pixels."""
    return _BAND[: count + 2 * RADIUS, :count]


def _halve(image: np.ndarray) -> Float64:
    """Mean of 2 x 2 blocks; an odd last row or column is dropped."""
    j, i = (side // 2 * 2 for side in image.shape)
    even = np.asarray(image[:j, :i], np.float64)
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
