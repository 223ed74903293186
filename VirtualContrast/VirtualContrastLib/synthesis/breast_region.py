"""Where the breasts are: one answer for synthesis (identity outside them), lesions, maps and metrics.

The heart and the great vessels enhance more than any lesion, so everything needs this region first. The rules
are geometric and need no training; see `chest_wall` for how the wall is found. Work is done on a grid of about
2 mm, because no rule here is finer than that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Final, Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from ..events import Events
from ..io.volumes import affine_of, to_array, voxels_of
from .chest_wall import behind_half_view, behind_protrusion, behind_two_breasts

Mask = NDArray[np.bool_]
Float32 = NDArray[np.float32]
Kind = Literal["two breasts", "one breast", "crop", "body"]
Side = Literal["left", "right", "midline", "unknown"]
LEFT: Final = "left"
RIGHT: Final = "right"
MIDLINE: Final = "midline"
UNKNOWN: Final = "unknown"

WORKING_MM = 2.2
SMOOTHING_MM = 2.0
SKIN_MM = 3.0
EDGE_MM = 6.0
CROP_MM = 130.0
"""No breast examination has a smaller field of view in both directions; a crop around a finding has."""
MIDLINE_MM = 10.0
"""A point this near to the midline belongs to neither breast."""
BOTH_BREASTS_MM = 200.0
"""A picture as wide as this holds both breasts."""
AIR_BORDER = 0.1
"""Share of a border of the picture that the body may touch where there is air in front of the breasts."""
NO_WALL = (
    "The chest wall was not found in the pre-contrast image, so the whole body was treated as breast; check that no "
    "lesion lies in the heart or chest."
)


@dataclass(frozen=True)
class _Grid:
    """Size and place of the volume's voxels; the volume itself is not kept, as a region may outlive it."""

    size: tuple[int, ...]
    origin: tuple[float, ...]
    spacing: tuple[float, ...]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, image: sitk.Image) -> _Grid:
        """The grid of an image."""
        return cls(image.GetSize(), image.GetOrigin(), image.GetSpacing(), image.GetDirection())

    @property
    def affine(self) -> NDArray[np.float64]:
        """Index (i, j, k, 1) to LPS mm."""
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(self.direction, (3, 3)) * self.spacing
        affine[:3, 3] = self.origin
        return affine

    def x_extent_mm(self) -> tuple[float, float]:
        """The smallest and largest patient x of the corner voxels."""
        corners = product(*((0, size - 1) for size in self.size), (1,))
        x = (np.array(list(corners)) @ self.affine.T)[:, 0]
        return float(x.min()), float(x.max())


