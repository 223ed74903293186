"""File name suffixes of images: the one table. The content of a file decides over its name where it can."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

VOLUMES = {
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".mha": "metaimage",
    ".mhd": "metaimage",
}
"""Format of a volume by its suffix; these are read and written."""
PICTURES = {".png": "png", ".tif": "tiff", ".tiff": "tiff"}
"""Format of a picture by its suffix; these are read as input, and have no millimeters."""
LOSSY_PICTURES = (".jpg", ".jpeg", ".bmp")
"""Pictures that are read for evaluation only: published tools left such files."""
DICOM = (".dcm",)
INPUTS = (*VOLUMES, *PICTURES, *DICOM)
"""Everything that a run reads, by name."""


def suffix_of(path: Path, among: Iterable[str] = VOLUMES) -> str:
    """The suffix of a file name in lower case, `.nii.gz` as one; "" where it is none of those `among`."""
    name = path.name.lower()
    return next((suffix for suffix in sorted(among, key=len, reverse=True) if name.endswith(suffix)), "")


def stem_of(path: Path, among: Iterable[str] = VOLUMES) -> str:
    """The file name without that suffix."""
    return path.name[: len(path.name) - len(suffix_of(path, among))]
