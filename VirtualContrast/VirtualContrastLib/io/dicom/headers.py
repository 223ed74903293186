"""DICOM headers, classic and enhanced multi-frame, as one record per slice. No patient identifiers are read."""

from __future__ import annotations

import dataclasses
import logging
import math
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ...events import InputError
from .values import clock_digits, day_digits, drop_unreadable

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_TAGS: list[str] = [
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "Modality", "SeriesNumber", "SeriesDescription", "InstanceNumber", "ImageType", "Rows", "Columns",
    "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing", "SpacingBetweenSlices",
    "SliceThickness", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "TriggerTime",
    "TemporalPositionIdentifier", "AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime",
    "ContentDate", "ContentTime", "SeriesDate", "EchoTime", "DiffusionBValue", "ScanOptions",
    "ContrastBolusAgent", "ContrastBolusStartTime", "SpectrallySelectedSuppression", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "BodyPartExamined", "ScanningSequence", "MRAcquisitionType",
    "BitsStored", "PixelRepresentation", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "RepetitionTime", "FlipAngle",
]  # fmt: skip
Number = TypeVar("Number", int, float)
_DEFLATED = "1.2.840.10008.1.2.1.99"
_LARGEST_DEFLATION = 50  # images deflate to a half or a fifth, and padding of zeros to a thousandth
_INFLATED_BYTES = 64 << 20  # that a small file may always grow to
_DAY_S = 86400.0
_PHILIPS_CREATOR, _PHILIPS_SCALE, _PHILIPS_FRAME = 0x20050010, 0x2005100E, 0x2005140F
_SYNTHETIC_DATA = 0x0008001C  # pydicom 2 does not know its keyword


@dataclass(frozen=True)
class DicomFrame:
    """One slice: where it lies, when it was taken, how its stored values become gray values.

    Attributes:
        path: Its file.
        frame: The 0-based frame of a multi-frame file, None in a single-frame one.
        sop_uid: UID of the image.
        instance: InstanceNumber, None where the header has none.
        position: Center of the first pixel in LPS mm, None where the header has none.
        orientation: Row then column direction, None where the header has none.
        pixel_spacing: Distance between rows, then between columns, in mm, None where the header has none.
        thickness: Slice thickness in mm, None where the header has none.
        size: Columns and rows.
        slope: Factor on stored values.
        intercept: Added to them after that.
        kind: ImageType, and the echo where the header has one.
        tags: Values that can order phases: trigger and acquisition and content in seconds, temporal as an index.
        padding: Range of stored values that are no image (PixelPaddingValue).
        hints: Words of its file's header that the pre-contrast checks look at.
        unit: What a gray value of a Philips scanner is to be divided by to be compared with other series (private scale
            slope times rescale slope).
    """

    path: Path
    frame: int | None
    sop_uid: str
    instance: int | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    thickness: float | None
    size: tuple[int, int]
    slope: float
    intercept: float
    kind: tuple[str, ...]
    tags: Mapping[str, float] = field(default_factory=dict)
    padding: tuple[int, int] | None = None
    hints: Mapping[str, str] = field(default_factory=dict)
    unit: float | None = None


@dataclass(frozen=True)
class SeriesHeader:
    """What all images of a series share.

    Attributes:
        uid: SeriesInstanceUID.
        sop_class: SOPClassUID.
        study_uid: StudyInstanceUID.
        frame_of_reference: FrameOfReferenceUID.
        modality: Modality.
        number: SeriesNumber.
        description: SeriesDescription.
        photometric: PhotometricInterpretation.
        samples: SamplesPerPixel.
        stored_range: Smallest and largest stored value that the pixels can have.
        hints: Words that the pre-contrast checks look at, of the first image, or of all (`header_of`).
        unreadable: Names of elements whose value is of no use (text for a number) and was left out.
    """

    uid: str
    sop_class: str
    study_uid: str
    frame_of_reference: str
    modality: str
    number: str
    description: str
    photometric: str
    samples: int
    stored_range: tuple[int, int] = (0, 65535)
    hints: Mapping[str, str] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()


class _UnusableValueError(Exception):
    """A value of a header is not what it must be, such as several numbers where one is needed."""


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


