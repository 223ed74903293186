"""Synthetic phases as classic MR Image Storage: one series per phase, one file per slice.

Labels follow PS3.3: Synthetic Data (0008,001C) YES, Image Type DERIVED, Contributing Equipment Sequence with
purpose (109100, DCM, "Synthesizing Equipment") naming model, version and weights, Derivation Description and
Source Image Sequence. No contrast agent is claimed, because none was given.

Series and instances get UIDs derived from the run id (`RunIdentity.uid`). With a DICOM source the study, the
frame of reference and the patient are the source's; without one the study and the frame of reference get UIDs
of the run and the patient a placeholder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ...events import InputError
from ...io.dicom.files import quiet_pydicom
from ...study import Phase, Study
from ...synthesis.breast_region import covers_both_breasts
from ..content import DISCLAIMER, RunIdentity, named_phases
from .common import (
    FROM_SOURCE,
    MR_FROM_SOURCE,
    add_equipment,
    add_pixel_format,
    add_times,
    check_sources,
    copy_attributes,
    ds,
    label_as_synthetic,
    save_image,
    source_images,
)
from .quantization import Quantization, quantization

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

FIRST_SERIES_NUMBER = 9000


def check_exportable(study: Study) -> None:
    """Raise InputError where the phases of `study` cannot be written as DICOM MR; call it before the
    synthesis.

    That is so for pictures without geometry and for DICOM sources that are not MR or cannot be read.
    """
    if not study.has_geometry:
        raise InputError("A picture has no place in the patient, so it cannot be written as DICOM; leave DICOM out.")
    if study.source.modality not in (None, "MR"):
        raise InputError(f"DICOM export writes MR images, and the source is {study.source.modality}; leave DICOM out.")
    if study.source.format == "dicom":
        check_sources(study.source.headers)


def write_dicom_series(
    phases: Sequence[Phase],
    out_dir: Path,
    run: RunIdentity,
    *,
    reference: Sequence[Dataset] = (),
) -> dict[int, list[Path]]:
    """Write each phase to `out_dir/phase_N/0001.dcm ...`.

    Stored values are 16 bit with one rescale slope and intercept for all phases, so that a voxel is off by at most half
    a slope. `time_s` goes to Temporal Position Time Offset (seconds after injection); Acquisition Time stays the
    source's, since nothing was acquired after an injection. Left-handed grids are legal: readers that sort slices by
    position show the same points in reversed slice order.

    Args:
        phases: Synthetic volumes on one grid with millimeter geometry.
        out_dir: Folder of the series.
        run: The run that made them.
        reference: DICOM headers of the pre-contrast volume (classic or enhanced), then those of the real phases that
            the model read.

    Returns:
        The files by phase index, in order of k.

    Raises:
        InputError: A phase is real, or the sources are not one MR study.
    """
    if not phases or not all(phase.synthetic for phase in phases):
        raise InputError("DICOM export labels its images as synthetic; give at least one phase, all of them synthetic.")
    headers = list(reference)
    check_sources(headers)
    with quiet_pydicom():
        return _write_phases(phases, out_dir, run, headers)


def _write_phases(
    phases: Sequence[Phase], out_dir: Path, run: RunIdentity, headers: list[Dataset]
) -> dict[int, list[Path]]:
    scale = quantization([phase.image for phase in phases])
    window = _window([phase.image for phase in phases])
    written: dict[int, list[Path]] = {}
    for phase in phases:
        template = _series_template(phase, max(p.index for p in phases), run, headers, scale, window)
        folder = out_dir / phase.name
        folder.mkdir(parents=True, exist_ok=True)
        written[phase.index] = _write_slices(phase, template, folder, run, headers, scale)
    return written


def _write_slices(
    phase: Phase,
    template: Dataset,
    folder: Path,
    run: RunIdentity,
    headers: list[Dataset],
    scale: Quantization,
) -> list[Path]:
    """Write all slices of one phase; returns the files in order of k."""
    from pydicom.uid import MRImageStorage

    values = sitk.GetArrayViewFromImage(phase.image)
    files = []
    for k in range(values.shape[0]):
        path = folder / f"{k + 1:04d}.dcm"
        sop = (MRImageStorage, run.uid(phase.name, k))
        save_image(_slice(template, phase.image, k, headers), path, sop, scale.store(values[k]))
        files.append(path)
    return files


def _series_template(
    phase: Phase,
    phase_count: int,
    run: RunIdentity,
    headers: list[Dataset],
    scale: Quantization,
    window: tuple[float, float],
) -> Dataset:
    """Everything that is the same in all slices of a phase."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    _add_patient_and_study(dataset, phase.image, run, headers)
    _add_series(dataset, phase, run)
    label_as_synthetic(dataset, run.synthesis, run, headers)
    _add_mr_image(dataset, phase, phase_count, run, headers)
    add_pixel_format(dataset, phase.image)
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = (
        ds(scale.slope),
        ds(scale.intercept),
        "US",
    )
    dataset.WindowCenter, dataset.WindowWidth = ds(window[0]), ds(window[1])
    return dataset


