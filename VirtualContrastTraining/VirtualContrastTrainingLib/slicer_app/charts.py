"""Plot charts of a run's curves: losses in one, held-out measures in the other. Updating keeps the nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from .metrics_file import HELD_OUT, Curve

RUN, ROLE = "VirtualContrastTraining.Run", "VirtualContrastTraining.Role"
"""Node attributes: the run's folder, and what the node is ("losses.points", "losses.G_GAN", "losses.chart", ...)."""
EPOCH = "epoch"
LOSSES, METRICS = "losses", "metrics"
_CLASSES = ("vtkMRMLTableNode", "vtkMRMLPlotSeriesNode", "vtkMRMLPlotChartNode")
_COLORS = (
    (0.00, 0.45, 0.70),
    (0.84, 0.37, 0.00),
    (0.00, 0.62, 0.45),
    (0.80, 0.47, 0.65),
    (0.90, 0.62, 0.00),
    (0.34, 0.71, 0.91),
    (0.35, 0.35, 0.35),
)
"""Okabe and Ito's colors, distinguishable for color-blind people too."""


class Charts:
    """The charts of one run in the scene. What was deleted or closed is recreated by the next update."""

    def __init__(self, folder: str, title: str) -> None:
        self._folder, self._title = folder, title

    def update(self, losses: dict[str, Curve], held_out: dict[str, Curve]) -> None:
        """Show these curves; a kind without curves has no chart."""
        if losses:
            self._show(LOSSES, _("Training losses"), _("Loss"), losses)
        if held_out:
            self._show(METRICS, _("Held-out data"), _("Error"), held_out)

    def chart(self, kind: str) -> Any:
        """The chart node of LOSSES or METRICS, None where there is none."""
        return self._find("vtkMRMLPlotChartNode", f"{kind}.chart")

    def remove(self) -> None:
        """Take the nodes out of the scene."""
        for node in self._nodes():
            slicer.mrmlScene.RemoveNode(node)

    def _show(self, kind: str, title: str, y_title: str, curves: dict[str, Curve]) -> None:
        points = self._node("vtkMRMLTableNode", f"{kind}.points", f"{title} · {self._title}")
        _fill(points, curves)
        series = [self._series(kind, name, points, number) for number, name in enumerate(curves)]
        chart = self._node("vtkMRMLPlotChartNode", f"{kind}.chart", f"{title} · {self._title}")
        chart.SetTitle(f"{title} · {self._title} · {_('research only')}")
        chart.SetXAxisTitle(_("Epoch"))
        chart.SetYAxisTitle(y_title)
        chart.SetTitleFontSize(14)
        chart.SetAxisTitleFontSize(13)
        chart.SetAxisLabelFontSize(12)
        chart.SetLegendFontSize(12)
        _set_axes(chart, curves)
        if [chart.GetNthPlotSeriesNodeID(n) for n in range(chart.GetNumberOfPlotSeriesNodes())] != series:
            chart.RemoveAllPlotSeriesNodeIDs()
            for series_id in series:
                chart.AddAndObservePlotSeriesNodeID(series_id)

    def _series(self, kind: str, name: str, points: Any, number: int) -> str:
        series = self._node("vtkMRMLPlotSeriesNode", f"{kind}.{name}", display_name(name))
        series.SetAndObserveTableNodeID(points.GetID())
        series.SetPlotType(series.PlotTypeScatter)
        series.SetXColumnName(EPOCH)
        series.SetYColumnName(name)
        series.SetColor(*_COLORS[number % len(_COLORS)])
        series.SetLineStyle(series.LineStyleSolid)
        series.SetLineWidth(2.0)
        series.SetMarkerStyle(series.MarkerStyleCircle)
        series.SetMarkerSize(5.0)
        return str(series.GetID())

    def _node(self, class_name: str, role: str, name: str) -> Any:
        """The node of this role, made where there is none."""
        node = self._find(class_name, role)
        if node is None:
            node = slicer.mrmlScene.AddNewNodeByClass(class_name, name)
            node.SetAttribute(RUN, self._folder)
            node.SetAttribute(ROLE, role)
        return node

    def _find(self, class_name: str, role: str) -> Any:
        nodes = slicer.util.getNodesByClass(class_name)
        return next((n for n in nodes if (n.GetAttribute(RUN), n.GetAttribute(ROLE)) == (self._folder, role)), None)

    def _nodes(self) -> list[Any]:
        found = [node for name in _CLASSES for node in slicer.util.getNodesByClass(name)]
        return [node for node in reversed(found) if node.GetAttribute(RUN) == self._folder]


def display_name(name: str) -> str:
    """A curve as a person says it: "val_lesion_mae" is "lesion mae"; losses keep the names of their papers."""
    return name.removeprefix(HELD_OUT).replace("_", " ") if name.startswith(HELD_OUT) else name


def _fill(table_node: Any, curves: dict[str, Curve]) -> None:
    """A row per epoch, a column per curve; NaN where a curve has no value."""
    epochs = sorted({epoch for curve in curves.values() for epoch in curve})
    table = vtk.vtkTable()
    columns: list[tuple[str, Sequence[float]]] = [(EPOCH, epochs)]
    columns += [(name, [curve.get(epoch, float("nan")) for epoch in epochs]) for name, curve in curves.items()]
    for name, values in columns:
        array = numpy_support.numpy_to_vtk(np.array(values, dtype=float), deep=True)
        array.SetName(name)
        table.AddColumn(array)
    table_node.SetAndObserveTable(table)
    table_node.SetUseColumnTitleAsColumnHeader(True)


def _set_axes(chart: Any, curves: dict[str, Curve]) -> None:
    """All epochs and values, with room above for the legend; a logarithmic axis where values differ much."""
    values = np.array([value for curve in curves.values() for value in curve.values()])
    epochs = [epoch for curve in curves.values() for epoch in curve]
    low, high = float(values.min()), float(values.max())
    logarithmic = low > 0 and high / low > 30
    room = 0.07 * (len(curves) + 1)
    if logarithmic:
        low, high = low / 1.2, high * (high / low) ** (0.6 * room) * 1.2
    else:
        span = (high - low) or abs(high) or 1.0
        low, high = low - 0.05 * span, high + room * span
    chart.SetXAxisRangeAuto(False)
    chart.SetXAxisRange(min(epochs) - 0.3, max(max(epochs), min(epochs) + 1) + 0.3)
    chart.SetYAxisLogScale(logarithmic)
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(low, high)
