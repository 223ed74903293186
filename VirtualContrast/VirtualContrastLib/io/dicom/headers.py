"""DICOM headers, classic and enhanced multi-frame, as one record per slice. No patient identifiers are read."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...events import InputError
from .elements import (
    UnusableValueError,
    converted,
    element_value,
    first_item,
    integer_of,
    nested_value,
    number_of,
    numbers_of,
    seconds_of_moment,
    sequence_items,
    text_of,
    words_of,
)
from .files import LARGEST_DEFLATION, dicom_errors, is_deflated, open_data_set, quiet_pydicom
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
_DAY_S = 86400.0
_PHILIPS_CREATOR, _PHILIPS_SCALE, _PHILIPS_FRAME = 0x20050010, 0x2005100E, 0x2005140F
_SYNTHETIC_DATA = 0x0008001C  # pydicom 2 does not know its keyword
_KEPT = 10_000  # files whose headers are remembered, a few KiB each: more than a long dynamic examination has


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


def read_headers(path: Path) -> tuple[SeriesHeader, tuple[DicomFrame, ...]] | None:
    """Series header and one record per frame of a DICOM file; None for an object without an image (SR, RT plan).

    A file that has not changed is not read again: of a folder of phases, every phase is read by the headers of all.
    Raises InputError where the file is damaged.
    """
    now = path.stat()
    return _read_headers(path, now.st_mtime_ns, now.st_ctime_ns, now.st_size)


@lru_cache(maxsize=_KEPT)
def _read_headers(
    path: Path, modified_ns: int, changed_ns: int, size: int
) -> tuple[SeriesHeader, tuple[DicomFrame, ...]] | None:
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
            frames = _frames(dataset, path)
            return header, tuple(dataclasses.replace(frame, hints=header.hints) for frame in frames)
    except UnusableValueError as error:
        raise InputError(damaged) from error


def _series_header(dataset: Dataset) -> SeriesHeader:
    return SeriesHeader(
        uid=text_of(dataset, "SeriesInstanceUID"),
        sop_class=text_of(dataset, "SOPClassUID"),
        study_uid=text_of(dataset, "StudyInstanceUID"),
        frame_of_reference=text_of(dataset, "FrameOfReferenceUID"),
        modality=text_of(dataset, "Modality"),
        number=text_of(dataset, "SeriesNumber"),
        description=text_of(dataset, "SeriesDescription"),
        photometric=text_of(dataset, "PhotometricInterpretation"),
        samples=converted(int, dataset.get("SamplesPerPixel") or 1),
        stored_range=_stored_range(dataset),
        hints=_hints(dataset),
    )


def _hints(dataset: Dataset) -> dict[str, str]:
    """What a header says of contrast agent, weighting, fat suppression, sequence and body part."""
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    group = first_item(dataset, "PerFrameFunctionalGroupsSequence")
    echo = text_of(dataset, "EchoTime") or nested_value(group, shared, "MREchoSequence", "EffectiveEchoTime")
    timing = "MRTimingAndRelatedParametersSequence"
    measured = {"repetition time": "RepetitionTime", "flip angle": "FlipAngle"}
    synthetic = element_value(dataset, _SYNTHETIC_DATA)
    return {
        what: text_of(dataset, keyword) or str(nested_value(group, shared, timing, keyword) or "")
        for what, keyword in measured.items()
    } | {
        "agent": text_of(dataset, "ContrastBolusAgent"),
        "scan options": text_of(dataset, "ScanOptions"),
        "suppression": text_of(dataset, "SpectrallySelectedSuppression"),
        "echo time": str(echo or ""),
        "b value": text_of(dataset, "DiffusionBValue"),
        "image type": text_of(dataset, "ImageType"),
        "lookup table": "yes" if dataset.get("ModalityLUTSequence") else "",
        "synthetic": str(synthetic.value) if synthetic is not None else "",
        "body part": text_of(dataset, "BodyPartExamined"),
        "sequence": text_of(dataset, "ScanningSequence"),
        "dimensions": text_of(dataset, "MRAcquisitionType"),
    }


def header_of(header: SeriesHeader, frames: Sequence[DicomFrame]) -> SeriesHeader:
    """The header of a series with the hints of all of `frames`: of each hint every value that one of them has."""
    several = {name: dict.fromkeys(frame.hints.get(name, "") for frame in frames) for name in header.hints}
    return dataclasses.replace(header, hints={name: " ".join(filter(None, found)) for name, found in several.items()})


def _stored_range(dataset: Dataset) -> tuple[int, int]:
    values = 2 ** converted(int, dataset.get("BitsStored") or 16)
    signed = converted(int, dataset.get("PixelRepresentation") or 0) == 1
    return (-values // 2, values // 2 - 1) if signed else (0, values - 1)


def _frames(dataset: Dataset, path: Path) -> list[DicomFrame]:
    """One record per frame: from the functional groups of an enhanced object, else from the top level."""
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    per_frame = sequence_items(dataset, "PerFrameFunctionalGroupsSequence")
    count = converted(int, dataset.get("NumberOfFrames") or 1)
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
        bits = max(1, converted(int, dataset.get("BitsStored") or 8))
        samples = converted(int, dataset.get("SamplesPerPixel") or 1)
        least = max(1, converted(int, dataset.Rows) * converted(int, dataset.Columns) * samples * bits // 8)
    return path.stat().st_size * (LARGEST_DEFLATION if is_deflated(syntax) else 1) // least


def _frame(dataset: Dataset, path: Path, number: int | None, group: Any, shared: Any) -> DicomFrame:
    def value(sequence: str, keyword: str) -> Any:
        inside = nested_value(group, shared, sequence, keyword)
        return dataset.get(keyword) if inside is None else inside

    thickness = value("PixelMeasuresSequence", "SpacingBetweenSlices") or value(
        "PixelMeasuresSequence", "SliceThickness"
    )
    kind = value("MRImageFrameTypeSequence", "FrameType") or dataset.get("ImageType") or ()
    echo = nested_value(group, shared, "MREchoSequence", "EffectiveEchoTime") or dataset.get("EchoTime")
    spacing = value("PixelMeasuresSequence", "PixelSpacing") or dataset.get("ImagerPixelSpacing")
    slope = value("PixelValueTransformationSequence", "RescaleSlope")
    intercept = value("PixelValueTransformationSequence", "RescaleIntercept")
    return DicomFrame(
        path=path,
        frame=number,
        sop_uid=text_of(dataset, "SOPInstanceUID"),
        instance=integer_of(dataset.get("InstanceNumber")),
        position=numbers_of(value("PlanePositionSequence", "ImagePositionPatient"), 3),
        orientation=numbers_of(value("PlaneOrientationSequence", "ImageOrientationPatient"), 6),
        pixel_spacing=numbers_of(spacing, 2),
        thickness=number_of(thickness),
        size=(converted(int, dataset.Columns), converted(int, dataset.Rows)),
        slope=1.0 if slope is None else converted(float, slope),
        intercept=0.0 if intercept is None else converted(float, intercept),
        kind=(*words_of(kind), f"echo {converted(float, echo):.1f} ms" if echo is not None else ""),
        tags=_tags(dataset, group, shared),
        padding=_padding(dataset),
        unit=_philips_unit(dataset, group, shared, slope),
    )


def _philips_unit(dataset: Dataset, group: Any, shared: Any, slope: Any) -> float | None:
    """Private scale slope (2005,100E) times rescale slope, by which Philips' displayed values differ between series."""
    creator = element_value(dataset, _PHILIPS_CREATOR)
    if creator is None or not str(creator.value).upper().startswith("PHILIPS"):
        return None
    element = nested_value(group, shared, _PHILIPS_FRAME, _PHILIPS_SCALE) or element_value(dataset, _PHILIPS_SCALE)
    value = getattr(element, "value", None)
    if isinstance(value, bytes):  # an implicit header does not say that it is a float
        value = struct.unpack("<f", value)[0] if len(value) == 4 else None
    scale = number_of(value)
    return scale * (1.0 if slope is None else converted(float, slope)) if scale else None


