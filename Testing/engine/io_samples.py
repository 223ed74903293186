"""Small volumes and files for the tests of reading and writing."""

import struct
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid


def rotation(axis_angles_deg=(20.0, -12.0, 5.0)):
    """A proper rotation matrix, 3 x 3."""
    x, y, z = np.radians(axis_angles_deg)
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return rz @ ry @ rx


def oblique_image(array=None, spacing=(0.7, 0.8, 2.1), origin=(-90.5, 31.25, 12.0), direction=None):
    """An oblique, anisotropic volume of 20 x 18 x 9 voxels of int16 noise, reproducible."""
    if array is None:
        array = np.random.default_rng(7).integers(0, 900, (9, 18, 20)).astype(np.int16)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection((rotation() if direction is None else direction).ravel().tolist())
    return image


def lps_affine(image):
    """Index to LPS millimeters by SimpleITK's own point transform."""
    columns = [image.TransformContinuousIndexToPhysicalPoint(index) for index in np.eye(4, 3, k=-1).tolist()]
    origin = np.array(columns[0])
    affine = np.eye(4)
    affine[:3, :3] = (np.array(columns[1:]) - origin).T
    affine[:3, 3] = origin
    return affine


def patched(path: Path, *patches: tuple[int, str, object]) -> Path:
    """Overwrite fields of a file in place: (offset, struct format with byte order, value)."""
    data = bytearray(path.read_bytes())
    for offset, code, value in patches:
        struct.pack_into(code, data, offset, *(value if isinstance(value, tuple) else (value,)))
    path.write_bytes(data)
    return path


class MrSeries:
    """Writes a classic MR series with pydicom, a file per slice and phase, any tag changed or left out."""

    def __init__(self, image, *, slope=1.0, intercept=0.0, description="t1 fs", series_uid=None, **common):
        self.image, self.slope, self.intercept = image, slope, intercept
        self.series_uid = series_uid or generate_uid()
        self.common = {
            "Modality": "MR", "StudyInstanceUID": "1.2.3.4", "FrameOfReferenceUID": "1.2.3.5",
            "SeriesDescription": description, "SeriesNumber": 3, "EchoTime": 1.6,
            "PatientName": "Secret^Name", "PatientID": "ID-4711",
            "ImageType": ["ORIGINAL", "PRIMARY", "M"], "AcquisitionDate": "20240101",
        } | common  # fmt: skip

    def write(self, folder: Path, *, phase=0, skip=(), first_instance=1, step=1, name="{phase}_{k}.dcm", **tags):
        """Write the slices of one phase; a callable tag value is called with the slice number k."""
        folder.mkdir(exist_ok=True)
        array = sitk.GetArrayFromImage(self.image)
        for k in range(len(array)):
            if k in skip:
                continue
            values = {key: value(k) if callable(value) else value for key, value in tags.items()}
            values = {"InstanceNumber": first_instance + step * k} | values
            self._slice(array[k] + phase, k, self.common | values).save_as(
                folder / name.format(phase=phase, k=97 * k % 31), enforce_file_format=True
            )

    def _slice(self, pixels, k, tags):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
        dataset.SeriesInstanceUID = self.series_uid
        direction = np.reshape(self.image.GetDirection(), (3, 3))
        place = self.image.TransformIndexToPhysicalPoint((0, 0, k))
        spacing = self.image.GetSpacing()
        dataset.ImagePositionPatient = [f"{v:.10g}" for v in place]
        dataset.ImageOrientationPatient = [f"{v:.12f}"[:16] for v in direction.T[:2].ravel()]
        dataset.PixelSpacing, dataset.SliceThickness = [spacing[1], spacing[0]], spacing[2]
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = (
            16,
            16,
            15,
            1,
        )
        if (self.slope, self.intercept) != (1.0, 0.0):
            dataset.RescaleSlope, dataset.RescaleIntercept = str(self.slope), str(self.intercept)
        for key, value in tags.items():
            if value is not None:
                setattr(dataset, key, value)
        dataset.PixelData = pixels.astype("<i2").tobytes()
        return dataset


def gdcm(folder):
    """The volume as SimpleITK's own series reader gives it, sorted along the slice normal."""
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    return sitk.ReadImage(names)


def assert_same(image, truth, rtol=0.0):
    """Equal voxels at equal places."""
    np.testing.assert_allclose(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(truth), rtol=rtol)
    np.testing.assert_allclose(lps_affine(image), lps_affine(truth), atol=1e-6)
