"""SSIM and MS-SSIM of a real and a synthetic image, in float64 with a stated data range: the one definition of each.

SSIM of Wang et al. 2004 (Gaussian window 11 x 11, sigma 1.5, population covariance,
K1 = 0.01, K2 = 0.03, mean over windows that lie inside the image: scikit-image with gaussian_weights=True,
use_sample_covariance=False); MS-SSIM of Wang et al. 2003 with its five weights, as torchmetrics computes it
(contrast factors over windows inside the image, the last scale's SSIM over all pixels with mirrored borders,
negative factors set to 0).
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate1d

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
        self._moments: list[tuple[np.ndarray, ...]] = []

    def ssim_map(self, data_range: float) -> np.ndarray:
        """SSIM at every pixel [j, i]; windows that reach over the border see the image mirrored."""
        return self._maps(0, data_range)[0]

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
            similarity, contrast = self._maps(scale, data_range if data_range is not None else self.own_range(scale))
            factor = similarity if scale == last else contrast[RADIUS:-RADIUS, RADIUS:-RADIUS]
            value *= max(float(np.mean(factor)), 0.0) ** weight
        return value

    def own_range(self, scale: int = 0) -> float:
        """The larger of the two images' own ranges (max - min) at a scale."""
        real, synthetic = self._at(scale)
        return float(max(np.ptp(real), np.ptp(synthetic)))

    def _at(self, scale: int) -> tuple[np.ndarray, np.ndarray]:
        while len(self._scales) <= scale:
            real, synthetic = self._scales[-1]
            self._scales.append((_halve(real), _halve(synthetic)))
        return self._scales[scale]

    def _maps(self, scale: int, data_range: float) -> tuple[np.ndarray, np.ndarray]:
        """Maps of SSIM and of its contrast-structure factor."""
        self._at(scale)
        while len(self._moments) <= scale:
            self._moments.append(_local_moments(*self._scales[len(self._moments)]))
        mean_a, mean_b, var_a, var_b, covariance = self._moments[scale]
        c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
        contrast = (2 * covariance + c2) / (var_a + var_b + c2)
        return (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1) * contrast, contrast


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


def _gaussian_taps() -> np.ndarray:
    taps = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    return np.asarray(taps / taps.sum())


_TAPS = _gaussian_taps()


def _blur(image: np.ndarray) -> np.ndarray:
    rows = correlate1d(image, _TAPS, axis=0, mode="mirror")
    return np.asarray(correlate1d(rows, _TAPS, axis=1, mode="mirror"))


def _local_moments(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    mean_a, mean_b = _blur(a), _blur(b)
    var_a = np.maximum(_blur(a * a) - mean_a**2, 0)
    var_b = np.maximum(_blur(b * b) - mean_b**2, 0)
    return mean_a, mean_b, var_a, var_b, _blur(a * b) - mean_a * mean_b


def _halve(image: np.ndarray) -> np.ndarray:
    """Mean of 2 x 2 blocks; an odd last row or column is dropped."""
    j, i = (side // 2 * 2 for side in image.shape)
    even = image[:j, :i]
    return np.asarray((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4)
