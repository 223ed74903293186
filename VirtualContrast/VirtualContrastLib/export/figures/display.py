"""How volumes are shown: radiological orientation, gray windows, outlines, scale bars and corner texts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import SimpleITK as sitk

from ...io.volumes import voxels_of
from ..content import LABEL

# Slice axis of the acquisition -> orientation of (columns, rows, slices) and the plane's name.
PLANES = {"S": ("LPS", "axial"), "P": ("LIP", "coronal"), "L": ("PIR", "sagittal")}
OPPOSITE = {"L": "R", "P": "A", "S": "I", "R": "L", "A": "P", "I": "S"}
# The figures are 10 inches wide, so 140 dots per inch make 1400 pixels.
WIDTH_INCHES = 10.0
DPI = 140
_SAMPLE_VOXELS = 2**21


@dataclass(frozen=True)
class View:
    """How to show the slices of a study.

    Attributes:
        code: Order of the axes (columns, rows, slices); empty where the study has no geometry, whose arrays are shown
            as they are.
        plane: Name of the plane.
        spacing: Distance of rows and of columns in mm, 1 where the study has no geometry.
        reversed_slices: Whether the slices run against the image's index k.
    """

    code: str
    plane: str
    spacing: tuple[float, float]
    reversed_slices: bool = False

    @property
    def aspect(self) -> float:
        """Height of a pixel over its width."""
        return self.spacing[0] / self.spacing[1]

    def slices(self, image: sitk.Image) -> np.ndarray:
        """The image as [slice, row, column] in this view's orientation; its voxels are neither copied nor changed."""
        return self.turned(voxels_of(image), image.GetDirection())

    def turned(self, stored: np.ndarray, direction: Sequence[float]) -> np.ndarray:
        """An array [k, j, i] as [slice, row, column] in this view's orientation, not copied.

        Args:
            stored: The array as an image of that direction stores it.
            direction: Direction cosines of the image.

        Returns:
            A view of the array.
        """
        axes, backwards = _turn(tuple(direction), self.code) if self.code else ((0, 1, 2), ())
        return np.flip(stored.transpose(axes), backwards)

    def stored_axis(self, image: sitk.Image) -> int:
        """The axis of the stored array [k, j, i] along which this view's slices are stacked."""
        return _turn(image.GetDirection(), self.code)[0][0] if self.code else 0


@lru_cache(maxsize=32)
def _turn(direction: tuple[float, ...], code: str) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """Axes of the stored array [k, j, i] that become slices, rows and columns, and which of these then run backwards.

    As ITK orients an image of that direction to `code`, seen on an image of three voxel sides.
    """
    tiny = sitk.Image((1, 2, 3), sitk.sitkUInt8)
    tiny.SetDirection(direction)
    oriented = sitk.DICOMOrient(tiny, code)
    taken = [size - 1 for size in oriented.GetSize()]  # image axis i, j or k of columns, rows, slices
    before, after = (np.reshape(image.GetDirection(), (3, 3)) for image in (tiny, oriented))
    backwards = tuple(2 - n for n, axis in enumerate(taken) if before[:, axis] @ after[:, n] < 0)
    return (2 - taken[2], 2 - taken[1], 2 - taken[0]), backwards


def acquisition_view(image: sitk.Image, *, has_geometry: bool = True) -> View:
    """The view in the plane of the image's slices, in radiological convention.

    Axial: patient's right on the viewer's left, anterior up. Coronal: patient's right on the left, superior
    up. Sagittal: anterior on the left, superior up. Oblique slices take the nearest of these.
    """
    if not has_geometry:
        return View("", "picture", (1.0, 1.0))
    normal = np.array(image.GetDirection()).reshape(3, 3)[:, 2]
    axis = int(np.abs(normal).argmax())
    view = oriented_view(image, "LPS"[axis])
    along = "LPS"[axis] if normal[axis] > 0 else OPPOSITE["LPS"[axis]]
    return dataclasses.replace(view, reversed_slices=along != view.code[2])


def oriented_view(image: sitk.Image, axis: str) -> View:
    """The view whose slices are stacked along patient axis `axis` ("L", "P" or "S")."""
    code, plane = PLANES[axis]
    tiny = sitk.Image((1, 1, 1), sitk.sitkUInt8)  # a piece of the image itself must not be cut while it is written
    tiny.SetDirection(image.GetDirection())
    tiny.SetSpacing(image.GetSpacing())
    spacing = sitk.DICOMOrient(tiny, code).GetSpacing()
    return View(code, plane, (spacing[1], spacing[0]))


def sample(volume: np.ndarray) -> np.ndarray:
    """Every n-th voxel along each axis, at most about two million, not copied: enough for percentiles of gray values.

    Sorting all voxels of a large study for its gray windows took as long as drawing its figures.
    """
    step = max(1, math.ceil((volume.size / _SAMPLE_VOXELS) ** (1 / volume.ndim)))
    return volume[(slice(None, None, step),) * volume.ndim]


