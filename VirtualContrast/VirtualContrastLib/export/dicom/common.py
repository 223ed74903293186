"""What every DICOM object of a run shares: its labels, its equipment and its references to its sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from ...events import InputError
from ...io.dicom.files import dicom_errors, quiet_pydicom
from ...io.dicom.values import drop_unreadable, make_writable
from ..content import DISCLAIMER, ModelIdentity, RunIdentity

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Patient, study and frame of reference, and how the source was de-identified.
FROM_SOURCE = (
    "SpecificCharacterSet", "TimezoneOffsetFromUTC", "PatientName", "PatientID", "IssuerOfPatientID",
    "PatientBirthDate", "PatientSex", "OtherPatientIDs", "PatientAge", "PatientSize", "PatientWeight",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified", "StudyInstanceUID", "StudyDate", "StudyTime",
    "ReferringPhysicianName", "StudyID", "AccessionNumber", "StudyDescription", "FrameOfReferenceUID",
    "PositionReferenceIndicator", "PatientPosition", "BodyPartExamined", "Laterality",
    "ImageLaterality",
)  # fmt: skip
# MR Image module: how the source was acquired, which the synthetic image imitates.
MR_FROM_SOURCE = (
    "ScanningSequence", "SequenceVariant", "ScanOptions", "MRAcquisitionType", "RepetitionTime",
    "EchoTime", "EchoTrainLength", "InversionTime", "MagneticFieldStrength", "FlipAngle",
    "AcquisitionDate", "AcquisitionTime", "LossyImageCompression", "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)  # fmt: skip
EQUIPMENT_FROM_SOURCE = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions")
# How a mammogram sees the breast.
VIEW_FROM_SOURCE = (
    "PatientOrientation", "ViewPosition", "BreastImplantPresent", "PartialView", "PositionerPrimaryAngle",
)  # fmt: skip
COPIED = (
    *FROM_SOURCE,
    *MR_FROM_SOURCE,
    *VIEW_FROM_SOURCE,
    *EQUIPMENT_FROM_SOURCE,
    "SliceThickness",
    "SOPInstanceUID",
    "Modality",
)
"""Every element of a source that is read for an export."""


def check_sources(headers: Sequence[Dataset], modality: str = "MR") -> None:
    """Make the DICOM headers of the sources fit to be copied from, in place.

    Raises InputError when one cannot be read, is not of `modality`, or they belong to several studies.
    """
    with quiet_pydicom():
        try:
            for header in headers:
                drop_unreadable(header, COPIED)
        except dicom_errors() as error:
            raise InputError("The header of a DICOM source file is damaged; export NRRD or NIfTI instead.") from error
        for header in headers:
            make_writable(header, COPIED)
    if any(header.get("Modality") != modality for header in headers):
        raise InputError(
            f"DICOM export writes {modality} images, and the source is not {modality}; export NRRD or NIfTI instead."
        )
    if len({header.get("StudyInstanceUID") for header in headers}) > 1:
        raise InputError("The DICOM source files belong to several studies; give the files of one series.")


def label_as_synthetic(dataset: Dataset, model: ModelIdentity, run: RunIdentity, sources: Sequence[Dataset]) -> None:
    """Add Synthetic Data YES and Contributing Equipment: the model, and the scanner of the source.

    pydicom 2 has no keyword for (0008,001C), hence `add_new`.

    Args:
        dataset: The object to label.
        model: The model that made the images.
        run: The run that made them.
        sources: Headers of the source, of which the first names the scanner; may be empty.
    """
    dataset.add_new(0x0008001C, "CS", "YES")
    equipment = [synthesizing_equipment(model, run)]
    if sources:
        equipment.append(_acquisition_equipment(sources[0]))
    dataset.ContributingEquipmentSequence = equipment


def synthesizing_equipment(model: ModelIdentity, run: RunIdentity) -> Dataset:
    """Contributing Equipment item of `model`: id, version and the SHA-256 of its weights as serial number."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item("109100", "DCM", "Synthesizing Equipment")]
    item.Manufacturer = "VirtualContrast"
    item.ManufacturerModelName = model.id[:64]
    item.SoftwareVersions = model.version[:64]
    if model.weights_sha256:
        item.DeviceSerialNumber = model.weights_sha256[:64]
    item.ContributionDateTime = run.created.strftime("%Y%m%d%H%M%S")
    phantoms = " Trained on simulated phantoms only." if model.trained_on_phantoms else ""
    item.ContributionDescription = (
        f"Model {model.id} version {model.version}, weights SHA-256 {model.weights_sha256 or 'none'}, "
        f"run {run.run_id}.{phantoms} {DISCLAIMER}"
    )[:1024]
    return item


