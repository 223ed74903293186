"""Writes a phantom as a scanner would: one classic MR series per phase, in a folder each.

The headers carry what readers use (position, orientation, acquisition and trigger time, sequence) and say that the data
are simulated.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.io.marks import PHANTOM_MANUFACTURER

from .phantom import Phantom

if TYPE_CHECKING:
    from pydicom import Dataset

_START = datetime.datetime(2000, 1, 1, 12, 0, 0)


def write_dicom_study(phantom: Phantom, names: list[str], folder: Path) -> None:
    """Write every volume of a phantom as one DICOM series, one file per slice.

    Args:
        phantom: The phantom.
        names: Folder names of its volumes, in order.
        folder: Folder in which they are written.
    """
    from pydicom.uid import generate_uid

    study = generate_uid(entropy_srcs=["VirtualContrast phantom", str(phantom.seed), repr(phantom.settings)])
    for number, (image, name, time_s) in enumerate(zip(phantom.images, names, phantom.times_s, strict=True)):
        (folder / name).mkdir()
        series = generate_uid(entropy_srcs=[study, name])
        for k in range(image.GetDepth()):
            dataset = _slice_dataset(phantom, image, k, study, series)
            dataset.SeriesNumber = number + 1
            dataset.SeriesDescription = f"PHANTOM dynamic {name}"
            dataset.TemporalPositionIdentifier = number + 1
            dataset.NumberOfTemporalPositions = len(names)
            dataset.TriggerTime = 1000.0 * time_s
            # Injection follows the pre-contrast phase at once, so that times after it are times after injection.
            _stamp(dataset, _START + datetime.timedelta(seconds=time_s))
            if number > 0:
                dataset.ContrastBolusAgent = "simulated gadolinium chelate"
            dataset.save_as(folder / name / f"{k + 1:04d}.dcm", enforce_file_format=True)


def _slice_dataset(phantom: Phantom, image: sitk.Image, k: int, study: str, series: str) -> Dataset:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    pixels = sitk.GetArrayViewFromImage(image)[k].astype("<i2")
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MRImageStorage
    uid = generate_uid(entropy_srcs=[series, str(k)])
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=[study, "frame"])
    dataset.PatientName, dataset.PatientID = "PHANTOM", f"PHANTOM-{phantom.seed}"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientPosition = "", "O", "HFP"
    dataset.StudyID, dataset.AccessionNumber, dataset.ReferringPhysicianName = "1", "", ""
    dataset.Modality, dataset.Manufacturer = "MR", PHANTOM_MANUFACTURER
    dataset.ImageType = ["DERIVED", "PRIMARY", "OTHER"]
    dataset.add_new(0x0008001C, "CS", "YES")  # Synthetic Data; older dictionaries lack its keyword
    dataset.BodyPartExamined, dataset.Laterality = "BREAST", ""
    dataset.ScanningSequence, dataset.SequenceVariant = "GR", ["SP", "OSP"]
    dataset.ScanOptions, dataset.MRAcquisitionType = "FS", "3D"
    dataset.RepetitionTime, dataset.EchoTime = phantom.settings.tr_s * 1000, 2.4
    dataset.FlipAngle, dataset.MagneticFieldStrength = phantom.settings.flip_deg, 3.0
    dataset.EchoTrainLength = 1
    dataset.InstanceNumber = k + 1
    dataset.ImagePositionPatient = [f"{v:.10g}" for v in image.TransformIndexToPhysicalPoint((0, 0, k))]
    direction = np.array(image.GetDirection()).reshape(3, 3)
    dataset.ImageOrientationPatient = [*direction[:, 0], *direction[:, 1]]
    dataset.PixelSpacing = [image.GetSpacing()[1], image.GetSpacing()[0]]
    dataset.SliceThickness = dataset.SpacingBetweenSlices = image.GetSpacing()[2]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.PixelData = pixels.tobytes()
    return dataset


def _stamp(dataset: Dataset, when: datetime.datetime) -> None:
    date, time = when.strftime("%Y%m%d"), when.strftime("%H%M%S.%f")
    dataset.StudyDate, dataset.StudyTime = _START.strftime("%Y%m%d"), _START.strftime("%H%M%S")
    dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = date
    dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = time
