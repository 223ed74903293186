"""The curve under the crosshair, synthetic and real, drawn while the mouse moves over the views."""

from __future__ import annotations

from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from ...export.content import LABEL
from ...kinetics.parameters import percent_enhancement
from ..observers import Observers
from ..scene import loaded as result_nodes
from ..scene import nodes, tables
from ..scene.loaded import LoadedResult
from . import charts, layout

DELAY_MS = 50
"""The mouse moves faster than charts are drawn: only its last place is shown."""
SYNTHETIC_COLOR, REAL_COLOR = (0.90, 0.62, 0.0), (0.25, 0.25, 0.25)
Points = tuple[list[float], list[float]]


def curves_at(loaded: LoadedResult, point_ras: tuple[float, float, float]) -> tuple[Points, Points] | None:
    """Minutes after injection and percent enhancement at a point of the scene, of the synthetic and the real phases.

    Means over the 3 x 3 voxels of a slice around the point. The real curve has no point where no real phase is there;
    None outside the volume.
    """
    pre = nodes.node(loaded.pre)
    box = _box_at(pre, point_ras) if pre is not None else None
    if box is None:
        return None
    made = [(phase.time_s, phase.volume) for phase in (*loaded.input_phases, *loaded.phases)]
    times_s = result_nodes.real_times(nodes.node(loaded.run_node))
    real = [(times_s.get(phase.index) or phase.time_s, phase.real) for phase in loaded.phases if phase.real]
    return _curve(loaded.pre, made, box), _curve(loaded.input or loaded.pre, real, box)


def _curve(baseline: str, phases: list[tuple[float, str]], box: nodes.Box) -> Points:
    present = [(time_s, volume) for time_s, volume in ((0.0, baseline), *phases) if nodes.node(volume) is not None]
    if len(present) < 2:
        return [], []
    signals = [float(slicer.util.arrayFromVolume(nodes.node(volume))[box].mean()) for _time_s, volume in present]
    return [time_s / 60 for time_s, _volume in present], percent_enhancement(signals).tolist()


def _box_at(volume: Any, point_ras: tuple[float, float, float]) -> nodes.Box | None:
    local = [0.0, 0.0, 0.0]
    volume.TransformPointFromWorld(list(point_ras), local)
    i, j, k = np.rint((np.linalg.inv(nodes.ijk_to_ras(volume)) @ [*local, 1.0])[:3]).astype(int)
    size = volume.GetImageData().GetDimensions()
    if not (0 <= i < size[0] and 0 <= j < size[1] and 0 <= k < size[2]):
        return None
    return slice(k, k + 1), slice(max(j - 1, 0), j + 2), slice(max(i - 1, 0), i + 2)


class LiveCurve:
    """Follows the crosshair while it is on. Its nodes are not saved with the scene."""

    def __init__(self) -> None:
        self._observers = Observers()
        self._loaded: LoadedResult | None = None
        self._made: list[str] = []
        self._chart_before = ""
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.connect("timeout()", self.update)

    def start(self, loaded: LoadedResult) -> None:
        """Show the curve under the crosshair of a result from now on."""
        self.stop()
        crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        if crosshair is not None:
            self._loaded = loaded
            self._observers.add(crosshair, slicer.vtkMRMLCrosshairNode.CursorPositionModifiedEvent, self._on_move)

    def stop(self) -> None:
        """Let go of the crosshair, and bring back the chart that was shown before."""
        self._timer.stop()
        self._observers.clear()
        self._loaded = None
        if self._made:
            layout.show_chart(self._chart_before if nodes.node(self._chart_before) is not None else "")
            nodes.remove_nodes(self._made)
            self._made = []

    def _on_move(self, caller: Any, event: Any) -> None:
        if not self._timer.active:
            self._timer.start()

    def update(self) -> None:
        """Draw the curve at the present place of the crosshair; outside the volume the last one stays."""
        crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        point = [0.0, 0.0, 0.0]
        if self._loaded is None or crosshair is None or not crosshair.GetCursorPositionRAS(point):
            return
        found = curves_at(self._loaded, (point[0], point[1], point[2]))
        if found is None:
            return
        if not all(nodes.node(one) is not None for one in self._made) or not self._made:
            self._make()
        chart, *series = map(nodes.node, self._made)
        for one, curve in zip(series[::2], found, strict=True):
            texts = [[f"{value:.9g}" if np.isfinite(value) else "" for value in values] for values in curve]
            tables.fill(one.GetTableNode(), [charts.TIME, charts.PE], texts)
        drawn = [one for one, curve in zip(series[::2], found, strict=True) if curve[0]]
        chart.RemoveAllPlotSeriesNodeIDs()
        for one in drawn:
            chart.AddAndObservePlotSeriesNodeID(one.GetID())
        if drawn:
            charts.set_ranges(chart, drawn)
        layout.show_chart(chart.GetID())

    def _make(self) -> None:
        """The chart, and series and points of both curves."""
        if self._made:  # somebody has deleted a part of it; the chart before is known
            nodes.remove_nodes([one for one in self._made if nodes.node(one) is not None])
        else:
            view = slicer.mrmlScene.GetSingletonNode(layout.PLOT, "vtkMRMLPlotViewNode")
            self._chart_before = (view.GetPlotChartNodeID() or "") if view is not None else ""
        chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", _("Curve under the crosshair"))
        charts.set_look(chart, _("Under the crosshair (3 x 3 voxels) · {note}").format(note=LABEL))
        made = [chart]
        for name, color, marker in ((_("synthetic"), SYNTHETIC_COLOR, "Circle"), (_("real"), REAL_COLOR, "Square")):
            series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
            points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
            series.SetAndObserveTableNodeID(points.GetID())
            charts.set_line(series, charts.PE, color)
            series.SetMarkerStyle(getattr(series, f"MarkerStyle{marker}"))
            made += [series, points]
        for node in made:
            node.SetSaveWithScene(False)
            node.HideFromEditorsOn()
        self._made = [node.GetID() for node in made]
