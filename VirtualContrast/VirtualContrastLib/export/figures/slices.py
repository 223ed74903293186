"""The slices that figures show, and the grids they are shown in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk

from ...study import Phase
from .display import WIDTH_INCHES, View, common_window

MOST_LESIONS = 6


class Slices:
    """Pre-contrast, phases and lesions of a study as [slice, row, column] arrays in one view, not copied."""

    def __init__(self, pre: Phase, phases: Sequence[Phase], labels: sitk.Image | None, view: View) -> None:
        self.view = view
        self.pre = view.slices(pre.image)
        self.phases = [(phase, view.slices(phase.image)) for phase in phases]
        shape = self.pre.shape
        self.labels = view.slices(labels) if labels is not None else np.zeros(shape, np.uint8)
        self.window = common_window(self.pre)
        self.numbers = first_labels(self.labels)
        self._best: dict[int, int] = {}

    @property
    def first_made(self) -> tuple[Phase, np.ndarray]:
        """The first synthetic phase, or the first where all were real."""
        return next((pair for pair in self.phases if pair[0].synthetic), self.phases[0])

    def best_slice(self, label: int | None) -> int:
        """The slice with the largest area of `label`; the middle slice where it is None."""
        if label is None:
            return len(self.pre) // 2
        if label not in self._best:
            self._best[label] = int(np.count_nonzero(self.labels == label, axis=(1, 2)).argmax())
        return self._best[label]

    def number(self, k: int) -> int:
        """The number of slice k as the input counts it, from 1, which is also its DICOM file's number."""
        return len(self.pre) - k if self.view.reversed_slices else k + 1

    def box(self, label: int | None) -> tuple[slice, slice]:
        """Rows and columns around a lesion: three times its extent, at least 60 mm; all for None."""
        shape = self.pre.shape[1:]
        if label is None:
            return slice(0, shape[0]), slice(0, shape[1])
        found = np.nonzero(self.labels[self.best_slice(label)] == label)
        spacing = self.view.spacing
        extent = max((int(np.ptp(index)) + 1) * step for index, step in zip(found, spacing, strict=True))
        side = max(60.0, 3.0 * extent)
        box = []
        for index, step, size in zip(found, spacing, shape, strict=True):
            half = max(1, round(side / step / 2))
            low = min(max((int(index.min()) + int(index.max())) // 2 - half, 0), max(size - 2 * half, 0))
            box.append(slice(low, min(low + 2 * half, size)))
        return box[0], box[1]

    def ratio(self, label: int | None) -> float:
        """Physical height over width of `box(label)`."""
        rows, columns = self.box(label)
        return (rows.stop - rows.start) * self.view.aspect / (columns.stop - columns.start)


def first_labels(labels: np.ndarray) -> list[int]:
    """The first labels present (the largest lesions), as many as a figure holds."""
    return [int(value) for value in np.flatnonzero(np.bincount(labels[labels > 0]))][:MOST_LESIONS]


def grid(rows: int, columns: int, panel_ratio: float, last: float = 1.0) -> tuple[Any, np.ndarray]:
    """A figure of panels.

    Args:
        rows: Rows of panels.
        columns: Columns of panels.
        panel_ratio: Height over width of a panel.
        last: Width of the last column over that of the others.

    Returns:
        The figure, and its axes [row, column].
    """
    from matplotlib.figure import Figure

    height = rows * (WIDTH_INCHES / (columns - 1 + last) * panel_ratio + 0.25) + 0.1
    figure = Figure(figsize=(WIDTH_INCHES, height), layout=tight_layout(), facecolor="white")
    widths = [1.0] * (columns - 1) + [last]
    return figure, figure.subplots(rows, columns, squeeze=False, width_ratios=widths)


def tight_layout() -> Any:
    """Panels as close as their titles allow."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.01)


def phase_title(phase: Phase) -> str:
    """`Phase 1, 90 s`."""
    return f"Phase {phase.index}" + ("" if phase.time_s is None else f", {phase.time_s:.0f} s")
