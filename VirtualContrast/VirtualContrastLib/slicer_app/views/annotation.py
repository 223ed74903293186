"""The label in every view that shows a synthetic volume, and so in every screenshot.

Each view gets a text actor of its own: Slicer's data probe overwrites the corner annotation of the slice views. In a
blinded reading every view, whatever it shows, says that its image may be synthetic: real and synthetic look alike.
"""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from ...export.content import LABEL
from ..observers import Observers
from ..scene import nodes
from .overlay import top_renderer

READING = nodes.PREFIX + "Reading"
"""Attribute of the volumes of a blinded reading, real and synthetic alike."""
READING_LABEL = "Research reading · may be synthetic"
FONT_SIZE = 14
COLOR = (1.0, 0.85, 0.2)


class Annotator:
    """Keeps the label right from its making to `cleanup`.

    It is notified of every node that comes and goes, in every module: what it then does must not depend on their
    number.
    """

    def __init__(self) -> None:
        self._observers = Observers()
        self._blinded = False
        self._actors: dict[str, tuple[Any, Any]] = {}  # view node ID -> renderer, actor
        scene = slicer.mrmlScene
        self._observers.add(scene, scene.NodeAddedEvent, self._on_added)
        self._observers.add(scene, scene.NodeRemovedEvent, self._on_removed)
        for event in (scene.EndImportEvent, scene.EndCloseEvent):
            self._observers.add(scene, event, self._on_change)
        self._watch_present()
        self.update()

    def cleanup(self) -> None:
        """Take the label out of all views and stop watching."""
        self._observers.clear()
        for renderer, actor in self._actors.values():
            renderer.RemoveViewProp(actor)
        self._actors.clear()

    def set_blinded(self, on: bool) -> None:
        """Say the same neutral text in every view, for a blinded reading, or label synthetic images again."""
        self._blinded = on
        self.update()

    def update(self) -> None:
        """Look at every view again."""
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        for name in manager.sliceViewNames():
            widget = manager.sliceWidget(name)
            self._watch(widget.mrmlSliceCompositeNode())
            volumes = _slice_volumes(widget.mrmlSliceCompositeNode())
            self._label(widget.mrmlSliceNode(), widget.sliceView(), volumes)
        for number in range(manager.threeDViewCount):
            widget = manager.threeDWidget(number)
            self._label(widget.mrmlViewNode(), widget.threeDView(), _shown_3d(widget.mrmlViewNode()))

    def _label(self, view_node: Any, view: Any, volumes: list[Any]) -> None:
        """Show in one view what `_label_text` says, or nothing."""
        text = READING_LABEL if self._blinded else _label_text(volumes)
        actor = self._actor(view_node, view)
        if actor.GetInput() != text or bool(actor.GetVisibility()) != bool(text):
            actor.SetInput(text)
            actor.SetVisibility(bool(text))
            view.scheduleRender()

    def _actor(self, view_node: Any, view: Any) -> Any:
        """The text actor of a view, put into the renderer on top, which the image cannot cover."""
        top = top_renderer(view.renderWindow())
        known = self._actors.get(view_node.GetID())
        if known is not None and known[0] is top and top.HasViewProp(known[1]):
            return known[1]
        if known is not None:
            known[0].RemoveViewProp(known[1])
        actor = _text_actor()
        top.AddViewProp(actor)
        self._actors[view_node.GetID()] = (top, actor)
        return actor

    def _watch_present(self) -> None:
        manager = slicer.app.layoutManager()
        if manager is not None:
            self._observers.add(manager.layoutLogic().GetLayoutNode(), vtk.vtkCommand.ModifiedEvent, self._on_change)
        for number in range(slicer.mrmlScene.GetNumberOfNodes()):
            self._watch(slicer.mrmlScene.GetNthNode(number))

    def _watch(self, node: Any) -> None:
        """Watch a node that decides whether a synthetic volume is seen; any other is left alone."""
        if node in self._observers:
            return
        if node.IsA("vtkMRMLVolumeNode"):
            self._observers.add(node, vtk.vtkCommand.ModifiedEvent, self._on_volume)
            self._observers.add(node, slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent, self._on_volume)
        elif node.IsA("vtkMRMLSliceCompositeNode") or node.IsA("vtkMRMLViewNode"):
            self._observers.add(node, vtk.vtkCommand.ModifiedEvent, self._on_change)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_added(self, scene: Any, event: Any, node: Any) -> None:
        """A volume is seen once it has a display or stands in a layer, of both of which it is notified."""
        self._watch(node)
        if node.IsA("vtkMRMLAbstractViewNode"):
            self.update()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_removed(self, scene: Any, event: Any, node: Any) -> None:
        if node in self._observers:
            self._observers.forget(node)
            if _matters(node):
                self.update()

    def _on_volume(self, volume: Any, event: Any) -> None:
        if _matters(volume):
            self.update()

    def _on_change(self, caller: Any, event: Any) -> None:
        self.update()


def _matters(node: Any) -> bool:
    """A view that shows this volume says so; or it is no volume."""
    return not node.IsA("vtkMRMLVolumeNode") or nodes.is_synthetic(node) or bool(node.GetAttribute(READING))


def _label_text(volumes: list[Any]) -> str:
    """What a view with these volumes says: that they are synthetic and which, that they may be, or nothing."""
    if any(volume.GetAttribute(READING) for volume in volumes):
        return READING_LABEL
    synthetic = [volume for volume in volumes if nodes.is_synthetic(volume)]
    captions = [volume.GetAttribute(nodes.CAPTION) for volume in synthetic if volume.GetAttribute(nodes.CAPTION)]
    return "\n".join([LABEL, *captions[:1]]) if synthetic else ""


def _text_actor() -> Any:
    """A text at the middle of the upper edge, where Slicer's own annotations are not."""
    actor = vtk.vtkTextActor()
    actor.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
    actor.SetPosition(0.5, 0.98)
    look = actor.GetTextProperty()
    look.SetFontSize(FONT_SIZE)
    look.SetColor(*COLOR)
    look.SetBold(True)
    look.SetShadow(True)
    look.SetJustificationToCentered()
    look.SetVerticalJustificationToTop()
    return actor


def _slice_volumes(composite: Any) -> list[Any]:
    """The volumes that can be seen in a slice view, the upper layers last."""
    layers = [(composite.GetBackgroundVolumeID(), 1.0)]
    layers.append((composite.GetForegroundVolumeID(), composite.GetForegroundOpacity()))
    layers.append((composite.GetLabelVolumeID(), composite.GetLabelOpacity()))
    found = [nodes.node(volume_id or "") for volume_id, opacity in layers if opacity > 0]
    return [volume for volume in found if volume is not None]


def _shown_3d(view_node: Any) -> list[Any]:
    """The volumes that are rendered in a 3-D view."""
    shown = []
    for volume in slicer.util.getNodesByClass("vtkMRMLVolumeNode"):
        for number in range(volume.GetNumberOfDisplayNodes()):
            display = volume.GetNthDisplayNode(number)
            if display is None or not display.IsA("vtkMRMLVolumeRenderingDisplayNode"):
                continue
            if display.GetVisibility() and display.IsDisplayableInView(view_node.GetID()):
                shown.append(volume)
    return shown
