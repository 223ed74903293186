"""Where a volume is bright."""

import numpy as np


def brighter_than(array: np.ndarray, threshold: float) -> np.ndarray:
    """uint8 mask of the voxels above ``threshold``, same shape [k, j, i]."""
    return (array > threshold).astype(np.uint8)
