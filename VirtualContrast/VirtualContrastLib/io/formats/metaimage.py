"""MetaImage volumes (.mha, .mhd): header and length checked here, voxels read by SimpleITK."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

from ...events import InputError
from ..loaded import MARKED_SYNTHETIC, Loaded, as_three_d, check_size, choose_time_point, read_with_itk
from ..volumes import SYNTHETIC_COMMENT, SYNTHETIC_KEY
from .payload import beside, compressed_length, truncated

_MAX_HEADER = 1 << 20
_PLACES = ("Offset", "Position", "Origin", "TransformMatrix", "Rotation", "Orientation")
_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4,
    "MET_LONG": 4, "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}  # fmt: skip


def read(path: Path, index: int | None) -> Loaded:
    """Time point `index` of a MetaImage file (its fourth dimension); raises InputError."""
    fields, header_length = parse_header(path)
    try:
        sizes = tuple(int(value) for value in fields["DimSize"].split())
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        spacing = [float(value) for value in fields.get("ElementSpacing", fields.get("ElementSize", "")).split()]
        places = [float(value) for key in _PLACES for value in fields.get(key, "0").split()]
        skip = int(fields.get("HeaderSize", "0"))
    except (KeyError, ValueError) as error:
        raise InputError(f"{path.name} has a MetaImage header without a valid DimSize, so it is damaged.") from error
    if fields.get("NDims") != str(len(sizes)) or not 2 <= len(sizes) <= 4:
        raise InputError(f"{path.name} declares {fields.get('NDims')} dimensions and sizes '{fields['DimSize']}'.")
    if channels != 1:
        raise InputError(f"{path.name} holds {channels} values per voxel; give one gray value per voxel.")
    if len(spacing) != len(sizes) or not all(math.isfinite(value) and value > 0 for value in spacing):
        shown = " ".join(map(str, spacing)) or "none"
        raise InputError(f"{path.name} declares no positive voxel spacing for each axis ({shown}); export it again.")
    if not all(map(math.isfinite, places)):
        raise InputError(f"{path.name} declares an origin or direction that is not a number, so its header is damaged.")
    check_size(sizes[:3], path.name)
    time_point = choose_time_point(index, sizes[3] if len(sizes) == 4 else 1, path.name)
    files = _data_files(fields, path)
    _check_payload(fields, path, files, math.prod(sizes), header_length, skip)
    image = read_with_itk(path)
    if image.GetDimension() == 4:
        image = image[:, :, :, time_point]
    synthetic = fields.get(SYNTHETIC_KEY) == SYNTHETIC_COMMENT
    warnings = (MARKED_SYNTHETIC.format(name=path.name),) if synthetic else ()
    return Loaded(as_three_d(image), tuple(dict.fromkeys((path, *files))), "metaimage", warnings=warnings)


def parse_header(path: Path) -> tuple[dict[str, str], int]:
    """Fields of the text header up to ElementDataFile, and its length in bytes; raises InputError for other
    files.
    """
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        while file.tell() < _MAX_HEADER and (line := file.readline(4096)):
            key, separator, value = line.decode("utf-8", "replace").partition("=")
            if not separator:
                break
            fields[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                if any("\ufffd" in text for text in (*fields, *fields.values())):
                    raise InputError(f"{path.name} has a header that is not text, so it is damaged.")
                return fields, file.tell()
    raise InputError(f"{path.name} is not a MetaImage file, or its header is cut off (no ElementDataFile).")


def _data_files(fields: dict[str, str], path: Path) -> list[Path]:
    """The one file that holds the voxels; raises InputError where it is missing or the voxels lie in many
    files.
    """
    entry = fields["ElementDataFile"]
    if entry.upper() == "LOCAL":
        return [path]
    if entry.upper().startswith("LIST") or "%" in entry:
        raise InputError(f"{path.name} spreads its voxels over many files; save it as one .mha or .nrrd file.")
    data = beside(path, entry)
    if not data.is_file():
        raise InputError(f"{path.name} needs the data file {data.name}, which is not there; copy both together.")
    return [data]


def _check_payload(
    fields: dict[str, str], path: Path, files: list[Path], values: int, header_length: int, skip: int
) -> None:
    """Raise InputError where the data file holds fewer bytes than the header declares."""
    kind = fields.get("ElementType", "")
    if kind not in _BYTES:
        raise InputError(f"{path.name} has the MetaImage type '{kind}', which is not one gray value per voxel.")
    binary = fields.get("BinaryData", "True").lower() in ("true", "1")
    needed = values * _BYTES[kind] if binary else 2 * values - 1
    start = header_length if files[0] == path else max(skip, 0)
    found = files[0].stat().st_size - start
    compressed = fields.get("CompressedData", "False").lower() in ("true", "1")
    if compressed:
        with files[0].open("rb") as stream:
            stream.seek(start)
            try:
                found = compressed_length(stream, needed)
            except zlib.error as error:
                raise InputError(f"{path.name} is damaged: its compressed data are not valid.") from error
    if found < needed:
        raise truncated(path.name, needed, found)
    if compressed:
        _check_compressed_size(fields, path.name, files[0].stat().st_size - start)


def _check_compressed_size(fields: dict[str, str], name: str, found: int) -> None:
    """Raise InputError where the header gives another length than the file has: the rest would be read as noise."""
    declared = fields.get("CompressedDataSize")
    if declared is not None and declared != str(found):
        raise InputError(f"{name} declares {declared} compressed bytes and holds {found}; copy or export it again.")
