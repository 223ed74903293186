"""Time-intensity normalization (Chung et al. 2025): one mean and one standard deviation for all phases of a study.

y_k = (x_k - mean_p) / sd_p with p the FIRST post-contrast phase, for the pre-contrast and every later phase k, so that
differences between phases keep their meaning. The paper does not say over which voxels the two numbers are taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ..events import InputError
from .intensity import foreground_threshold

Region = Literal["volume", "foreground"]


@dataclass(frozen=True)
class TINorm:
    """Constants of one study, in input units.

    Attributes:
        mean: Mean of the first post-contrast volume.
        sd: Its standard deviation (denominator N).
    """

    mean: float
    sd: float

    @classmethod
    def of(cls, first_post: NDArray[Any], region: Region = "volume") -> Self:
        """Mean and (population) standard deviation of the first post-contrast volume [k, j, i].

        `region`: "volume" takes every voxel, "foreground" those above its Otsu threshold (tissue without air). Raises
        InputError where the volume is constant or holds numbers that are not finite.
        """
        threshold = foreground_threshold(first_post)  # refuses constant and non-finite volumes
        voxels = first_post if region == "volume" else first_post[first_post > threshold]
        sd = float(voxels.std(dtype=np.float64))
        if sd == 0:
            raise InputError("The tissue of the first post-contrast volume has the same value everywhere.")
        return cls(float(voxels.mean(dtype=np.float64)), sd)

    def forward(self, array: NDArray[Any]) -> NDArray[np.float32]:
        """Input units to normalized units; nothing is clipped."""
        return ((np.asarray(array, np.float32) - np.float32(self.mean)) / np.float32(self.sd)).astype(np.float32)

    def inverse(self, array: NDArray[Any]) -> NDArray[np.float32]:
        """Normalized units to input units."""
        return (np.asarray(array, np.float32) * np.float32(self.sd) + np.float32(self.mean)).astype(np.float32)
