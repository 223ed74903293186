"""Marks in files: of simulated phantoms, by which alone models of phantoms are chosen, and of synthetic volumes.

NRRD and MetaImage carry it as a key of the header, NIfTI in its description, DICOM as the manufacturer.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import SimpleITK as sitk

from ..events import InputError
from ..study import PHANTOM_KEY, PHANTOM_VALUE
from .dicom.files import is_dicom
from .formats import metaimage
from .formats.nrrd import parse_header
from .read import split_spec
from .volumes import SYNTHETIC_COMMENT, SYNTHETIC_KEY, suffix_of

PHANTOM_MANUFACTURER = "VirtualContrast phantom"
_NRRD, _NIFTI = (".nrrd", ".nhdr"), (".nii", ".nii.gz")
_VOLUMES = (*_NRRD, *_NIFTI, ".mha", ".mhd")
_NIFTI_START = 540  # bytes of the longer of both NIfTI headers; both hold the description in them


def marked(image: sitk.Image) -> sitk.Image:
    """A copy of a simulated image with the mark, which SimpleITK writes into NRRD, MetaImage and NIfTI."""
    copy = sitk.Image(image)
    copy.SetMetaData(PHANTOM_KEY, PHANTOM_VALUE)
    copy.SetMetaData("ITK_FileNotes", PHANTOM_MANUFACTURER)
    return copy


def is_phantom(spec: str | Path) -> bool:
    """True where a file, or the first file of a DICOM folder, carries the mark; what cannot be read carries none."""
    path, _ = split_spec(spec)
    try:
        if path.is_dir():
            first = next((file for file in sorted(path.rglob("*")) if file.is_file() and is_dicom(file)), None)
            return first is not None and _dicom_says_so(first)
        if suffix_of(path) in _VOLUMES:
            return _volume_says(path, PHANTOM_KEY, PHANTOM_VALUE, PHANTOM_MANUFACTURER)
        return is_dicom(path) and _dicom_says_so(path)
    except (OSError, EOFError, InputError):
        return False


def is_synthetic(path: Path) -> bool:
    """True where a volume file says that it is synthetic, as every one does that a run writes."""
    try:
        return suffix_of(path) in _VOLUMES and _volume_says(path, SYNTHETIC_KEY, SYNTHETIC_COMMENT, SYNTHETIC_COMMENT)
    except (OSError, EOFError, InputError):
        return False


def _volume_says(path: Path, key: str, value: str, description: str) -> bool:
    """Whether the header of a volume has `key` with `value`, or of NIfTI, which has no keys, the description."""
    suffix = suffix_of(path)
    if suffix in _NIFTI:
        with (gzip.open if suffix == ".nii.gz" else Path.open)(path, "rb") as file:
            return description.encode() in file.read(_NIFTI_START)
    fields = parse_header(path).pairs if suffix in _NRRD else metaimage.parse_header(path)[0]
    return fields.get(key) == value


def _dicom_says_so(path: Path) -> bool:
    import pydicom

    dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Manufacturer"], force=True)
    return str(dataset.get("Manufacturer", "")) == PHANTOM_MANUFACTURER
