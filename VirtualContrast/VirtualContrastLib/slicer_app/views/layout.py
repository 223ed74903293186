"""The views of a result: pre, phase and subtraction side by side and linked, 3-D and curves below.

A mammogram has two images side by side: the low-energy one and the synthetic recombined one.

Without a main window there are no views: every function then does what concerns the scene alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import slicer

from ...results.manifest import MAMMOGRAM
from ..scene import loaded as result_nodes
from ..scene import nodes
from ..scene.loaded import ALL_LESIONS, LoadedResult
from ..scene.sequence import select
from . import display, layouts
from .flicker import Flicker

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

_flicker = Flicker()


def _slice_xml(tag: str) -> str:
    return f"""<item><view class="vtkMRMLSliceNode" singletontag="{tag}">
     <property name="orientation" action="default">Axial</property>
     <property name="viewlabel" action="default">{_LABELS[tag]}</property>
     <property name="viewcolor" action="default">{_COLORS[tag]}</property>
     <property name="viewgroup" action="default">{_GROUP}</property></view></item>"""


_XML = f"""<layout type="vertical" split="true">
 <item><layout type="horizontal">{"".join(map(_slice_xml, SLICE_VIEWS))}</layout></item>
 <item><layout type="horizontal">
  <item><view class="vtkMRMLViewNode" singletontag="{VIEW_3D}">
   <property name="viewlabel" action="default">3-D</property>
   <property name="viewgroup" action="default">{_GROUP}</property></view></item>
  <item><view class="vtkMRMLPlotViewNode" singletontag="{PLOT}">
   <property name="viewlabel" action="default">Curves</property></view></item>
 </layout></item>
</layout>"""


def _row_xml(tags: Sequence[str]) -> str:
    return f"""<layout type="horizontal">{"".join(map(_slice_xml, tags))}</layout>"""


_PART_LAYOUT_ID = 52920
LAYOUTS = {
    LAYOUT_ID: _XML,
    MAMMOGRAM_LAYOUT_ID: _row_xml(MAMMOGRAM_VIEWS),
    **{_PART_LAYOUT_ID + count: _row_xml(SLICE_VIEWS[:count]) for count in range(1, len(SLICE_VIEWS))},
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
        for count in range(1, len(views)):
            layouts.use(_PART_LAYOUT_ID + count, LAYOUTS)
            yield
    layouts.use(MAMMOGRAM_LAYOUT_ID if mammogram else LAYOUT_ID, LAYOUTS)
    yield
    first = loaded.phases[0]
    for tag, volume_id in ((PRE, loaded.pre), (PHASE, first.volume), (SUBTRACTION, first.subtraction)):
        _set_layer(tag, "Background", volume_id)
        yield
    set_phase(loaded, 0)
    _match_windows(loaded)
    yield
    for tag in views:
        _fit(manager.sliceWidget(tag), nodes.node(loaded.pre), mammogram=mammogram)
        label = (_MAMMOGRAM_LABELS if mammogram else _LABELS)[tag]
        manager.sliceWidget(tag).mrmlSliceNode().SetLayoutLabel(label)
        yield
    if mammogram:
        return
    yield from _show_3d(loaded)
    _show_chart(loaded.charts.get(ALL_LESIONS, ""))
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
    """Show the synthetic and the real phase in turn in the phase view, or stop; tells whether it flickers now.

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
    """Bring a lesion into all slice views, into the middle of the 3-D view, and show its curve."""
    row = loaded.lesion(label)
    manager = slicer.app.layoutManager()
    if manager is None:
        return
    _jump_slices(row.centroid_ras)
    view = manager.threeDWidget(VIEW_3D)
    if view is not None:
        _pan(view.threeDView().cameraNode(), row.centroid_ras)
    _show_chart(loaded.charts.get(f"lesion_{label}", ""))


def set_overlay(loaded: LoadedResult, name: str = "", opacity: float = 0.6) -> None:
    """Lay a map over the phase view: "uncertainty" (of the phase shown), a key of `loaded.maps`, or "" for none."""
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


def _match_windows(loaded: LoadedResult) -> None:
    """Real phases get the gray window of the synthetic ones, so that flicker shows differences of the images alone.

    Where the phases have units of their own, the windows are left to the user.
    """
    first = nodes.node(loaded.phases[0].volume)
    if first is None or loaded.arbitrary_units:
        return
    view = first.GetDisplayNode()
    window = (view.GetLevel() - view.GetWindow() / 2, view.GetLevel() + view.GetWindow() / 2)
    for volume in filter(None, (nodes.node(phase.real) for phase in loaded.phases)):
        if volume.GetDisplayNode() is not None:
            display.set_window(volume, window)


