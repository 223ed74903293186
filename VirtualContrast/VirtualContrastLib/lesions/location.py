"""Where lesions lie in the breast: quadrant, and distances to skin, nipple and chest wall, as reports give them.

Geometric estimates from the breast region alone, on its grid of about 2 mm: the nipple is taken to be where the breast
reaches farthest to the front, which a prone breast does near it, and the chest wall is the region's own estimate. None
of this was compared with a reader's measures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from ..io.volumes import affine_of
from ..synthesis.breast_region import LEFT, RIGHT, UNKNOWN, BreastRegion

Mask = NDArray[np.bool_]
Point = NDArray[np.float64]

CENTRAL_MM = 15.0
"""A lesion whose center lies this near to the axis through the nipple belongs to no quadrant: it is central."""
TIP_MM = 4.0
"""The nipple is the middle of the foremost part of the breast of this depth."""


@dataclass(frozen=True)
class LesionPlace:
    """Where one lesion lies; distances are None where the region does not show them.

    Attributes:
        label: Label of the lesion.
        side: The patient's side, `left`, `right`, `midline` or `unknown`.
        quadrant: `upper outer`, `upper inner`, `lower outer`, `lower inner`, `central` or `unknown`, of the lesion's
            center seen from the nipple.
        skin_mm: From the lesion's voxel nearest to the skin, in mm.
        nipple_mm: From the lesion's center, in mm.
        chest_wall_mm: From the lesion's voxel nearest to the chest wall, in mm.
    """

    label: int
    side: str = UNKNOWN
    quadrant: str = UNKNOWN
    skin_mm: float | None = None
    nipple_mm: float | None = None
    chest_wall_mm: float | None = None


def lesion_places(labels: sitk.Image, region: BreastRegion) -> list[LesionPlace]:
    """The place of every positive label, in order of the labels.

    Of a picture smaller than a breast, or where the region's front is not the patient's, only the side is known;
    without a chest wall side and distance from the skin.
    """
    array = sitk.GetArrayViewFromImage(labels)
    present = [int(label) for label in np.unique(array) if label > 0]
    breasts = None if region.kind == "crop" or not region.faces_front else _Breasts(region)
    boxes = ndimage.find_objects(array)
    places = []
    for label in present:
        box = boxes[label - 1]
        voxels = np.argwhere(array[box] == label) + [part.start for part in box]
        homogeneous = np.column_stack([voxels[:, ::-1], np.ones(len(voxels))])
        points = (homogeneous @ affine_of(labels).T)[:, :3]
        side = region.side(points.mean(axis=0).tolist())
        places.append(breasts.place(label, side, points) if breasts else LesionPlace(label, side))
    return places


class _Breasts:
    """Distances and nipples of one region, in LPS millimeters."""

    def __init__(self, region: BreastRegion) -> None:
        self._grid = region.grid
        self._spacing_kji = np.array(self._grid.GetSpacing()[::-1])
        body, breast = region.body(), region.breast()
        self._air = _Outside(~body, self._spacing_kji)
        self._wall: _Outside | None = None
        self._nipples: list[tuple[Point, int]] = []  # each with the direction in which x grows outward, 0: unknown
        if region.kind != "body" and breast.any():
            self._wall = _Outside(body & ~breast, self._spacing_kji)
            parts = [slice(None)]
            if (left := region.first_left_column) is not None:
                parts = [part for part in (slice(0, left), slice(left, None)) if breast[:, :, part].any()]
            tips = [self._tip(breast, part) for part in parts]
            outward = {LEFT: 1, RIGHT: -1}
            self._nipples = [(tip, outward.get(region.side(tip.tolist()), 0)) for tip in tips]

    def place(self, label: int, side: str, points: NDArray[np.float64]) -> LesionPlace:
        """The place of a lesion whose voxel centers are `points` (n, 3)."""
        center = points.mean(axis=0)
        skin = self._nearest(self._air, points)
        if not self._nipples:
            return LesionPlace(label, side, skin_mm=skin)
        nipple, outward = min(self._nipples, key=lambda one: float(abs(one[0][0] - center[0])))
        wall = self._nearest(self._wall, points) if self._wall is not None else None
        distance = float(np.linalg.norm(center - nipple))
        return LesionPlace(label, side, _quadrant(center - nipple, outward), skin, distance, wall)

    def _nearest(self, outside: _Outside, points: NDArray[np.float64]) -> float | None:
        """The smallest distance from the points; a surface lies half a voxel before the center behind it."""
        inverse = np.linalg.inv(affine_of(self._grid))
        ijk = (np.column_stack([points, np.ones(len(points))]) @ inverse.T)[:, :3]
        size = np.array(self._grid.GetSize()) - 1
        voxels = np.unique(np.clip(np.rint(ijk).astype(int), 0, size)[:, ::-1], axis=0)
        distance_mm = outside.distance_mm(voxels)
        return None if distance_mm is None else max(0.0, distance_mm - float(self._spacing_kji.min()) / 2)

    def _tip(self, breast: Mask, columns: slice) -> Point:
        """The middle of the foremost part of the breast in these columns, on its surface."""
        k, j, i = np.nonzero(breast[:, :, columns])
        front = j <= j.min() + TIP_MM / self._spacing_kji[1]
        index = [float(i[front].mean()) + (columns.start or 0), float(j.min()) - 0.5, float(k[front].mean())]
        return np.array(self._grid.TransformContinuousIndexToPhysicalPoint(index))


class _Outside:
    """Voxels that lie outside of something, of which its surface alone is searched: lesions are few and small."""

    def __init__(self, mask: Mask, spacing_kji: Point) -> None:
        self._mask, self._spacing_kji = mask, spacing_kji
        surface = np.argwhere(mask & ndimage.binary_dilation(~mask))
        self._tree = cKDTree(surface * spacing_kji) if len(surface) else None

    def distance_mm(self, voxels: NDArray[np.intp]) -> float | None:
        """The smallest distance from voxels (n, 3) [k, j, i] to those outside; None where all is inside."""
        if self._mask[tuple(voxels.T)].any():
            return 0.0
        return None if self._tree is None else float(self._tree.query(voxels * self._spacing_kji)[0].min())


def _quadrant(offset: Point, outward: int) -> str:
    """The quadrant of a point by its offset from the nipple (LPS, mm); x grows outward in the direction `outward`."""
    if np.hypot(offset[0], offset[2]) <= CENTRAL_MM:
        return "central"
    if outward == 0:
        return UNKNOWN
    height = "upper" if offset[2] > 0 else "lower"
    return f"{height} {'outer' if offset[0] * outward > 0 else 'inner'}"
