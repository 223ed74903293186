"""Numbers of the lesions in slices and MIP, and their outlines in the MIP, where a solid surface would hide them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import slicer
import vtk

from ..scene import nodes, segments
from ..scene.loaded import LoadedResult
from .overlay import Color, Size, Text, TextLayer, top_renderer

LINE_WIDTH = 2.0
_GAP = 3
"""Pixels between a lesion and its number."""


@dataclass(frozen=True)
class _Lesion:
    """Number, color, surface, and the corners (8 x 3, RAS mm in the scene) of the box around it."""

    label: int
    color: Color
    surface: Any
    corners: np.ndarray


class LesionMarks:
    """Marks the lesions of one result in views, until `clear` or until its segmentation leaves the scene."""

    def __init__(self) -> None:
        self._segmentation = ""
        self._lesions: list[_Lesion] = []
        self._layers: list[TextLayer] = []
        self._outlines: list[tuple[Any, Any]] = []  # renderer, actor

    def show(self, loaded: LoadedResult, slice_widgets: Sequence[Any], widget_3d: Any) -> None:
        """Mark the lesions as they are now, in place of those marked before.

        Args:
            loaded: The result.
            slice_widgets: Slice views to mark them in.
            widget_3d: The 3-D view to mark them in.
        """
        self.clear()
        self._segmentation = loaded.segmentation
        self._lesions = _lesions(loaded)
        for widget in slice_widgets:
            node = widget.mrmlSliceNode()
            top = top_renderer(widget.sliceView().renderWindow())
            self._layers.append(TextLayer(top, lambda size, node=node: self._in_slice(node)))  # type: ignore[misc]
        renderer = widget_3d.threeDView().renderWindow().GetRenderers().GetFirstRenderer()
        transform = vtk.vtkGeneralTransform()
        if self._lesions:
            slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
                nodes.node(loaded.segmentation).GetParentTransformNode(), None, transform
            )
        for lesion in self._lesions:
            actor = _outline(lesion, renderer, transform)
            renderer.AddViewProp(actor)
            self._outlines.append((renderer, actor))
        self._layers.append(TextLayer(renderer, lambda size: self._in_3d(renderer, size)))

    def clear(self) -> None:
        """Take all marks out of the views."""
        for layer in self._layers:
            layer.remove()
        for renderer, actor in self._outlines:
            renderer.RemoveViewProp(actor)
        self._lesions, self._layers, self._outlines, self._segmentation = [], [], [], ""

    @property
    def _visible(self) -> bool:
        """The segmentation is in the scene and the user has not hidden it."""
        segmentation = nodes.node(self._segmentation)
        return segmentation is not None and bool(segmentation.GetDisplayVisibility())

    def _in_slice(self, slice_node: Any) -> list[Text]:
        """The numbers of the lesions that a slice cuts."""
        if not self._visible:
            return []
        to_pixels = np.linalg.inv(slicer.util.arrayFromVTKMatrix(slice_node.GetXYToRAS()))
        texts = []
        for lesion in self._lesions:
            x, y, z = to_pixels[:3, :3] @ lesion.corners.T + to_pixels[:3, 3:]
            if z.min() <= 0.0 <= z.max():
                texts.append(_number(lesion, x, y))
        return texts

    def _in_3d(self, renderer: Any, size: Size) -> list[Text]:
        """The numbers of all lesions; their outlines are seen or hidden with them."""
        visible = self._visible
        for _renderer, actor in self._outlines:
            actor.SetVisibility(visible)
        if not visible:
            return []
        matrix = renderer.GetActiveCamera().GetCompositeProjectionTransformMatrix(
            renderer.GetTiledAspectRatio(), -1.0, 1.0
        )
        project = slicer.util.arrayFromVTKMatrix(matrix)
        texts = []
        for lesion in self._lesions:
            x, y, _z, w = project[:, :3] @ lesion.corners.T + project[:, 3:]
            texts.append(_number(lesion, (x / w + 1) / 2 * size[0], (y / w + 1) / 2 * size[1]))
        return texts


def _number(lesion: _Lesion, x: np.ndarray, y: np.ndarray) -> Text:
    """The number at the upper right of a lesion whose corners lie at pixels x and y."""
    return Text(str(lesion.label), float(x.max()) + _GAP, float(y.max()) + _GAP, lesion.color)


def _lesions(loaded: LoadedResult) -> list[_Lesion]:
    segmentation = nodes.node(loaded.segmentation)
    if segmentation is None:
        return []
    found = []
    for row in loaded.lesions:
        surface = segmentation.GetClosedSurfaceInternalRepresentation(row.segment_id)
        if surface is None or surface.GetNumberOfPoints() == 0:
            continue
        low, high = np.reshape(surface.GetBounds(), (3, 2)).T
        corners = [nodes.to_world(corner, segmentation) for corner in product(*zip(low, high, strict=True))]
        found.append(_Lesion(row.label, segments.color_of(segmentation, row.label), surface, np.array(corners)))
    return found


def _outline(lesion: _Lesion, renderer: Any, transform: Any) -> Any:
    """The line around a lesion as the camera sees it."""
    surface, outline = vtk.vtkTransformPolyDataFilter(), vtk.vtkPolyDataSilhouette()
    surface.SetTransform(transform)
    surface.SetInputData(lesion.surface)
    outline.SetInputConnection(surface.GetOutputPort())
    outline.SetCamera(renderer.GetActiveCamera())
    outline.SetDirectionToCameraVector()
    outline.SetEnableFeatureAngle(0)
    actor, mapper, place = vtk.vtkActor2D(), vtk.vtkPolyDataMapper2D(), vtk.vtkCoordinate()
    place.SetCoordinateSystemToWorld()
    mapper.SetTransformCoordinate(place)  # in the plane of the view: the projection cannot cover it
    mapper.SetInputConnection(outline.GetOutputPort())
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*lesion.color)
    actor.GetProperty().SetLineWidth(LINE_WIDTH)
    return actor
