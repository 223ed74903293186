"""The views of a blinded reading: the image, what stands beside it, and for a volume two more planes.

What comes into the scene has neutral names and no file: `CaseImages` hold pixels alone, on one gray scale.
"""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
import SimpleITK as sitk
import slicer

from ...reader_study.images import WINDOW, CaseImages
from ..scene import nodes
from ..views import display, layouts, sides
from ..views.annotation import READING

BESIDE, IMAGE = "VirtualContrastBeside", "VirtualContrastReading"
SECOND, THIRD = "VirtualContrastReading2", "VirtualContrastReading3"
_FIRST_LAYOUT_ID = 52930
_GROUP = 530
_LABELS = {BESIDE: "Comparison", IMAGE: "Image to read", SECOND: "Image to read", THIRD: "Image to read"}
_COLORS = {BESIDE: "#8da0cb", IMAGE: "#e69f00", SECOND: "#b3b3b3", THIRD: "#b3b3b3"}
_PLANES = ("Sagittal", "Coronal", "Axial")  # across the R, A and S axis
Point = tuple[float, float, float]


def _slice_xml(tag: str) -> str:
    return f"""<item><view class="vtkMRMLSliceNode" singletontag="{tag}">
     <property name="orientation" action="default">Axial</property>
     <property name="viewlabel" action="default">{_LABELS[tag]}</property>
     <property name="viewcolor" action="default">{_COLORS[tag]}</property>
     <property name="viewgroup" action="default">{_GROUP}</property></view></item>"""


def _layout_id(*, beside: bool, volumetric: bool) -> int:
    return _FIRST_LAYOUT_ID + beside + 2 * volumetric


def _layout_xml(*, beside: bool, volumetric: bool) -> str:
    first = "".join(map(_slice_xml, (BESIDE, IMAGE) if beside else (IMAGE,)))
    row = f'<layout type="horizontal">{first}</layout>'
    if not volumetric:
        return row
    second = f'<layout type="horizontal">{_slice_xml(SECOND)}{_slice_xml(THIRD)}</layout>'
    return f'<layout type="vertical" split="true"><item>{row}</item><item>{second}</item></layout>'


LAYOUTS = {
    _layout_id(beside=beside, volumetric=volumetric): _layout_xml(beside=beside, volumetric=volumetric)
    for beside in (False, True)
    for volumetric in (False, True)
}


