"""The views of a result: pre, phase and subtraction side by side and linked, MIP and curves below.

A mammogram has two images side by side: the low-energy one and the synthetic recombined one.

Without a main window there are no views: every function then does what concerns the scene alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer

from ...results.manifest import MAMMOGRAM
from ..scene import breasts, nodes
from ..scene.loaded import ALL_LESIONS, LoadedResult
from ..scene.sequence import select
from . import display, layouts, mip, sides
from .flicker import Flicker
from .lesion_marks import LesionMarks

LAYOUT_ID = 52917
PRE, PHASE, SUBTRACTION = "VirtualContrastPre", "VirtualContrastPhase", "VirtualContrastSubtraction"
SLICE_VIEWS = (PRE, PHASE, SUBTRACTION)
VIEW_3D, PLOT = "VirtualContrast3D", "VirtualContrastCurves"
_GROUP = 529
_COLORS = {PRE: "#8da0cb", PHASE: "#e69f00", SUBTRACTION: "#66c2a5"}
_LABELS = {PRE: "Pre", PHASE: "Phase", SUBTRACTION: "Sub"}
MAMMOGRAM_LAYOUT_ID = 52918
MAMMOGRAM_VIEWS = (PRE, PHASE)
_MAMMOGRAM_LABELS = {PRE: "Low", PHASE: "Recomb"}

_MARGIN = 1.06
"""Field of view of a slice view over the width of the breasts."""
_LABEL_SHARE = 0.14
"""Of the height of a slice view, at its upper edge."""

_flicker = Flicker()
_marks = LesionMarks()


def _slice_xml(tag: str) -> str:
    return f"""<item><view class="vtkMRMLSliceNode" singletontag="{tag}">
     <property name="orientation" action="default">Axial</property>
     <property name="viewlabel" action="default">{_LABELS[tag]}</property>
     <property name="viewcolor" action="default">{_COLORS[tag]}</property>
     <property name="viewgroup" action="default">{_GROUP}</property></view></item>"""


_3D_XML = f"""<item><view class="vtkMRMLViewNode" singletontag="{VIEW_3D}">
   <property name="viewlabel" action="default">MIP</property>
   <property name="viewgroup" action="default">{_GROUP}</property></view></item>"""

_XML = f"""<layout type="vertical" split="true">
 <item splitSize="420"><layout type="horizontal">{"".join(map(_slice_xml, SLICE_VIEWS))}</layout></item>
 <item splitSize="580"><layout type="horizontal">
  {_3D_XML}
  <item><view class="vtkMRMLPlotViewNode" singletontag="{PLOT}">
   <property name="viewlabel" action="default">Curves</property></view></item>
 </layout></item>
</layout>"""


def _row_xml(items: Sequence[str]) -> str:
    return f"""<layout type="horizontal">{"".join(items)}</layout>"""


_PART_LAYOUT_ID = 52920
_ITEMS = (*map(_slice_xml, SLICE_VIEWS), _3D_XML)
LAYOUTS = {
    LAYOUT_ID: _XML,
    MAMMOGRAM_LAYOUT_ID: _row_xml(_ITEMS[: len(MAMMOGRAM_VIEWS)]),
    **{_PART_LAYOUT_ID + count: _row_xml(_ITEMS[:count]) for count in range(1, len(_ITEMS) + 1)},
}
"""By number; the parts hold the first views alone."""


def show(loaded: LoadedResult) -> None:
    """Switch to the layout and show the first phase of a result, its MIP, lesions and curves."""
    nodes.drain(show_steps(loaded))


def show_steps(loaded: LoadedResult) -> nodes.Steps[None]:
    """As `show`, in steps that are short enough to handle the application's events between them."""
    _flicker.stop()
    manager = slicer.app.layoutManager()
    if manager is None:
        return
    mammogram = loaded.kind == MAMMOGRAM
    views = MAMMOGRAM_VIEWS if mammogram else SLICE_VIEWS
    if manager.sliceWidget(views[-1]) is None:  # one view a step: making five at once would take too long
        for count in range(1, len(MAMMOGRAM_VIEWS) if mammogram else len(_ITEMS) + 1):
            layouts.use(_PART_LAYOUT_ID + count, LAYOUTS)
            yield
    layouts.use(MAMMOGRAM_LAYOUT_ID if mammogram else LAYOUT_ID, LAYOUTS)
    yield
    first = loaded.phases[0]
    for tag, volume_id in ((PRE, loaded.pre), (PHASE, first.volume), (SUBTRACTION, first.subtraction)):
        _set_layer(tag, "Background", volume_id)
        yield
    set_phase(loaded, 0)
    yield
    inside = nodes.node(loaded.mip)
    frame = (yield from breasts.frame(inside)) if inside is not None else None
    for tag in views:
        _fit(manager.sliceWidget(tag), loaded, frame)
        label = (_MAMMOGRAM_LABELS if mammogram else _LABELS)[tag]
        manager.sliceWidget(tag).mrmlSliceNode().SetLayoutLabel(label)
        yield
    if mammogram:
        return
    yield from mip.show(loaded, manager.threeDWidget(VIEW_3D))
    segmentation = nodes.node(loaded.segmentation)
    if segmentation is not None:
        segmentation.GetDisplayNode().SetVisibility3D(False)  # solid bodies would hide what is to be seen
    mark_lesions(loaded)
    yield
    show_chart(loaded.charts.get(ALL_LESIONS, ""))
    yield
    if loaded.lesions:
        _jump_slices(max(loaded.lesions, key=lambda row: row.volume).centroid_ras)


