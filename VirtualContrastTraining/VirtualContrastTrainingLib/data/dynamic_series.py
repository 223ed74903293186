"""One dynamic examination from a folder: its phases in order of time, from DICOM tags or from volume files.

DICOM phases are told by tags, never by names. Which series belong together: the same study, frame of reference, pixel
grid, echo time and fat suppression, and slices at the same places. Their order and times: acquisition time, else
trigger time, else content time; else the temporal position (an order without times).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.dicom.headers import DicomFrame
from VirtualContrastLib.io.dicom.phases import DicomPhase, split_phases
from VirtualContrastLib.io.dicom.plausibility import contrast_warnings
from VirtualContrastLib.io.dicom.series import DicomSeries, find_series, read_series
from VirtualContrastLib.io.volumes import same_geometry

CLOCKS = ("acquisition", "trigger", "content")
"""Tags that give times, most trusted first."""
_NOT_ACQUIRED = {"SUB", "SUBTRACT", "SUBTRACTION", "MIP", "MPR", "PROJECTION IMAGE", "LOCALIZER"}
_SHARED_PLACES = 0.8
_LONGEST_SERIES_S = 3600.0


@dataclass(frozen=True)
class DynamicPhase:
    """One phase: its volume, seconds after the first phase (None where unknown), its files and DICOM frames."""

    image: sitk.Image
    time_s: float | None
    files: tuple[Path, ...]
    frames: tuple[DicomFrame, ...] = ()


@dataclass(frozen=True)
class DynamicSeries:
    """Phases in order of time on one grid; `ordered_by` says what told the order. No patient data."""

    phases: tuple[DynamicPhase, ...]
    ordered_by: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    """A phase before its pixels are read: its series, and its times by clock."""

    series: DicomSeries
    phase: DicomPhase
    clocks: dict[str, float]


def read_dicom_dynamic(
    folder: Path, belongs: Callable[[DicomSeries], bool] | None = None, *, name: str | None = None
) -> DynamicSeries:
    """The dynamic examination in a folder of DICOM series (at any depth).

    `belongs` chooses the series where something outside the tags says which they are; without it the largest group of
    series that fit together is taken. Raises InputError where there is no dynamic series or several, where a phase
    lacks slices, where grids differ, or where no tag tells the order.
    """
    name = name or folder.name
    series = [one for one in find_series(folder) if one.header.modality == "MR" and _acquired(one)]
    chosen = [one for one in series if belongs(one)] if belongs else _largest_group(series, name)
    candidates = [candidate for one in chosen for candidate in _candidates(one, name)]
    if len(candidates) < 2:
        raise InputError(f"{name} has no dynamic series: fewer than two volumes of MR series fit together.")
    ordered, ordered_by, times = in_order(candidates, name)
    phases = []
    for candidate, time_s in zip(ordered, times, strict=True):
        files = tuple(dict.fromkeys(frame.path for frame in candidate.phase.frames))
        # Of its own frames alone: the whole series would be split anew for each of its phases.
        image = read_series(DicomSeries(candidate.series.header, candidate.phase.frames))
        phases.append(DynamicPhase(image, time_s, files, candidate.phase.frames))
    check_one_grid([phase.image for phase in phases], name)
    warnings = [*contrast_warnings(ordered[0].series.header, "the first phase"), *_time_warnings(times)]
    return DynamicSeries(tuple(phases), ordered_by, tuple(warnings))


def in_order(candidates: Sequence[_Candidate], name: str) -> tuple[list[_Candidate], str, list[float] | list[None]]:
    """Candidates in order of time, what told it, and seconds after the first; InputError where nothing tells it."""
    for clock in CLOCKS:
        values = [candidate.clocks.get(clock) for candidate in candidates]
        known = [value for value in values if value is not None]
        if len(known) == len(set(known)) == len(candidates):
            ranked = sorted(zip(known, range(len(known)), strict=True))
            times = [value - ranked[0][0] for value, _ in ranked]
            return [candidates[n] for _, n in ranked], f"{clock} time", times
    unknown: list[None] = [None] * len(candidates)
    positions = [{frame.tags.get("temporal") for frame in candidate.phase.frames} for candidate in candidates]
    if all(len(p) == 1 and None not in p for p in positions) and len(set().union(*positions)) == len(candidates):
        ranked_candidates = sorted(candidates, key=lambda c: c.phase.frames[0].tags["temporal"])
        return ranked_candidates, "temporal position", unknown
    if len({candidate.series.header.uid for candidate in candidates}) == 1:
        return list(candidates), candidates[0].phase.separated_by, unknown
    raise InputError(
        f"{name} has {len(candidates)} phases whose order no tag tells: acquisition, trigger and content times and "
        "temporal positions are missing or repeat."
    )


def check_one_grid(images: Sequence[sitk.Image], name: str) -> None:
    """Raise InputError naming the first phase (0 = pre-contrast) that lies on another grid than the first."""
    for number, image in enumerate(images[1:], start=1):
        difference = same_geometry(images[0], image)
        if difference:
            raise InputError(f"{name}: phase {number} does not lie on the voxels of phase 0. {difference}")


def _acquired(series: DicomSeries) -> bool:
    kinds = {word.upper() for frame in series.frames for word in frame.kind}
    return not kinds & _NOT_ACQUIRED and all(frame.position and frame.orientation for frame in series.frames)


def _largest_group(series: Iterable[DicomSeries], name: str) -> list[DicomSeries]:
    """The series of the group with the most volumes; InputError where there is none, or two are equal."""
    groups: dict[tuple, list[DicomSeries]] = defaultdict(list)
    for one in series:
        groups[_grid_key(one)].append(one)
    sets = [_same_places(group) for group in groups.values()]
    counts = [sum(map(_volume_count, members)) for members in sets]
    if not counts or max(counts) < 2:
        raise InputError(f"{name} has no dynamic series: no two MR volumes share grid, echo time and fat suppression.")
    if counts.count(max(counts)) > 1:
        labels = "; ".join(sets[n][0].label for n, count in enumerate(counts) if count == max(counts))
        raise InputError(f"{name} has several dynamic series of {max(counts)} phases ({labels}); keep one of them.")
    return sets[counts.index(max(counts))]


def _grid_key(series: DicomSeries) -> tuple:
    header, first = series.header, series.frames[0]
    directions = tuple(sorted({tuple(np.round(frame.orientation or (), 3)) for frame in series.frames}))
    spacing = tuple(np.round(first.pixel_spacing or (), 3))
    fat_suppressed = "FS" in header.hints["scan options"].split()
    hints = (fat_suppressed, header.hints["echo time"], header.hints["b value"])
    return header.study_uid, header.frame_of_reference, first.size, directions, spacing, hints


def _places(series: DicomSeries) -> Counter[tuple[float, ...]]:
    return Counter(tuple(float(v) for v in np.round(frame.position or (), 1)) for frame in series.frames)


def _volume_count(series: DicomSeries) -> int:
    return max(_places(series).values())


def _same_places(group: list[DicomSeries]) -> list[DicomSeries]:
    """Series with nearly the slices of most volumes; one that only lacks a slice stays, to be complained of later."""
    places = [frozenset(_places(one)) for one in group]
    votes: Counter[frozenset] = Counter()
    for one, where in zip(group, places, strict=True):
        votes[where] += _volume_count(one)
    usual = max(votes, key=lambda where: (votes[where], len(where)))
    return [o for o, p in zip(group, places, strict=True) if len(p & usual) >= _SHARED_PLACES * len(p | usual)]


def _candidates(series: DicomSeries, name: str) -> list[_Candidate]:
    """The phases of a series with their times by clock.

    A clock that stands still within a series of several phases (as the acquisition time of many scanners does) marks
    the start of the series; the trigger time or another clock that runs then counts from there.
    """
    phases = split_phases(series.frames, f"{name}, series {series.label}")
    found = []
    for phase in phases:
        clocks = dict(phase.times)
        running = next((c for c in ("trigger", *CLOCKS) if c in phase.times), None)
        for clock in CLOCKS:
            if clock not in clocks and running and all(clock in frame.tags for frame in series.frames):
                start = min(frame.tags[clock] for frame in series.frames)
                clocks[clock] = start + phase.times[running] - phases[0].times[running]
        found.append(_Candidate(series, phase, clocks))
    return found


def _time_warnings(times: Sequence[float | None]) -> list[str]:
    if times[-1] is None:
        return ["no tag tells the times of the phases, only their order"]
    if times[-1] > _LONGEST_SERIES_S:
        return [f"the phases span {times[-1] / 60:.0f} minutes, which is long for one dynamic series"]
    return []