def read_headers(path: Path) -> tuple[SeriesHeader, list[DicomFrame]] | None:
    """Series header and one record per frame of a DICOM file; None for an object without an image (SR, RT plan).

    Raises InputError where the file is damaged.
    """
    from pydicom.datadict import tag_for_keyword

    tags = [tag for tag in map(tag_for_keyword, _TAGS) if tag is not None]
    tags += [_SYNTHETIC_DATA, _PHILIPS_CREATOR, _PHILIPS_SCALE]
    damaged = f"{path.name} is a damaged DICOM file: its header cannot be read."
    try:
        with quiet_pydicom():
            dataset = open_data_set(path, stop_before_pixels=True, specific_tags=tags)
            unreadable = drop_unreadable(dataset, _TAGS)
    except dicom_errors() as error:
        raise InputError(damaged) from error
    if not dataset.get("Rows") or not dataset.get("Columns"):
        return None
    try:
        with quiet_pydicom():
            header = dataclasses.replace(_series_header(dataset), unreadable=tuple(unreadable))
            return header, [dataclasses.replace(frame, hints=header.hints) for frame in _frames(dataset, path)]
    except _UnusableValueError as error:
        raise InputError(damaged) from error


def check_inflation(path: Path) -> None:
    """Raise InputError where a deflated file would expand beyond the limit, as pydicom inflates it whole."""
    from pydicom.filereader import read_file_meta_info

    syntax = read_file_meta_info(path).get("TransferSyntaxUID")
    if not _is_deflated(syntax):
        return
    size = path.stat().st_size
    limit = _LARGEST_DEFLATION * size + _INFLATED_BYTES
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


def _is_deflated(syntax: Any) -> bool:
    return str(syntax or "") == _DEFLATED


def _series_header(dataset: Dataset) -> SeriesHeader:
    return SeriesHeader(
        uid=_text(dataset, "SeriesInstanceUID"),
        sop_class=_text(dataset, "SOPClassUID"),
        study_uid=_text(dataset, "StudyInstanceUID"),
        frame_of_reference=_text(dataset, "FrameOfReferenceUID"),
        modality=_text(dataset, "Modality"),
        number=_text(dataset, "SeriesNumber"),
        description=_text(dataset, "SeriesDescription"),
        photometric=_text(dataset, "PhotometricInterpretation"),
        samples=_to(int, dataset.get("SamplesPerPixel") or 1),
        stored_range=_stored_range(dataset),
        hints=_hints(dataset),
    )


def _hints(dataset: Dataset) -> dict[str, str]:
    """What a header says of contrast agent, weighting, fat suppression, sequence and body part."""
    shared = _first(dataset, "SharedFunctionalGroupsSequence")
    group = _first(dataset, "PerFrameFunctionalGroupsSequence")
    echo = _text(dataset, "EchoTime") or _nested(group, shared, "MREchoSequence", "EffectiveEchoTime")
    timing = "MRTimingAndRelatedParametersSequence"
    measured = {"repetition time": "RepetitionTime", "flip angle": "FlipAngle"}
    synthetic = _value(dataset, _SYNTHETIC_DATA)
    return {
        what: _text(dataset, keyword) or str(_nested(group, shared, timing, keyword) or "")
        for what, keyword in measured.items()
    } | {
        "agent": _text(dataset, "ContrastBolusAgent"),
        "scan options": _text(dataset, "ScanOptions"),
        "suppression": _text(dataset, "SpectrallySelectedSuppression"),
        "echo time": str(echo or ""),
        "b value": _text(dataset, "DiffusionBValue"),
        "image type": _text(dataset, "ImageType"),
        "lookup table": "yes" if dataset.get("ModalityLUTSequence") else "",
        "synthetic": str(synthetic.value) if synthetic is not None else "",
        "body part": _text(dataset, "BodyPartExamined"),
        "sequence": _text(dataset, "ScanningSequence"),
        "dimensions": _text(dataset, "MRAcquisitionType"),
    }


def header_of(header: SeriesHeader, frames: Sequence[DicomFrame]) -> SeriesHeader:
    """The header of a series with the hints of all of `frames`: of each hint every value that one of them has."""
    several = {name: dict.fromkeys(frame.hints.get(name, "") for frame in frames) for name in header.hints}
    return dataclasses.replace(header, hints={name: " ".join(filter(None, found)) for name, found in several.items()})