def set_phase(loaded: LoadedResult, index: int) -> None:
    """Show phase `index` (0 is the first post-contrast phase) and its subtraction; the browser's item follows."""
    phase = loaded.phases[index]
    _set_layer(PHASE, "Background", phase.volume)
    _set_layer(SUBTRACTION, "Background", phase.subtraction)
    select(nodes.node(loaded.browser), loaded.first_item + index)
    _flicker.follow(phase.volume, phase.real)


def flicker(loaded: LoadedResult, on: bool) -> bool:
    """Show the synthetic and the real phase in turn in the phase view, or stop; returns whether it flickers now.

    It does not where the phase that is shown has no real counterpart in the scene.
    """
    _flicker.stop()
    composite = _composite(PHASE)
    phase = loaded.phase_of(composite.GetBackgroundVolumeID()) if composite is not None else None
    if not on or phase is None or nodes.node(phase.real) is None:
        return False
    _flicker.start(composite, phase.volume, phase.real)
    return True


def jump_to_lesion(loaded: LoadedResult, label: int) -> None:
    """Bring a lesion into all views and show its curve."""
    row = loaded.lesion(label)
    manager = slicer.app.layoutManager()
    if manager is None:
        return
    _jump_slices(row.centroid_ras)
    widget = manager.threeDWidget(VIEW_3D)
    if widget is not None:
        mip.bring_into_view(widget, row.centroid_ras)
    show_chart(loaded.charts.get(f"lesion_{label}", ""))


def see_mip_from(loaded: LoadedResult, direction: str) -> None:
    """Turn the MIP to one of `mip.DIRECTIONS`."""
    manager = slicer.app.layoutManager()
    widget = manager.threeDWidget(VIEW_3D) if manager is not None else None
    if widget is not None:
        mip.look(loaded, widget, direction)


def mark_lesions(loaded: LoadedResult) -> None:
    """Number the lesions as they are now in the slices and the MIP."""
    manager = slicer.app.layoutManager()
    widget = manager.threeDWidget(VIEW_3D) if manager is not None else None
    if widget is not None:
        _marks.show(loaded, [manager.sliceWidget(tag) for tag in SLICE_VIEWS], widget)


def clear() -> None:
    """Let go of the result that is shown."""
    _flicker.stop()
    _marks.clear()


