"""The two charts of a run, one above the other. Without a main window there are no views, and nothing happens."""

from __future__ import annotations

import slicer
from VirtualContrastLib.slicer_app.views import layouts

from .charts import LOSSES, METRICS, Charts

LAYOUT_ID = 52950  # 52917 to 52949 are for Virtual Contrast
VIEWS = {LOSSES: "VirtualContrastTrainingLosses", METRICS: "VirtualContrastTrainingMetrics"}
_LABELS = {LOSSES: "Losses", METRICS: "Held-out"}


def _plot_xml(kind: str) -> str:
    return f"""<item><view class="vtkMRMLPlotViewNode" singletontag="{VIEWS[kind]}">
     <property name="viewlabel" action="default">{_LABELS[kind]}</property></view></item>"""


_XML = f"""<layout type="vertical" split="true">{"".join(map(_plot_xml, VIEWS))}</layout>"""
LAYOUTS = {LAYOUT_ID: _XML}


def register() -> None:
    """Make the layout known, once the application has started."""
    layouts.register(LAYOUTS)


def show(charts: Charts) -> None:
    """Switch to the layout and show the charts of a run."""
    if slicer.app.layoutManager() is not None:
        layouts.use(LAYOUT_ID, LAYOUTS)
        put(charts)


def put(charts: Charts) -> None:
    """Put the charts into their views where the layout is shown; another layout is left alone."""
    manager = slicer.app.layoutManager()
    if manager is None or manager.layout != LAYOUT_ID:
        return
    for kind, tag in VIEWS.items():
        view, chart = slicer.mrmlScene.GetSingletonNode(tag, "vtkMRMLPlotViewNode"), charts.chart(kind)
        if view is not None:
            wanted = chart.GetID() if chart is not None else None
            if view.GetPlotChartNodeID() != wanted:
                view.SetPlotChartNodeID(wanted)


def is_shown() -> bool:
    """The layout is on the screen."""
    manager = slicer.app.layoutManager()
    return manager is not None and manager.layout == LAYOUT_ID
