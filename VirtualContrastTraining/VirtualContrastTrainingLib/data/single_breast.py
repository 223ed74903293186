"""The half of a bilateral volume that holds the tumor, cut out without moving it in the world.

The papers segment one breast at a time: the side is that of the tumor's center of mass. Their code keeps the origin of
the whole volume for the right half and drops a column (reference implementation SimulatingDCE e199162); here each voxel
keeps its place in patient coordinates, whatever the orientation of the volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from VirtualContrastLib.events import InputError

SPECK_SHARE = 0.05
"""A component with less than this share of the largest one's volume is a slip of the annotation, not a lesion."""


@dataclass(frozen=True)
class BreastHalf:
    """Voxels along one index axis of volumes of one size.

    Attributes:
        axis: The axis (0 = i, 1 = j, 2 = k).
        start: First voxel.
        stop: Voxel after the last.
        size: Size of the volumes, in voxels.
    """

    axis: int
    start: int
    stop: int
    size: tuple[int, ...]

    def crop(self, image: sitk.Image) -> sitk.Image:
        """This half of `image`, each voxel where it was in the world; raises ValueError for another size."""
        if image.GetSize() != self.size:
            raise ValueError(f"the half is of volumes of {self.size} voxels, not {image.GetSize()}")
        index, size = [0] * len(self.size), list(self.size)
        index[self.axis], size[self.axis] = self.start, self.stop - self.start
        return sitk.RegionOfInterest(image, size, index)


def tumor_half(lesions: sitk.Image) -> BreastHalf:
    """The half with the center of mass of the labeled voxels (all labels alike).

    The volume is halved along the index axis nearest to the patient's left-right axis. Raises InputError where no voxel
    is labeled or the volume is one voxel wide.
    """
    voxels = np.argwhere(sitk.GetArrayViewFromImage(lesions) > 0)[:, ::-1]  # i, j, k
    if not len(voxels):
        raise InputError("Its lesion mask is empty; segment the tumor or leave the case out.")
    axis = int(np.argmax(np.abs(np.reshape(lesions.GetDirection(), (3, 3))[0])))
    size = lesions.GetSize()
    if size[axis] < 2:
        raise InputError("The volume is one voxel wide from left to right, so that it has no halves.")
    middle = size[axis] // 2
    # Voxel n reaches from n to n + 1, hence the half.
    if voxels[:, axis].mean() + 0.5 < size[axis] / 2:
        return BreastHalf(axis, 0, middle, size)
    return BreastHalf(axis, middle, size[axis], size)


def count_lesions(lesions: sitk.Image) -> int:
    """Number of connected components (by face, edge or corner) of the labeled voxels, less specks (`SPECK_SHARE`).

    More than one makes a case multifocal, which the papers leave out.
    """
    mask = sitk.GetArrayViewFromImage(lesions) > 0
    parts, count = ndimage.label(mask, ndimage.generate_binary_structure(3, 3))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    return int((sizes >= SPECK_SHARE * sizes.max()).sum()) if count else 0
