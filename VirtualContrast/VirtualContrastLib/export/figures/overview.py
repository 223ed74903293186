"""The overview of lesions, and the maximum intensity projections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from ...io.volumes import voxels_of
from ...study import Phase
from ..content import lesion_color
from .display import (
    WIDTH_INCHES,
    number,
    oriented_view,
    outline,
    sample,
    show,
    subtraction_window,
)
from .slices import Slices, first_labels, grid, phase_title, tight_layout

Box = tuple[slice, ...]
Mask = NDArray[np.bool_]

MINIMUM_MIP_DEPTH_MM = 20.0
WINDOWS = "The gray window is common to all phases; the subtraction has its own."


def overview(slices: Slices) -> tuple[Any, str]:
    """A figure with one row per lesion, enlarged, and its caption; without lesions the middle slice.

    Columns: pre-contrast, phases, first subtraction, and for a lesion the whole slice with its outline.
    """
    labels = slices.numbers
    change = np.subtract(sample(slices.first_made[1]), sample(slices.pre), dtype=np.float32)
    window = subtraction_window(change, sample(slices.labels) > 0, slices.window)
    if not labels:
        figure, axes = grid(1, 2 + len(slices.phases), slices.ratio(None))
        _row(axes[0], slices, None, window)
        k = slices.number(slices.best_slice(None))
        return figure, f"The middle {slices.view.plane} slice ({k}); no lesion was outlined. {WINDOWS}"
    last = 1.8
    heights = [last * slices.ratio(None), *(slices.ratio(label) for label in labels)]
    figure, axes = grid(len(labels), 3 + len(slices.phases), max(heights), last)
    for row, label in zip(axes, labels, strict=True):
        _row(row, slices, label, window)
        _whole_slice(row[-1], slices, label)
    first = "first phase" if slices.first_made is slices.phases[0] else "first synthetic phase"
    return figure, (
        f"Each lesion in its largest {slices.view.plane} slice, enlarged; the last panel shows the slice of "
        f"the {first} as a whole. {WINDOWS}"
    )


def _row(axes: Sequence[Any], slices: Slices, label: int | None, window: tuple[float, float]) -> None:
    """Pre-contrast, phases and first subtraction (in `window`) around one lesion, or of the middle slice."""
    k, box, view = slices.best_slice(label), slices.box(label), slices.view
    show(axes[0], slices.pre[k][box], view, slices.window, synthetic=False, title="Pre-contrast")
    for axis, (phase, volume) in zip(axes[1:], slices.phases, strict=False):
        title = phase_title(phase) + ("" if phase.synthetic else ", real")
        show(axis, volume[k][box], view, slices.window, synthetic=phase.synthetic, title=title)
    phase, volume = slices.first_made
    axis = axes[1 + len(slices.phases)]
    difference = np.subtract(volume[k][box], slices.pre[k][box], dtype=np.float32)
    show(axis, difference, view, window, synthetic=phase.synthetic, title=f"Phase {phase.index} minus pre")
    if label is not None:
        outline(axis, (slices.labels[k] == label)[box], color_of(label))


def _whole_slice(axis: Any, slices: Slices, label: int) -> None:
    """The first synthetic phase in the lesion's slice with the lesion outlined and numbered."""
    k = slices.best_slice(label)
    phase, volume = slices.first_made
    title = f"Lesion {label}, slice {slices.number(k)}"
    show(axis, volume[k], slices.view, slices.window, synthetic=phase.synthetic, title=title)
    mask = slices.labels[k] == label
    outline(axis, mask, color_of(label))
    number(axis, mask, str(label), color_of(label))


def color_of(label: int) -> str:
    """The color of a lesion in all figures, `#rrggbb`."""
    return "#{:02X}{:02X}{:02X}".format(*lesion_color(label))


