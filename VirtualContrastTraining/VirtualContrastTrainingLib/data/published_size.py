"""In-plane resampling of the published preparation: to millimeters by area, then to a square by cubic interpolation.

Both follow OpenCV's definitions (INTER_AREA for shrinking, INTER_CUBIC with a = -0.75, pixel edges aligned). A field of
view that is not square is distorted, as in the published pictures.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Float32 = NDArray[np.float32]


def as_published(slices: Float32, spacing_mm: tuple[float, float], pixel_mm: float | None, size: int | None) -> Float32:
    """Slices [n, row, column] of pixel `spacing_mm` (rows, columns) at `pixel_mm`, then at `size` x `size` pixels.

    A step whose value is None is left out. Cubic interpolation overshoots; the caller clips.
    """
    if pixel_mm is not None:
        rows, columns = (max(1, round(n * mm / pixel_mm)) for n, mm in zip(slices.shape[1:], spacing_mm, strict=True))
        slices = shrink_by_area(slices, (rows, columns))
    if size is not None and slices.shape[1:] != (size, size):
        stack = torch.from_numpy(np.ascontiguousarray(slices))[:, None]
        slices = functional.interpolate(stack, size=(size, size), mode="bicubic", align_corners=False)[:, 0].numpy()
    return slices


def shrink_by_area(slices: Float32, size: tuple[int, int]) -> Float32:
    """Slices [n, row, column] on `size` pixels: each is the mean of what it covers; a finer grid is interpolated."""
    rows, columns = (_weights(old, new) for old, new in zip(slices.shape[1:], size, strict=True))
    return np.einsum("pr,nrc,qc->npq", rows, slices, columns, optimize=True)


@lru_cache(maxsize=64)
def _weights(old: int, new: int) -> Float32:
    """Row p holds the share of each old pixel in new pixel p; linear interpolation where new pixels are smaller."""
    scale = old / new
    if scale < 1:
        center = np.clip((np.arange(new) + 0.5) * scale - 0.5, 0, old - 1)
        return np.maximum(0, 1 - np.abs(center[:, None] - np.arange(old))).astype(np.float32)
    start = np.arange(new)[:, None] * scale
    overlap = np.minimum(start + scale, np.arange(old) + 1) - np.maximum(start, np.arange(old))
    return (np.clip(overlap, 0, None) / scale).astype(np.float32)
