"""The list of lesions in the panel, and measuring them again after a segment was edited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional

import qt
from slicer.i18n import tr as _

from ...synthesis.breast_region import UNKNOWN
from ..scene.loaded import LesionRow, LoadedResult
from ..scene.remeasure import measure_again
from . import layout

__all__ = ["LesionTable", "recompute"]


def headers(unit: str) -> list[str]:
    """Column headers where lengths are in `unit`.

    PE is the peak of the mean curve, size the longest diameter, hot spot the curve of the most enhancing spot, worst
    the most suspicious type of its voxels, and I/II/III the shares of voxels of these types.
    """
    volume = _("Volume (cm³)") if unit == "mm" else _("Area (px)")
    return [
        _("Lesion"), _("Side"), _("Quadrant"), _("Curve"), _("Hot spot"), _("Worst"), _("I/II/III (%)"), _("PE (%)"),
        _("SER"), _("FTV (cm³)") if unit == "mm" else _("FTV (px)"), _("Size ({unit})").format(unit=unit), volume,
        _("Skin (mm)"), _("Nipple (mm)"), _("Chest wall (mm)"), _("Confidence"),
    ]  # fmt: skip


def cells(row: LesionRow) -> list[str]:
    """The texts of one lesion."""
    kinds = [kind.removeprefix("type ") for kind in (row.curve_type, row.hot_spot_type, row.worst_type)]
    shares = "/".join(f"{share:.0f}" for share in row.type_percent) if row.type_percent is not None else ""
    quadrant = "" if row.quadrant == UNKNOWN else row.quadrant
    distances = [_number(distance, 0) for distance in (row.skin_mm, row.nipple_mm, row.chest_wall_mm)]
    return [
        row.name, row.side, quadrant, *kinds, shares, _number(row.peak_pe_percent, 0), _number(row.ser, 2),
        _volume(row.ftv, row.unit), f"{row.longest_diameter:.1f}", _volume(row.volume, row.unit), *distances,
        row.confidence,
    ]  # fmt: skip


def _number(value: Optional[float], places: int) -> str:  # noqa: UP045  Slicer's Python, as in parameter nodes
    return "" if value is None else f"{value:.{places}f}"


def _volume(value: Optional[float], unit: str) -> str:  # noqa: UP045
    """A volume in cm3, or the pixels of a picture."""
    return _number(None if value is None else value / 1000.0, 2) if unit == "mm" else _number(value, 0)


class LesionTable:
    """Shows the lesions of a result in a QTableWidget (or in none, for scripts); selecting one jumps to it.

    `on_select` is called with the label after the jump.
    """

    def __init__(
        self,
        widget: Any,
        loaded: LoadedResult,
        on_select: Optional[Callable[[int], None]] = None,  # noqa: UP045  Slicer's Python, as in parameter nodes
    ) -> None:
        self.widget, self.loaded, self._on_select = widget, loaded, on_select
        if widget is not None:
            widget.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
            widget.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
            widget.setSelectionMode(qt.QAbstractItemView.SingleSelection)
            widget.connect("itemSelectionChanged()", self._selected)
        self.refresh()

    def cleanup(self) -> None:
        """Empty the widget and let go of it."""
        if self.widget is not None:
            self.widget.disconnect("itemSelectionChanged()", self._selected)
            self.widget.setRowCount(0)
            self.widget = None

    def rows(self) -> list[list[str]]:
        """The texts of all lesions, in the order of the widget's rows."""
        return [cells(row) for row in self.loaded.lesions]

    def refresh(self) -> None:
        """Write the lesions into the widget; the selected lesion stays selected where it still exists."""
        if self.widget is None:
            return
        selected = self.selected_label()
        self.widget.blockSignals(True)
        names = headers("mm" if self.loaded.has_geometry else "px")
        self.widget.setColumnCount(len(names))
        self.widget.setHorizontalHeaderLabels(names)
        self.widget.setRowCount(len(self.loaded.lesions))
        for number, texts in enumerate(self.rows()):
            for place, text in enumerate(texts):
                self.widget.setItem(number, place, qt.QTableWidgetItem(text))
        labels = [row.label for row in self.loaded.lesions]
        if selected in labels:
            self.widget.selectRow(labels.index(selected))
        self.widget.blockSignals(False)
        self.widget.resizeColumnsToContents()

    def selected_label(self) -> Optional[int]:  # noqa: UP045
        """The label of the selected lesion; None where none is."""
        number = self.widget.currentRow() if self.widget is not None else -1
        return self.loaded.lesions[number].label if 0 <= number < len(self.loaded.lesions) else None

    def select(self, label: int) -> None:
        """Select a lesion as a click does."""
        labels = [row.label for row in self.loaded.lesions]
        if self.widget is not None:
            self.widget.selectRow(labels.index(label))
        else:
            self._jump(label)

    def recompute(self) -> None:
        """Measure the edited segments again and show the numbers."""
        recompute(self.loaded)
        self.refresh()

    def _selected(self) -> None:
        label = self.selected_label()
        if label is not None:
            self._jump(label)

    def _jump(self, label: int) -> None:
        layout.jump_to_lesion(self.loaded, label)
        if self._on_select is not None:
            self._on_select(label)


def recompute(loaded: LoadedResult) -> None:
    """Bring tables, charts and `loaded.lesions` in line with the segments as they are now."""
    measure_again(loaded)