class ReadingViews:
    """Shows one case after the other; `clear` takes everything out of the scene."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._point: Any = None

    def show(self, images: CaseImages) -> None:
        """Show a case in the layout that suits it, in place of the one before."""
        self.clear()
        image = self._add("Image", images.image)
        beside = self._add("Image beside", images.beside) if images.beside is not None else None
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        layouts.use(_layout_id(beside=beside is not None, volumetric=images.volumetric), LAYOUTS)
        main, *others = _planes(images.image)
        shown = [(IMAGE, image, main)]
        shown += [(BESIDE, beside, main)] if beside is not None else []
        shown += [(tag, image, plane) for tag, plane in zip((SECOND, THIRD), others, strict=True)]
        for tag, volume, plane in shown if images.volumetric else shown[:-2]:
            _show(manager.sliceWidget(tag), volume, plane, along_slices=plane == main, volumetric=images.volumetric)
            manager.sliceWidget(tag).mrmlSliceNode().SetLayoutLabel(_label(tag, plane if images.volumetric else ""))

    def _add(self, name: str, image: sitk.Image) -> Any:
        """A volume node that is not saved with the scene: a synthetic image must not leave it without its mark."""
        volume = slicer.mrmlScene.AddNewNodeByClass(nodes.SCALAR_VOLUME, name)
        volume.SetAttribute(READING, "1")
        volume.SetSaveWithScene(False)
        volume.CreateDefaultDisplayNodes()
        display.set_window(volume, WINDOW)  # before the voxels come: an automatic window would look at every one
        slicer.util.updateVolumeFromArray(volume, sitk.GetArrayViewFromImage(image))
        volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(nodes.image_to_ras(image)))
        self._nodes.append(volume)
        return volume

    def clear(self) -> None:
        """Take the present case and its point out of the scene."""
        self.remove_point()
        nodes.remove_nodes([node.GetID() for node in self._nodes if nodes.in_scene(node)])
        self._nodes = []

    # ---- the reader's point ----------------------------------------------------------------------------------------

    def start_placing(self) -> None:
        """Let the next click in a view set the point, in place of an earlier one."""
        self.remove_point()
        self._make_point()
        selection = slicer.app.applicationLogic().GetSelectionNode()
        selection.SetReferenceActivePlaceNodeClassName(self._point.GetClassName())
        selection.SetActivePlaceNodeID(self._point.GetID())
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        interaction.SetPlaceModePersistence(0)
        interaction.SetCurrentInteractionMode(interaction.Place)

    def set_point(self, lps_mm: Optional[Point]) -> None:  # noqa: UP045
        """Put the point where it was before; None takes it away."""
        self.remove_point()
        if lps_mm is not None:
            self._make_point()
            self._point.AddControlPointWorld(-lps_mm[0], -lps_mm[1], lps_mm[2])

    def point(self) -> Optional[Point]:  # noqa: UP045
        """Where the reader put the lesion, in LPS mm; None where nowhere."""
        point = self._point
        if point is None or not nodes.in_scene(point) or point.GetNumberOfDefinedControlPoints() == 0:
            return None
        place = [0.0, 0.0, 0.0]
        point.GetNthControlPointPositionWorld(0, place)
        return -place[0], -place[1], place[2]

    def remove_point(self) -> None:
        """Take the point away and end placing."""
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        if interaction is not None and interaction.GetCurrentInteractionMode() == interaction.Place:
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        if self._point is not None and nodes.in_scene(self._point):
            nodes.remove_nodes([self._point.GetID()])
        self._point = None

    def _make_point(self) -> None:
        self._point = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Lesion")
        self._point.CreateDefaultDisplayNodes()
        self._point.SetMaximumNumberOfControlPoints(1)
        self._point.SetControlPointLabelFormat("%N")
        self._point.SetSaveWithScene(False)


def _label(tag: str, plane: str) -> str:
    """What a view shows, with its plane where it is one of a volume."""
    return f"{_LABELS[tag]}, {plane.lower()}" if plane else _LABELS[tag]


def _planes(image: sitk.Image) -> list[str]:
    """The plane nearest to the image's slices, then the two others."""
    normal = np.abs(np.reshape(image.GetDirection(), (3, 3))[:, 2])
    main = _PLANES[int(normal.argmax())]
    return [main, *(plane for plane in reversed(_PLANES) if plane != main)]


def _show(widget: Any, volume: Any, plane: str, *, along_slices: bool, volumetric: bool) -> None:
    """One slice view of the volume, whole; those in one plane are linked. Pictures have no sides to mark."""
    view, composite = widget.mrmlSliceNode(), widget.mrmlSliceCompositeNode()
    composite.SetLinkedControl(False)
    composite.SetForegroundVolumeID(None)
    composite.SetLabelVolumeID(None)
    composite.SetBackgroundVolumeID(volume.GetID())
    view.SetOrientation(plane)
    if along_slices:
        view.RotateToVolumePlane(volume)
    sides.mark_slice(widget, on=volumetric)
    view.SetSliceVisible(False)
    widget.sliceLogic().FitSliceToBackground()
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    middle = [(bounds[axis] + bounds[axis + 1]) / 2 for axis in (0, 2, 4)]
    if plane == "Sagittal" and not along_slices:
        middle[0] = (bounds[0] + 3 * bounds[1]) / 4  # through the right breast, not the breastbone
    view.JumpSliceByOffsetting(*middle)
    widget.sliceLogic().SnapSliceOffsetToIJK()
    if along_slices:
        display.link_places(composite)
