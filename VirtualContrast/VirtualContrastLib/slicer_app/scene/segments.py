"""The lesions as one segmentation node, one segment per lesion; and back to label boxes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from ...events import InputError
from ...export.content import lesion_color
from ...export.slicer_segmentation import with_segments
from . import nodes

LABEL_TAG = nodes.PREFIX + "Label"
BINARY, SURFACE = "Binary labelmap", "Closed surface"
FILL_OPACITY = 0.0
OUTLINE_WIDTH = 2


def add_segmentation(labels: sitk.Image, name: str, reference: Any) -> nodes.Steps[Any]:
    """A segmentation node of instance labels with closed surfaces, one step per lesion.

    Names, colors and terminology are those in the header of lesions.seg.nrrd, or the engine's where it has none. In
    slices only outlines are shown: a filled lesion cannot be read.

    Args:
        labels: The labels.
        name: Name of the node.
        reference: Volume node on whose grid they lie.

    Returns:
        The node.
    """
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(reference)
    segmentation.SetAndObserveTransformNodeID(reference.GetTransformNodeID())
    array = sitk.GetArrayViewFromImage(labels)
    for fields in _header(labels if labels.HasMetaDataKey("Segment0_ID") else with_segments(labels)):
        segment = slicer.vtkSegment()
        segment.SetName(fields["Name"])
        segment.SetColor(*map(float, fields["Color"].split()))
        for key, value in _tags(fields["Tags"]).items():
            segment.SetTag(key, value)
        label = int(fields["LabelValue"])
        segment.SetTag(LABEL_TAG, str(label))
        box = yield from nodes.in_thread(partial(_box_of, array, label))
        segment.AddRepresentation(BINARY, _oriented(array, label, box, reference))
        segmentation.GetSegmentation().AddSegment(segment, fields["ID"])
        yield
        segmentation.GetSegmentation().CreateRepresentation(SURFACE)  # at the first; later segments get it on adding
        yield
    display = segmentation.GetDisplayNode()
    display.SetAllSegmentsOpacity2DFill(FILL_OPACITY)
    display.SetSliceIntersectionThickness(OUTLINE_WIDTH)
    return segmentation


def _header(labels: sitk.Image) -> Iterator[dict[str, str]]:
    """The fields Segment0_..., Segment1_... of a .seg.nrrd header."""
    number = 0
    while labels.HasMetaDataKey(f"Segment{number}_ID"):
        names = ("ID", "Name", "Color", "LabelValue", "Tags")
        yield {name: labels.GetMetaData(f"Segment{number}_{name}") for name in names}
        number += 1


def _tags(text: str) -> dict[str, str]:
    """`key:value|key:value|` as a dict."""
    return dict(part.split(":", 1) for part in text.split("|") if ":" in part)


def _box_of(labels: np.ndarray, label: int) -> nodes.Box | None:
    return bounding_box(labels == label)


def _oriented(labels: np.ndarray, label: int, box: nodes.Box | None, reference: Any) -> Any:
    """The voxels of a label inside `box` as oriented image data (a full volume per lesion would cost memory)."""
    image = slicer.vtkOrientedImageData()
    if box is not None:
        k, j, i = box
        image.SetExtent(i.start, i.stop - 1, j.start, j.stop - 1, k.start, k.stop - 1)
        values = np.ascontiguousarray(labels[box] == label, dtype=np.uint8).ravel()
        scalars = numpy_support.numpy_to_vtk(values, deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
        image.GetPointData().SetScalars(scalars)
    matrix = vtk.vtkMatrix4x4()
    reference.GetIJKToRASMatrix(matrix)
    image.SetGeometryFromImageToWorldMatrix(matrix)
    return image


def bounding_box(mask: np.ndarray, margin: int = 0) -> nodes.Box | None:
    """Slices [k, j, i] around the True voxels, wider by `margin` up to the array's border; None where all is False."""
    parts = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        inside = np.flatnonzero(mask.any(axis=others))
        if not len(inside):
            return None
        parts.append(slice(max(int(inside[0]) - margin, 0), min(int(inside[-1]) + 1 + margin, mask.shape[axis])))
    return parts[0], parts[1], parts[2]


