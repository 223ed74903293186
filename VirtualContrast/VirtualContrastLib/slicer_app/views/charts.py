"""Plot charts of the lesions' curves, made from the curve tables in the scene; updating keeps the nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from ...export.content import LABEL
from ..scene import loaded as result_nodes
from ..scene import nodes, segments, tables
from ..scene.loaded import ALL_LESIONS, CHART, POINTS, SERIES, LoadedResult

TIME, PE, UPPER, LOWER = "time_min", "pe_percent", "pe_plus_1_sd_percent", "pe_minus_1_sd_percent"
LEGEND_SHARE = 0.4
"""Of the curves' width, to the right of them: there the legend covers nothing, however many lesions there are."""
_REAL_COLOR = (0.25, 0.25, 0.25)
Color = tuple[float, float, float]


@dataclass(frozen=True)
class Curve:
    """Percent enhancement over time, shaped (T,).

    Attributes:
        times_s: Seconds after injection.
        pe_percent: Percent enhancement.
        sd_percent: Its standard deviation, 0 where unknown.
        acquired: True for post-contrast points of a synthetic curve that are real: the model read them.
    """

    times_s: np.ndarray
    pe_percent: np.ndarray
    sd_percent: np.ndarray
    acquired: np.ndarray


def curves_of(table: Any) -> dict[int, Curve]:
    """The curves in a table node with the columns of curves.csv, by lesion label; {} for None."""
    if table is None or table.GetNumberOfRows() == 0:
        return {}
    names = ("lesion", "time_s", "pe_percent", "pe_uncertainty_sd_percent")
    labels, times, pe, sd = (np.array(tables.column(table, name), dtype=float) for name in names)
    made = np.array([text == "true" for text in tables.column(table, "synthetic")])
    curves = {}
    for label in np.unique(labels):
        own = labels == label
        acquired = ~made[own] & (times[own] > 0) & made[own].any()
        curves[int(label)] = Curve(times[own], pe[own], np.nan_to_num(sd[own]), acquired)
    return curves


def update(loaded: LoadedResult) -> None:
    """Make, change or remove the charts so that they show the curve tables of a result as these are now."""
    nodes.drain(update_steps(loaded))


def update_steps(loaded: LoadedResult) -> nodes.Steps[None]:
    """As `update`, in a step for each lesion."""
    return _Charts(loaded).update()


