"""A synthetic recombined mammogram as Digital Mammography X-Ray Image Storage - For Presentation.

Labels as in `series`: Synthetic Data YES, Image Type DERIVED, Contributing Equipment, Derivation Description and Source
Image Sequence. Patient, study, side and view are those of the low-energy image; no contrast agent is claimed. An image
for presentation has no rescale slope but 1, so that the gray values are spread over 16 bits, and the text of the
derivation says how.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ...events import InputError
from ...io.dicom.files import quiet_pydicom
from ...study import Study
from ..content import DISCLAIMER, RunIdentity
from .common import (
    FROM_SOURCE,
    VIEW_FROM_SOURCE,
    add_equipment,
    add_pixel_format,
    add_times,
    check_sources,
    code_item,
    copy_attributes,
    ds,
    label_as_synthetic,
    reference_to,
    save_image,
)
from .quantization import LEVELS, Quantization, quantization

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SERIES_NUMBER = 9000
_LOSSES = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


def check_mammogram_exportable(study: Study) -> None:
    """Raise InputError where a recombined image of `study` cannot be written as DICOM; call it before the synthesis.

    Side and view have to come from somewhere, so that the source must be a DICOM mammogram.
    """
    if study.source.format != "dicom":
        raise InputError("A mammogram becomes DICOM with the side and view of a DICOM source alone; leave DICOM out.")
    check_sources(study.source.headers, "MG")


def write_mammogram(image: sitk.Image, path: Path, run: RunIdentity, *, source: Dataset) -> Path:
    """Write a recombined image in the study of its low-energy image.

    Args:
        image: the recombined image, one slice with millimeters.
        path: the file to write; its folder is made.
        run: what made it.
        source: the DICOM header of the low-energy image.

    Returns:
        `path`.

    Raises:
        InputError: values that are not finite, or a source that is no mammogram.
    """
    from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation

    check_sources([source], "MG")
    with quiet_pydicom():
        scale = quantization([image])
        values = sitk.GetArrayViewFromImage(image)[0]
        dataset = _dataset(image, values, scale, run, source)
        path.parent.mkdir(parents=True, exist_ok=True)
        sop = (DigitalMammographyXRayImageStorageForPresentation, run.uid("recombined", 0))
        save_image(dataset, path, sop, scale.store(values))
    return path


def _dataset(image: sitk.Image, values: np.ndarray, scale: Quantization, run: RunIdentity, source: Dataset) -> Dataset:
    from pydicom.dataset import Dataset

    dataset = Dataset()
    _add_patient_and_series(dataset, run, source)
    label_as_synthetic(dataset, run.synthesis, run, [source])
    _add_view(dataset, source)
    _add_pixels(dataset, image, values, scale)
    dataset.DerivationDescription = (
        "Synthetic recombined image, computed by a neural network from the low-energy image alone. No contrast agent "
        f"was given for it. Gray value = {scale.slope:g} * stored value + {scale.intercept:g}. {DISCLAIMER}"
    )
    dataset.ImageComments = DISCLAIMER
    dataset.SourceImageSequence = [reference_to(source)]
    return dataset


def _add_patient_and_series(dataset: Dataset, run: RunIdentity, source: Dataset) -> None:
    copy_attributes(source, dataset, FROM_SOURCE)
    empty = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID")
    of_place = ("PositionReferenceIndicator",) if "FrameOfReferenceUID" in dataset else ()
    for keyword in (*empty, "ReferringPhysicianName", "AccessionNumber", *of_place):
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    dataset.Modality, dataset.PresentationIntentType = "MG", "FOR PRESENTATION"
    dataset.SeriesInstanceUID, dataset.SeriesNumber = run.uid("recombined"), SERIES_NUMBER
    dataset.SeriesDescription = f"SYNTHETIC recombined {run.synthesis.id}"[:64]
    dataset.InstanceNumber = 1
    add_times(dataset, run)
    add_equipment(dataset, run)


def _add_view(dataset: Dataset, source: Dataset) -> None:
    """DX Anatomy, Mammography Image and detector modules, with the side and view of the source."""
    copy_attributes(source, dataset, (*VIEW_FROM_SOURCE, *_LOSSES))
    if "ImageLaterality" not in dataset:
        dataset.ImageLaterality = source.get("Laterality") or ""
    if "Laterality" in dataset:
        del dataset.Laterality  # of the series; in mammography the image has the side
    dataset.BodyPartExamined, dataset.OrganExposed, dataset.PositionerType = "BREAST", "BREAST", "MAMMOGRAPHIC"
    breast = code_item("76752008", "SCT", "Breast")
    dataset.AnatomicRegionSequence = [breast]
    views = []
    for view in source.get("ViewCodeSequence") or []:
        if not (view.get("CodeValue") and view.get("CodingSchemeDesignator")):
            continue
        item: Dataset = code_item(
            str(view.CodeValue), str(view.CodingSchemeDesignator), str(view.get("CodeMeaning") or "")
        )
        item.ViewModifierCodeSequence = []
        views.append(item)
    if views:
        dataset.ViewCodeSequence = views[:1]
    dataset.AcquisitionContextSequence = []
    dataset.DetectorType = ""
    dataset.PatientOrientation = dataset.get("PatientOrientation") or ""


def _add_pixels(dataset: Dataset, image: sitk.Image, values: np.ndarray, scale: Quantization) -> None:
    dataset.ImageType = ["DERIVED", "PRIMARY", "", "SYNTHETIC"]
    dataset.ContentQualification, dataset.BurnedInAnnotation = "RESEARCH", "NO"
    if "LossyImageCompression" not in dataset:
        dataset.LossyImageCompression = "00"
    add_pixel_format(dataset, image)
    spacing = image.GetSpacing()
    dataset.ImagerPixelSpacing = [ds(spacing[1]), ds(spacing[0])]
    dataset.PixelIntensityRelationship, dataset.PixelIntensityRelationshipSign = "LIN", 1
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, 0, "US"
    dataset.PresentationLUTShape = "IDENTITY"
    low, high = (np.percentile(values, (0.5, 99.5)) - scale.intercept) / scale.slope
    dataset.WindowWidth = ds(min(max(float(high - low), 2.0), float(LEVELS)))
    dataset.WindowCenter = ds(float(low + high) / 2.0)