def common_window(pre: np.ndarray) -> tuple[float, float]:
    """Gray window (low, high) for all phases of a study, from a sample of the pre-contrast volume alone.

    From the 1st percentile to twice the way to the 99.5th: enhancement is not cut off and phases compare.
    """
    low, high = np.percentile(sample(pre), (1.0, 99.5))
    return float(low), float(low + 2.0 * max(high - low, 1e-6))


def subtraction_window(
    subtraction: np.ndarray, lesions: np.ndarray, window: tuple[float, float]
) -> tuple[float, float]:
    """Gray window of a subtraction: from 0 to its 99.8th percentile, or to the 95th of the lesions where that is
    higher.

    It reaches at least a tenth of the phases' window, so that the noise of a study without enhancement does not look
    like enhancement.

    Args:
        subtraction: The subtraction, of any shape.
        lesions: Lesion mask of the same shape.
        window: Gray window of the phases.

    Returns:
        The window (0, high).
    """
    highs = [float(np.percentile(subtraction, 99.8)), 0.1 * (window[1] - window[0])]
    if lesions.any():
        highs.append(float(np.percentile(subtraction[lesions], 95)))
    return 0.0, max(highs)


def show(
    axes: Any,
    pixels: np.ndarray,
    view: View,
    window: tuple[float, float],
    *,
    synthetic: bool,
    title: str = "",
    cmap: str = "gray",
) -> Any:
    """Draw a picture with physical aspect, patient letters, scale bar and label.

    Args:
        axes: The panel.
        pixels: The picture [row, column].
        view: Directions and pixel size.
        window: Gray window.
        synthetic: Whether the label says that it is synthetic.
        title: Title of the panel.
        cmap: Color map.

    Returns:
        Matplotlib's image.
    """
    drawn = axes.imshow(pixels, cmap=cmap, vmin=window[0], vmax=window[1], aspect=view.aspect, interpolation="bilinear")
    axes.set_axis_off()
    axes.autoscale(False)  # outlines must not change the picture's frame
    if title:
        # At a stated height, matplotlib does not lay out the ticks, which are not shown, to find one above them.
        axes.set_title(title, fontsize=8, pad=3, y=1.0)
    if view.code:
        _patient_letters(axes, view)
        _scale_bar(axes, pixels.shape, view)
    if synthetic:
        corner_label(axes)
    return drawn


def corner_label(axes: Any) -> None:
    """Burn `LABEL` into the lower left corner, readable on light and dark ground."""
    axes.text(0.015, 0.015, LABEL, transform=axes.transAxes, fontsize=6, va="bottom", ha="left", **_on_image())


def outline(axes: Any, mask: np.ndarray, color: str) -> None:
    """Draw the border of a mask.

    Args:
        axes: The panel.
        mask: The mask [row, column].
        color: Color of the line.
    """
    if mask.any():
        # A border of zeros closes outlines at the edge of the picture.
        padded = np.pad(mask.astype(float), 1)
        rows, columns = np.arange(-1, mask.shape[0] + 1), np.arange(-1, mask.shape[1] + 1)
        axes.contour(columns, rows, padded, levels=[0.5], colors=[color], linewidths=0.9)


def number(axes: Any, mask: np.ndarray, text: str, color: str) -> None:
    """Write a text above the upper right of a mask.

    Args:
        axes: The panel.
        mask: The mask [row, column].
        text: The text.
        color: Its color.
    """
    rows, columns = np.nonzero(mask)
    if len(rows):
        place = {"xytext": (2, 2), "textcoords": "offset points", "fontsize": 8, "fontweight": "bold"}
        axes.annotate(text, (columns.max(), rows.min()), **place, **(_on_image() | {"color": color}))


def _on_image() -> dict[str, Any]:
    from matplotlib.patheffects import withStroke

    return {"color": "white", "path_effects": [withStroke(linewidth=1.5, foreground="black")]}


def _patient_letters(axes: Any, view: View) -> None:
    """Side letters at the left and upper edge: the patient's direction there."""
    left, up = OPPOSITE[view.code[0]], OPPOSITE[view.code[1]]
    axes.text(0.015, 0.5, left, transform=axes.transAxes, fontsize=7, va="center", ha="left", **_on_image())
    axes.text(0.5, 0.985, up, transform=axes.transAxes, fontsize=7, va="top", ha="center", **_on_image())


def _scale_bar(axes: Any, shape: Sequence[int], view: View) -> None:
    """A bar of 5, 10, 20 or 50 mm, about a quarter of the width, in the lower right corner."""
    width_mm = shape[1] * view.spacing[1]
    length = next((mm for mm in (50, 20, 10, 5) if mm <= 0.3 * width_mm), 0)
    if not length:
        return
    span = length / width_mm
    for color, thickness in (("black", 3.5), ("white", 2.0)):
        line = {"color": color, "linewidth": thickness, "solid_capstyle": "butt"}
        axes.plot([0.97 - span, 0.97], [0.1, 0.1], transform=axes.transAxes, **line)
    place = {"transform": axes.transAxes, "fontsize": 6, "va": "bottom", "ha": "right"}
    axes.text(0.97, 0.12, f"{length} mm", **place, **_on_image())
