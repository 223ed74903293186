"""NRRD volumes, attached or detached, 3-D or with a time axis (4-D, MultiVolume, Slicer sequence).

Header fields after the NRRD format definition (https://teem.sourceforge.net/nrrd/format.html). SimpleITK
reads the voxels, after the header's size has been compared with the bytes that are there.
"""

from __future__ import annotations

import math
import re
import shlex
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import SimpleITK as sitk

from ...events import InputError
from ..loaded import MARKED_SYNTHETIC, Loaded, as_three_d, check_size, choose_time_point, read_with_itk
from ..volumes import SYNTHETIC_COMMENT, SYNTHETIC_KEY
from .payload import beside, compressed_length, truncated

_MAX_HEADER = 4 << 20
_LARGEST_MM = 1e5
_NUMBERED = re.compile(r"[^%]*%0?[0-9]?d[^%]*")
"""A name with one number of at most nine digits: `slice_%03d.raw`."""
_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t"), 4),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), 8),
    **dict.fromkeys(("signed long long int", "ulonglong", "unsigned long long", "uint64", "uint64_t"), 8),
    **dict.fromkeys(("unsigned long long int", "double"), 8),
    "float": 4,
}
_TIME_KINDS = {"list", "time", "none", "???", ""}
_MILLIMETERS = {
    **dict.fromkeys(("mm", "millimeter", "millimeters"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters"), 10.0),
    **dict.fromkeys(("m", "meter", "meters"), 1000.0),
    **dict.fromkeys(("um", "µm", "μm", "micrometer", "micrometers", "micron", "microns"), 1e-3),
}
_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3, "min": 60.0}


@dataclass(frozen=True)
class NrrdHeader:
    """The header of a file.

    Attributes:
        fields: Fields, by their names in lower case.
        pairs: Key-value pairs.
        length: Size of the header in the file, in bytes.
    """

    fields: Mapping[str, str]
    pairs: Mapping[str, str]
    length: int


def read(path: Path, index: int | None) -> Loaded:
    """Time point `index` of a .nrrd or .nhdr file; raises InputError."""
    header = parse_header(path)
    sizes, time_axis = _axes(header, path.name)
    spatial = tuple(n for axis, n in enumerate(sizes) if axis != time_axis)
    check_size(spatial, path.name)
    count = 1 if time_axis is None else sizes[time_axis]
    time_point = choose_time_point(index, count, path.name)
    files = _data_files(header, path, math.prod(sizes[2:]) if len(sizes) > 2 else sizes[-1])
    _check_directions(header, path.name)
    _check_payload(header, path, files, math.prod(sizes))
    image = _in_mm(as_three_d(_one_volume(read_with_itk(path), time_point)), header, time_axis, path.name)
    times = frame_times(header, count)
    clocks = {f"frames of {path.resolve()}": times[time_point]} if times else {}
    warnings: tuple[str, ...] = ()
    if not _has_voxel_size(header, path.name):
        warnings = (f"{path.name} gives no voxel size: 1 mm was assumed.",)
    if header.pairs.get(SYNTHETIC_KEY) == SYNTHETIC_COMMENT:
        warnings += (MARKED_SYNTHETIC.format(name=path.name),)
    return Loaded(image, tuple(dict.fromkeys((path, *files))), "nrrd", clocks=clocks, warnings=warnings)


def parse_header(path: Path) -> NrrdHeader:
    """The text header up to its empty line (or the end of a detached header); raises InputError for other
    files.
    """
    with path.open("rb") as file:
        if not file.readline(64).startswith(b"NRRD000"):
            raise InputError(f"{path.name} is not a NRRD file: its first line is not NRRD000x.")
        fields: dict[str, str] = {}
        pairs: dict[str, str] = {}
        while file.tell() < _MAX_HEADER and (line := file.readline(_MAX_HEADER).strip()):
            text = line.decode("utf-8", "replace")
            if text.startswith("#"):
                continue
            key, separator, value = text.partition(":=")
            if separator:
                pairs[key.strip()] = value.strip()
                continue
            key, _, value = text.partition(":")
            fields[key.strip().lower().replace(" ", "")] = value.strip()
            if key.lower().replace(" ", "") == "datafile" and value.strip().split()[:1] == ["LIST"]:
                break
        return NrrdHeader(fields, pairs, file.tell())


def _axes(header: NrrdHeader, name: str) -> tuple[list[int], int | None]:
    """Sizes of all axes and the number of the time axis (None for one volume); raises InputError for
    vectors.
    """
    try:
        sizes = [int(value) for value in header.fields["sizes"].split()]
        dimension = int(header.fields["dimension"])
    except (KeyError, ValueError) as error:
        raise InputError(f"{name} has a NRRD header without dimension and sizes, so it is damaged.") from error
    if dimension != len(sizes) or not 2 <= dimension <= 4 or any(n < 1 for n in sizes):
        raise InputError(f"{name} declares sizes '{header.fields['sizes']}'; give a volume of 2 to 4 dimensions.")
    kinds = (header.fields.get("kinds", "").lower().split() + [""] * dimension)[:dimension]
    directions = header.fields.get("spacedirections", "").split()
    if len(directions) == dimension and "none" in directions:
        others = [axis for axis, direction in enumerate(directions) if direction == "none"]
    else:
        others = [axis for axis, kind in enumerate(kinds) if kind not in ("domain", "space", "", "none", "???")]
        others = others or ([3] if dimension == 4 else [])
    if len(others) > 1:
        raise InputError(f"{name} has {len(others)} axes that are not space; give a volume with at most a time axis.")
    if others and kinds[others[0]] not in _TIME_KINDS | {"domain", "space"} and sizes[others[0]] > 1:
        raise InputError(f"{name} holds several values per voxel ({kinds[others[0]]}); give one gray value per voxel.")
    return sizes, others[0] if others else None


def _check_directions(header: NrrdHeader, name: str) -> None:
    """Raise InputError where an axis has no usable length: the toolkit would silently assume 1 mm."""
    numbers = re.findall(
        r"[^\s(),]+", header.fields.get("spacedirections", "") + " " + header.fields.get("spacings", "")
    )
    for text in numbers:
        if text.lower() == "none":
            continue
        try:
            usable = abs(float(text)) <= _LARGEST_MM or text.lower() == "nan"  # NaN marks an axis that is not space
        except ValueError:
            usable = False
        if not usable:
            raise InputError(f"{name} declares the voxel size '{text}', so its header is damaged.")


def _has_voxel_size(header: NrrdHeader, name: str) -> bool:
    """False where the header gives no voxel size; InputError where only ends of axes do, read in two ways."""
    if header.fields.get("spacedirections") or header.fields.get("spacings"):
        return True
    if header.fields.get("axismins") or header.fields.get("axismaxs"):
        raise InputError(f"{name} gives its voxel size by axis mins and maxs; save it again with space directions.")
    return False


def _in_mm(image: sitk.Image, header: NrrdHeader, time_axis: int | None, name: str) -> sitk.Image:
    """The image with spacing and origin in mm, where the header gives them in another unit (the toolkit reads none)."""
    units = set(_words(header.fields.get("spaceunits", "")))
    units |= {unit for axis, unit in enumerate(_words(header.fields.get("units", ""))) if axis != time_axis}
    units -= {"", "none", "???"}
    if len(units) > 1 or not units <= set(_MILLIMETERS):
        raise InputError(f"{name} has the units {', '.join(sorted(units))}; save it again in millimeters.")
    factor = _MILLIMETERS[units.pop()] if units else 1.0
    if factor != 1.0:
        image.SetSpacing([factor * value for value in image.GetSpacing()])
        image.SetOrigin([factor * value for value in image.GetOrigin()])
    return image


def _words(text: str) -> list[str]:
    """Words of a field, quoted or not, in lower case; [] where a quote is not closed."""
    try:
        return [word.strip().lower() for word in shlex.split(text)]
    except ValueError:
        return []


def _data_files(header: NrrdHeader, path: Path, slices: int) -> list[Path]:
    """The files that hold the voxels, at most one a slice; the header itself where they are attached.

    Raises InputError if one is missing, lies outside the header's folder, or there are more than slices.
    """
    entry = header.fields.get("datafile")
    if entry is None:
        return [path]
    parts = entry.split()
    try:
        if parts and parts[0] == "LIST":
            lines = path.read_text("utf-8", "replace").splitlines()
            start = next(n for n, line in enumerate(lines) if "LIST" in line and "file" in line.lower()) + 1
            names = [line.strip() for line in lines[start:] if line.strip()]
        elif "%" in parts[0] and len(parts) >= 4:
            first, last, step = (int(value) for value in parts[1:4])
            numbers = range(first, last + (1 if step > 0 else -1), step)
            if not _NUMBERED.fullmatch(parts[0]) or len(numbers) > slices:
                raise ValueError("not one file per slice")
            names = [parts[0] % number for number in numbers]
        else:
            names = [entry]
    except (IndexError, ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{path.name} names its data files in a way that is not valid NRRD.") from error
    if len(names) > slices:
        raise InputError(f"{path.name} names {len(names)} data files for {slices} slices, so its header is damaged.")
    files = [beside(path, name) for name in names]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise InputError(f"{path.name} needs the data file {missing[0]}, which is not there; copy both together.")
    return files


def _check_payload(header: NrrdHeader, path: Path, files: list[Path], values: int) -> None:
    """Raise InputError where the data files hold fewer bytes than the header declares."""
    kind = header.fields.get("type", "").lower()
    if kind not in _BYTES:
        raise InputError(f"{path.name} has the NRRD type '{kind}', which is not a gray value.")
    encoding = header.fields.get("encoding", "").lower()
    needed = values * _BYTES[kind]
    if encoding in ("ascii", "text", "txt"):
        needed = 2 * values - 1
    elif encoding == "hex":
        needed *= 2
    elif encoding not in ("raw", "gzip", "gz"):
        raise InputError(f"{path.name} has the NRRD encoding '{encoding}', which cannot be read; save it with gzip.")
    found = 0
    for file in files:
        found += _available(file, header, file == path, encoding, needed - found, path.name)
    if found < needed:
        raise truncated(path.name, needed, found)


def _available(file: Path, header: NrrdHeader, attached: bool, encoding: str, limit: int, name: str) -> int:
    """Data bytes in one file after header and skipped lines and bytes; decompressed bytes are counted to
    `limit`.
    """
    try:
        lines, skip = (int(header.fields.get(key, "0")) for key in ("lineskip", "byteskip"))
    except ValueError as error:
        raise InputError(f"{name} has a line or byte skip that is not a number, so its header is damaged.") from error
    if lines < 0 or skip < -1 or (skip == -1 and encoding != "raw"):
        raise InputError(f"{name} skips {lines} lines and {skip} bytes before its voxels, so its header is damaged.")
    with file.open("rb") as stream:
        stream.seek(header.length if attached else 0)
        for _ in range(min(lines, _MAX_HEADER)):
            stream.readline()
        if encoding not in ("gzip", "gz"):
            return file.stat().st_size - stream.tell() - max(skip, 0)
        try:
            return compressed_length(stream, limit + max(skip, 0)) - max(skip, 0)
        except zlib.error as error:
            raise InputError(
                f"{name} is damaged: its compressed data are not valid; copy or export it again."
            ) from error


def _one_volume(image: sitk.Image, time_point: int) -> sitk.Image:
    """One time point, whether ITK made time the vector components of a 3-D image or the fourth dimension."""
    if image.GetNumberOfComponentsPerPixel() > 1:
        return sitk.VectorIndexSelectionCast(image, time_point)
    return image[:, :, :, time_point] if image.GetDimension() == 4 else image


def frame_times(header: NrrdHeader, count: int) -> list[float] | None:
    """Seconds of each time point from MultiVolume.FrameLabels or a sequence's index values; None if
    unknown.
    """
    pairs = header.pairs
    if "MultiVolume.FrameLabels" in pairs:
        texts = pairs["MultiVolume.FrameLabels"].split(",")
        unit = pairs.get("MultiVolume.FrameIdentifyingDICOMTagUnits", "ms")
    else:
        axis = next((axis for axis in "03" if f"axis {axis} index values" in pairs), None)
        if axis is None:
            return None
        texts = pairs[f"axis {axis} index values"].split()
        unit = pairs.get(f"axis {axis} index unit") or _axis_unit(header.fields.get("units", ""), int(axis))
    try:
        times = [float(text) * _SECONDS[unit.strip().lower()] for text in texts]
    except (KeyError, ValueError):
        return None
    increasing = all(math.isfinite(b) and a < b for a, b in pairwise(times))
    return times if len(times) == count and increasing else None


def _axis_unit(units: str, axis: int) -> str:
    try:
        parts = shlex.split(units)
    except ValueError:
        return ""
    return parts[axis] if axis < len(parts) else ""
