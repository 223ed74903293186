"""PNG and TIFF pictures: one gray slice without millimeters."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ...events import InputError
from ..loaded import Loaded, check_size, read_with_itk
from ..suffixes import PICTURES
from ..volumes import quiet_itk

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PICTURE_FORMATS = frozenset(PICTURES.values())
"""Formats of pictures, as `Source.format` names them."""
MAX_PIXELS = 100_000_000
"""Three times the largest mammogram."""
_SLICE_MM = 1.0
_GREY_WITH_ALPHA = b"\x04"
"""The PNG color type that SimpleITK cannot read."""


def is_picture(start: bytes) -> bool:
    """True where a file's first 8 bytes are those of PNG or TIFF."""
    return start == SIGNATURE or start[:4] in _TIFF_SIGNATURES


def read(path: Path, pixel_spacing_mm: float | None) -> Loaded:
    """A gray PNG or TIFF, or a color one whose color channels are equal, as a 3-D image of size 1 along k.

    The alpha channel is dropped. `pixel_spacing_mm` gives both in-plane spacings and with them the geometry (a
    TIFF's own resolution is that of printing); the slice counts as 1 mm thick. Raises InputError for real colors,
    several pages, damaged files and impossible spacings.
    """
    with path.open("rb") as file:
        is_png = file.read(len(SIGNATURE)) == SIGNATURE
    if is_png:
        _check_chunks(path)
    else:
        _check_tiff_size(path)
    if pixel_spacing_mm is not None and not (math.isfinite(pixel_spacing_mm) and pixel_spacing_mm > 0):
        raise InputError(f"The pixel spacing given for {path.name} must be a positive number of millimeters.")
    picture = read_with_itk(path)
    if picture.GetDimension() != 2:
        raise InputError(f"{path.name} holds {picture.GetSize()[2]} pages; save the one to use as a file of its own.")
    image = sitk.GetImageFromArray(_gray(sitk.GetArrayFromImage(picture), path.name)[np.newaxis], isVector=False)
    if pixel_spacing_mm is None:
        warning = f"{path.name} is a picture without millimeters: measures are in pixels; give its pixel spacing."
    else:
        image.SetSpacing((pixel_spacing_mm, pixel_spacing_mm, _SLICE_MM))
        warning = f"{path.name} is one slice of unknown thickness: volumes take it as {_SLICE_MM:g} mm thick."
    kind = "png" if is_png else "tiff"
    return Loaded(image, (path,), kind, has_geometry=pixel_spacing_mm is not None, warnings=(warning,))


def _check_tiff_size(path: Path) -> None:
    """Raise InputError where the header declares an absurd size; nothing is allocated before this."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with quiet_itk():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{path.name} is damaged or of a kind that cannot be read.") from error
    _check_picture_size(reader.GetSize(), path.name)


def _check_picture_size(size: tuple[int, ...], name: str) -> None:
    """Raise InputError where a picture is larger than any mammogram: a small file can declare gigabytes."""
    check_size((*size, 1)[:3], name)
    if math.prod(size[:2]) > MAX_PIXELS:
        raise InputError(f"{name} has {size[0]} x {size[1]} pixels, more than any mammogram; save it smaller.")


def _gray(pixels: np.ndarray, name: str) -> np.ndarray:
    """The gray values [j, i] of pixels [j, i] or [j, i, channel] with 3 or 4 channels."""
    if pixels.ndim == 2:
        return pixels
    colors = pixels[..., :3]
    if (colors != colors[..., :1]).any():
        raise InputError(f"{name} is a color picture; give a gray one, or one file per color channel.")
    return np.ascontiguousarray(colors[..., 0])


def _check_chunks(path: Path) -> None:
    """Raise InputError where a chunk of the PNG is cut off or fails its checksum, or the size is absurd."""
    with path.open("rb") as file:
        file.read(len(SIGNATURE))
        while True:
            head = file.read(8)
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            body = file.read(min(length, path.stat().st_size))
            checksum = file.read(4)
            if len(body) != length or len(checksum) != 4:
                raise InputError(f"{path.name} is truncated: its picture data stop early; copy or export it again.")
            if zlib.crc32(kind + body) != int.from_bytes(checksum, "big"):
                raise InputError(f"{path.name} is damaged: a PNG checksum is wrong; copy or export it again.")
            if kind == b"IHDR":
                if body[9:10] == _GREY_WITH_ALPHA:
                    raise InputError(f"{path.name} is gray with transparency; save it without an alpha channel.")
                _check_picture_size((int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")), path.name)
            if kind == b"IEND":
                return
