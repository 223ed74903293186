"""NIfTI volumes. ITK's reader is used for the geometry only.

It loads truncated and header-only files zero-filled, turns NaN into 0 and adds scl_inter where scl_slope is
0, all without an error. So the voxels are read here, from a file whose header and length have been checked.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ...events import InputError
from ..loaded import MARKED_SYNTHETIC, Loaded, choose_time_point
from ..volumes import SYNTHETIC_COMMENT, affine_of, corner_distance, quiet_itk
from . import payload
from .nifti_header import HEADER_BYTES, NiftiHeader, parse_header

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read(path: Path, index: int | None) -> Loaded:
    """Time point `index` of a NIfTI-1 or NIfTI-2 file (.nii, .nii.gz), either byte order; raises
    InputError.
    """
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    _check_name(path, zipped)
    start = _first_bytes(path, zipped)
    header = parse_header(start, path.name)
    time_point = choose_time_point(index, header.time_points, path.name)
    array, warnings = _voxels(path, header, time_point, zipped)
    image = sitk.GetImageFromArray(array)
    warnings += _set_geometry(image, header, path)
    if SYNTHETIC_COMMENT.encode() in start:
        warnings.append(MARKED_SYNTHETIC.format(name=path.name))
    return Loaded(image, (path,), "nifti", warnings=(*header.warnings, *warnings))


def _check_name(path: Path, zipped: bool) -> None:
    named_gz = path.name.lower().endswith(".gz")
    if zipped and not named_gz:
        raise InputError(f"{path.name} is gzip-compressed but not named .nii.gz; rename it.")
    if named_gz and not zipped:
        raise InputError(f"{path.name} is named .gz but not gzip-compressed; rename it to .nii or export it again.")


def _first_bytes(path: Path, zipped: bool) -> bytes:
    if not zipped:
        with path.open("rb") as file:
            return file.read(HEADER_BYTES)
    try:
        with gzip.open(path, "rb") as file:
            return file.read(HEADER_BYTES)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path.name} is damaged: its gzip stream is not valid; copy or export it again.") from error


def _voxels(path: Path, header: NiftiHeader, time_point: int, zipped: bool) -> tuple[np.ndarray, list[str]]:
    """Scaled voxels [k, j, i] of one time point and warnings; the stored type where the header asks for no
    scaling.
    """
    length = math.prod(header.size) * header.dtype.itemsize
    total = header.vox_offset + length * header.time_points
    take = payload.read_gzip if zipped else payload.read_plain
    data, surplus = take(path, header.vox_offset + time_point * length, length, total)
    stored = np.frombuffer(data, header.dtype).reshape(header.size[::-1])
    array = stored.astype(header.dtype.newbyteorder("="))
    warnings = []
    if surplus:
        warnings.append(f"{path.name} holds {surplus} bytes more than its header declares; check its dimensions.")
    if header.scaling is not None:
        slope, intercept = header.scaling
        kind = np.float64 if header.dtype.itemsize == 8 else np.float32
        with np.errstate(over="ignore", invalid="ignore"):  # the gate refuses what is not finite
            array = (array.astype(np.float64) * slope + intercept).astype(kind)
    return array, warnings


def _set_geometry(image: sitk.Image, header: NiftiHeader, path: Path) -> list[str]:
    """Give the image its geometry, checked against the header; returns warnings.

    A 3-D NIfTI-1 file gets ITK's geometry, so that 3D Slicer shows results and input at one place (where
    qform and sform disagree, ITK prefers the qform unless the sform is a scanner's). ITK does not read
    NIfTI-2 and cuts the orientation of 2-D files: these get the sform, else the qform.
    """
    stated = [matrix for matrix in (header.sform, header.qform) if matrix is not None]
    if stated and (header.dimensions == 2 or header.version == 2):
        spacing = np.linalg.norm(stated[0][:3, :3], axis=0)
        origin, direction = (
            (_RAS_TO_LPS @ stated[0])[:3, 3],
            _RAS_TO_LPS[:3, :3] @ stated[0][:3, :3] / spacing,
        )
    elif header.version == 2:
        spacing, origin, direction = header.spacing, np.zeros(3), np.eye(3)
    else:
        spacing, origin, direction = _itk_geometry(path)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(origin.tolist())
    image.SetDirection(direction.ravel().tolist())
    used = _RAS_TO_LPS @ affine_of(image)
    apart = [corner_distance(matrix, used, header.size) > 0.01 * min(image.GetSpacing()) for matrix in stated]
    if apart and all(apart):
        raise InputError(f"{path.name} contradicts itself: its pixdim spacing and orientation matrix do not agree.")
    if any(apart):
        name = "qform" if apart[0] else "sform"
        return [f"{path.name}: the header's qform and sform disagree; the {name} was used."]
    return []


def _itk_geometry(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spacing (3), LPS origin (3) and direction (3 x 3) as ITK reads them; raises InputError for axes at odd
    angles.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NiftiImageIO")
    reader.SetFileName(str(path))
    try:
        with quiet_itk():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(
            f"{path.name} has axes that are not at right angles (a sheared sform); resample it to a regular grid."
        ) from error
    n = reader.GetDimension()
    used = min(n, 3)
    spacing, origin, direction = np.ones(3), np.zeros(3), np.eye(3)
    spacing[:used] = reader.GetSpacing()[:used]
    origin[:used] = reader.GetOrigin()[:used]
    direction[:used, :used] = np.reshape(reader.GetDirection(), (n, n))[:used, :used]
    return spacing, origin, direction