@dataclass(frozen=True)
class BreastRegion:
    """The breasts of one volume.

    Attributes:
        kind: "two breasts" and "one breast" end at the chest wall; "crop" is a picture smaller than a breast, of which
            all counts; "body" is everything but air, where no wall was found.
        faces_front: Whether air lies on the patient's front as the header says; slices cut out of a study often carry
            another direction.
    """

    kind: Kind
    _reference: _Grid
    _breast: sitk.Image
    _inner: sitk.Image
    _body: sitk.Image
    faces_front: bool = True

    @property
    def grid(self) -> sitk.Image:
        """The grid of about 2 mm in LPS order (j rises to the back) on which the region was found."""
        return self._breast

    def body(self) -> Mask:
        """Everything but air [k, j, i] on `grid`."""
        return sitk.GetArrayFromImage(self._body) > 0

    def breast(self) -> Mask:
        """The breasts with their skin, up to the chest wall, [k, j, i] on `grid`."""
        return sitk.GetArrayFromImage(self._breast) > 0

    @cached_property
    def first_left_column(self) -> int | None:
        """Column of `grid` at which the patient's left side begins, between two breasts; None unless both are shown.

        The breasts are separated where they are narrowest in the middle third of the picture.
        """
        if self.kind != "two breasts":
            return None
        columns = self.breast().sum(axis=(0, 1))
        start, stop = len(columns) // 3, -(-2 * len(columns) // 3)
        narrow = columns[start:stop]
        return start + int(np.median(np.flatnonzero(narrow == narrow.min()))) + 1

    def side(self, point_lps_mm: Sequence[float]) -> Side:
        """The patient's side on which a point of the study lies; `midline` within 10 mm of it.

        Between two breasts their own midline counts. Elsewhere it is the patient coordinate x = 0 (LPS: x grows to the
        patient's left), measured from the middle of the scanner, and the side is unknown where that cannot be the
        middle of the patient: the volume starts at exactly (0, 0, 0), as files without a position do, or it is wide
        enough to hold both breasts and x = 0 lies outside its middle third.
        """
        if self.first_left_column is not None:
            column = self.grid.TransformPhysicalPointToContinuousIndex([float(value) for value in point_lps_mm])[0]
            offset = (column - self.first_left_column + 0.5) * self.grid.GetSpacing()[0]
        else:
            low, high = self._reference.x_extent_mm()
            third = (high - low) / 3.0
            off_center = high - low >= BOTH_BREASTS_MM and not low + third <= 0.0 <= high - third
            if off_center or np.allclose(self._reference.origin, 0.0):
                return UNKNOWN
            offset = float(point_lps_mm[0])
        if abs(offset) <= MIDLINE_MM:
            return MIDLINE
        return LEFT if offset > 0 else RIGHT

    def right_side(self) -> Mask:
        """The patient's right of the midline [k, j, i] on the grid of the volume; nothing without two breasts."""
        size = self._reference.size
        if self.first_left_column is None:
            return np.zeros(size[::-1], np.bool_)
        per_i, per_j, per_k, start = (np.linalg.inv(affine_of(self.grid)) @ self._reference.affine)[0]
        i, j, k = (np.arange(length) for length in size)
        limits = self.first_left_column - 0.5 - start - per_k * k[:, None] - per_j * j[None, :]
        return np.asarray(per_i * i < limits[:, :, None])

    def mask(self) -> Mask:
        """Breast tissue [k, j, i] without the outer 3 mm (skin), on the grid of the volume."""
        return self._mask.copy()

    @cached_property
    def _mask(self) -> Mask:
        return np.asarray(voxels_of(self._on_reference(self._inner)) >= 0.5)

    def weight(self) -> Float32:
        """How much of a predicted change to show [k, j, i]: 1 in the breasts, skin included, 0 from about 6 mm off.

        Slices where it is 0 everywhere need no network.
        """
        if self.kind == "crop":
            return np.ones(self._reference.size[::-1], np.float32)
        # In plane: one slice must not spread into the next, which may be far away.
        reach = [2 * max(1, round(EDGE_MM / 2 / step)) + 1 for step in self._breast.GetSpacing()[1::-1]]
        grown = ndimage.maximum_filter(sitk.GetArrayFromImage(self._breast), (1, *reach), mode="nearest")
        soft = sitk.GetImageFromArray(ndimage.uniform_filter(grown.astype(np.float32), (1, *reach), mode="nearest"))
        soft.CopyInformation(self._breast)
        return to_array(self._on_reference(soft))

    def _on_reference(self, image: sitk.Image) -> sitk.Image:
        grid = self._reference
        if image.GetSize() == grid.size and image.GetDirection() == grid.direction:
            return image
        place = (grid.size, sitk.Transform(), sitk.sitkLinear, grid.origin, grid.spacing, grid.direction)
        return sitk.Resample(_padded(image), *place, 0.0, sitk.sitkFloat32)


def covers_both_breasts(image: sitk.Image) -> bool:
    """True when the volume is 200 mm or more from the patient's right to left, too wide for one breast."""
    low, high = _Grid.of(image).x_extent_mm()
    return high - low >= BOTH_BREASTS_MM


def with_change(pre: Float32, change: Float32, weight: Float32) -> Float32:
    """Pre-contrast values plus the predicted change where there is breast: identity outside, with a soft edge.

    Args:
        pre: Pre-contrast volume [k, j, i].
        change: Predicted change in its units, of the same shape or one that broadcasts to it.
        weight: 0 to 1, as `BreastRegion.weight` gives it, of such a shape too.

    Returns:
        The changed volume [k, j, i].
    """
    return pre + weight * change


def breast_region(pre: sitk.Image, events: Events | None = None) -> Mask:
    """Mask [k, j, i] of breast tissue without skin on the grid of `pre`; see `find_breasts`."""
    return find_breasts(pre, events).mask()


def find_breasts(pre: sitk.Image, events: Events | None = None) -> BreastRegion:
    """The breasts of a pre-contrast volume or slice of any orientation, axial or sagittal, of one or both sides.

    Where no chest wall is found the whole body counts, with a warning to `events`. The last answer is kept, as the
    stages of a run each ask about the same volume.
    """
    global _last
    key = _content(pre)
    known, region = _last
    if region is None or known != key:
        region = _found_breasts(pre)
        _last = key, region
    if region.kind == "body" and events is not None:
        events.warn(NO_WALL)
    return region


_Content = tuple[_Grid, str, bytes]
_last: tuple[_Content | None, BreastRegion | None] = (None, None)
"""What was asked about last, and its breasts: replaced as a whole, so that threads see what belongs together."""


def _content(image: sitk.Image) -> _Content:
    """What makes two volumes the same: grid, pixel type, and a hash of the voxels, far faster than a search."""
    voxels = hashlib.sha256(np.ascontiguousarray(sitk.GetArrayViewFromImage(image)).data).digest()
    return _Grid.of(image), image.GetPixelIDTypeAsString(), voxels