def _add_patient_and_study(dataset: Dataset, image: sitk.Image, run: RunIdentity, headers: list[Dataset]) -> None:
    """Patient, study and frame of reference of the source, or placeholders of the run."""
    placeholders = {
        "PatientName": "SYNTHETIC^ANONYMOUS",
        "PatientID": f"VC-{run.uid('patient')[-12:]}",
        "PatientBirthDate": "",
        "PatientSex": "",
        "StudyInstanceUID": run.uid("study"),
        "StudyDate": run.created.strftime("%Y%m%d"),
        "StudyTime": run.created.strftime("%H%M%S"),
        "ReferringPhysicianName": "",
        "StudyID": "1",
        "AccessionNumber": "",
        "FrameOfReferenceUID": run.uid("frame of reference"),
        "PositionReferenceIndicator": "",
        "PatientPosition": "",
        "BodyPartExamined": "BREAST",
    }
    if headers:
        copy_attributes(headers[0], dataset, FROM_SOURCE)
        placeholders |= {"PatientName": "", "PatientID": "", "StudyDate": "", "StudyTime": "", "StudyID": ""}
    for keyword, value in placeholders.items():
        if keyword not in dataset:
            setattr(dataset, keyword, value)
    if dataset.PatientSex not in ("M", "F", "O"):
        dataset.PatientSex = ""
    if not dataset.get("Laterality", "unset"):
        del dataset.Laterality
    if dataset.BodyPartExamined == "BREAST" and not ("Laterality" in dataset or "ImageLaterality" in dataset):
        # A paired body part needs a side; empty means unknown.
        setattr(dataset, *(("ImageLaterality", "B") if covers_both_breasts(image) else ("Laterality", "")))


def _add_series(dataset: Dataset, phase: Phase, run: RunIdentity) -> None:
    """General Series and General Equipment modules."""
    dataset.Modality = "MR"
    dataset.SeriesInstanceUID = run.uid(phase.name)
    dataset.SeriesNumber = FIRST_SERIES_NUMBER + phase.index
    dataset.SeriesDescription = f"SYNTHETIC phase {phase.index} {run.synthesis.id}"[:64]
    add_times(dataset, run)
    add_equipment(dataset, run)


def _add_mr_image(dataset: Dataset, phase: Phase, phase_count: int, run: RunIdentity, headers: list[Dataset]) -> None:
    """MR Image module, derivation and the place of the phase in time."""
    dataset.ImageType = ["DERIVED", "PRIMARY", "OTHER", "SYNTHETIC"]
    dataset.ContentQualification = "RESEARCH"
    dataset.BurnedInAnnotation = "NO"
    dataset.AcquisitionNumber = None
    when = "" if phase.time_s is None else f" for {phase.time_s:.0f} s after injection"
    origin = "the pre-contrast image alone. No contrast agent was given for it."
    if run.input_phases:
        origin = f"the pre-contrast image and the {named_phases(run.input_phases)} after contrast agent."
    dataset.DerivationDescription = (
        f"Synthetic post-contrast phase {phase.index}{when}, computed by a neural network from {origin} {DISCLAIMER}"
    )
    dataset.ImageComments = DISCLAIMER
    if headers:
        copy_attributes(headers[0], dataset, MR_FROM_SOURCE)
    if "IR" not in str(dataset.get("ScanningSequence")) and "InversionTime" in dataset:
        del dataset.InversionTime  # only allowed for inversion recovery, yet scanners write it
    unknown = {
        "ScanningSequence": "RM",
        "SequenceVariant": "NONE",
        "ScanOptions": "",
        "MRAcquisitionType": "",
    }
    unknown |= {"EchoTime": "", "RepetitionTime": "", "EchoTrainLength": ""}
    for keyword, value in unknown.items():
        if keyword not in dataset:
            setattr(dataset, keyword, value)
    dataset.TemporalPositionIdentifier = phase.index
    dataset.NumberOfTemporalPositions = phase_count
    if phase.time_s is not None:
        # Trigger Time (0018,1060) belongs to cardiac gating and is not allowed without it.
        dataset.TemporalPositionTimeOffset = float(phase.time_s)


def _slice(template: Dataset, image: sitk.Image, k: int, headers: list[Dataset]) -> Dataset:
    """A copy of `template` for slice k: number, position, orientation, spacing and the source slice."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    dataset.update(template)
    dataset.InstanceNumber = k + 1
    direction = np.array(image.GetDirection()).reshape(3, 3)
    position = image.TransformContinuousIndexToPhysicalPoint((0.0, 0.0, float(k)))
    spacing = image.GetSpacing()
    dataset.ImagePositionPatient = [ds(value) for value in position]
    # A row of pixels runs along i: DICOM's first direction is that of increasing column index.
    dataset.ImageOrientationPatient = [ds(value) for value in (*direction[:, 0], *direction[:, 1])]
    dataset.PixelSpacing = [ds(spacing[1]), ds(spacing[0])]
    dataset.SliceThickness = ds(_slice_thickness(headers, spacing[2]))
    dataset.SpacingBetweenSlices = ds(spacing[2])
    sources = source_images(headers, position, direction[:, 2])
    if sources:
        dataset.SourceImageSequence = sources
    return dataset


def _slice_thickness(headers: list[Dataset], spacing_mm: float) -> float:
    """The thickness that the source states, else the distance between slices, in mm."""
    stated = headers[0].get("SliceThickness") if headers else None
    return float(stated) if stated and float(stated) > 0 else spacing_mm


def _window(images: Sequence[sitk.Image]) -> tuple[float, float]:
    """Window center and width for all phases: from the smallest first to the largest 99.5th percentile."""
    ranges = [np.percentile(sitk.GetArrayViewFromImage(image), (1.0, 99.5)) for image in images]
    low, high = float(min(r[0] for r in ranges)), float(max(r[1] for r in ranges))
    width = max(high - low, 1e-6)
    return low + width / 2.0, width