def _padding(dataset: Dataset) -> tuple[int, int] | None:
    """Smallest and largest stored value that only pads the image, None where the header names none."""
    ends = [number_of(dataset.get(keyword)) for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    known = [int(end) for end in ends if end is not None]
    return (min(known), max(known)) if ends[0] is not None else None


def _tags(dataset: Dataset, group: Any, shared: Any) -> dict[str, float]:
    """Values that may distinguish phases; times in seconds (DICOM's trigger time is in milliseconds)."""
    trigger = number_of(dataset.get("TriggerTime"))
    if trigger is None:
        trigger = number_of(
            nested_value(group, shared, "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime")
        )
    offset = number_of(nested_value(group, shared, "TemporalPositionSequence", "TemporalPositionTimeOffset"))
    temporal = nested_value(group, shared, "FrameContentSequence", "TemporalPositionIndex")
    taken = nested_value(group, shared, "FrameContentSequence", "FrameAcquisitionDateTime")
    found = {
        "trigger": trigger / 1000.0 if trigger is not None else offset,
        "temporal": number_of(dataset.get("TemporalPositionIdentifier") if temporal is None else temporal),
        "acquisition": seconds_of_moment(taken or dataset.get("AcquisitionDateTime"))
        or _moment(dataset, "AcquisitionDate", "AcquisitionTime"),
        "content": _moment(dataset, "ContentDate", "ContentTime"),
    }
    found["bolus"] = _bolus(dataset, found["acquisition"])
    return {name: value for name, value in found.items() if value is not None}


def _bolus(dataset: Dataset, acquired: float | None) -> float | None:
    """Start of the injection on the clock of the acquisition, on the day nearest to it; None where it is unknown."""
    clock = seconds_of_moment("00010101" + clock_digits(dataset.get("ContrastBolusStartTime")))
    if clock is None or acquired is None:
        return None
    since_midnight = clock % _DAY_S
    start = acquired - acquired % _DAY_S + since_midnight
    return min((start - _DAY_S, start, start + _DAY_S), key=lambda moment: abs(moment - acquired))


def _moment(dataset: Dataset, day: str, clock: str) -> float | None:
    """Seconds from a date and a time element; without a date, the series date or day 0 (only differences count)."""
    digits = clock_digits(dataset.get(clock))
    days = day_digits(dataset.get(day)) or day_digits(dataset.get("SeriesDate")) or "00010101"
    return seconds_of_moment(days + digits) if digits else None
