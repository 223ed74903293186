"""The breasts of a study in the scene: where they are, and the subtraction inside them, which the MIP shows."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer
from numpy.typing import NDArray

from ...synthesis.breast_region import Kind, find_breasts
from . import nodes, segments

_THIN = 0.2
"""A plane across the breasts with less than this share of the fullest one's tissue is left out of the frame: the strip
of fat beside the chest wall, as wide as the picture, would halve the zoom."""


def find(volume: Any) -> nodes.Steps[tuple[NDArray[np.bool_], Kind]]:
    """Mask [k, j, i] of the breasts in a pre-contrast volume node, and what was found, by the engine's own rules.

    Where nothing is breast all of the volume counts.
    """
    array, place = slicer.util.arrayFromVolume(volume), nodes.place_of(volume)

    def search() -> tuple[NDArray[np.bool_], Kind]:
        found = find_breasts(nodes.put(sitk.GetImageFromArray(array), place))
        mask = found.mask()
        return mask if mask.any() else np.ones_like(mask), found.kind

    result = yield from nodes.in_thread(search)
    return result


def add_inside(mask: NDArray[np.bool_], subtraction: Any, name: str) -> nodes.Steps[Any]:
    """Add a volume node with the subtraction inside a mask, 0 elsewhere, cut to the box around the mask, in steps.

    So neither heart nor vessels behind the breasts can cover them in a projection, and its bounds are the breasts'.

    Args:
        mask: The breasts [k, j, i].
        subtraction: Volume node of the subtraction.
        name: Name of the node.

    Returns:
        The steps; they return the node.
    """
    array = slicer.util.arrayFromVolume(subtraction)

    def cut() -> tuple[nodes.Box, np.ndarray]:
        box = segments.bounding_box(mask)
        assert box is not None  # `find` gives no empty mask
        return box, np.where(mask[box], array[box], array.dtype.type(0))

    box, values = yield from nodes.in_thread(cut)
    volume = yield from nodes.add_volume(values, name, subtraction)
    corner = nodes.ijk_to_ras(subtraction) @ [box[2].start, box[1].start, box[0].start, 1.0]
    volume.SetOrigin(*corner[:3])
    return volume


def frame(inside: Any) -> nodes.Steps[tuple[np.ndarray, np.ndarray]]:
    """The box that a view of the breasts must hold, lowest and highest RAS corner in the scene's mm.

    `inside` is a volume node that `add_inside` made.
    """
    array = slicer.util.arrayFromVolume(inside)

    def ranges() -> list[tuple[int, int]]:
        tissue = array != 0
        counts = [tissue.sum(axis=tuple({0, 1, 2} - {axis})) for axis in (2, 1, 0)]
        full = [np.flatnonzero(count >= _THIN * max(count.max(), 1)) for count in counts]
        return [(int(one[0]), int(one[-1])) if len(one) else (0, size - 1)
                for one, size in zip(full, reversed(array.shape), strict=True)]  # fmt: skip

    along = yield from nodes.in_thread(ranges)
    matrix = nodes.ijk_to_ras(inside)
    corners = [nodes.to_world((matrix @ [*ijk, 1.0])[:3], inside) for ijk in product(*along)]
    return np.min(corners, axis=0), np.max(corners, axis=0)
