"""Slices of a DICOM series into volumes: one phase or several, each complete, sorted and evenly spaced.

Which tag separates the phases of a series is decided in a stated order: trigger time (or temporal offset), temporal
position, acquisition time, content time, and last the instance number. A tag is trusted only where it has another value
for each of the images at one place, for every place, and where the phases it gives do not overlap in time. Trusted tags
that contradict each other, and instance numbers that run phase by phase or place by place in another order, are warned
of with both orders (except content time, the time when pixels were made). Where only instance numbers are left, they
must run phase by phase or place by place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ...events import InputError
from . import clocks
from .headers import DicomFrame

TAGS = ("trigger", "temporal", "acquisition", "content")
NAMES = {
    "trigger": "TriggerTime",
    "temporal": "TemporalPositionIdentifier",
    "acquisition": "AcquisitionTime",
    "content": "ContentTime",
    "instance": "InstanceNumber",
}
_SAME_PLACE_MM = 0.01
_SAME_PLACE_SHARE = 0.05
_ORIENTATION_TOLERANCE = 1e-3
SHORTEST_SERIES_S = 2.0
"""A dynamic series that ends earlier would end before contrast arrives: its times are in another unit."""
_OVERLAPS = 1.5
"""Slices this many times thicker than their distance were interpolated, or belong to several volumes."""


@dataclass(frozen=True)
class DicomPhase:
    """One volume of a series.

    Attributes:
        frames: Its frames, sorted along the slice normal.
        times: Its times in seconds, by tag.
        separated_by: The tag that set it apart.
    """

    frames: tuple[DicomFrame, ...]
    times: Mapping[str, float]
    separated_by: str


@dataclass(frozen=True)
class SplitSeries:
    """The phases of a series.

    Attributes:
        phases: The phases.
        warnings: What there is to warn of, in sentences.
    """

    phases: list[DicomPhase]
    warnings: tuple[str, ...] = ()


def directions(frame: DicomFrame) -> tuple[np.ndarray, np.ndarray]:
    """Row and column direction (LPS) of a frame that has an orientation, as its header gives them."""
    cosines = np.array(frame.orientation, dtype=np.float64)
    return cosines[:3], cosines[3:]


def slice_normal(frame: DicomFrame) -> np.ndarray:
    """Unit vector (LPS) perpendicular to the slice; InputError where the direction cosines are no right
    angle.
    """
    row, column = directions(frame)
    right = abs(row @ column) < _ORIENTATION_TOLERANCE
    if not right or not np.allclose(np.linalg.norm((row, column), axis=1), 1.0, atol=_ORIENTATION_TOLERANCE):
        raise InputError(f"{frame.path.name} has direction cosines that are not at right angles, so it is damaged.")
    normal = np.cross(row, column)
    return normal / np.linalg.norm(normal)


def split_phases(frames: Sequence[DicomFrame], name: str) -> SplitSeries:
    """The phases of one series in order of time; raises InputError where slices are missing, doubled or uneven.

    A last phase that lacks slices (a scan that was stopped) is left out, with a warning.
    """
    frames = clocks.corrected_times(frames)
    places = _places(frames)
    warnings: list[str] = []
    count = _phase_count(places, name)
    if count < max(len(place) for place in places):
        places, warnings = _without_last(places, count, name)
    if count == 1:
        volumes, tag = [[place[0] for place in places]], ""
    else:
        volumes, tag = _separate(places, count, name)
        volumes = [list(placed_as(volumes[0], volume)) for volume in volumes]
        warnings += _contradictions(volumes, tag, name)
    for volume in volumes:
        check_stack(volume, name)
    if count == 1:
        warnings += _check_interleaved(volumes[0], name)
    times = [_times(volume) for volume in volumes]
    for key in TAGS:  # a clock that does not run forward through the phases is no clock
        values = [time.get(key) for time in times]
        if any(a is None or b is None or a >= b for a, b in pairwise(values)):
            times = [{k: v for k, v in time.items() if k != key} for time in times]
    if count > 1 and all("trigger" in time for time in times) and times[-1]["trigger"] < SHORTEST_SERIES_S:
        times = [{k: v for k, v in time.items() if k != "trigger"} for time in times]
        warnings.append(unknown_unit(name))
    phases = [DicomPhase(tuple(v), t, tag) for v, t in zip(volumes, times, strict=True)]
    return SplitSeries(phases, tuple(warnings))


def unknown_unit(name: str) -> str:
    """The warning of trigger times that end within seconds."""
    return f"{name}: TriggerTime ends within seconds, so its unit is unknown and it gives no time."


def _places(frames: Sequence[DicomFrame]) -> list[list[DicomFrame]]:
    """Frames grouped by their place along the slice normal, in ascending order.

    Places that differ by less than a twentieth of the usual distance are one: phases of one scan come with headers
    that were rounded differently.
    """
    normal = slice_normal(frames[0])
    along = sorted(((float(np.dot(frame.position or (), normal)), n) for n, frame in enumerate(frames)))
    gaps = np.diff([distance for distance, _ in along])
    steps = gaps[gaps > gaps.max() / 4] if gaps.size and gaps.max() > 0 else np.zeros(1)
    same = max(_SAME_PLACE_MM, _SAME_PLACE_SHARE * float(np.median(steps)))
    places: list[list[DicomFrame]] = []
    last = -np.inf
    for distance, n in along:
        if distance - last > same:
            places.append([])
        places[-1].append(frames[n])
        last = distance
    return places


def placed_as(first: Sequence[DicomFrame], volume: Sequence[DicomFrame]) -> tuple[DicomFrame, ...]:
    """The frames of a volume at the places of the first volume of their examination."""
    return tuple(replace(frame, position=at.position) for frame, at in zip(volume, first, strict=True))


def _phase_count(places: list[list[DicomFrame]], name: str) -> int:
    """Whole phases: images per place, the same everywhere or one more at some places.

    Raises InputError naming the place where it is neither.
    """
    counts = Counter(len(place) for place in places)
    if max(counts) - min(counts) == 1:
        return min(counts)
    usual = max(counts, key=lambda n: (counts[n], n))
    for place in places:
        if len(place) != usual:
            raise _uneven(place, usual, name)
    return usual


def _uneven(place: list[DicomFrame], usual: int, name: str) -> InputError:
    where = f"{float(np.dot(place[0].position or (), slice_normal(place[0]))):.1f} mm along the slice direction"
    if len(place) < usual:
        return InputError(
            f"{name} lacks a slice: {len(place)} of {usual} phases have one at {where}; export the series again."
        )
    return InputError(
        f"{name} holds {len(place)} images where {usual} is expected, at {where} "
        f"({place[0].path.name}, {place[-1].path.name}); remove the files that do not belong to the series."
    )


def _without_last(places: list[list[DicomFrame]], count: int, name: str) -> tuple[list[list[DicomFrame]], list[str]]:
    """Places without the images of a last phase that some of them lack; InputError where it is another that lacks one.

    That the surplus images are the last in time, and that the others make whole phases, some tag or the instance
    number must tell.
    """
    surplus = sum(len(place) - count for place in places)
    for tag in (*TAGS, "instance"):
        values = {id(frame): _value(frame, tag) for place in places for frame in place}
        if None in values.values():
            continue
        ranked = [sorted(place, key=lambda frame: values[id(frame)] or 0.0) for place in places]
        whole = np.array([[values[id(frame)] for frame in place[:count]] for place in ranked], dtype=float)
        last = min(float(values[id(place[count])] or 0.0) for place in ranked if len(place) > count)
        steps = np.diff(np.append(whole.min(axis=0), last))
        if (steps > 0).all() and np.ptp(whole, axis=0).max() < steps.min() and last > whole.max():
            lacks = len(places) - surplus
            warning = (
                f"{name}: its last phase lacks {lacks} of {len(places)} slices and was left out; "
                f"{count} whole {'phase stays' if count == 1 else 'phases stay'}."
            )
            return [place[:count] for place in ranked], [warning]
    usual = Counter(len(place) for place in places)
    most = max(usual, key=lambda n: (usual[n], n))
    raise next(_uneven(place, most, name) for place in places if len(place) != most)


def _value(frame: DicomFrame, tag: str) -> float | None:
    return frame.instance if tag == "instance" else frame.tags.get(tag)


def _separate(places: list[list[DicomFrame]], count: int, name: str) -> tuple[list[list[DicomFrame]], str]:
    """Volumes in order of the first trustworthy tag, and that tag; by instance number where no tag is."""
    for tag in TAGS:
        volumes = _by_tag(places, count, tag)
        if volumes is not None:
            return volumes, tag
    if not _numbered(places, count):
        if len({frame.frame for frame in places[0]}) == count:
            return _by(places, count, "frame"), "frame number"
        raise InputError(f"{name} holds {count} images at each place and no tag that distinguishes the phases.")
    volumes = _by_instance(places, count)
    if volumes is None:
        raise InputError(
            f"{name} holds {count} images at each place, no time tag distinguishes the phases, and its instance "
            "numbers run neither phase by phase nor place by place; export the series again with its acquisition times."
        )
    return volumes, "instance number"


def _numbered(places: list[list[DicomFrame]], count: int) -> bool:
    """True where the images at each place have instance numbers that differ."""
    return all(len({frame.instance for frame in place} - {None}) == count for place in places)


def _by_instance(places: list[list[DicomFrame]], count: int) -> list[list[DicomFrame]] | None:
    """Volumes in order of the instance number, None where it runs neither phase by phase nor place by place."""
    if not _numbered(places, count):
        return None
    volumes = _by(places, count, "instance")
    return volumes if _regular([[frame.instance or 0 for frame in volume] for volume in volumes]) else None


def _by_tag(places: list[list[DicomFrame]], count: int, tag: str) -> list[list[DicomFrame]] | None:
    """Volumes in order of a tag, None where it is not to be trusted."""
    if not all(len({frame.tags.get(tag) for frame in place} - {None}) == count for place in places):
        return None
    ranked = [sorted(place, key=lambda frame: frame.tags[tag]) for place in places]
    volumes = [[place[n] for place in ranked] for n in range(count)]
    return volumes if _apart(volumes, tag) else None


def _regular(numbers: list[list[int]]) -> bool:
    """True where the instance numbers [phase][place] run phase by phase, or place by place."""
    table = np.array(numbers)
    by_phase = (table[1:].min(axis=1) > table[:-1].max(axis=1)).all()
    by_place = table[:, np.argsort(table[0])]
    return bool(by_phase or (by_place[:, 1:].min(axis=0) > by_place[:, :-1].max(axis=0)).all())


def _contradictions(volumes: list[list[DicomFrame]], used: str, name: str) -> list[str]:
    """Warnings of tags that give another order than the one used, naming both."""
    places, count = [list(place) for place in zip(*volumes, strict=True)], len(volumes)
    number = {id(frame): n for n, volume in enumerate(volumes) for frame in volume}
    found = []
    for tag in ("trigger", "temporal", "acquisition", "instance"):
        other = _by_instance(places, count) if tag == "instance" else _by_tag(places, count, tag)
        if other is None or used in (tag, f"{tag} number"):
            continue
        order = [number[id(volume[0])] for volume in other]
        mixed = any(number[id(f)] != n for n, v in zip(order, other, strict=True) for f in v)
        if mixed and tag == "instance":
            continue  # numbers that by chance run place by place
        if mixed or order != list(range(count)):
            found.append(
                f"{name}: its tags contradict each other: {NAMES.get(used, used)} orders the phases "
                f"{' '.join(map(str, range(count)))}, which was used, and {NAMES[tag]} "
                f"{' '.join(map(str, order))}; make sure that phase 0 is the one before contrast."
            )
    return found


def _check_interleaved(volume: Sequence[DicomFrame], name: str) -> list[str]:
    """Slices that are several phases, each shifted by part of a slice between those of the first: refused or warned of.

    A tag parts them so that every second (third ...) slice is of another time. Interleaved two-dimensional scans do
    that too, and so it is only a warning where nothing else speaks for phases: slices closer than the header says, a
    three-dimensional scan, or a tag that counts phases. Instance numbers count where the slices are closer by as many.
    """
    positions = np.array([frame.position for frame in volume])
    measured = float(np.median(np.diff(positions @ slice_normal(volume[0])))) if len(volume) > 3 else 0.0
    if measured <= 0:
        return []
    overlap = (volume[0].thickness or measured) / measured
    for phases in range(2, min(8, len(volume) // 2) + 1):
        closer = abs(overlap - phases) <= 0.1 * phases
        tag = next((tag for tag in (*TAGS, "instance") if _parts(volume, tag, phases, closer)), None)
        if tag is None:
            continue
        gap = f"{measured:.2f} mm apart where {overlap * measured:.2f} mm is declared"
        if overlap < _OVERLAPS:
            gap = f"one slice in {phases} is of another {NAMES[tag]}"
        sentence = f"{name} holds {phases} phases whose slices interleave ({gap})"
        if overlap >= _OVERLAPS or tag in ("trigger", "temporal") or "3D" in volume[0].hints.get("dimensions", ""):
            raise InputError(
                f"{sentence}: the patient table or the slab was shifted; put each phase into a folder of its own."
            )
        return [f"{sentence}, or was scanned slice by slice: make sure that it is a single volume before contrast."]
    return []


def _parts(volume: Sequence[DicomFrame], tag: str, phases: int, closer: bool) -> bool:
    """True where a tag has another value, or range of values, for each of `phases` interleaved sets of slices."""
    known = [value for frame in volume if (value := _value(frame, tag)) is not None]
    if len(known) != len(volume):
        return False
    groups = sorted((known[n::phases] for n in range(phases)), key=min)
    steps = [min(b) - max(a) for a, b in pairwise(groups)]
    if tag == "instance":
        return closer and min(steps) > 0
    return min(steps) > max(max(group) - min(group) for group in groups)


def _by(places: list[list[DicomFrame]], count: int, attribute: str) -> list[list[DicomFrame]]:
    ranked = [sorted(place, key=lambda frame: getattr(frame, attribute)) for place in places]
    return [[place[n] for place in ranked] for n in range(count)]


def _apart(volumes: list[list[DicomFrame]], tag: str) -> bool:
    """True where the tag's values within each phase spread less than the smallest step between phases.

    Slices of one phase may have times of their own (2-D multislice), but a phase that mixes two time points,
    because slices are missing at some places, spreads as far as a whole step.
    """
    values = np.array([[frame.tags[tag] for frame in volume] for volume in volumes])
    step = float(np.diff(values.min(axis=1)).min())
    return bool((values[1:].min(axis=1) > values[:-1].max(axis=1)).all() and np.ptp(values, axis=1).max() < step)


def check_stack(frames: Sequence[DicomFrame], name: str) -> None:
    """Raise InputError where sorted slices are not parallel, of one size, in line and evenly spaced."""
    first = frames[0]
    for frame in frames[1:]:
        if frame.size != first.size or not np.allclose(frame.pixel_spacing or 0, first.pixel_spacing or 0, rtol=1e-4):
            raise InputError(f"{name} mixes slices of different size or pixel spacing; give one series.")
        if not np.allclose(frame.orientation or 0, first.orientation or 0, atol=1e-4):
            raise InputError(f"{name} mixes slices of different orientation; give one series.")
    if len(frames) < 3:
        return
    positions = np.array([frame.position for frame in frames])
    normal = slice_normal(first)
    gaps = np.diff(positions @ normal)
    usual = float(np.median(gaps))
    uneven = np.abs(gaps - usual) > max(0.02 * usual, 0.02)
    if uneven.any():
        k = int(np.argmax(np.abs(gaps - usual)))
        raise InputError(
            f"{name} has a gap of {gaps[k]:.2f} mm between slices {k + 1} and {k + 2} "
            f"where {usual:.2f} mm is usual: a slice is missing or misplaced; export the series again."
        )
    aside = (positions - positions[0]) - np.outer((positions - positions[0]) @ normal, normal)
    if np.linalg.norm(aside, axis=1).max() > 0.05 + 1e-3 * gaps.sum():
        raise InputError(f"{name} has slices shifted sideways (a sheared stack); resample it to a regular grid.")


def _times(volume: Sequence[DicomFrame]) -> dict[str, float]:
    """Start of a volume by each tag that all its frames have, and of its bolus; the temporal index is not a time."""
    return {
        tag: min(frame.tags[tag] for frame in volume)
        for tag in (*TAGS, "bolus")
        if tag != "temporal" and all(tag in frame.tags for frame in volume)
    }
