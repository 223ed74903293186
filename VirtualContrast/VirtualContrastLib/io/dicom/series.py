"""DICOM folders and files as volumes, classic and enhanced multi-frame, one phase at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ...events import InputError
from .. import one_sequence
from ..loaded import Loaded, check_size, choose_time_point
from ..validation import MODALITIES
from .files import is_dicom
from .headers import DicomFrame, SeriesHeader, header_of, read_headers
from .phases import DicomPhase, directions, placed_as, slice_normal
from .pixels import decode
from .plausibility import contrast_warnings, mammogram_warnings, refusals, synthetic_warnings
from .protocol import MEASURED
from .series_record import DicomSeries, listed, shorten
from .study_folder import Examination, choose_series, examination

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_MAX_FILES = 50_000
_LISTED = 6


def find_series(folder: Path) -> list[DicomSeries]:
    """All image series in a folder (in its subfolders where it has no DICOM itself), or of one DICOM file.

    Sorted by series number. Raises InputError where there is no DICOM image, one is damaged or one is there
    twice.
    """
    files = [folder] if folder.is_file() else _dicom_files(folder)
    headers: dict[str, SeriesHeader] = {}
    frames: dict[str, list[DicomFrame]] = {}
    seen: dict[str, Path] = {}
    for path in files:
        found = read_headers(path)
        if found is None:
            continue
        header, images = found
        uid = images[0].sop_uid
        if uid and uid in seen:
            raise InputError(f"{folder.name} holds the same image twice ({seen[uid].name}, {path.name}); remove one.")
        seen[uid] = path
        headers.setdefault(header.uid, header)
        frames.setdefault(header.uid, []).extend(images)
    if not frames:
        what = "holds no image" if folder.is_file() else "has DICOM files but no image among them"
        raise InputError(f"{folder.name} {what}; give a breast MR series or a mammogram.")
    series = [DicomSeries(headers[uid], tuple(part)) for uid in frames for part in _kinds(frames[uid])]
    series.sort(key=lambda s: (int(s.header.number) if s.header.number.isdigit() else 0, s.header.uid))
    return _numbered(series)


def _numbered(series: Sequence[DicomSeries]) -> list[DicomSeries]:
    """The series with keys that differ: their numbers, with a part where a number comes more than once."""
    counts = Counter(one.header.number or "0" for one in series)
    used: Counter[str] = Counter()
    found = []
    for one in series:
        number = one.header.number or "0"
        used[number] += 1
        found.append(replace(one, key=number if counts[number] == 1 else f"{number}.{used[number]}"))
    return found


def read_series(series: DicomSeries, phase: int | None = None) -> sitk.Image:
    """One volume of a series as a 3-D image with the gray values of its rescale slope and intercept.

    `phase` counts from 0 and may be left out where there is one only. Stored integers are kept where no
    rescaling is asked for; rescaled values are float32, computed in double precision slice by slice. Raises
    InputError.
    """
    name = series.frames[0].path.parent.name
    _check_usable(series, name)
    pairs = examination([series], name).pairs
    return _volume(pairs[choose_time_point(phase, len(pairs), name, "phases")][1], series.header, name)[0]


def find_examination(path: Path) -> Examination:
    """The phases of the MR examination in a folder, those that fit together, without their voxels.

    Raises InputError where no image is there, none can be used, several are equally good, or nothing gives an order.
    """
    return _examination_among(find_series(path), path.name, ())


def _examination_among(every: Sequence[DicomSeries], name: str, wanted: Sequence[str]) -> Examination:
    """The phases of the MR examination among series: those of the numbers `wanted`, or those that fit together.

    Raises InputError where none can be used, several are equally good, or nothing gives an order.
    """
    series, notes = choose_series(every, name, wanted)
    for one in series:
        _check_usable(one, name)
    found = examination(series, name, notes)
    first = np.array([frame.position for frame in found.pairs[0][1].frames])
    spacing = float(np.linalg.norm(first[1] - first[0])) if len(first) > 1 else 1.0
    if len(found.pairs) > 1 and len(found.pairs[-1][1].frames) < len(first):
        found = _without_last(found, len(first), name)
    for one, phase in found.pairs:
        here = np.array([frame.position for frame in phase.frames])
        if here.shape != first.shape or not np.allclose(here, first, atol=0.05 * max(spacing, 1.0)):
            raise InputError(
                f"{name} holds {len(series)} different series: {listed(series)}; the slices of {one.label} lie "
                "elsewhere; choose with --series."
            )
    return found


def _without_last(found: Examination, slices: int, name: str) -> Examination:
    """The examination without its last phase, a series that was stopped before it had all `slices`."""
    last = found.pairs[-1]
    warning = (
        f"{name}: its last phase (series {last[0].label}) lacks {slices - len(last[1].frames)} of {slices} slices and "
        "was left out."
    )
    return replace(found, pairs=found.pairs[:-1], times=found.times[:-1], warnings=(*found.warnings, warning))


def read(path: Path, index: int | None, wanted: Sequence[str] = ()) -> Loaded:
    """Read a phase of a DICOM folder, or a DICOM file.

    Args:
        path: The folder or file.
        index: Index of the phase, from 0; None where there is one only.
        wanted: Chooses series by number.

    Returns:
        The volume with what its header says.

    Raises:
        InputError: It cannot be read, or holds several phases or examinations to choose from.
    """
    series = find_series(path)
    if any(one.header.modality == "MG" for one in series):
        chosen, notes = choose_series(series, path.name, wanted)
        if chosen[0].header.modality == "MG":
            _check_one_mammogram(chosen, path.name)
            return replace(_mammogram(chosen[0], path.name), notes=tuple(notes))
    found = _examination_among(series, path.name, wanted)  # the headers of a large folder are read once
    pairs = found.pairs
    if index is None and len(pairs) > 1:
        raise InputError(
            f"{path.name} holds {len(pairs)} phases ({_phase_list(found)}); choose one, as in {path.name}@0."
        )
    chosen_series, phase = pairs[choose_time_point(index, len(pairs), path.name, "phases")]
    is_first = phase is pairs[0][1]
    phase = replace(phase, frames=placed_as(pairs[0][1].frames, phase.frames))
    header = header_of(chosen_series.header, phase.frames)
    warnings = [*found.warnings, *synthetic_warnings(header, path.name)]
    if phase.separated_by in ("instance number", "frame number"):
        warnings.append(
            f"{path.name}: no time tag distinguishes its {len(pairs)} volumes; they were ordered by "
            f"{phase.separated_by}."
        )
    if header.unreadable:
        warnings.append(f"{path.name}: unreadable elements were left out: {', '.join(header.unreadable)}.")
    if path.is_file() and len(phase.frames) == 1:
        warnings.append(f"{path.name} is a single slice; give its folder to read the whole series.")
    if len({one.header.uid for one, _ in pairs}) > 1 and is_first:
        warnings += _doubt_of_first(pairs, path.name)
    times = dict(phase.times)
    if "trigger" in times and found.ordered_by != "trigger time":  # it counts from the start of its own series
        times[f"trigger {header.uid}"] = times.pop("trigger")
    image, headers = _volume(phase, header, path.name)
    return Loaded(
        image,
        tuple(dict.fromkeys(frame.path for frame in phase.frames)),
        "dicom",
        modality=header.modality,
        warnings=tuple(warnings),
        contrast_warnings=tuple(contrast_warnings(header, path.name)),
        refusals=tuple(refusals(header, path.name)),
        clocks=times,
        notes=found.notes,
        unit=phase.frames[0].unit,
        sequence={what: header.hints[what] for what in MEASURED},
        headers=headers,
    )


def _doubt_of_first(pairs: Sequence[tuple[DicomSeries, DicomPhase]], name: str) -> list[str]:
    """A warning where the first phase, of a series of its own, is by its pixels not of the sequence of the next."""
    few = np.unique(np.linspace(0, len(pairs[0][1].frames) - 1, 2 * one_sequence.SLICES)).astype(int)
    first, second = (decode([phase.frames[k] for k in few], name)[0] for _, phase in pairs[:2])
    doubt = one_sequence.doubt(first, second, f"{name}@0", f"{name}@1")
    return [f"{doubt[:-1]}; choose the series of the dynamic examination with --series."] if doubt else []


def _dicom_files(folder: Path) -> list[Path]:
    """DICOM files directly in a folder, sorted by name; where there are none, those in its subfolders."""
    for found in (folder.iterdir(), folder.rglob("*")):
        files = []
        for path in found:
            if path.is_symlink() and not path.exists():
                raise InputError(
                    f"{folder.name} holds a link that leads nowhere ({path.name}): a slice may be missing."
                )
            if path.is_file() and path.name.upper() != "DICOMDIR" and is_dicom(path):
                files.append(path)
            if len(files) > _MAX_FILES:
                raise InputError(f"{folder.name} holds more than {_MAX_FILES} DICOM files; give one series.")
        if files:
            return sorted(files)
    raise InputError(f"{folder.name} is a folder without DICOM files; give a DICOM series or a volume file.")


def _kinds(frames: list[DicomFrame]) -> list[list[DicomFrame]]:
    """Frames of one series apart by kind (image type, echo time) where the same place comes more than
    once.
    """
    if len({(frame.position, frame.orientation) for frame in frames}) == len(frames):
        return [frames]
    groups: dict[tuple[str, ...], list[DicomFrame]] = {}
    for frame in frames:
        groups.setdefault(frame.kind, []).append(frame)
    return list(groups.values())


def _check_usable(series: DicomSeries, name: str) -> None:
    """Raise InputError where a series is no gray MR or mammography image with a known place."""
    header = series.header
    if header.modality not in MODALITIES:
        raise InputError(f"{name} has the modality {header.modality or '(none)'}; give breast MR or mammography (MG).")
    if header.samples != 1 or not header.photometric.startswith("MONOCHROME"):
        raise InputError(f"{name} holds color images ({header.photometric}); give gray ones.")
    if header.hints["lookup table"]:
        raise InputError(f"{name} maps its values by a lookup table; export it with plain gray values.")
    if "MOSAIC" in header.hints["image type"].split():
        raise InputError(f"{name} is a Siemens mosaic; convert it to one image per slice first.")
    for frame in series.frames:
        if frame.position is None or frame.orientation is None or frame.pixel_spacing is None:
            raise InputError(f"{name} has no position in space (ImagePositionPatient and others) in {frame.path.name}.")


def _volume(phase: DicomPhase, header: SeriesHeader, name: str) -> tuple[sitk.Image, tuple[Dataset, ...]]:
    """Sorted slices as a 3-D image: row, column and slice normal are the directions of i, j and k; their headers."""
    first, last = phase.frames[0], phase.frames[-1]
    check_size((*first.size, len(phase.frames)), name)
    inverted = header.modality == "MG" and header.photometric == "MONOCHROME1"
    array, headers = decode(phase.frames, name, inverted=inverted)
    _check_alike(header, headers, name)
    image = sitk.GetImageFromArray(array, isVector=False)
    row, column = (v / np.linalg.norm(v) for v in directions(first))
    normal = slice_normal(first)
    extent = float((np.array(last.position) - np.array(first.position)) @ normal)
    between_rows, between_columns = first.pixel_spacing or (1.0, 1.0)
    thickness = first.thickness if first.thickness and first.thickness > 0 else 1.0
    if between_rows <= 0 or between_columns <= 0:
        raise InputError(f"{name} declares a pixel spacing that is not positive.")
    image.SetSpacing((between_columns, between_rows, extent / (len(phase.frames) - 1) if extent else thickness))
    image.SetOrigin(first.position)
    image.SetDirection(np.column_stack((row, column, normal)).ravel().tolist())
    return image, headers


def _check_alike(header: SeriesHeader, headers: Sequence[Dataset], name: str) -> None:
    """Raise InputError where a file is of another kind of image than the header that stands for the series."""
    for one in headers:
        kinds = str(one.get("Modality", "")), str(one.get("PhotometricInterpretation", header.photometric))
        if kinds != (header.modality, header.photometric):
            raise InputError(
                f"{name} mixes images of {header.modality} ({header.photometric}) and of {' ('.join(kinds)}) in one "
                "series; export it again."
            )


def _check_one_mammogram(series: Sequence[DicomSeries], name: str) -> None:
    count = sum(len(one.frames) for one in series)
    if count > 1:
        listing = listed(series)
        raise InputError(f"{name} holds {count} images of mammography ({listing}); give one file: one low-energy view.")


def _mammogram(series: DicomSeries, name: str) -> Loaded:
    """One mammogram: a projection, placed at the origin with the pixel spacing at the detector; tissue is bright."""
    frame, header = series.frames[0], series.header
    placed = replace(
        frame,
        position=(0.0, 0.0, 0.0),
        orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        pixel_spacing=frame.pixel_spacing or (1.0, 1.0),
    )
    _check_usable(DicomSeries(header, (placed,)), name)
    image, headers = _volume(DicomPhase((placed,), {}, ""), header, name)
    warnings = synthetic_warnings(header, name)
    warnings += [] if frame.pixel_spacing else [f"{name} gives no pixel spacing: measures are in pixels."]
    if header.photometric == "MONOCHROME1":
        image = _inverted(image, [frame.slope * value + frame.intercept for value in header.stored_range])
        warnings.append(f"{name} is stored with inverted display (MONOCHROME1); it was inverted, so tissue is bright.")
    return Loaded(
        image,
        (frame.path,),
        "dicom",
        modality="MG",
        has_geometry=frame.pixel_spacing is not None,
        warnings=tuple(warnings),
        contrast_warnings=tuple(mammogram_warnings(header, name)),
        headers=headers,
    )


def _inverted(image: sitk.Image, ends: Sequence[float]) -> sitk.Image:
    """The image with its range of possible values (between `ends`) turned round; the type of its numbers stays."""
    array = sitk.GetArrayFromImage(image)
    turned = sitk.GetImageFromArray((sum(ends) - array.astype(np.float64)).astype(array.dtype))
    turned.CopyInformation(image)
    return turned


def _phase_list(found: Examination) -> str:
    """`0: 0 s, 1: 90 s, ...` with times after the first phase where known; descriptions where series differ."""
    several = len({series.header.uid for series, _ in found.pairs}) > 1
    texts = []
    for n, ((series, _), time_s) in enumerate(zip(found.pairs, found.times, strict=True)):
        text = f"{n}" if time_s is None else f"{n}: {time_s:g} s"
        texts.append(f"{text} {series.header.description}".strip() if several else text)
    return shorten(texts, _LISTED)
