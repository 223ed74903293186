"""Slices of a DICOM series into volumes: one phase or several, each complete, sorted and evenly spaced.

Which tag separates the phases is decided in a stated order: trigger time (or temporal offset), temporal
position, acquisition time, content time, and last the instance number. A tag is trusted only where it has
another value for each of the images at one place, for every place, and where the phases it gives do not
overlap in time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...events import InputError
from .headers import DicomFrame

TAGS = ("trigger", "temporal", "acquisition", "content")
_SAME_PLACE_MM = 0.01
_ORIENTATION_TOLERANCE = 1e-3


@dataclass(frozen=True)
class DicomPhase:
    """One volume: frames sorted along the slice normal, its times in seconds by tag, and the tag that set it
    apart.
    """

    frames: tuple[DicomFrame, ...]
    times: Mapping[str, float]
    separated_by: str


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


def split_phases(frames: Sequence[DicomFrame], name: str) -> list[DicomPhase]:
    """The phases of one series in order of time; raises InputError where slices are missing, doubled or
    uneven.
    """
    places = _places(frames)
    count = _phase_count(places, name)
    if count == 1:
        volumes, tag = [[place[0] for place in places]], ""
    else:
        volumes, tag = _separate(places, count, name)
    for volume in volumes:
        check_stack(volume, name)
    times = [_times(volume) for volume in volumes]
    for key in TAGS:  # a clock that does not run forward through the phases is no clock
        values = [time.get(key) for time in times]
        if any(a is None or b is None or a >= b for a, b in pairwise(values)):
            times = [{k: v for k, v in time.items() if k != key} for time in times]
    return [DicomPhase(tuple(v), t, tag) for v, t in zip(volumes, times, strict=True)]


def _places(frames: Sequence[DicomFrame]) -> list[list[DicomFrame]]:
    """Frames grouped by their place along the slice normal, in ascending order."""
    normal = slice_normal(frames[0])
    along = sorted(((float(np.dot(frame.position or (), normal)), n) for n, frame in enumerate(frames)))
    places: list[list[DicomFrame]] = []
    last = -np.inf
    for distance, n in along:
        if distance - last > _SAME_PLACE_MM:
            places.append([])
        places[-1].append(frames[n])
        last = distance
    return places


def _phase_count(places: list[list[DicomFrame]], name: str) -> int:
    """Images per place, the same everywhere; raises InputError naming the place where it is not."""
    counts = Counter(len(place) for place in places)
    usual = max(counts, key=lambda n: (counts[n], n))
    normal = slice_normal(places[0][0])
    for place in places:
        where = f"{float(np.dot(place[0].position or (), normal)):.1f} mm along the slice direction"
        if len(place) < usual:
            raise InputError(
                f"{name} lacks a slice: {len(place)} of {usual} phases have one at {where}; export the series again."
            )
        if len(place) > usual:
            raise InputError(
                f"{name} holds {len(place)} images where {usual} is expected, at {where} "
                f"({place[0].path.name}, {place[-1].path.name}); remove what does not belong to the series."
            )
    return usual


def _separate(places: list[list[DicomFrame]], count: int, name: str) -> tuple[list[list[DicomFrame]], str]:
    """Volumes in order of the first trustworthy tag, and that tag; by instance number where no tag is."""
    for tag in TAGS:
        if all(len({frame.tags.get(tag) for frame in place} - {None}) == count for place in places):
            ranked = [sorted(place, key=lambda frame: frame.tags[tag]) for place in places]
            volumes = [[place[n] for place in ranked] for n in range(count)]
            if _apart(volumes, tag):
                return volumes, tag
    if any(len({frame.instance for frame in place} - {None}) != count for place in places):
        if len({frame.frame for frame in places[0]}) == count:
            return _by(places, count, "frame"), "frame number"
        raise InputError(f"{name} holds {count} images at each place and no tag that tells the phases apart.")
    return _by(places, count, "instance"), "instance number"


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
    """Start of a volume by each tag that all its frames have; the temporal index is an order, not a time."""
    return {
        tag: min(frame.tags[tag] for frame in volume)
        for tag in TAGS
        if tag != "temporal" and all(tag in frame.tags for frame in volume)
    }