def _acquisition_equipment(source: Dataset) -> Dataset:
    """A Contributing Equipment item for the scanner of the source."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item("109101", "DCM", "Acquisition Equipment")]
    item.Manufacturer = source.get("Manufacturer") or "unknown"
    copy_attributes(source, item, EQUIPMENT_FROM_SOURCE[1:])
    return item


def add_equipment(dataset: Dataset, run: RunIdentity) -> None:
    """General Equipment: this program, not the scanner."""
    dataset.Manufacturer = "VirtualContrast"
    dataset.ManufacturerModelName = "VirtualContrast engine"
    dataset.SoftwareVersions = run.engine_version


def add_times(dataset: Dataset, run: RunIdentity) -> None:
    """Dates and times of series, content and instance: those of the run, which made all of them."""
    day, time = run.created.strftime("%Y%m%d"), run.created.strftime("%H%M%S")
    dataset.SeriesDate = dataset.ContentDate = dataset.InstanceCreationDate = day
    dataset.SeriesTime = dataset.ContentTime = dataset.InstanceCreationTime = time


def add_pixel_format(dataset: Dataset, image: sitk.Image) -> None:
    """Image Pixel module of one slice: unsigned gray values of 16 bits."""
    dataset.Columns, dataset.Rows = image.GetSize()[:2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0


def save_image(dataset: Dataset, path: Path, sop: tuple[str, str], stored: np.ndarray) -> None:
    """Write an image as a file of its own.

    Args:
        dataset: Everything but class, instance and pixels.
        path: The file.
        sop: UIDs of its class and of the instance.
        stored: Stored values [j, i].
    """
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    dataset.SOPClassUID, dataset.SOPInstanceUID = sop
    dataset.PixelData = stored.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID, dataset.file_meta.MediaStorageSOPInstanceUID = map(UID, sop)
    dataset.save_as(path, enforce_file_format=True)


def source_images(headers: Sequence[Dataset], position: Sequence[float], normal: np.ndarray) -> list[Dataset]:
    """Source Image Sequence of a slice: source files or frames in the same plane, within 0.05 mm of it along its
    normal.

    Args:
        headers: Headers of the source, classic or enhanced.
        position: A point of the slice in LPS coordinates, in mm.
        normal: Unit normal of the slice.

    Returns:
        The items of the sequence.
    """
    here = float(np.dot(position, normal))
    found = []
    for header in headers:
        single = header.get("ImagePositionPatient")
        if single is not None:
            if abs(float(np.dot([float(v) for v in single], normal)) - here) < 0.05:
                found.append(reference_to(header))
            continue
        frames = [n for n, at in _frame_positions(header) if abs(float(np.dot(at, normal)) - here) < 0.05]
        if frames:
            found.append(reference_to(header, frames))
    return found


def _frame_positions(header: Dataset) -> list[tuple[int, list[float]]]:
    """Frame number (1-based) and position (mm) of each frame of an enhanced multi-frame header."""
    positions = []
    for number, frame in enumerate(header.get("PerFrameFunctionalGroupsSequence", []), start=1):
        for plane in frame.get("PlanePositionSequence", []):
            positions.append((number, [float(value) for value in plane.ImagePositionPatient]))
    return positions


def reference_to(header: Dataset, frames: list[int] | None = None) -> Dataset:
    """One item of a Source Image Sequence, with the purpose "source image for image processing operation"."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    if frames is not None:
        item.ReferencedFrameNumber = frames
    item.PurposeOfReferenceCodeSequence = [code_item("121322", "DCM", "Source image for image processing operation")]
    return item


def ds(value: float) -> Any:
    """`value` as a DICOM decimal string: as exact as 16 characters allow."""
    from pydicom.valuerep import DSfloat

    return DSfloat(float(value), auto_format=True)


def code_item(value: str, scheme: str, meaning: str) -> Dataset:
    """One item of a code sequence.

    Args:
        value: Code value.
        scheme: Coding scheme designator.
        meaning: Code meaning.

    Returns:
        The item.
    """
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def copy_attributes(source: Dataset, target: Dataset, keywords: Sequence[str]) -> None:
    """Copy the attributes that a data set has; private attributes are never copied.

    Args:
        source: The data set to copy from.
        target: The data set that gets the attributes.
        keywords: The attributes' keywords.
    """
    for keyword in keywords:
        if keyword in source:
            target[keyword] = source[keyword]