class _Projection:
    """Maximum intensity projection of a change, and the projected lesions by label, along one patient axis.

    Args:
        change: What is projected [k, j, i].
        lesions: By label the box of a lesion, and the lesion in it [k, j, i].
        reference: Image of the same grid.
        axis: The patient axis ("L", "P" or "S").
    """

    def __init__(
        self, change: np.ndarray, lesions: Mapping[int, tuple[Box, Mask]], reference: sitk.Image, axis: str
    ) -> None:
        self.view = oriented_view(reference, axis)
        # Projected as it is stored and then turned: to turn whole volumes takes far longer.
        self._reference, self._along = reference, self.view.stored_axis(reference)
        self.pixels = self._turned(change.max(axis=self._along))
        self.masks = {label: self._shadow(change.shape, *lesion) for label, lesion in lesions.items()}

    def _shadow(self, shape: Sequence[int], box: Box, lesion: Mask) -> Mask:
        flat = np.zeros([size for n, size in enumerate(shape) if n != self._along], bool)
        flat[tuple(part for n, part in enumerate(box) if n != self._along)] = lesion.any(self._along)
        return self._turned(flat)

    def _turned(self, flat: np.ndarray) -> np.ndarray:
        return self.view.turned(np.expand_dims(flat, self._along), self._reference.GetDirection())[0]

    @property
    def size_mm(self) -> tuple[float, float]:
        """Height and width."""
        rows, columns = self.pixels.shape
        return rows * self.view.spacing[0], columns * self.view.spacing[1]


def _boxed(labels: np.ndarray) -> dict[int, tuple[Box, Mask]]:
    """By label, of those that a figure holds, the box of a lesion and the lesion in it [k, j, i]."""
    boxes = ndimage.find_objects(labels)
    return {label: (boxes[label - 1], labels[boxes[label - 1]] == label) for label in first_labels(labels)}


def projections(
    pre: Phase,
    phase: Phase,
    labels: sitk.Image | None,
    window: tuple[float, float],
    region: NDArray[np.bool_] | None = None,
) -> tuple[Any, str] | None:
    """Axial, coronal and sagittal maximum intensity projections of a phase minus pre-contrast.

    Args:
        pre: Pre-contrast phase.
        phase: The phase, on the same grid.
        labels: Lesion labels to number.
        window: Gray window of the phases.
        region: Only these voxels [k, j, i] are projected: the heart would hide a breast behind it.

    Returns:
        The figure and its caption; None for volumes less than 20 mm deep, where a projection is no more than a slice.
    """
    image = pre.image
    depth = min(size * spacing for size, spacing in zip(image.GetSize(), image.GetSpacing(), strict=True))
    if depth < MINIMUM_MIP_DEPTH_MM:
        return None
    change = np.subtract(voxels_of(phase.image), voxels_of(image), dtype=np.float32)
    if region is not None:
        change *= region
    lesions = _boxed(voxels_of(labels)) if labels is not None else {}
    shown = [_Projection(change, lesions, image, axis) for axis in "SPL"]
    del change
    figure, axes = _side_by_side([projection.size_mm for projection in shown])
    window = subtraction_window(shown[0].pixels, np.zeros(shown[0].pixels.shape, bool), window)
    for axis, projection in zip(axes, shown, strict=True):
        title = f"{projection.view.plane.capitalize()} MIP, phase {phase.index} minus pre"
        show(axis, projection.pixels, projection.view, window, synthetic=phase.synthetic, title=title)
        for label, mask in projection.masks.items():
            outline(axis, mask, color_of(label))
            number(axis, mask, str(label), color_of(label))
    return figure, (
        f"Maximum intensity projections of phase {phase.index} minus pre-contrast with numbered lesions"
        f"{', breasts only' if region is not None else ''}. Vessels and skin enhance too. In the sagittal projection "
        "both sides overlap."
    )


def _side_by_side(sizes: Sequence[tuple[float, float]]) -> tuple[Any, np.ndarray]:
    """A figure and its axes, side by side in one scale, for panels of physical `sizes` (height, width)."""
    from matplotlib.figure import Figure

    widths = [size[1] for size in sizes]
    height = WIDTH_INCHES * max(size[0] for size in sizes) / sum(widths) + 0.35
    figure = Figure(figsize=(WIDTH_INCHES, height), layout=tight_layout(), facecolor="white")
    return figure, figure.subplots(1, len(sizes), width_ratios=widths)
