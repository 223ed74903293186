"""The radiomics of the selected lesion in the panel: a row per feature, a column per phase."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from ..scene import nodes
from ..scene.loaded import LoadedResult
from ..scene.tables import column

FIRST_FEATURE = 4
"""Columns of the table before the features: lesion, synthetic, phase, time_s."""


def features_of(loaded: LoadedResult, label: int) -> tuple[list[str], dict[str, list[float]]]:
    """Captions of the images and, by feature, its values in them; nothing where the result has no valid radiomics."""
    table = nodes.node(loaded.tables.get("radiomics", ""))
    if table is None or table.GetNumberOfRows() == 0 or table.GetAttribute(nodes.OUTDATED):
        return [], {}
    rows = [row for row, lesion in enumerate(column(table, "lesion")) if lesion == label]
    phases, synthetic = column(table, "phase"), column(table, "synthetic")
    captions = [
        (_("Phase {number} (synthetic)") if synthetic[row] == "true" else _("Phase {number} (real)")).format(
            number=int(phases[row])
        )
        for row in rows
    ]
    names = [table.GetColumnName(number) for number in range(FIRST_FEATURE, table.GetNumberOfColumns())]
    return captions, {name: [float(column(table, name)[row]) for row in rows] for name in names}


class FeatureTable:
    """Shows the features of one lesion in a QTableWidget, which is there only for results that have them."""

    def __init__(self, widget: Any) -> None:
        self.widget = widget
        widget.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        widget.verticalHeader().setVisible(False)
        self.clear()

    def show(self, loaded: LoadedResult, label: int) -> None:
        """Fill the table with the features of a lesion."""
        captions, features = features_of(loaded, label)
        self.widget.setVisible(bool(features))
        self.widget.setColumnCount(1 + len(captions))
        self.widget.setHorizontalHeaderLabels([_("Feature"), *captions])
        self.widget.setRowCount(len(features))
        for row, (name, values) in enumerate(features.items()):
            for place, text in enumerate([name, *(f"{value:.4g}" for value in values)]):
                self.widget.setItem(row, place, qt.QTableWidgetItem(text))
        self.widget.resizeColumnsToContents()

    def clear(self) -> None:
        """Show nothing."""
        self.widget.setRowCount(0)
        self.widget.setVisible(False)
