"""Axial views of a volume, the way models are trained: rows run to posterior, columns to patient left.

Arrays are [k, j, i]; in an axial view k runs to superior, j to posterior, i to left. Only axes are swapped
and reversed: no voxel is interpolated, so the way back is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any, Self

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

MIN_SIDE = 16


@dataclass(frozen=True)
class AxialView:
    """How the stored array is seen in axial slices.

    Attributes:
        axes: Which axes of the stored array are superior, posterior and left.
        reversed_axes: Which of them run backwards.
        spacing_mm: Distance of voxels of the view [k, j, i], in mm.
        as_stored: Whether the volume is a thin stack in another plane, whose axial slices would have fewer than
            MIN_SIDE rows or columns: its own slices are then taken as they are.
    """

    axes: tuple[int, int, int]
    reversed_axes: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    as_stored: bool = False

    @classmethod
    def of(cls, image: sitk.Image | sitk.ImageFileReader) -> Self:
        """The view of an image, from its direction cosines: the axes nearest to left, posterior, superior."""
        direction = np.reshape(image.GetDirection(), (3, 3))  # [world axis L, P, S; index axis i, j, k]
        world = range(3)
        order = max(permutations(world), key=lambda p: sum(abs(direction[w, p[w]]) for w in world))
        size, spacing = image.GetSize(), image.GetSpacing()
        thin = min(size[order[0]], size[order[1]]) < MIN_SIDE <= min(size[0], size[1])
        if thin:
            return cls((0, 1, 2), (), (spacing[2], spacing[1], spacing[0]), as_stored=True)
        # World axis w is axis 2 - w of the view's array; index axis p is axis 2 - p of the stored array.
        axes = (2 - order[2], 2 - order[1], 2 - order[0])
        backwards = tuple(2 - w for w in (2, 1, 0) if direction[w, order[w]] < 0)
        return cls(axes, backwards, (spacing[order[2]], spacing[order[1]], spacing[order[0]]))

    def from_stored(self, array: NDArray[Any]) -> NDArray[Any]:
        """The stored array [k, j, i] as axial slices."""
        return np.ascontiguousarray(np.flip(array.transpose(self.axes), self.reversed_axes))

    def to_stored(self, array: NDArray[Any]) -> NDArray[Any]:
        """Axial slices back in the stored order; undoes `from_stored`."""
        return np.ascontiguousarray(np.flip(array, self.reversed_axes).transpose(np.argsort(self.axes)))


def resampled_size(size: tuple[int, int], spacing_mm: tuple[float, float], target_mm: float) -> tuple[int, int]:
    """Rows and columns that cover the same field of view at about the wanted pixel size.

    Args:
        size: Rows and columns.
        spacing_mm: Pixel spacing along rows and columns, in mm.
        target_mm: Wanted pixel size in mm.

    Returns:
        Rows and columns, at least one each.
    """
    rows, columns = (max(1, round(n * mm / target_mm)) for n, mm in zip(size, spacing_mm, strict=True))
    return rows, columns


def resize_in_plane(slices: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Slices [n, row, column] on a grid of `size` (rows, columns) with the same outer edges.

    Linear interpolation, with a triangle filter as wide as the coarser pixel where pixels get larger (no
    aliasing).
    """
    if slices.shape[1:] == size:
        return slices
    # Not ascontiguousarray: that keeps the negative stride of a reversed axis of length 1, which torch refuses.
    x = torch.from_numpy(slices.copy(order="C"))[:, None]
    y = functional.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)
    return y[:, 0].numpy()


def pad_to_multiple(x: Tensor, multiple: int, mode: str) -> tuple[Tensor, tuple[slice, slice]]:
    """Pad pictures on all sides to multiples of the network's step.

    Each side gets at least 2 * multiple pixels, below which the networks' own padding fails.

    Args:
        x: Pictures [n, c, row, column].
        multiple: The step in pixels.
        mode: "reflect", which repeats the edge where the picture is smaller than the padding, or "constant", which pads
            with -1, the network's black.

    Returns:
        The padded pictures, and the slices of rows and columns where the picture lies in them.
    """
    pads, window = [], []
    for side in x.shape[-2:]:
        missing = max(-(-side // multiple), 2) * multiple - side
        pads.append((missing // 2, missing - missing // 2))
        window.append(slice(missing // 2, missing // 2 + side))
    (top, bottom), (left, right) = pads
    if mode == "constant":
        padded = functional.pad(x, (left, right, top, bottom), value=-1.0)
    else:
        fits = max(top, bottom) < x.shape[-2] and max(left, right) < x.shape[-1]
        padded = functional.pad(x, (left, right, top, bottom), mode="reflect" if fits else "replicate")
    return padded, (window[0], window[1])
