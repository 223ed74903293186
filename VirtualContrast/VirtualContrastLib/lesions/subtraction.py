"""Post-contrast minus pre-contrast."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..events import InputError
from ..io.volumes import blank, same_geometry, voxels_of


def subtract(post: sitk.Image, pre: sitk.Image) -> sitk.Image:
    """`post` minus `pre` in their units, signed float32 on their grid (clipping is a matter of display).

    Raises InputError where the two volumes do not share one geometry.
    """
    difference = same_geometry(post, pre)
    if difference:
        raise InputError(f"The volumes cannot be subtracted because their geometries differ: {difference}")
    image, voxels = blank(pre, sitk.sitkFloat32)
    np.subtract(voxels_of(post), voxels_of(pre), out=voxels, dtype=np.float32)
    return image
