"""Zip archives of models from anywhere: damaged ones, and small ones that would fill the disk, are refused."""

from __future__ import annotations

import contextlib
import lzma
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from ..events import InputError

MAX_UNPACKED_BYTES = 16 * 2**30
_LARGEST_RATIO = 20  # weights hardly shrink, and text to a tenth
_ALWAYS_BYTES = 64 << 20
# What zipfile raises on damaged and encrypted archives and on methods that it does not know.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


@contextlib.contextmanager
def opened_zip(archive: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, open for reading; whatever cannot be read of it inside the block is InputError."""
    try:
        with zipfile.ZipFile(archive) as source:
            yield source
    except _UNREADABLE as error:
        raise InputError(f"{archive} cannot be unpacked ({error}); get the model again.") from error


def check_unpacked_size(archive: Path, size: int, folder: Path) -> None:
    """Check the size to which a zip unpacks. A zip states the sizes of its files, and zipfile gives no more bytes than
    stated.

    Args:
        archive: The zip.
        size: Bytes of its files, unpacked.
        folder: An existing folder on the disk to which it would be unpacked.

    Raises:
        InputError: They are too many for a package, for such an archive, or for the disk.
    """
    most = min(MAX_UNPACKED_BYTES, archive.stat().st_size * _LARGEST_RATIO + _ALWAYS_BYTES)
    if size > most:
        raise InputError(f"{archive} would unpack to {size >> 20} MiB, more than a model of its size can have.")
    free = shutil.disk_usage(folder).free
    if size > free - _ALWAYS_BYTES:
        raise InputError(f"{archive} unpacks to {size >> 20} MiB, and {free >> 20} MiB are free in {folder.parent}.")
