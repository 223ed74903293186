"""What a lesion looks like by phase, real and synthetic: the slice with most of it, cut out around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LEAST_MARGIN = 8
"""Pixels around the lesion; a quarter of its size where that is more."""


@dataclass(frozen=True)
class LesionPicture:
    """Cut-outs around a lesion, with pre-contrast first.

    Attributes:
        real: Real phases [phase, row, column].
        synthetic: Synthetic phases [phase, row, column].
        lesion: The lesion [row, column].
        window: One gray window for all.
    """

    real: NDArray[np.floating]
    synthetic: NDArray[np.floating]
    lesion: NDArray[np.bool_]
    window: tuple[float, float]


def lesion_picture(
    real: Sequence[NDArray[np.floating]],
    synthetic: Sequence[NDArray[np.floating]],
    lesion: NDArray[np.bool_],
    window: tuple[float, float],
) -> LesionPicture:
    """Cut a lesion out of its phases.

    Args:
        real: Real phases [slice, row, column], pre-contrast first.
        synthetic: Synthetic phases on the same grid, pre-contrast first.
        lesion: Voxels of the lesion, at least one.
        window: Gray window of all phases.

    Returns:
        The picture.
    """
    k = int(lesion.sum(axis=(1, 2)).argmax())
    place = tuple(_around(lesion[k].any(axis=axis)) for axis in (1, 0))
    cut = [np.stack([phase[k][place] for phase in series]) for series in (real, synthetic)]
    return LesionPicture(cut[0], cut[1], lesion[k][place], window)


def _around(crossed: NDArray[np.bool_]) -> slice:
    """Indices that a lesion crosses, with a margin on either side within the image."""
    found = np.flatnonzero(crossed)
    margin = max(_LEAST_MARGIN, (int(found[-1]) - int(found[0]) + 1) // 4)
    return slice(max(0, int(found[0]) - margin), int(found[-1]) + 1 + margin)
