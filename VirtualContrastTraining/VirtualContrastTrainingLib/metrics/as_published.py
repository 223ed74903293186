"""The numbers as the papers' scripts computed them, artifacts included; never to be read as image quality.

The scripts gave 8-bit tensors to torchmetrics, whose differences and squares then wrap modulo 256: "MSE"
is the mean of (a - b)^2 mod 256, "MAE" the mean of (a - b) mod 256 (a tiny negative error counts 255, so
the order of the arguments matters). "PSNR" is built on that MSE (torchmetrics up to 1.4.3). "LPIPS"
compares images that an 8-bit min-max to [-1, 1] had cut to {0, 1}. SSIM and MS-SSIM are sound but take the
data range from each pair of images. Osuala et al., SPIE 2024 and JMI 2025.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Protocol:
    """What a paper did to its images before it measured them, in this order.

    Attributes:
        scale_volumes: Whether files of other than 8-bit values were min-max scaled to 0..255, each as a whole (data
            preparation).
        normalize: Whether each slice was then min-max scaled.
        size: Side in pixels of the square that slices were resized to, None for no such step.
        real_first: Whether the real image was the first argument of the measures.
    """

    scale_volumes: bool = False
    normalize: bool = False
    size: int | None = None
    real_first: bool = False

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """One slice [j, i], uint8 in and out."""
        if self.normalize:
            pixels = minmax_eight_bit(pixels)
        if self.size is not None and pixels.shape != (self.size, self.size):
            pixels = resize_linear(pixels, self.size)
        return pixels


PROTOCOLS = {
    "files": Protocol(),
    "spie2024": Protocol(scale_volumes=True, normalize=True, size=512),
    "jmi2025-table4": Protocol(scale_volumes=True, normalize=True, size=224, real_first=True),
}
"""`files` takes the 8-bit values as they are in the files, synthetic minus real; the others repeat the scripts behind
the printed tables.
"""
NOT_EIGHT_BIT = (
    "The published arithmetic is defined on 8-bit values as they are in the files, and these files hold others; "
    "--protocol spie2024 or jmi2025-table4 scales each volume to 0..255 first, as the papers prepared theirs."
)
SCALED_TO_EIGHT_BIT = (
    "Volumes without 8-bit values were min-max scaled to 0..255 each on its own, as the papers prepared them."
)


def wrapped_mse(first: np.ndarray, second: np.ndarray) -> float:
    """Mean of (first - second)^2 mod 256 over two uint8 arrays; at most 249, symmetric."""
    difference = _uint8(first) - _uint8(second)
    return float(np.mean(difference * difference))


def wrapped_mae(first: np.ndarray, second: np.ndarray) -> float:
    """Mean of (first - second) mod 256 over two uint8 arrays; depends on the order of the arguments."""
    return float(np.mean(_uint8(first) - _uint8(second)))


def wrapped_psnr(squared: float, second: np.ndarray) -> float:
    """dB from the wrapped MSE; the range is that of `second` with 0 included. Infinite when the wrapped
    MSE is 0.
    """
    if squared == 0:
        return math.inf
    peak = float(second.max())  # uint8: max(second, 0) - min(second, 0)
    return 10 * math.log10(peak * peak / squared) if peak > 0 else -math.inf


def binarized(pixels: np.ndarray) -> np.ndarray:
    """What OpenCV's min-max of a uint8 image to [-1, 1], kept in uint8, leaves: 1.0 in the brightest
    quarter of the range, else 0.0.
    """
    low, high = float(pixels.min()), float(pixels.max())
    if high == low:
        return np.zeros(pixels.shape, np.float32)
    scale = np.float32(2.0 / (high - low))
    shift = np.float32(-1.0 - low * (2.0 / (high - low)))
    return (_uint8(pixels).astype(np.float32) * scale + shift > 0.5).astype(np.float32)


def minmax_eight_bit(pixels: np.ndarray) -> np.ndarray:
    """Min-max any array to 0..255 uint8, half to even, as the data preparation (whole volume) and the
    scripts (slice) did.

    A constant array becomes 0.
    """
    values = np.asarray(pixels, dtype=np.float64)
    low, high = values.min(), values.max()
    if high == low:
        return np.zeros(values.shape, np.uint8)
    scale = 255.0 / (high - low)
    return rounded_eight_bit(values * scale - low * scale)


def rounded_eight_bit(pixels: np.ndarray) -> np.ndarray:
    """Values of 0..255 as uint8, half to even: what an as-published model makes, as a picture file holds it."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def resize_linear(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resize one uint8 slice to size x size at the sampling points of OpenCV's INTER_LINEAR (half-pixel
    centers, no smoothing).

    OpenCV's 11-bit weights may round a pixel one gray level away from the exact weights used here.
    """
    j, i = (_linear_weights(side, size) for side in pixels.shape)
    exact = j @ pixels.astype(np.float64) @ i.T
    return np.clip(np.floor(exact + 0.5), 0, 255).astype(np.uint8)


def saturating_subtract(post: np.ndarray, pre: np.ndarray) -> np.ndarray:
    """Post minus pre on uint8 with negative values at 0, as the published subtraction images were made."""
    difference = _uint8(post).astype(np.int16) - _uint8(pre)
    return np.clip(difference, 0, 255).astype(np.uint8)


def as_eight_bit(pixels: np.ndarray) -> tuple[np.ndarray, bool]:
    """(uint8 values, True) where the array holds whole numbers 0..255 already, else (its min-max to
    0..255, False).
    """
    if pixels.dtype == np.uint8:
        return pixels, True
    if pixels.min() >= 0 and pixels.max() <= 255 and bool(np.all(pixels == np.rint(pixels))):
        return pixels.astype(np.uint8), True
    return minmax_eight_bit(pixels), False


def _uint8(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype != np.uint8:
        raise ValueError(f"published metrics are defined on uint8 arrays, got {pixels.dtype}")
    return pixels


def _linear_weights(old: int, new: int) -> np.ndarray:
    """Matrix [new, old] of linear interpolation weights; samples beyond the first and last centers repeat
    the edge.
    """
    at = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    left = np.minimum(at.astype(int), max(old - 2, 0))
    weights = np.zeros((new, old))
    weights[np.arange(new), left] = 1 - (at - left)
    weights[np.arange(new), np.minimum(left + 1, old - 1)] += at - left
    return weights
