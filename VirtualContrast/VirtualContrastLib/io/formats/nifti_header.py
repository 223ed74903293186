"""The NIfTI-1 and NIfTI-2 header, taken apart and checked before any voxel is read.

Layouts after nifti1.h and nifti2.h of the NIfTI Data Format Working Group (https://nifti.nimh.nih.gov).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np

from ...events import InputError
from ..loaded import check_size

_NIFTI1 = {
    "dim": (40, "8h"), "datatype": (70, "h"), "bitpix": (72, "h"), "pixdim": (76, "8f"),
    "vox_offset": (108, "f"), "scl_slope": (112, "f"), "scl_inter": (116, "f"), "xyzt_units": (123, "B"),
    "qform_code": (252, "h"), "sform_code": (254, "h"), "quaternion": (256, "3f"),
    "qoffset": (268, "3f"), "srow": (280, "12f"), "magic": (344, "4s"),
}  # fmt: skip
_NIFTI2 = {
    "dim": (16, "8q"), "datatype": (12, "h"), "bitpix": (14, "h"), "pixdim": (104, "8d"),
    "vox_offset": (168, "q"), "scl_slope": (176, "d"), "scl_inter": (184, "d"), "xyzt_units": (500, "i"),
    "qform_code": (344, "i"), "sform_code": (348, "i"), "quaternion": (352, "3d"),
    "qoffset": (376, "3d"), "srow": (400, "12d"), "magic": (4, "8s"),
}  # fmt: skip
_LAYOUTS = {348: (_NIFTI1, b"n+1\0", 352), 540: (_NIFTI2, b"n+2\0\r\n\x1a\n", 544)}
"""sizeof_hdr -> fields, magic of a single file, smallest vox_offset."""
HEADER_BYTES = 540

_SCALARS = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
_REFUSED = {
    1: "one bit per voxel", 32: "complex numbers", 128: "RGB colors", 1536: "128-bit floating point numbers",
    1792: "complex numbers", 2048: "complex numbers", 2304: "RGBA colors",
}  # fmt: skip
_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}


@dataclass(frozen=True)
class NiftiHeader:
    """The checked header of a file.

    Attributes:
        version: 1 or 2.
        size: Voxels along i, j and k.
        dimensions: Number of dimensions.
        spacing: Distance of voxels along each axis, in mm.
        time_points: Number of volumes.
        dtype: Data type with byte order.
        vox_offset: Place of the first voxel in the file, in bytes.
        scaling: (slope, intercept), None where the header asks for none.
        sform: 4 x 4 matrix from voxel index to RAS millimeters, None where its code is 0.
        qform: The same of the quaternion, None where its code is 0.
        warnings: Sentences for the user.
    """

    version: int
    size: tuple[int, int, int]
    dimensions: int
    spacing: np.ndarray
    time_points: int
    dtype: np.dtype
    vox_offset: int
    scaling: tuple[float, float] | None
    sform: np.ndarray | None
    qform: np.ndarray | None
    warnings: tuple[str, ...]


def parse_header(data: bytes, name: str) -> NiftiHeader:
    """Take apart the first HEADER_BYTES of a NIfTI file; raises InputError for every field that cannot be
    right.
    """
    fields, order, smallest_offset = _unpack(data, name)
    dims, time_points, dimensions = _dimensions(fields["dim"], name)
    dtype = _dtype(fields["datatype"][0], order, name)
    warnings = []
    if fields["bitpix"][0] != dtype.itemsize * 8:
        warnings.append(
            f"{name}: the header's bitpix ({fields['bitpix'][0]}) contradicts its datatype ({dtype.name}); "
            "the datatype was used."
        )
    pixdim = _pixdim(fields["pixdim"], dimensions, name)
    unit = _MILLIMETRES.get(fields["xyzt_units"][0] & 7, 1.0)
    if fields["sform_code"][0] <= 0 and fields["qform_code"][0] <= 0:
        warnings.append(f"{name}: the header gives no orientation (qform and sform codes are 0); check left and right.")
    return NiftiHeader(
        version=1 if smallest_offset == 352 else 2,
        size=dims,
        dimensions=dimensions,
        spacing=pixdim[1:] * unit,
        time_points=time_points,
        dtype=dtype,
        vox_offset=_vox_offset(fields["vox_offset"][0], smallest_offset, name),
        scaling=_scaling(fields["scl_slope"][0], fields["scl_inter"][0], name),
        sform=_in_mm(_sform(fields, name), unit),
        qform=_in_mm(_qform(fields, pixdim, name), unit),
        warnings=tuple(warnings),
    )


def _unpack(data: bytes, name: str) -> tuple[dict[str, tuple], str, int]:
    """Fields as tuples, the byte order (< or >) and the smallest vox_offset of a single-file NIfTI."""
    if len(data) < 348:
        raise InputError(f"{name} is too short to be NIfTI ({len(data)} bytes); copy or export it again.")
    order = next((o for o in "<>" if struct.unpack(o + "i", data[:4])[0] in _LAYOUTS), None)
    if order is None:
        raise InputError(f"{name} is not a NIfTI file: its header size field is neither 348 nor 540.")
    layout, magic, smallest_offset = _LAYOUTS[struct.unpack(order + "i", data[:4])[0]]
    if len(data) < smallest_offset - 4:
        raise InputError(f"{name} is truncated: it ends inside its NIfTI header; copy or export it again.")
    fields = {key: struct.unpack_from(order + code, data, offset) for key, (offset, code) in layout.items()}
    found = fields["magic"][0]
    if found.startswith((b"ni1", b"ni2")):
        raise InputError(f"{name} is the header of a two-file NIfTI (.hdr and .img); convert it to one .nii file.")
    if found != magic:
        raise InputError(f"{name} is not a NIfTI file: its magic field is wrong, so the header is damaged.")
    return fields, order, smallest_offset


def _dimensions(dim: tuple[int, ...], name: str) -> tuple[tuple[int, int, int], int, int]:
    """Size (i, j, k), number of time points and spatial dimensions (2 or 3) of the dim field."""
    if not 2 <= dim[0] <= 7:
        raise InputError(f"{name} cannot be a volume: its header declares {dim[0]} dimensions (dim[0]).")
    sizes = list(dim[1 : dim[0] + 1])
    check_size(tuple(sizes[:3]), name)
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) > 4:
        raise InputError(f"{name} has {len(sizes)} dimensions (vectors or several series); give one 3-D volume.")
    if len(sizes) == 4 and sizes[3] < 1:
        raise InputError(f"{name} declares {sizes[3]} time points, so its header is damaged.")
    i, j, k = (*sizes[:3], 1)[:3]
    return (i, j, k), sizes[3] if len(sizes) == 4 else 1, min(len(sizes), 3)


def _dtype(code: int, order: str, name: str) -> np.dtype:
    if code in _SCALARS:
        return np.dtype(order + _SCALARS[code])
    if code in _REFUSED:
        raise InputError(f"{name} holds {_REFUSED[code]}; give a volume with one gray value per voxel.")
    raise InputError(f"{name} declares the unknown NIfTI data type {code}, so its header is damaged.")


def _pixdim(pixdim: tuple[float, ...], dimensions: int, name: str) -> np.ndarray:
    """[qfac, di, dj, dk]; raises InputError where a spacing of a used dimension is not a positive number."""
    used = pixdim[1 : dimensions + 1]
    if not all(math.isfinite(value) and value > 0 for value in used):
        shown = " x ".join(f"{value:g}" for value in used)
        raise InputError(f"{name} declares a voxel spacing of {shown}; spacings must be positive numbers.")
    third = pixdim[3] if dimensions == 3 or (math.isfinite(pixdim[3]) and pixdim[3] > 0) else 1.0
    return np.array([-1.0 if pixdim[0] < 0 else 1.0, pixdim[1], pixdim[2], third])


def _vox_offset(value: float, smallest: int, name: str) -> int:
    if not math.isfinite(value) or value != int(value) or not smallest <= value < 2**31:
        raise InputError(f"{name} says that its voxels begin at byte {value:g} (vox_offset), so its header is damaged.")
    return int(value)


def _scaling(slope: float, intercept: float, name: str) -> tuple[float, float] | None:
    """(slope, intercept) where the header asks for scaling: slope 0 or not a number means none (nifti1.h)."""
    if slope == 0 or not math.isfinite(slope):
        return None
    if not math.isfinite(intercept):
        raise InputError(f"{name} has a scl_inter that is not a number, so its gray values are unknown.")
    return None if (slope, intercept) == (1.0, 0.0) else (slope, intercept)


def _sform(fields: dict[str, tuple], name: str) -> np.ndarray | None:
    if fields["sform_code"][0] <= 0:
        return None
    matrix = np.eye(4)
    matrix[:3] = np.reshape(fields["srow"], (3, 4))
    return _usable(matrix, "sform", name)


def _qform(fields: dict[str, tuple], pixdim: np.ndarray, name: str) -> np.ndarray | None:
    """Method 2 of nifti1.h: rotation from the quaternion, spacing from pixdim, third column times qfac."""
    if fields["qform_code"][0] <= 0:
        return None
    b, c, d = fields["quaternion"]
    squares = b * b + c * c + d * d
    if not squares <= 1.0 + 1e-5:
        raise InputError(f"{name} has a qform quaternion that is no rotation, so its orientation is unknown.")
    a = math.sqrt(max(0.0, 1.0 - squares))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * pixdim[1:] * [1.0, 1.0, pixdim[0]]
    matrix[:3, 3] = fields["qoffset"]
    return _usable(matrix, "qform", name)


def _usable(matrix: np.ndarray, what: str, name: str) -> np.ndarray:
    """The matrix; raises InputError where it has NaN, an axis of length 0 or all axes in one plane."""
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.isfinite(matrix).all() or not np.isfinite(lengths).all() or not lengths.all():
        raise InputError(f"{name} has a {what} with zeros or NaN for axes, so its orientation is unknown.")
    if abs(np.linalg.det(matrix[:3, :3] / lengths)) < 0.01:
        raise InputError(f"{name} has a {what} whose axes lie in one plane, so its orientation is unknown.")
    return matrix


def _in_mm(matrix: np.ndarray | None, factor: float) -> np.ndarray | None:
    return None if matrix is None else np.diag([factor, factor, factor, 1.0]) @ matrix
