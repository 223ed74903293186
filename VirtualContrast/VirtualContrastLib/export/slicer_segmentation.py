"""The header fields that make Slicer read a label volume (.seg.nrrd) as a segmentation."""

from __future__ import annotations

import SimpleITK as sitk

from .content import lesion_color

_TERMINOLOGY = (
    "Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^49755003^Morphologically Altered Structure~SCT^4147007^Mass~^^"
    "~Anatomic codes - DICOM master list~SCT^76752008^Breast~^^"
)


def with_segments(labels: sitk.Image) -> sitk.Image:
    """A copy of instance labels 1..n with one segment `Lesion n` each: name, color, extent, terminology."""
    image = sitk.Image(labels)
    fields = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.ComputePerimeterOff()
    statistics.Execute(labels)
    for number, label in enumerate(sorted(statistics.GetLabels())):
        box = statistics.GetBoundingBox(label)
        extent = (bound for axis in range(3) for bound in (box[axis], box[axis] + box[axis + 3] - 1))
        color = (value / 255 for value in lesion_color(label))
        fields |= {
            f"Segment{number}_ID": f"Lesion_{label}",
            f"Segment{number}_Name": f"Lesion {label}",
            f"Segment{number}_Color": " ".join(f"{value:.6f}" for value in color),
            f"Segment{number}_Layer": "0",
            f"Segment{number}_LabelValue": str(label),
            f"Segment{number}_Extent": " ".join(map(str, extent)),
            f"Segment{number}_Tags": f"Segmentation.Status:completed|TerminologyEntry:{_TERMINOLOGY}|",
        }
    for key, value in fields.items():
        image.SetMetaData(key, value)
    return image
