"""The half of a bilateral volume that holds the tumor, cut out without moving it in the world.

The papers segment one breast at a time: the side is that of the tumor's center of mass. Their code keeps the origin of
the whole volume for the right half and drops a column (reference implementation SimulatingDCE e199162); here each voxel
keeps its place in patient coordinates, whatever the orientation of the volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
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


def breast_halves(image: sitk.Image) -> tuple[BreastHalf, BreastHalf]:
    """The two halves of a volume along the index axis nearest to the patient's left-right axis, in index order.

    Raises InputError where the volume is one voxel wide.
    """
    axis = int(np.argmax(np.abs(np.reshape(image.GetDirection(), (3, 3))[0])))
    size = image.GetSize()
    if size[axis] < 2:
        raise InputError("The volume is one voxel wide from left to right, so that it has no halves.")
    middle = size[axis] // 2
    return BreastHalf(axis, 0, middle, size), BreastHalf(axis, middle, size[axis], size)


def tumor_half(lesions: sitk.Image) -> BreastHalf:
    """The half with the center of mass of the labeled voxels (all labels alike).

    Raises InputError where no voxel is labeled or the volume is one voxel wide.
    """
    mask = sitk.GetArrayViewFromImage(lesions) > 0
    if not mask.any():
        raise InputError("Its lesion mask is empty; segment the tumor or leave the case out.")
    halves = breast_halves(lesions)
    return halves[_side(mask, halves[0])]


def _side(mask: NDArray[np.bool_], first: BreastHalf) -> int:
    """0 where the center of mass of a mask [k, j, i] lies in the first half of its volume, 1 where in the second."""
    # Voxel n reaches from n to n + 1, hence the half.
    return int(np.argwhere(mask)[:, 2 - first.axis].mean() + 0.5 >= first.size[first.axis] / 2)


def joined(halves: Sequence[BreastHalf], labels: Sequence[sitk.Image], like: sitk.Image) -> sitk.Image:
    """Instance labels 1..n of each half as one label map of the whole volume, numbered on from half to half.

    Args:
        halves: The halves.
        labels: Label map of each.
        like: An image with the whole volume's geometry.

    Returns:
        The label map; 0 outside of the halves.
    """
    whole = np.zeros(like.GetSize()[::-1], np.uint16)
    for half, image in zip(halves, labels, strict=True):
        part = sitk.GetArrayFromImage(image)
        place = [slice(None)] * 3
        place[2 - half.axis] = slice(half.start, half.stop)
        whole[tuple(place)] = np.where(part > 0, part + whole.max(), 0)
    made = sitk.GetImageFromArray(whole)
    made.CopyInformation(like)
    return made


UNIFOCAL, MULTIFOCAL, BILATERAL = "unifocal", "multifocal", "bilateral"
"""One lesion; several in one breast; lesions in both breasts."""


def focality(lesions: sitk.Image) -> tuple[str, int]:
    """Whether a label map is unifocal, multifocal or bilateral, and its number of lesions.

    Lesions are the connected components (by face, edge or corner) of the labeled voxels, less specks (`SPECK_SHARE`).
    Each belongs to the half of the volume with its center of mass. The papers leave out all but unifocal cases.
    """
    parts, sizes = _components(lesions)
    kept = np.flatnonzero(sizes >= SPECK_SHARE * sizes.max(initial=0)) + 1
    if len(kept) < 2:
        return UNIFOCAL, len(kept)
    first, _ = breast_halves(lesions)
    sides = {_side(parts == number, first) for number in kept}
    return (BILATERAL if len(sides) > 1 else MULTIFOCAL), len(kept)


def _components(lesions: sitk.Image) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Connected components [k, j, i] of the labeled voxels, numbered from 1, and their sizes in voxels."""
    mask = sitk.GetArrayViewFromImage(lesions) > 0
    parts, count = ndimage.label(mask, ndimage.generate_binary_structure(3, 3))
    return parts, np.bincount(parts.ravel(), minlength=count + 1)[1:]