def set_overlay(loaded: LoadedResult, name: str = "", opacity: float = 0.6) -> None:
    """Lay a map over the phase view.

    Args:
        loaded: The result.
        name: "uncertainty" (of the phase shown), a key of `loaded.maps`, or "" for none.
        opacity: Opacity of the map, 0 to 1.
    """
    composite = _composite(PHASE)
    if composite is None:
        return
    phase = loaded.phase_of(composite.GetBackgroundVolumeID())
    over = loaded.maps.get(name, "")
    if name == "uncertainty" and phase is not None:
        over = phase.uncertainty
    is_label = over and nodes.node(over).IsA("vtkMRMLLabelMapVolumeNode")
    composite.SetForegroundVolumeID(None if is_label else over or None)
    composite.SetForegroundOpacity(0.0 if is_label or not over else opacity)
    composite.SetLabelVolumeID(over if is_label else None)
    composite.SetLabelOpacity(opacity)
    if over:
        display.renew_legend(nodes.node(over))


def _composite(tag: str) -> Any:
    """The slice composite node of a view; None without views or before `show`."""
    manager = slicer.app.layoutManager()
    widget = manager.sliceWidget(tag) if manager is not None else None
    return widget.mrmlSliceCompositeNode() if widget is not None else None


def _set_layer(tag: str, layer: str, volume_id: str) -> None:
    composite = _composite(tag)
    if composite is not None:
        getattr(composite, f"Set{layer}VolumeID")(volume_id or None)


def _fit(widget: Any, loaded: LoadedResult, frame: tuple[np.ndarray, np.ndarray] | None) -> None:
    """Link a slice view with the others and show the breasts (or all) in the plane of the acquisition."""
    composite, pre = widget.mrmlSliceCompositeNode(), nodes.node(loaded.pre)
    composite.SetLinkedControl(False)  # each view is fitted in its own step
    if pre is not None:
        widget.mrmlSliceNode().RotateToVolumePlane(pre)
    widget.mrmlSliceNode().SetSliceVisible(False)
    sides.mark_slice(widget, on=loaded.kind != MAMMOGRAM)
    widget.sliceLogic().FitSliceToBackground()
    if frame is not None:
        _zoom_to(widget.mrmlSliceNode(), *frame)
        widget.sliceLogic().SnapSliceOffsetToIJK()
    display.link_places(composite)


def _zoom_to(slice_node: Any, low: np.ndarray, high: np.ndarray) -> None:
    """Let a box between two RAS corners fill a slice view, below the label in it; what room is left lies below the box.

    There the legend, the ruler and the axes stand, in an axial slice over the chest.
    """
    axes = slicer.util.arrayFromVTKMatrix(slice_node.GetSliceToRAS())[:3, :2]
    across, high_mm = np.abs(axes).T @ (high - low)
    width, height, _count = slice_node.GetDimensions()
    field = max(_MARGIN * across, high_mm / (1 - 2 * _LABEL_SHARE) * width / max(height, 1))
    field_high = field * height / max(width, 1)
    slice_node.SetFieldOfView(field, field_high, slice_node.GetFieldOfView()[2])
    lower_mm = field_high * (0.5 - _LABEL_SHARE) - high_mm / 2
    slice_node.JumpSliceByCentering(*((low + high) / 2 - lower_mm * axes[:, 1]))


def _jump_slices(point_ras: tuple[float, float, float]) -> None:
    """Bring a point into our slice views; one that shows it already keeps its frame. Those of others are theirs."""
    found = (slicer.mrmlScene.GetSingletonNode(tag, "vtkMRMLSliceNode") for tag in SLICE_VIEWS)
    for slice_node in filter(None, found):
        slice_node.JumpSliceByOffsetting(*point_ras)
        if not _in_view(slice_node, point_ras):
            slice_node.JumpSliceByCentering(*point_ras)


def _in_view(slice_node: Any, point_ras: tuple[float, float, float]) -> bool:
    """True where a point lies within the inner 90 % of the field of view."""
    matrix = slicer.util.arrayFromVTKMatrix(slice_node.GetSliceToRAS())
    offset = matrix[:3, :3].T @ (matrix[:3, 3] - list(point_ras))
    field = slice_node.GetFieldOfView()
    return abs(offset[0]) < 0.45 * field[0] and abs(offset[1]) < 0.45 * field[1]


def show_chart(chart_id: str) -> None:
    """Through the view's node: the layout manager finds plot views by number alone."""
    view = slicer.mrmlScene.GetSingletonNode(PLOT, "vtkMRMLPlotViewNode")
    if view is not None:
        view.SetPlotChartNodeID(chart_id or None)