class _Charts:
    """One update. Nodes are found again by role and key."""

    def __init__(self, loaded: LoadedResult) -> None:
        self.loaded = loaded
        self.run_node = nodes.node(loaded.run_node)
        self.before = {role: result_nodes.referred(self.run_node, role) for role in (POINTS, SERIES, CHART)}
        self.kept: set[str] = set()

    def update(self) -> nodes.Steps[None]:
        """The chart of each lesion, then that of all."""
        synthetic = curves_of(nodes.node(self.loaded.tables.get("curves", "")))
        real = curves_of(nodes.node(self.loaded.tables.get("curves_real", "")))
        means = []
        for label, curve in synthetic.items():
            series = self._series_of(label, curve)
            means.append(series[0])
            if label in real:
                series.append(self._real_series(label, real[label]))
                means.append(series[-1])
            yield
            self._chart(f"lesion_{label}", self._title(label), series)
            yield
        if synthetic:
            self._chart(ALL_LESIONS, _("All lesions · {note}").format(note=LABEL), means)
        gone = [node_id for by_key in self.before.values() for node_id in by_key.values() if node_id not in self.kept]
        nodes.remove_nodes(gone)
        self.loaded.charts = result_nodes.referred(self.run_node, CHART)

    def _title(self, label: int) -> str:
        kind = next((row.curve_type for row in self.loaded.lesions if row.label == label), "")
        return " · ".join(filter(None, (self._name(label), kind, LABEL)))

    def _name(self, label: int) -> str:
        return next((row.name for row in self.loaded.lesions if row.label == label), f"Lesion {label}")

    def _series_of(self, label: int, curve: Curve) -> list[Any]:
        """The mean curve and, where there is an uncertainty, thin lines one standard deviation above and below."""
        name = self._name(label)
        upper, lower = curve.pe_percent + curve.sd_percent, curve.pe_percent - curve.sd_percent
        columns = {TIME: curve.times_s / 60, PE: curve.pe_percent, UPPER: upper, LOWER: lower}
        points = self._points(f"lesion_{label}", columns, synthetic=True)
        color = segments.color_of(nodes.node(self.loaded.segmentation), label)
        mean = self._series(f"lesion_{label}_mean", _("{lesion}, synthetic").format(lesion=name), points, PE, color)
        if curve.acquired.any():
            return [mean, self._acquired_series(label, curve)]
        if not curve.sd_percent.any():
            return [mean]
        above = self._series(f"lesion_{label}_upper", f"{name}, + 1 SD", points, UPPER, color, band=True)
        below = self._series(f"lesion_{label}_lower", f"{name}, - 1 SD", points, LOWER, color, band=True)
        return [mean, above, below]

    def _acquired_series(self, label: int, curve: Curve) -> Any:
        """The real points of a synthetic curve, as squares on it."""
        columns = {TIME: curve.times_s[curve.acquired] / 60, PE: curve.pe_percent[curve.acquired]}
        points = self._points(f"lesion_{label}_acquired", columns, synthetic=False)
        name = _("{lesion}, acquired and read by the model").format(lesion=self._name(label))
        color = segments.color_of(nodes.node(self.loaded.segmentation), label)
        series = self._series(f"lesion_{label}_acquired", name, points, PE, color)
        series.SetLineStyle(series.LineStyleNone)
        series.SetMarkerStyle(series.MarkerStyleSquare)
        series.SetMarkerSize(12.0)
        return series

    def _real_series(self, label: int, curve: Curve) -> Any:
        columns = {TIME: curve.times_s / 60, PE: curve.pe_percent}
        points = self._points(f"lesion_{label}_real", columns, synthetic=False)
        name = _("{lesion}, real").format(lesion=self._name(label))
        color = segments.color_of(nodes.node(self.loaded.segmentation), label)
        dark = tuple(0.45 * a + 0.55 * b for a, b in zip(color, _REAL_COLOR, strict=True))
        series = self._series(f"lesion_{label}_real", name, points, PE, (dark[0], dark[1], dark[2]))
        series.SetLineStyle(series.LineStyleDash)
        series.SetMarkerStyle(series.MarkerStyleSquare)
        return series

    def _points(self, key: str, columns: dict[str, np.ndarray], *, synthetic: bool) -> Any:
        table = self._node("vtkMRMLTableNode", POINTS, key, _("points of {key}"), synthetic=synthetic)
        texts = [[f"{value:.9g}" if np.isfinite(value) else "" for value in values] for values in columns.values()]
        tables.fill(table, list(columns), texts)
        return table

    def _series(self, key: str, name: str, points: Any, column: str, color: Color, *, band: bool = False) -> Any:
        synthetic = nodes.is_synthetic(points)
        series = self._node("vtkMRMLPlotSeriesNode", SERIES, key, "{key}", synthetic=synthetic)
        series.SetName(name)
        series.SetAndObserveTableNodeID(points.GetID())
        set_line(series, column, color, band=band)
        return series

    def _chart(self, key: str, title: str, series: Sequence[Any]) -> None:
        chart = self._node("vtkMRMLPlotChartNode", CHART, key, _("curves of {key}"), synthetic=True)
        set_look(chart, title)
        set_ranges(chart, series)
        wanted = [one.GetID() for one in series]
        if _series_ids(chart) != wanted:
            chart.RemoveAllPlotSeriesNodeIDs()
            for series_id in wanted:
                chart.AddAndObservePlotSeriesNodeID(series_id)

    def _node(self, class_name: str, role: str, key: str, name: str, *, synthetic: bool) -> Any:
        """The node of this role and key, made where there is none."""
        node = nodes.node(self.before[role].get(key, ""))
        if node is None:
            node = slicer.mrmlScene.AddNewNodeByClass(class_name, name.format(key=key.replace("_", " ")))
            result_nodes.adopt(self.run_node, node, role, key, synthetic=synthetic)
        self.kept.add(node.GetID())
        return node


def set_line(series: Any, column: str, color: Color, *, band: bool = False) -> None:
    """Draw a series as a line with points over the column of times, or as the thin line at the edge of a band.

    Args:
        series: The plot series node.
        column: Name of the column with its values.
        color: RGB, 0..1.
        band: Whether it is the edge of an uncertainty band.
    """
    series.SetPlotType(series.PlotTypeScatter)
    series.SetXColumnName(TIME)
    series.SetYColumnName(column)
    series.SetColor(*color)
    series.SetLineStyle(series.LineStyleSolid)
    series.SetLineWidth(1.0 if band else 3.0)
    series.SetMarkerStyle(series.MarkerStyleNone if band else series.MarkerStyleCircle)
    series.SetMarkerSize(8.0)
    series.SetOpacity(0.6 if band else 1.0)


def set_look(chart: Any, title: str) -> None:
    """Titles and fonts of a chart of curves."""
    chart.SetTitle(title)
    chart.SetXAxisTitle(_("Time after injection (min)"))
    chart.SetYAxisTitle(_("Percent enhancement (%)"))
    chart.SetTitleFontSize(14)
    chart.SetAxisTitleFontSize(13)
    chart.SetAxisLabelFontSize(12)
    chart.SetLegendFontSize(11)


def set_ranges(chart: Any, series: Sequence[Any]) -> None:
    """Axes around the curves, and to their right the room for the legend, which stands in the upper right corner."""
    times, values = [0.0], [0.0]
    for one in series:
        times += tables.column(one.GetTableNode(), one.GetXColumnName())
        values += tables.column(one.GetTableNode(), one.GetYColumnName())
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    chart.SetXAxisRangeAuto(False)
    chart.SetXAxisRange(0.0, (1.0 + LEGEND_SHARE) * float(np.nanmax(times)))
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(low - 0.05 * (high - low), high + max(0.08 * (high - low), 1.0))


def _series_ids(chart: Any) -> list[str]:
    ids = [chart.GetNthPlotSeriesNodeID(number) for number in range(chart.GetNumberOfPlotSeriesNodes())]
    return [series_id for series_id in ids if series_id]