def _found_breasts(pre: sitk.Image) -> BreastRegion:
    size, spacing = pre.GetSize(), pre.GetSpacing()
    if max(size[axis] * spacing[axis] for axis in (0, 1)) < CROP_MM:
        whole = _like(np.ones(size[::-1], np.uint8), pre)
        return BreastRegion("crop", _Grid.of(pre), whole, whole, whole)
    image = shrunk(sitk.DICOMOrient(pre, "LPS"), least_pixels=4)
    body = body_mask(image)
    turns = _turns_to_anterior(body)
    kind, behind = _wall(body, image.GetSpacing(), turns)
    breast, inner = body & ~behind, _without_skin(body, image.GetSpacing()) & ~behind
    masks = (_like(mask.astype(np.uint8), image) for mask in (breast, inner, body))
    return BreastRegion(kind, _Grid.of(pre), next(masks), next(masks), next(masks), faces_front=turns == 0)


def body_mask(image: sitk.Image) -> Mask:
    """The body [k, j, i] by Otsu's threshold on the logarithm of the smoothed image.

    The largest connected part counts, with holes filled in each slice. The logarithm keeps suppressed fat,
    far darker than glandular tissue, on the body's side of the threshold.
    """
    smooth = image
    for axis, (size, spacing) in enumerate(zip(image.GetSize(), image.GetSpacing(), strict=True)):
        if size >= 4:
            sigma = max(SMOOTHING_MM, 0.5 * spacing)
            smooth = sitk.RecursiveGaussian(smooth, sigma, direction=axis)
    values = np.clip(sitk.GetArrayFromImage(smooth), 0, None)
    bright = float(np.percentile(values, 99))
    logarithm = sitk.GetImageFromArray(np.log(values + 0.02 * bright + 1e-12))
    body = sitk.GetArrayFromImage(sitk.OtsuThreshold(logarithm, 0, 1)).astype(bool)
    parts, count = ndimage.label(body)
    if count > 1:
        body = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    return np.stack([ndimage.binary_fill_holes(plane) for plane in body])


def _wall(body: Mask, spacing: tuple[float, ...], turns: int) -> tuple[Kind, Mask]:
    """What the picture shows, and what lies behind the chest wall [k, j, i].

    `body` is in LPS order; after `turns` quarter turns in plane its first row is the front.
    """
    turned = np.rot90(body, turns, axes=(1, 2))
    steps = (spacing[2], spacing[1], spacing[0]) if turns % 2 == 0 else (spacing[2], spacing[0], spacing[1])
    rules: list[tuple[Kind, Callable[[Mask, tuple[float, ...]], Mask | None]]] = [("one breast", behind_protrusion)]
    if turns == 0:
        rules = [("two breasts", behind_two_breasts), ("one breast", behind_half_view), *rules]
    for kind, rule in rules:
        behind = rule(turned, steps)
        if behind is not None:
            return kind, np.rot90(behind, -turns, axes=(1, 2))
    return "body", np.zeros_like(body)


def _turns_to_anterior(body: Mask) -> int:
    """Quarter turns in plane after which the first row is the side with air, in front of the breasts.

    The header's anterior side where air is there; else the side that the body touches least: slices cut out of a
    study often carry no true orientation.
    """
    touched = [np.rot90(body, turns, axes=(1, 2))[:, 0].mean() for turns in range(4)]
    return 0 if touched[0] <= AIR_BORDER else int(np.argmin(touched))


def _without_skin(body: Mask, spacing: tuple[float, ...]) -> Mask:
    """The body eroded in each slice by the skin's thickness; the image's own borders are no skin."""
    radius_i, radius_j = (max(1, round(SKIN_MM / step)) for step in spacing[:2])
    eroded = sitk.BinaryErode(
        sitk.GetImageFromArray(body.astype(np.uint8)), (radius_i, radius_j, 0), sitk.sitkBall, 0.0, 1.0, True
    )
    return sitk.GetArrayFromImage(eroded).astype(bool)


def shrunk(image: sitk.Image, *, least_pixels: int) -> sitk.Image:
    """Means of whole voxels on pixels of about WORKING_MM, float32; an axis that would have fewer pixels stays."""
    factors = [max(1, round(WORKING_MM / step)) for step in image.GetSpacing()]
    sizes = zip(image.GetSize(), factors, strict=True)
    factors = [1 if size < least_pixels * factor else factor for size, factor in sizes]
    values = sitk.Cast(image, sitk.sitkFloat32)
    return sitk.BinShrink(values, factors) if max(factors) > 1 else values


def _padded(image: sitk.Image) -> sitk.Image:
    """The image with its border repeated once: voxel centers of a finer grid lie beyond those of a coarser one."""
    return sitk.ZeroFluxNeumannPad(image, (1, 1, 1), (1, 1, 1))


def _like(array: NDArray[np.uint8], image: sitk.Image) -> sitk.Image:
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    return result