def _fit(widget: Any, pre: Any, *, mammogram: bool) -> None:
    """Link a slice view with the others and show the plane of the acquisition; a mammogram has no patient axes."""
    composite = widget.mrmlSliceCompositeNode()
    composite.SetLinkedControl(False)  # each view is fitted in its own step
    if pre is not None:
        widget.mrmlSliceNode().RotateToVolumePlane(pre)
    widget.mrmlSliceNode().SetSliceVisible(False)
    display.mark_sides(widget.mrmlSliceNode(), on=not mammogram)
    widget.sliceLogic().FitSliceToBackground()
    display.link_places(composite)


def _jump_slices(point_ras: tuple[float, float, float]) -> None:
    """Bring a point into our slice views; one that shows it already keeps its frame. Those of others are theirs."""
    found = (slicer.mrmlScene.GetSingletonNode(tag, "vtkMRMLSliceNode") for tag in SLICE_VIEWS)
    for slice_node in filter(None, found):
        slice_node.JumpSliceByOffsetting(*point_ras)
        if not _in_view(slice_node, point_ras):
            slice_node.JumpSliceByCentering(*point_ras)


def _pan(camera: Any, point_ras: tuple[float, float, float]) -> None:
    """Move a camera, without turning it, so that it looks at a point."""
    position, before = camera.GetPosition(), camera.GetFocalPoint()
    camera.SetFocalPoint(*point_ras)
    camera.SetPosition(*(place + new - old for place, new, old in zip(position, point_ras, before, strict=True)))
    camera.ResetClippingRange()


def _in_view(slice_node: Any, point_ras: tuple[float, float, float]) -> bool:
    """True where a point lies within the inner 90 % of the field of view."""
    matrix = slicer.util.arrayFromVTKMatrix(slice_node.GetSliceToRAS())
    offset = matrix[:3, :3].T @ (matrix[:3, 3] - list(point_ras))
    field = slice_node.GetFieldOfView()
    return abs(offset[0]) < 0.45 * field[0] and abs(offset[1]) < 0.45 * field[1]


def _show_chart(chart_id: str) -> None:
    """Through the view's node: the layout manager finds plot views by number alone."""
    view = slicer.mrmlScene.GetSingletonNode(PLOT, "vtkMRMLPlotViewNode")
    if view is not None:
        view.SetPlotChartNodeID(chart_id or None)


def _show_3d(loaded: LoadedResult) -> nodes.Steps[None]:
    """MIP of the first subtraction with the lesions' surfaces, seen from the feet, in this layout's 3-D view alone."""
    widget = slicer.app.layoutManager().threeDWidget(VIEW_3D)
    view = widget.mrmlViewNode()
    view.SetBackgroundColor(0.0, 0.0, 0.0)
    view.SetBackgroundColor2(0.0, 0.0, 0.0)
    view.SetLayoutLabel("3-D")
    view.SetBoxVisible(False)
    view.SetAxisLabelsVisible(False)
    view.SetOrientationMarkerType(view.OrientationMarkerTypeAxes)
    view.SetRaycastTechnique(view.MaximumIntensityProjection)
    subtraction = nodes.node(next((phase.subtraction for phase in loaded.phases if phase.subtraction), ""))
    yield
    if subtraction is not None:
        _mip(loaded, subtraction).SetViewNodeIDs((view.GetID(),))
        yield
        _look_from_feet(widget.threeDView(), subtraction)


def _look_from_feet(view: Any, volume: Any) -> None:
    """See all of a volume from the feet, anterior up, as breast MIPs are read: from the front the heart covers them."""
    camera = view.cameraNode()
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    center = [(bounds[axis] + bounds[axis + 1]) / 2 for axis in (0, 2, 4)]
    width, height = view.renderWindow().GetSize()
    extent = max(bounds[3] - bounds[2], (bounds[1] - bounds[0]) * height / max(width, 1))
    angle = math.radians(camera.GetCamera().GetViewAngle()) / 2
    distance = (bounds[5] - bounds[4]) / 2 + 0.52 * extent / math.tan(angle)
    camera.SetFocalPoint(*center)
    camera.SetPosition(center[0], center[1], center[2] - distance)
    camera.SetViewUp(0.0, 1.0, 0.0)
    camera.ResetClippingRange()


def _mip(loaded: LoadedResult, subtraction: Any) -> Any:
    """The MIP of a subtraction, made at the first time."""
    for number in range(subtraction.GetNumberOfDisplayNodes()):
        if subtraction.GetNthDisplayNode(number).IsA("vtkMRMLVolumeRenderingDisplayNode"):
            return subtraction.GetNthDisplayNode(number)
    view = subtraction.GetDisplayNode()
    rendering = display.add_mip(subtraction, view.GetLevel() + view.GetWindow() / 2)
    run_node = nodes.node(loaded.run_node)
    result_nodes.adopt(run_node, rendering.GetVolumePropertyNode(), result_nodes.RENDERING)
    return rendering
