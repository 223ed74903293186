"""The maximum intensity projection of the breasts' subtraction: its display, and from where it is seen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import slicer
import vtk

from ..scene import loaded as result_nodes
from ..scene import nodes
from ..scene.loaded import LoadedResult
from . import sides
from .display import window_of

FEET, FRONT, RIGHT, LEFT, ROTATING = "feet", "front", "right", "left", "rotating"
# From where (RAS) and what is up. From the feet, anterior up, breast MIPs are read; from the front is coronal, from a
# side sagittal.
_SEEN_FROM = {
    FEET: ((0, 0, -1), (0, 1, 0)), FRONT: ((0, 1, 0), (0, 0, 1)), RIGHT: ((1, 0, 0), (0, 0, 1)),
    LEFT: ((-1, 0, 0), (0, 0, 1)), ROTATING: ((0, 1, 0), (0, 0, 1)),
}  # fmt: skip
DIRECTIONS = tuple(_SEEN_FROM)
_TURN_DEGREES, _TURN_MS = 3.0, 50


def show(loaded: LoadedResult, widget: Any) -> nodes.Steps[None]:
    """The MIP in this 3-D view alone, black behind it, seen from the feet."""
    view, volume = widget.mrmlViewNode(), nodes.node(loaded.mip)
    view.SetBackgroundColor(0.0, 0.0, 0.0)
    view.SetBackgroundColor2(0.0, 0.0, 0.0)
    view.SetLayoutLabel("MIP")
    view.SetBoxVisible(False)
    view.SetAxisLabelsVisible(False)
    view.SetRaycastTechnique(view.MaximumIntensityProjection)
    view.SetRenderMode(view.Orthographic)
    sides.mark_3d(widget, lambda: nodes.node(loaded.mip) is None)
    yield
    if volume is not None:
        _rendering(loaded, volume).SetViewNodeIDs((view.GetID(),))
        yield
        look(loaded, widget, FEET)


def look(loaded: LoadedResult, widget: Any, seen_from: str) -> None:
    """See all of the MIP from one direction; ROTATING starts at the front and turns around the patient's axis.

    Args:
        loaded: The result.
        widget: The 3-D view.
        seen_from: One of `DIRECTIONS`.
    """
    volume, view = nodes.node(loaded.mip), widget.mrmlViewNode()
    view.SetAnimationMode(view.Off)
    if volume is None:
        return
    toward, up = (np.array(one, float) for one in _SEEN_FROM[seen_from])
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    low, high = np.reshape(bounds, (3, 2)).T
    size = high - low
    width, height = widget.threeDView().renderWindow().GetSize()
    across = np.abs(np.cross(up, toward)) @ size
    if seen_from == ROTATING:
        across = math.hypot(size[0], size[1])
    half = 0.52 * max(np.abs(up) @ size, across * height / max(width, 1))
    camera = widget.threeDView().cameraNode()
    camera.SetFocalPoint(*(low + high) / 2)
    camera.SetPosition(*((low + high) / 2 + 2.0 * float(np.linalg.norm(size)) * toward))
    camera.SetViewUp(*up)
    camera.SetParallelScale(half)
    camera.ResetClippingRange()
    if seen_from == ROTATING:
        view.SetSpinDegrees(_TURN_DEGREES)
        view.SetAnimationMs(_TURN_MS)
        view.SetAnimationMode(view.Spin)


def bring_into_view(widget: Any, point_ras: tuple[float, float, float]) -> None:
    """Move the camera of a 3-D view so that it looks at a point, without turning it; not where it sees the point."""
    renderer = widget.threeDView().renderWindow().GetRenderers().GetFirstRenderer()
    renderer.SetWorldPoint(*point_ras, 1.0)
    renderer.WorldToView()
    if np.abs(renderer.GetViewPoint()[:2]).max() < 0.95:
        return
    camera = widget.threeDView().cameraNode()
    moved = np.subtract(point_ras, camera.GetFocalPoint())
    camera.SetFocalPoint(*point_ras)
    camera.SetPosition(*np.add(camera.GetPosition(), moved))
    camera.ResetClippingRange()


def _rendering(loaded: LoadedResult, volume: Any) -> Any:
    """The volume rendering display node of the MIP, made at the first time, black up to white.

    The projection itself is a property of the 3-D view (its raycast technique). The logic's default nodes are not used:
    they look at every voxel for colors that a MIP does not keep.
    """
    for number in range(volume.GetNumberOfDisplayNodes()):
        if volume.GetNthDisplayNode(number).IsA("vtkMRMLVolumeRenderingDisplayNode"):
            return volume.GetNthDisplayNode(number)
    display = slicer.modules.volumerendering.logic().CreateVolumeRenderingDisplayNode()
    if display.GetScene() is None:
        slicer.mrmlScene.AddNode(display)
    opacity, colors = vtk.vtkPiecewiseFunction(), vtk.vtkColorTransferFunction()
    high = window_of(volume.GetDisplayNode())[1]
    opacity.AddPoint(0.0, 0.0)
    opacity.AddPoint(0.02 * high, 1.0)  # what is drawn is opacity times gray
    for value, gray in ((0.0, 0.0), (high, 1.0)):
        colors.AddRGBPoint(value, gray, gray, gray)
    surface = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumePropertyNode", f"{volume.GetName()}: gray levels")
    surface.GetVolumeProperty().SetInterpolationTypeToLinear()
    surface.SetScalarOpacity(opacity)
    surface.SetColor(colors)
    display.SetAndObserveVolumePropertyNodeID(surface.GetID())
    volume.AddAndObserveDisplayNodeID(display.GetID())
    display.SetVisibility(True)
    result_nodes.adopt(nodes.node(loaded.run_node), surface, result_nodes.RENDERING)
    return display