def add_ball(segmentation: Any, reference: Any, center_ras: tuple[float, float, float], radius_mm: float) -> int:
    """Add a segment with the voxels whose centers lie in a ball.

    Args:
        segmentation: The segmentation node.
        reference: The volume node whose voxels they are.
        center_ras: Center of the ball, RAS millimeters of the scene.
        radius_mm: Its radius.

    Returns:
        The lesion label of the new segment.

    Raises:
        InputError: no voxel of the volume lies in the ball.
    """
    local = [0.0, 0.0, 0.0]
    reference.TransformPointFromWorld(list(center_ras), local)
    matrix = nodes.ijk_to_ras(reference)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    center = (np.linalg.inv(matrix) @ [*local, 1.0])[:3]
    size = np.array(reference.GetImageData().GetDimensions())
    low = np.clip(np.floor(center - radius_mm / spacing), 0, size).astype(int)
    high = np.clip(np.ceil(center + radius_mm / spacing) + 1, 0, size).astype(int)
    i, j, k = ((np.arange(low[n], high[n]) - center[n]) * spacing[n] for n in range(3))
    mask = i[None, None, :] ** 2 + j[None, :, None] ** 2 + k[:, None, None] ** 2 <= radius_mm**2
    if not mask.any():
        raise InputError(
            _("There is no voxel of the volume; put the crosshair or the middle of the view into the breast.")
        )
    box = tuple(slice(int(start), int(stop)) for start, stop in zip(low[::-1], high[::-1], strict=True))
    labels = labels_by_segment(segmentation).values()
    label = max(labels, default=0) + 1
    segment = slicer.vtkSegment()
    segment.SetName(_("Region {number}").format(number=label))
    segment.SetColor(*(value / 255 for value in lesion_color(label)))
    segment.SetTag(LABEL_TAG, str(label))
    whole = np.zeros(size[::-1], np.uint8)
    whole[box] = mask
    segment.AddRepresentation(BINARY, _oriented(whole, 1, (box[0], box[1], box[2]), reference))
    segmentation.GetSegmentation().AddSegment(segment, f"VirtualContrastRegion_{label}")
    segmentation.GetSegmentation().CreateRepresentation(SURFACE)
    return label


def labels_by_segment(segmentation: Any) -> dict[str, int]:
    """Lesion label of each numbered segment, by segment ID, in the order of the segments."""
    found = {}
    for segment_id in segmentation.GetSegmentation().GetSegmentIDs():
        text = vtk.reference("")
        if segmentation.GetSegmentation().GetSegment(segment_id).GetTag(LABEL_TAG, text):
            found[segment_id] = int(str(text))
    return found


def number_segments(segmentation: Any) -> dict[str, int]:
    """As `labels_by_segment`, after segments that a user added (or copied) got the next free labels."""
    used: set[int] = set()
    for segment_id, label in labels_by_segment(segmentation).items():
        if label in used:
            segmentation.GetSegmentation().GetSegment(segment_id).RemoveTag(LABEL_TAG)
        used.add(label)
    known = labels_by_segment(segmentation)
    for segment_id in segmentation.GetSegmentation().GetSegmentIDs():
        if segment_id not in known:
            used.add(max(used, default=0) + 1)
            segmentation.GetSegmentation().GetSegment(segment_id).SetTag(LABEL_TAG, str(max(used)))
    return labels_by_segment(segmentation)


def mask_of(segmentation: Any, segment_id: str, reference: Any) -> np.ndarray:
    """The voxels of a segment.

    Args:
        segmentation: The segmentation node.
        segment_id: Id of the segment.
        reference: Volume node whose grid the mask gets.

    Returns:
        The mask [k, j, i].
    """
    array = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, reference)
    if array is None:
        return np.zeros(slicer.util.arrayFromVolume(reference).shape, bool)
    return np.asarray(array) > 0


def color_of(segmentation: Any, label: int) -> tuple[float, float, float]:
    """Color (0..1) of the segment of a lesion, so that curves have it too; the palette's where there is none."""
    if segmentation is not None:
        for segment_id, its_label in labels_by_segment(segmentation).items():
            if its_label == label:
                red, green, blue = segmentation.GetSegmentation().GetSegment(segment_id).GetColor()
                return red, green, blue
    red, green, blue = lesion_color(label)
    return red / 255, green / 255, blue / 255
