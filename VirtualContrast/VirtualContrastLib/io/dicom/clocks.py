"""Corrects clocks of DICOM headers: midnight, a missing first time, and the seconds between two volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from .headers import DicomFrame

DAY_S = 86400.0
LONGEST_SERIES_S = 3600.0
"""Volumes further apart than an hour are no dynamic series."""
INJECTION = "start of the injection (ContrastBolusStartTime)"
PRE_CONTRAST = "start of the pre-contrast acquisition"
LATEST_FIRST_PHASE_S = 600.0
"""A first phase later than this after the pre-contrast volume says that the injection came long after that volume."""
_TIMES_OF_DAY = (("acquisition", "bolus"), ("content",))
"""Tags that give the time of day, those of one clock together."""


def unwrapped(times: Sequence[float]) -> list[float]:
    """Times of day (seconds) of one examination, those after midnight moved to the next day.

    An examination lasts less than twelve hours: where times span more and leave a gap of twelve hours, what lies before
    the gap came after midnight. Dates that were removed, or that were not counted on at midnight, are mended so.
    """
    ranked = sorted(set(times))
    if len(ranked) < 2 or ranked[-1] - ranked[0] <= DAY_S / 2:
        return list(times)
    gap, start = max((b - a, b) for a, b in pairwise(ranked))
    if gap < DAY_S / 2 or ranked[-1] - ranked[0] > DAY_S:
        return list(times)
    return [time if time >= start else time + DAY_S for time in times]


def corrected_times(frames: Sequence[DicomFrame]) -> list[DicomFrame]:
    """Frames of one examination with times that continue past midnight, and a missing first trigger time as 0."""
    tags = [dict(frame.tags) for frame in frames]
    for names in _TIMES_OF_DAY:
        present = [(n, name) for n, known in enumerate(tags) for name in names if name in known]
        for (n, name), time in zip(present, unwrapped([tags[n][name] for n, name in present]), strict=True):
            tags[n][name] = time
    _fill_first_trigger(frames, tags)
    _trigger_in_seconds(tags)
    return [replace(frame, tags=known) for frame, known in zip(frames, tags, strict=True)]


def _fill_first_trigger(frames: Sequence[DicomFrame], tags: list[dict[str, float]]) -> None:
    """Some exporters leave out a TriggerTime of 0: give it to the images that lack one where all others are later."""
    lacking = [n for n, known in enumerate(tags) if "trigger" not in known]
    rest = [known["trigger"] for known in tags if "trigger" in known]
    places = [frames[n].position for n in lacking]
    one_each = lacking and len(set(places)) == len(places) and len(frames) % len(lacking) == 0
    if one_each and rest and min(rest) > 0:
        for n in lacking:
            tags[n]["trigger"] = 0.0


def _trigger_in_seconds(tags: list[dict[str, float]]) -> None:
    """Some exporters write TriggerTime in seconds, not milliseconds: it then runs 1000 times too slow."""
    span = _span(tags, "trigger")
    if span and any(800 < _span(tags, clock) / span < 1200 for clock in ("acquisition", "content")):
        for known in tags:
            known["trigger"] *= 1000.0


def _span(tags: Sequence[Mapping[str, float]], name: str) -> float:
    """Seconds from the first to the last value of a tag, 0 where an image lacks it."""
    values = [known[name] for known in tags if name in known]
    return max(values) - min(values) if values and len(values) == len(tags) else 0.0


def seconds_between(pre: Mapping[str, float], post: Mapping[str, float]) -> tuple[float, str] | None:
    """Seconds from one volume to another and what they count from, on the first clock that both have; None if none.

    Where the later one says when the bolus started, on the clock of its acquisition and after the start of the other
    volume, seconds count from there. A clock counts where it runs forward by an hour at most, over midnight where it
    has no date.
    """
    since_bolus = post.get("acquisition", 0.0) - post.get("bolus", post.get("acquisition", 0.0))
    since_start = seconds_from_start(pre, post)
    if 0 < since_bolus <= LONGEST_SERIES_S and (since_start is None or since_bolus < since_start):
        return since_bolus, INJECTION
    return None if since_start is None else (since_start, PRE_CONTRAST)


def seconds_from_start(pre: Mapping[str, float], post: Mapping[str, float]) -> float | None:
    """Seconds from the start of one volume to that of another, on the first clock that both have; None if none."""
    for clock, start in pre.items():
        if clock == "bolus" or clock not in post:
            continue
        passed = post[clock] - start
        if clock in ("acquisition", "content") and -DAY_S < passed < 0:
            passed += DAY_S
        if 0 < passed <= LONGEST_SERIES_S:
            return passed
    return None
