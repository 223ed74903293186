"""Which series of a study folder, as a hospital exports it, are the dynamic examination, and in which order.

Left out with a line each: other modalities, secondary captures, localizers, subtractions and projections, phase images,
and of a Dixon scan all but water. Of what remains, the series that the user chose by number; else the only one; else
those that fit together as phases; else the largest group that does.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ...events import InputError
from . import clocks, protocol
from .phases import SHORTEST_SERIES_S, DicomPhase, split_phases, unknown_unit
from .series_record import DicomSeries, listed

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_TYPES = (
    ("localizer", {"LOCALIZER", "SCOUT", "SURVEY"}, r"locali[sz]er|scout|survey|3[- ]?plane"),
    ("subtraction", {"SUB", "SUBTRACT", "SUBTRACTION"}, r"(?<![a-z])sub(?![a-z])|subtr"),
    ("projection or reformat", {"MIP", "MPR", "PROJECTION IMAGE"}, r"(?<![a-z])(mip|mpr|thick)(?![a-z])"),
    ("phase, real or imaginary image", {"P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY"}, None),
    (
        "Dixon image other than water",
        {"F", "FAT", "IP", "IN", "IN_PHASE", "OP", "OPP", "OUT_PHASE", "OPP_PHASE", "OPPOSED_PHASE"},
        None,
    ),
)
"""What is left out: words of the image type, and of the description."""
ORDERING = ("acquisition", "trigger", "content")
"""Clocks that order phases of several series, most trusted first; after them the temporal position."""
_SHARED_PLACES, _SAME_PLACE_MM = 0.8, 0.2


@dataclass(frozen=True)
class Examination:
    """The phases of an examination in order of time, each with its series.

    Attributes:
        pairs: Series and phase of each.
        ordered_by: What gave the order.
        times: Seconds after the first, None where no clock runs.
        notes: What was left out and why, in sentences.
        warnings: What is odd, in sentences.
    """

    pairs: tuple[tuple[DicomSeries, DicomPhase], ...]
    ordered_by: str
    times: tuple[float | None, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def choose_series(
    series: Sequence[DicomSeries], name: str, wanted: Sequence[str] = ()
) -> tuple[list[DicomSeries], list[str]]:
    """The series to read.

    Args:
        series: All series of a folder.
        name: Name of the folder, for messages.
        wanted: Numbers as the listing has them (801, 801.2) or descriptions; none chooses those that fit together.

    Returns:
        The series, and a line for each one left out.

    Raises:
        InputError: One of `wanted` does not exist, or several groups of series are equally good.
    """
    if wanted:
        return _wanted(series, name, wanted), []
    if len(series) < 2:
        return list(series), []
    reasons = {one.key: _not_acquired(one, series) for one in series}
    reasons |= {one.key: "it is derived from the others" for one in _derived([s for s in series if not reasons[s.key]])}
    kept = [one for one in series if not reasons[one.key]]
    if not kept:
        return list(series), []
    notes = [f"{name}: series {one.label} was left out: {reasons[one.key]}." for one in series if reasons[one.key]]
    if len(kept) == 1 or kept[0].header.modality == "MG":
        return kept, notes
    group = _largest_group(kept, name)
    notes += [_left_out(one, group, name) for one in kept if one not in group]
    return group, notes


def examination(
    series: Sequence[DicomSeries], name: str, notes: Sequence[str] = (), *, whole: bool = False
) -> Examination:
    """The phases of series in order of time.

    Phases of one series keep the order that `split_phases` gives them; those of several are ordered by the first of
    acquisition, trigger, content time and temporal position that all have, each another value.

    Args:
        series: The series of one examination.
        name: Name of the folder, for messages.
        notes: Lines for series that were left out.
        whole: Whether a last phase that lacks slices is refused; otherwise it is left out with a warning.

    Returns:
        The examination.

    Raises:
        InputError: Slices are missing, or no tag gives the order.
    """
    frames = [(n, frame) for n, one in enumerate(series) for frame in one.frames]
    right = (
        clocks.corrected_times([frame for _, frame in frames]) if len(series) > 1 else [frame for _, frame in frames]
    )
    pairs: list[tuple[DicomSeries, DicomPhase]] = []
    warnings: list[str] = []
    times: list[dict[str, float]] = []
    for n, one in enumerate(series):
        own = [frame for (m, _), frame in zip(frames, right, strict=True) if m == n]
        called = name if len(series) == 1 else f"{name}, series {one.label}"
        split = split_phases(own, called)
        if whole and any("was left out" in warning for warning in split.warnings):
            raise InputError(next(w for w in split.warnings if "was left out" in w))
        warnings += split.warnings
        pairs += [(one, phase) for phase in split.phases]
        times += _clocks(own, split.phases)
    if len(series) == 1:
        order, ordered_by = list(range(len(pairs))), _clock_of(times) or pairs[0][1].separated_by
    else:
        order, ordered_by = _in_order(pairs, times, name, warnings)
    clock = next((c for c in ORDERING if ordered_by == f"{c} time"), None)
    start = times[order[0]][clock] if clock else 0.0
    if clock == "trigger" and times[order[-1]][clock] - start < SHORTEST_SERIES_S:
        clock, pairs = None, [(one, _without(phase, "trigger")) for one, phase in pairs]
        warnings.append(unknown_unit(name))
    seconds = tuple(times[n][clock] - start if clock else None for n in order)
    return Examination(tuple(pairs[n] for n in order), ordered_by, seconds, tuple(notes), tuple(warnings))


def _without(phase: DicomPhase, clock: str) -> DicomPhase:
    return replace(phase, times={name: time for name, time in phase.times.items() if name != clock})


def _wanted(series: Sequence[DicomSeries], name: str, wanted: Sequence[str]) -> list[DicomSeries]:
    found = []
    for text in wanted:
        asked = text.strip().casefold()
        matching = [
            one
            for one in series
            if asked in (one.key, one.header.number, one.header.description.casefold(), one.header.uid)
        ]
        if not matching:
            raise InputError(f"{name} has no series {text}; it holds {listed(series)}.")
        found += [one for one in matching if one not in found]
    return found


def _not_acquired(one: DicomSeries, series: Sequence[DicomSeries]) -> str:
    """Why a series is no image to work on, "" where it may be one."""
    header = one.header
    best = "MR" if any(other.header.modality == "MR" for other in series) else "MG"
    if header.modality != best:
        return f"its modality is {header.modality or 'unknown'}"
    if header.sop_class.startswith(_SECONDARY_CAPTURE):
        return "it is a secondary capture"
    if best == "MG":
        return ""
    words = {word.upper() for frame in one.frames for word in frame.kind}
    for what, types, described in _TYPES:
        if words & types or (described and re.search(described, header.description, re.I)):
            return f"it is a {what}"
    if not all(frame.position and frame.orientation for frame in one.frames):
        return "it has no place in space"
    return ""


def _derived(series: Sequence[DicomSeries]) -> list[DicomSeries]:
    """Series of the image type DERIVED where others on their grid are ORIGINAL: maps, differences, reformats.

    Where all are derived, as water images of Dixon scans are, none is meant.
    """
    is_derived = {one.key: all("DERIVED" in map(str.upper, f.kind) for f in one.frames) for one in series}
    mixed = [group for group in _of_one_kind(series) if {is_derived[one.key] for one in group} == {True, False}]
    return [one for group in mixed for one in group if is_derived[one.key]]


def _largest_group(series: Sequence[DicomSeries], name: str) -> list[DicomSeries]:
    """The series that fit together with the most volumes; InputError where two groups are equal."""
    sets = [_same_places(group) for group in _of_one_kind(series)]
    counts = [sum(map(_volume_count, members)) for members in sets]
    best = sets[counts.index(max(counts))]
    kinds_of_one = len({one.header.uid for one in best}) < len(best)  # images of several kinds, not phases
    if max(counts) < 2 or counts.count(max(counts)) > 1 or kinds_of_one:
        raise InputError(
            f"{name} holds {len(series)} different series: {listed(series)}; choose with --series, or give a folder "
            "with one of them."
        )
    return best


def _left_out(one: DicomSeries, group: Sequence[DicomSeries], name: str) -> str:
    """Why an acquired series is none of the phases; said so that nobody misses a phase before contrast among them."""
    if _grid_key(one) != _grid_key(group[0]) or _share(*(np.array(sorted(_places(s))) for s in (one, group[0]))) < 1.0:
        return f"{name}: series {one.label} was left out: it does not lie on the slices of the others."
    text = f"{name}: series {one.label} was left out: {protocol.difference(one, group[0]) or 'it differs in kind'}."
    if any(_start([one], clock) < _start(group, clock) for clock in ("acquisition", "content")):
        text += " It was acquired before them: choose with --series if it is the phase before contrast."
    return text


def _start(series: Sequence[DicomSeries], clock: str) -> float:
    """The first time of some series on a clock, NaN where an image lacks it."""
    return float(np.min([frame.tags.get(clock, math.nan) for one in series for frame in one.frames]))


def _of_one_kind(series: Sequence[DicomSeries]) -> list[list[DicomSeries]]:
    """Series of one examination, grid and sequence together."""
    of_grid: dict[tuple, list[DicomSeries]] = defaultdict(list)
    for one in series:
        of_grid[_grid_key(one)].append(one)
    return [group for members in of_grid.values() for group in protocol.alike(members)]


def _grid_key(series: DicomSeries) -> tuple:
    header, first = series.header, series.frames[0]
    directions = tuple(sorted({tuple(np.round(frame.orientation or (), 3)) for frame in series.frames}))
    spacing = tuple(np.round(first.pixel_spacing or (), 3))
    return header.study_uid, header.frame_of_reference, first.size, directions, spacing


def _places(series: DicomSeries) -> Counter[tuple[float, ...]]:
    return Counter(tuple(float(v) for v in np.round(frame.position or (), 1)) for frame in series.frames)


def _volume_count(series: DicomSeries) -> int:
    return max(_places(series).values())


def _same_places(group: list[DicomSeries]) -> list[DicomSeries]:
    """Series with nearly the slices of most volumes; one that only lacks a slice stays, to be complained of later."""
    places = [np.array(sorted(_places(one))) for one in group]
    votes = [
        sum(_volume_count(other) for other, where in zip(group, places, strict=True) if _share(where, mine) == 1.0)
        for mine in places
    ]
    usual = places[max(range(len(group)), key=lambda n: (votes[n], len(places[n])))]
    return [one for one, where in zip(group, places, strict=True) if _share(where, usual) >= _SHARED_PLACES]


def _share(a: np.ndarray, b: np.ndarray) -> float:
    """Part of the places [n, 3] of two series that both have, within a fifth of a millimeter."""
    common = sum(bool((np.linalg.norm(b - place, axis=1) < _SAME_PLACE_MM).any()) for place in a)
    return common / (len(a) + len(b) - common)


def _clocks(frames: Sequence, phases: Sequence[DicomPhase]) -> list[dict[str, float]]:
    """Times of the phases of a series by clock.

    A clock that stands still within a series of several phases (as the acquisition time of many scanners does) marks
    the start of the series; the trigger time or another clock that runs then counts from there.
    """
    found = []
    for phase in phases:
        known = dict(phase.times)
        running = next((c for c in ("trigger", *ORDERING) if c in phase.times), None)
        for clock in ORDERING:
            if clock not in known and running and all(clock in frame.tags for frame in frames):
                start = min(frame.tags[clock] for frame in frames)
                known[clock] = start + phase.times[running] - phases[0].times[running]
        found.append(known)
    return found


def _clock_of(times: Sequence[dict[str, float]]) -> str:
    for clock in ORDERING:
        values = [known[clock] for known in times if clock in known]
        if len(values) == len(times) and all(a < b for a, b in pairwise(values)):
            return f"{clock} time"
    return ""


def _in_order(
    pairs: Sequence[tuple[DicomSeries, DicomPhase]], times: Sequence[dict[str, float]], name: str, warnings: list[str]
) -> tuple[list[int], str]:
    """Order of the phases of several series, and what gave it; contradictions are added to `warnings`."""
    orders: dict[str, list[int]] = {}
    for clock in ORDERING:
        values = [known.get(clock) for known in times]
        if None not in values and len(set(values)) == len(values):
            orders[f"{clock} time"] = sorted(range(len(values)), key=lambda n: values[n] or 0.0)
    positions = [{frame.tags.get("temporal") for frame in phase.frames} for _, phase in pairs]
    if all(len(p) == 1 and None not in p for p in positions) and len(set().union(*positions)) == len(pairs):
        indices = [next(iter(p)) or 0.0 for p in positions]
        orders["temporal position"] = sorted(range(len(indices)), key=lambda n: indices[n])
    if not orders:
        raise InputError(
            f"{name} has {len(pairs)} phases whose order no tag gives: acquisition, trigger and content times and "
            "temporal positions are missing or repeat."
        )
    used = next(iter(orders))
    numbers = [int(one.header.number) if one.header.number.isdigit() else None for one, _ in pairs]
    if used != "acquisition time" and None not in numbers and len(set(numbers)) == len(numbers):
        orders["series number"] = sorted(range(len(numbers)), key=lambda n: numbers[n] or 0)
    for other, order in orders.items():
        if order != orders[used] and other != "content time":
            keys = [" ".join(pairs[n][0].key for n in one) for one in (orders[used], order)]
            warnings.append(
                f"{name}: the tags of its series contradict each other: the {used} orders them {keys[0]}, which was "
                f"used, and the {other} {keys[1]}; make sure that phase 0 is the one before contrast."
            )
    return orders[used], used
