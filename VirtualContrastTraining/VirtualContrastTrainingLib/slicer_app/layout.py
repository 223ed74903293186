"""The two charts of a run, one above the other. Without a main window there are no views, and nothing happens."""

from __future__ import annotations

import slicer

from .charts import LOSSES, METRICS, Charts

LAYOUT_ID = 52950  # 52917 to 52949 are for Virtual Contrast
VIEWS = {LOSSES: "VirtualContrastTrainingLosses", METRICS: "VirtualContrastTrainingMetrics"}
_LABELS = {LOSSES: "Losses", METRICS: "Held-out"}


def _plot_xml(kind: str) -> str:
    return f"""<item><view class="vtkMRMLPlotViewNode" singletontag="{VIEWS[kind]}">
     <property name="viewlabel" action="default">{_LABELS[kind]}</property></view></item>"""


_XML = f"""<layout type="vertical" split="true">{"".join(map(_plot_xml, VIEWS))}</layout>"""


def show(charts: Charts) -> None:
    """Switch to the layout and show the charts of a run."""
    manager = slicer.app.layoutManager()
    if manager is None:
        return
    layout = manager.layoutLogic().GetLayoutNode()
    if not layout.IsLayoutDescription(LAYOUT_ID):
        layout.AddLayoutDescription(LAYOUT_ID, _XML)
    manager.setLayout(LAYOUT_ID)
    put(charts)


def put(charts: Charts) -> None:
    """Put the charts into their views where the layout is shown; another layout is left alone."""
    manager = slicer.app.layoutManager()
    if manager is None or manager.layout != LAYOUT_ID:
        return
    for kind, tag in VIEWS.items():
        widget, chart = manager.plotWidget(tag), charts.chart(kind)
        if widget is not None:
            view = widget.mrmlPlotViewNode()
            wanted = chart.GetID() if chart is not None else None
            if view.GetPlotChartNodeID() != wanted:
                view.SetPlotChartNodeID(wanted)


def is_shown() -> bool:
    """The layout is on the screen."""
    manager = slicer.app.layoutManager()
    return manager is not None and manager.layout == LAYOUT_ID
