"""Values of a part of a volume, held without the rest of it: breasts fill a fifth to a third of a study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from .volumes import blank

_PIXELS = {np.float32: sitk.sitkFloat32, np.uint8: sitk.sitkUInt8}


@dataclass(frozen=True)
class MaskedValues:
    """Values of the voxels inside a mask; all others are 0.

    Attributes:
        inside: The mask [k, j, i], shared by all values of one study.
        values: One per voxel of the mask (n,), in the order of the voxels in memory.
    """

    inside: NDArray[np.bool_]
    values: NDArray[Any]

    def volume(self) -> NDArray[Any]:
        """All voxels [k, j, i]."""
        full = np.zeros(self.inside.shape, self.values.dtype)
        full[self.inside] = self.values
        return full

    def image(self, reference: sitk.Image) -> sitk.Image:
        """All voxels as an image on the grid of `reference`."""
        image, voxels = blank(reference, _PIXELS[self.values.dtype.type])
        voxels[self.inside] = self.values
        return image

    def sums(self, labels: NDArray[np.integer]) -> NDArray[np.float64]:
        """Sum of the values over the voxels of each label, by label from 0; that of 0 is not worked out.

        Args:
            labels: Label of each voxel inside the mask (n,).

        Returns:
            The sums (largest label + 1,).
        """
        chosen = np.flatnonzero(labels)
        return np.bincount(labels[chosen], weights=self.values[chosen], minlength=1).astype(np.float64)
