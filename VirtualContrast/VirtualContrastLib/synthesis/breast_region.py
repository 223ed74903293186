"""Where the breasts are: one answer for synthesis (identity outside them), lesions, maps and metrics.

The heart and the great vessels enhance more than any lesion, so everything needs this region first. The rules
are geometric and need no training; see `chest_wall` for how the wall is found. Work is done on a grid of about
2 mm, because no rule here is finer than that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from ..events import Events
from .chest_wall import behind_half_view, behind_protrusion, behind_two_breasts

Mask = NDArray[np.bool_]
Float32 = NDArray[np.float32]
Kind = Literal["two breasts", "one breast", "crop", "body"]

WORKING_MM = 2.2
SMOOTHING_MM = 2.0
SKIN_MM = 3.0
EDGE_MM = 6.0
CROP_MM = 130.0
"""No breast examination has a smaller field of view in both directions; a crop around a finding has."""
AIR_BORDER = 0.1
"""Share of a border of the picture that the body may touch where there is air in front of the breasts."""
NO_WALL = (
    "The chest wall was not found in the pre-contrast image, so the whole body was treated as breast; check that no "
    "lesion lies in the heart or chest."
)


@dataclass(frozen=True)
class BreastRegion:
    """The breasts of one volume.

    kind: "two breasts" and "one breast" end at the chest wall; "crop" is a picture smaller than a breast, of which
    all counts; "body" is everything but air, where no wall was found.
    """

    kind: Kind
    _reference: sitk.Image
    _breast: sitk.Image
    _inner: sitk.Image
    _body: sitk.Image
    faces_front: bool = True
    """Air lies on the patient's front as the header tells it; slices cut out of a study often say another direction."""

    @property
    def grid(self) -> sitk.Image:
        """The grid of about 2 mm in LPS order (j rises to the back) on which the region was found."""
        return self._breast

    @property
    def placed(self) -> bool:
        """The volume says where in the scanner it lies, so that x = 0 is about the middle of the patient."""
        return not np.allclose(self._reference.GetOrigin(), 0.0)

    def body(self) -> Mask:
        """Everything but air [k, j, i] on `grid`."""
        return sitk.GetArrayFromImage(self._body) > 0

    def breast(self) -> Mask:
        """The breasts with their skin, as far as the chest wall, [k, j, i] on `grid`."""
        return sitk.GetArrayFromImage(self._breast) > 0

    def mask(self) -> Mask:
        """Breast tissue [k, j, i] without the outer 3 mm (skin), on the grid of the volume."""
        return self._on_reference(self._inner) >= 0.5

    def weight(self) -> Float32:
        """How much of a predicted change to show [k, j, i]: 1 in the breasts, skin included, 0 from about 6 mm off.

        Slices where it is 0 everywhere need no network.
        """
        if self.kind == "crop":
            return np.ones(self._reference.GetSize()[::-1], np.float32)
        # In plane: one slice must not spread into the next, which may be far away.
        reach = [2 * max(1, round(EDGE_MM / 2 / step)) + 1 for step in self._breast.GetSpacing()[1::-1]]
        grown = ndimage.maximum_filter(sitk.GetArrayFromImage(self._breast), (1, *reach), mode="nearest")
        soft = sitk.GetImageFromArray(ndimage.uniform_filter(grown.astype(np.float32), (1, *reach), mode="nearest"))
        soft.CopyInformation(self._breast)
        return self._on_reference(soft)

    def _on_reference(self, image: sitk.Image) -> Float32:
        if image.GetSize() == self._reference.GetSize() and image.GetDirection() == self._reference.GetDirection():
            return sitk.GetArrayFromImage(image).astype(np.float32)
        fine = sitk.Resample(_padded(image), self._reference, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
        return sitk.GetArrayFromImage(fine)


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

    Where no chest wall is found the whole body counts, with a warning to `events`.
    """
    size, spacing = pre.GetSize(), pre.GetSpacing()
    if max(size[axis] * spacing[axis] for axis in (0, 1)) < CROP_MM:
        whole = _like(np.ones(size[::-1], np.uint8), pre)
        return BreastRegion("crop", pre, whole, whole, whole)
    image = _working_image(pre)
    body = body_mask(image)
    turns = _turns_to_anterior(body)
    kind, behind = _wall(body, image.GetSpacing(), turns)
    if kind == "body" and events is not None:
        events.warn(NO_WALL)
    breast, inner = body & ~behind, _without_skin(body, image.GetSpacing()) & ~behind
    masks = (_like(mask.astype(np.uint8), image) for mask in (breast, inner, body))
    return BreastRegion(kind, pre, next(masks), next(masks), next(masks), faces_front=turns == 0)


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


def _working_image(pre: sitk.Image) -> sitk.Image:
    """The volume in LPS order on pixels of about WORKING_MM: means of whole voxels."""
    image = sitk.DICOMOrient(sitk.Cast(pre, sitk.sitkFloat32), "LPS")
    factors = [max(1, round(WORKING_MM / step)) for step in image.GetSpacing()]
    factors = [1 if size < 4 * factor else factor for size, factor in zip(image.GetSize(), factors, strict=True)]
    return sitk.BinShrink(image, factors) if max(factors) > 1 else image


def _padded(image: sitk.Image) -> sitk.Image:
    """The image with its border repeated once: voxel centers of a finer grid lie beyond those of a coarser one."""
    return sitk.ZeroFluxNeumannPad(image, (1, 1, 1), (1, 1, 1))


def _like(array: NDArray[np.uint8], image: sitk.Image) -> sitk.Image:
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    return result
