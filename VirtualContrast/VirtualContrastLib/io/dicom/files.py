"""DICOM files before their elements are read: what is one, how it is opened, and what damage does to pydicom."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...events import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_DEFLATED = "1.2.840.10008.1.2.1.99"
LARGEST_DEFLATION = 50
"""Images deflate to a half or a fifth, and padding of zeros to a thousandth."""
_INFLATED_BYTES = 64 << 20  # that a small file may always grow to


def dicom_errors() -> tuple[type[Exception], ...]:
    """What pydicom raises on damaged files, depending on where the damage is.

    For calls of pydicom alone: around our own code it would report a bug as a damaged file.
    """
    from pydicom.errors import BytesLengthException, InvalidDicomError

    common = (
        OSError,
        EOFError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        RuntimeError,
        ArithmeticError,
    )
    return (*common, AssertionError, struct.error, zlib.error, BytesLengthException, InvalidDicomError)


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep the remarks of pydicom and highdicom off standard error inside the block: they quote values of headers."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def is_dicom(path: Path) -> bool:
    """True where the file has the DICOM mark (DICM after 128 bytes), or begins as a DICOM data set without it."""
    with path.open("rb") as file:
        start = file.read(132)
    return start[128:] == b"DICM" or begins_as_data_set(start)


def begins_as_data_set(start: bytes) -> bool:
    """True for the first bytes of a file that lacks preamble and mark: a low element of group 2 or 8."""
    if len(start) < 16 or start[:2] not in (b"\x02\0", b"\x08\0") or start[3] != 0:
        return False
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return explicit or 0 < int.from_bytes(start[4:8], "little") <= 1024


def open_data_set(path: Path, **options: Any) -> Dataset:
    """The data set of a DICOM file with or without preamble; `options` as of `pydicom.dcmread`.

    Raises:
        InputError: deflated data that would expand beyond the limit.
    """
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    with path.open("rb") as file:
        marked = file.read(132)[128:] == b"DICM"
    if marked:
        check_inflation(path)
    dataset = pydicom.dcmread(path, force=not marked, **options)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        if little is not False:
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return dataset


def check_inflation(path: Path) -> None:
    """Raise InputError where a deflated file would expand beyond the limit, as pydicom inflates it whole."""
    from pydicom.filereader import read_file_meta_info

    syntax = read_file_meta_info(path).get("TransferSyntaxUID")
    if not is_deflated(syntax):
        return
    size = path.stat().st_size
    limit = LARGEST_DEFLATION * size + _INFLATED_BYTES
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    with path.open("rb") as file:
        file.seek(132)
        head = file.read(12)  # the group's length, in an element of fixed size
        file.seek(144 + int.from_bytes(head[8:12], "little"))
        length = 0
        while not stream.eof and (chunk := stream.unconsumed_tail or file.read(1 << 20)):
            length += len(stream.decompress(chunk, 1 << 20))
            if length > limit:
                raise InputError(
                    f"{path.name} is deflated and would expand to more than {limit >> 20} MiB; it is damaged."
                )


def is_deflated(syntax: Any) -> bool:
    """Whether a transfer syntax is that of a deflated data set."""
    return str(syntax or "") == _DEFLATED