def _stored_range(dataset: Dataset) -> tuple[int, int]:
    values = 2 ** _to(int, dataset.get("BitsStored") or 16)
    signed = _to(int, dataset.get("PixelRepresentation") or 0) == 1
    return (-values // 2, values // 2 - 1) if signed else (0, values - 1)


def _frames(dataset: Dataset, path: Path) -> list[DicomFrame]:
    """One record per frame: from the functional groups of an enhanced object, else from the top level."""
    shared = _first(dataset, "SharedFunctionalGroupsSequence")
    per_frame = _items(dataset, "PerFrameFunctionalGroupsSequence")
    count = _to(int, dataset.get("NumberOfFrames") or 1)
    if per_frame:
        if len(per_frame) != count:
            raise InputError(f"{path.name} declares {count} frames but describes {len(per_frame)}; it is damaged.")
        return [_frame(dataset, path, n, group, shared) for n, group in enumerate(per_frame)]
    if count == 1:
        return [_frame(dataset, path, None, None, shared)]
    if not 1 <= count <= _most_frames(dataset, path):
        raise InputError(f"{path.name} declares {count} frames, more than it has room for; it is damaged.")
    return [_frame(dataset, path, n, None, shared) for n in range(count)]


def _most_frames(dataset: Dataset, path: Path) -> int:
    """How many frames the bytes of the file can hold at most; nothing is made for a frame before this is known."""
    least = 8  # compressed pixels: the head of a fragment
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is not None and not (syntax.is_transfer_syntax and syntax.is_compressed):
        bits = max(1, _to(int, dataset.get("BitsStored") or 8))
        samples = _to(int, dataset.get("SamplesPerPixel") or 1)
        least = max(1, _to(int, dataset.Rows) * _to(int, dataset.Columns) * samples * bits // 8)
    return path.stat().st_size * (_LARGEST_DEFLATION if _is_deflated(syntax) else 1) // least


def _frame(dataset: Dataset, path: Path, number: int | None, group: Any, shared: Any) -> DicomFrame:
    def value(sequence: str, keyword: str) -> Any:
        inside = _nested(group, shared, sequence, keyword)
        return dataset.get(keyword) if inside is None else inside

    thickness = value("PixelMeasuresSequence", "SpacingBetweenSlices") or value(
        "PixelMeasuresSequence", "SliceThickness"
    )
    kind = value("MRImageFrameTypeSequence", "FrameType") or dataset.get("ImageType") or ()
    echo = _nested(group, shared, "MREchoSequence", "EffectiveEchoTime") or dataset.get("EchoTime")
    spacing = value("PixelMeasuresSequence", "PixelSpacing") or dataset.get("ImagerPixelSpacing")
    slope = value("PixelValueTransformationSequence", "RescaleSlope")
    intercept = value("PixelValueTransformationSequence", "RescaleIntercept")
    return DicomFrame(
        path=path,
        frame=number,
        sop_uid=_text(dataset, "SOPInstanceUID"),
        instance=_integer(dataset.get("InstanceNumber")),
        position=_numbers(value("PlanePositionSequence", "ImagePositionPatient"), 3),
        orientation=_numbers(value("PlaneOrientationSequence", "ImageOrientationPatient"), 6),
        pixel_spacing=_numbers(spacing, 2),
        thickness=_number(thickness),
        size=(_to(int, dataset.Columns), _to(int, dataset.Rows)),
        slope=1.0 if slope is None else _to(float, slope),
        intercept=0.0 if intercept is None else _to(float, intercept),
        kind=(*_words(kind), f"echo {_to(float, echo):.1f} ms" if echo is not None else ""),
        tags=_tags(dataset, group, shared),
        padding=_padding(dataset),
        unit=_philips_unit(dataset, group, shared, slope),
    )


def _philips_unit(dataset: Dataset, group: Any, shared: Any, slope: Any) -> float | None:
    """Private scale slope (2005,100E) times rescale slope, by which Philips' displayed values differ between series."""
    creator = _value(dataset, _PHILIPS_CREATOR)
    if creator is None or not str(creator.value).upper().startswith("PHILIPS"):
        return None
    element = _nested(group, shared, _PHILIPS_FRAME, _PHILIPS_SCALE) or _value(dataset, _PHILIPS_SCALE)
    value = getattr(element, "value", None)
    if isinstance(value, bytes):  # an implicit header does not say that it is a float
        value = struct.unpack("<f", value)[0] if len(value) == 4 else None
    scale = _number(value)
    return scale * (1.0 if slope is None else _to(float, slope)) if scale else None


def _padding(dataset: Dataset) -> tuple[int, int] | None:
    """Smallest and largest stored value that only pads the image, None where the header names none."""
    ends = [_number(dataset.get(keyword)) for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    known = [int(end) for end in ends if end is not None]
    return (min(known), max(known)) if ends[0] is not None else None


def _tags(dataset: Dataset, group: Any, shared: Any) -> dict[str, float]:
    """Values that may distinguish phases; times in seconds (DICOM's trigger time is in milliseconds)."""
    trigger = _number(dataset.get("TriggerTime"))
    if trigger is None:
        trigger = _number(_nested(group, shared, "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"))
    offset = _number(_nested(group, shared, "TemporalPositionSequence", "TemporalPositionTimeOffset"))
    temporal = _nested(group, shared, "FrameContentSequence", "TemporalPositionIndex")
    taken = _nested(group, shared, "FrameContentSequence", "FrameAcquisitionDateTime")
    found = {
        "trigger": trigger / 1000.0 if trigger is not None else offset,
        "temporal": _number(dataset.get("TemporalPositionIdentifier") if temporal is None else temporal),
        "acquisition": _datetime(taken or dataset.get("AcquisitionDateTime"))
        or _moment(dataset, "AcquisitionDate", "AcquisitionTime"),
        "content": _moment(dataset, "ContentDate", "ContentTime"),
    }
    found["bolus"] = _bolus(dataset, found["acquisition"])
    return {name: value for name, value in found.items() if value is not None}


def _bolus(dataset: Dataset, acquired: float | None) -> float | None:
    """Start of the injection on the clock of the acquisition, on the day nearest to it; None where it is unknown."""
    clock = _datetime("00010101" + clock_digits(dataset.get("ContrastBolusStartTime")))
    if clock is None or acquired is None:
        return None
    since_midnight = clock % _DAY_S
    start = acquired - acquired % _DAY_S + since_midnight
    return min((start - _DAY_S, start, start + _DAY_S), key=lambda moment: abs(moment - acquired))


def _moment(dataset: Dataset, day: str, clock: str) -> float | None:
    """Seconds from a date and a time element; without a date, the series date or day 0 (only differences count)."""
    digits = clock_digits(dataset.get(clock))
    days = day_digits(dataset.get(day)) or day_digits(dataset.get("SeriesDate")) or "00010101"
    return _datetime(days + digits) if digits else None


def _datetime(value: Any) -> float | None:
    """Seconds of a DICOM DT value (YYYYMMDDHHMMSS.FFFFFF, an optional zone is left out), None if unusable."""
    text = str(value or "").strip().partition("+")[0].partition("-")[0]
    whole, _, fraction = text.partition(".")
    if len(whole) < 10 or not whole.isdigit():
        return None
    whole = whole.ljust(14, "0")
    if int(whole[8:10]) > 23 or int(whole[10:12]) > 59 or int(whole[12:14]) > 60:
        return None
    try:
        days = date(int(whole[:4]), int(whole[4:6]), int(whole[6:8])).toordinal()
        seconds = int(whole[8:10]) * 3600 + int(whole[10:12]) * 60 + int(whole[12:14])
        return days * 86400.0 + seconds + (float(f"0.{fraction}") if fraction else 0.0)
    except ValueError:
        return None


def _items(dataset: Any, sequence: str | int) -> list[Any]:
    """The items of a sequence, [] where it is missing or not a sequence."""
    from pydicom.sequence import Sequence as Items

    found = _value(dataset, sequence) if dataset is not None else None
    found = getattr(found, "value", found)  # an element where the sequence was asked for by its tag
    return list(found) if isinstance(found, Items) else []


def _first(dataset: Any, sequence: str | int) -> Any:
    items = _items(dataset, sequence)
    return items[0] if items else None


def _nested(group: Any, shared: Any, sequence: str | int, keyword: str | int) -> Any:
    """A value of a functional group of this frame, else of the shared ones, else None."""
    for place in (group, shared):
        item = _first(place, sequence)
        if item is not None and (value := _value(item, keyword)) is not None:
            return value
    return None


def _value(dataset: Dataset, keyword: str | int) -> Any:
    """An element's value, or by its tag the element; pydicom reads it only now, and may find it damaged."""
    try:
        return dataset.get(keyword)
    except dicom_errors() as error:
        raise _UnusableValueError from error


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return " ".join(_words(value)) if value is not None else ""


def _words(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(str(v) for v in np.atleast_1d(np.asarray(value, dtype=object)))


def _to(kind: Callable[[Any], Number], value: Any) -> Number:
    """`value` as int or float; raises _UnusableValueError for several numbers, text that is not a number, or NaN."""
    try:
        return kind(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise _UnusableValueError from error


def _number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    number = _to(float, value)
    return number if math.isfinite(number) else None


def _integer(value: Any) -> int | None:
    return None if value is None or value == "" else _to(int, value)


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """A tuple of `count` finite numbers, None where the element is missing or empty; else _UnusableValueError."""
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
    if values in ([], [None], [""]):
        return None
    numbers = tuple(_to(float, part) for part in values)
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise _UnusableValueError("a geometry element has the wrong number of values")
    return numbers
