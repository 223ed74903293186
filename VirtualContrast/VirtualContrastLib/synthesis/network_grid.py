"""From a volume's pixels to those that a network sees, and back: one object for training and synthesis.

The square of the published preparation follows OpenCV's definitions (INTER_AREA for shrinking, INTER_CUBIC with
a = -0.75, pixel edges aligned). A field of view that is not square is distorted, as in the published pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from .geometry import resampled_size, resize_in_plane

if TYPE_CHECKING:
    from ..models.card import InPlane

Float32 = NDArray[np.float32]
Size = tuple[int, int]

FAR_OUTSIDE = 1.5
"""Pixels larger or smaller than any in training by this factor show other detail than the network knows."""


@dataclass(frozen=True)
class NetworkGrid:
    """The grids that slices of one volume pass through, each as (rows, columns).

    Attributes:
        native: the volume's own.
        by_area: grid that pixels are averaged on first, None where there is no such step.
        size: what the network sees, before padding.
        square: cubic interpolation to `size` with its distortion; else linear, of the same field of view.
    """

    native: Size
    by_area: Size | None
    size: Size
    square: bool

    @classmethod
    def of(cls, in_plane: InPlane, native: Size, spacing_mm: tuple[float, float]) -> Self:
        """The grid on which a network sees the slices of a volume.

        Args:
            in_plane: The card's policy and pixel size.
            native: Rows and columns of the volume's slices.
            spacing_mm: Pixel spacing along rows and columns, in mm.

        Returns:
            The grid.
        """
        target = None
        if in_plane.policy != "native" and in_plane.spacing_mm is not None:
            target = resampled_size(native, spacing_mm, in_plane.spacing_mm)
        if in_plane.policy == "square" and in_plane.size is not None:
            return cls(native, target, (in_plane.size, in_plane.size), square=True)
        return cls(native, None, target or native, square=False)

    @property
    def changes(self) -> bool:
        """The network sees pixels other than the volume's own."""
        return self.size != self.native or self.by_area not in (None, self.native)

    def to_network(self, slices: Float32) -> Float32:
        """Slices [n, row, column] as the network sees them; cubic interpolation overshoots, the caller clips."""
        if not self.square:
            return resize_in_plane(slices, self.size)
        if self.by_area is not None:
            slices = shrink_by_area(slices, self.by_area)
        if slices.shape[1:] == self.size:
            return slices
        stack = torch.from_numpy(slices.copy(order="C"))[:, None]
        return functional.interpolate(stack, size=self.size, mode="bicubic", align_corners=False)[:, 0].numpy()

    def to_native(self, change: Float32) -> Float32:
        """A predicted change [n, row, column] on the volume's own pixels."""
        return resize_in_plane(change, self.native)


def spacing_warning(in_plane: InPlane, spacing_mm: tuple[float, float]) -> str | None:
    """A sentence where pixels of `spacing_mm` (rows, columns) are far outside those of the training data, or None."""
    if in_plane.trained_mm is None:
        return None
    least, most = in_plane.trained_mm
    if least / FAR_OUTSIDE <= min(spacing_mm) and max(spacing_mm) <= most * FAR_OUTSIDE:
        return None
    seen = f"{least:.2f} mm" if most - least < 0.005 else f"{least:.2f} to {most:.2f} mm"
    return (
        f"The pixels of this volume ({spacing_mm[0]:.2f} x {spacing_mm[1]:.2f} mm) are far from those that the model "
        f"was trained on ({seen}); its output is less reliable here."
    )


def shrink_by_area(slices: Float32, size: Size) -> Float32:
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
