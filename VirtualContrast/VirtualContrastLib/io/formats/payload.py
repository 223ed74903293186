"""Voxel bytes in files: taken only after the file is known to hold as many as its header declares."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import BinaryIO

from ...events import InputError

_CHUNK = 1 << 20
_SURPLUS = 64 << 20
"""Bytes after the declared voxels up to which a compressed file is still read to its end and its checksum."""


def read_plain(path: Path, start: int, length: int, total: int) -> tuple[bytes, int]:
    """Read a part of a file.

    Args:
        path: The file.
        start: First byte.
        length: Bytes to read.
        total: Bytes that the file must have at least.

    Returns:
        The bytes, and how many the file has beyond `total`.

    Raises:
        InputError: The file is shorter.
    """
    size = path.stat().st_size
    if size < total:
        raise truncated(path.name, total, size)
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length), size - total


def read_gzip(path: Path, start: int, length: int, total: int) -> tuple[bytes, int]:
    """As `read_plain`, of the decompressed stream, which is read to its end so that the checksum is verified.

    Memory grows with what the file really holds, never with what its header declares.

    Args:
        path: The file.
        start: First byte of the decompressed stream.
        length: Bytes to read.
        total: Bytes that the stream must have at least.

    Returns:
        The bytes, and how many the stream has beyond `total`.

    Raises:
        InputError: The stream is shorter, damaged, or far longer.
    """
    kept = bytearray()
    position = 0
    try:
        with gzip.open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                begin, end = max(start - position, 0), min(start + length - position, len(chunk))
                if begin < end:
                    kept += chunk[begin:end]
                position += len(chunk)
                if position > total + _SURPLUS:
                    raise InputError(f"{path.name} holds far more data than its header declares; it is damaged.")
    except EOFError as error:
        raise truncated(path.name, total, position) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path.name} is damaged: its gzip stream is not valid; copy or export it again.") from error
    if position < total:
        raise truncated(path.name, total, position)
    return bytes(kept), position - total


def compressed_length(file: BinaryIO, limit: int) -> int:
    """Decompressed length in bytes of the zlib or gzip stream at the file's position, counted up to `limit`.

    Raises zlib.error where the stream is not valid; a stream that just stops gives the length that came.
    """
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)
    length = 0
    while length < limit and not stream.eof and (chunk := file.read(_CHUNK)):
        while chunk and length < limit:
            length += len(stream.decompress(chunk, _CHUNK))
            chunk = stream.unconsumed_tail
    return length


def beside(header: Path, name: str) -> Path:
    """The data file that a header names; InputError where it lies neither beside the header nor in a folder there.

    A header from elsewhere could otherwise make an image of any file that the user may read.
    """
    if "\0" in name:
        raise InputError(f"{header.name} names a data file that cannot be one, so its header is damaged.")
    data = header.parent / name
    if not data.resolve().is_relative_to(header.parent.resolve()):
        raise InputError(f"{header.name} takes its voxels from outside its own folder ({name}); copy them beside it.")
    return data


def truncated(name: str, expected: int, found: int) -> InputError:
    """The error for a file that holds fewer bytes than its header declares.

    Args:
        name: Name of the file.
        expected: Bytes by the header.
        found: Bytes in the file.

    Returns:
        The error, to raise.
    """
    return InputError(
        f"{name} is truncated: its header declares {expected} bytes, {found} are there; copy or export it again."
    )
