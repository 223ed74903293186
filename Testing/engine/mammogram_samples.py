"""A small simulated pair of a contrast mammogram, and its low-energy image as DICOM."""

import numpy as np
import pydicom
import SimpleITK as sitk
from io_samples import MrSeries
from VirtualContrastTrainingLib.data.mammogram_phantom import phantom_pair

PIXEL_MM = 0.5
SEEN = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2.1", "ImageLaterality": "L", "PatientOrientation": ["A", "R"],
    "ViewPosition": "CC", "PatientName": "Geheim^Anna", "PatientID": "4711", "StudyID": "7",
    "BodyPartExamined": "BREAST", "PatientSex": "F", "InstitutionName": "Klinik Geheim",
}  # fmt: skip


def make_pair():
    """Low-energy and recombined image of a simulated breast as 8 bit, [row, column]."""
    low, high = (sitk.GetArrayFromImage(image)[0].astype(float) for image in phantom_pair(1, (96, 64)))
    return [np.clip((values - 150) / 11, 0, 255).astype(np.uint8) for values in (low, high)]


def write_mammogram(folder, values, **tags):
    """A DICOM mammogram of `values` [row, column]; returns its path."""
    MrSeries(sitk.GetImageFromArray(values[np.newaxis].astype(np.int16))).write(folder)
    path = next(folder.iterdir())
    dataset = pydicom.dcmread(path)
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.PixelSpacing
    dataset.Modality, dataset.ImagerPixelSpacing = "MG", [PIXEL_MM, PIXEL_MM]
    dataset.PixelRepresentation, dataset.SeriesDescription = 0, "L CC low energy"
    for key, value in tags.items():
        setattr(dataset, key, value)
    dataset.save_as(path)
    return path


def write_scan(folder, *, inverted=False, **tags):
    """The low-energy image as a DICOM mammogram with side, view and a patient; returns its path.

    `inverted`: as MONOCHROME1, whose low values are bright; its 8 bits are those of the pair.
    """
    view = pydicom.Dataset()
    view.CodeValue, view.CodingSchemeDesignator, view.CodeMeaning = "399162004", "SCT", "cranio-caudal"
    low = make_pair()[0]
    if inverted:
        low, tags = 255 - low, tags | {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 8, "HighBit": 7}
    views = [pydicom.Dataset(), view]  # some scanners write an item without a code
    return write_mammogram(folder, low, **SEEN | {"ViewCodeSequence": views} | tags)
