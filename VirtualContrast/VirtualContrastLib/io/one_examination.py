"""Do the images given for one study belong together? By headers (patient, study, sequence, time) and gray values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..events import Events, InputError
from . import one_sequence
from .dicom.clocks import DAY_S, LONGEST_SERIES_S
from .dicom.protocol import numbers_differ
from .loaded import Loaded

_IDENTITIES = {"PatientID": "patient", "StudyInstanceUID": "study"}


@dataclass(frozen=True)
class Given:
    """One image of an examination.

    Attributes:
        name: Its name in messages.
        loaded: What was read.
    """

    name: str
    loaded: Loaded


def check(
    pre: Given | None, real: Sequence[Given], events: Events, *, times_given: bool, gray_values: bool = True
) -> None:
    """Warn of what speaks against all images being of one examination and in order; for every command that takes them.

    Args:
        pre: The pre-contrast volume, None where none is given: the real phases are then held against the first of them.
        real: The real phases on its voxels, in its units, as given.
        events: Where warnings go.
        times_given: Whether the user tells the times of the real phases, which then count.
        gray_values: Whether the gray values must be those of one sequence before and after contrast.

    Raises:
        InputError: The phases are not in the order of their acquisition, and no times were given.
    """
    for number, phase in enumerate(real):
        if pre is not None and _same(pre, phase):
            events.warn(f"{phase.name} is the same image as the pre-contrast one; give real post-contrast phases.")
        if any(_same(earlier, phase) for earlier in real[:number]):
            events.warn(f"{phase.name} is the same image as a real phase before it; give each phase once.")
        found = list(phase.loaded.refusals)
        if pre is not None:
            found += doubts(pre, phase)
            if gray_values:
                found += _doubts_of_gray_values(pre, phase)
        elif number:
            found += _doubts_of_headers(real[0], phase)
        for sentence in found:
            events.warn(sentence)
    for sentence in check_order(real, times_given=times_given):
        events.warn(sentence)


def doubts(pre: Given, other: Given) -> list[str]:
    """What in the headers speaks against a real phase being of the examination of the pre-contrast volume.

    Args:
        pre: The pre-contrast volume.
        other: The real phase.

    Returns:
        Sentences, without the value of a name or id.
    """
    found = _doubts_of_headers(pre, other)
    name, other_name = pre.name, other.name
    passed = _seconds(pre.loaded, other.loaded) or 0.0
    if abs(passed) > LONGEST_SERIES_S:
        found.append(f"{other_name} was acquired more than an hour before or after {name} by its header.")
    elif passed < 0:
        found.append(
            f"{other_name} was acquired {-passed:g} s before {name} by its header: make sure that {name} is the image "
            "before contrast."
        )
    return found


def _doubts_of_headers(first: Given, other: Given) -> list[str]:
    """Sentences on another patient or study, and on another sequence."""
    found = [another_person(first, other)]
    if text := numbers_differ(first.loaded.sequence, other.loaded.sequence):
        found.append(f"{other.name} was acquired with another sequence than {first.name}: {text}.")
    return [sentence for sentence in found if sentence]


def another_person(first: Given, other: Given) -> str:
    """A sentence where two headers name different patients, or studies of one, "" where they do not or are none."""
    for keyword, what in _IDENTITIES.items():
        headers = (one.loaded.headers for one in (first, other))
        ids = [str(found[0].get(keyword) or "") if found else "" for found in headers]
        if all(ids) and ids[0] != ids[1]:
            return f"{other.name} is of another {what} than {first.name} by its header; give images of one examination."
    return ""


def _doubts_of_gray_values(pre: Given, other: Given) -> list[str]:
    before, after = (sitk.GetArrayViewFromImage(one.loaded.image) for one in (pre, other))
    sentence = one_sequence.doubt(before, after, pre.name, other.name)
    told = any(one_sequence.WORDS in known for known in pre.loaded.warnings)  # the reader of their folder saw it too
    return [sentence] if sentence and not told else []


def _same(one: Given, other: Given) -> bool:
    """Equal voxel by voxel, which two acquisitions never are."""
    first, second = (sitk.GetArrayViewFromImage(given.loaded.image) for given in (one, other))
    return bool(np.array_equal(first, second))


def check_order(real: Sequence[Given], *, times_given: bool) -> list[str]:
    """Whether the real phases are given in the order in which they were acquired.

    Args:
        real: The real phases as given.
        times_given: Whether the user tells their times, which then count.

    Returns:
        A sentence where they are not and times were given.

    Raises:
        InputError: They are not, and no times were given.
    """
    seconds = [_seconds(real[0].loaded, one.loaded) for one in real[1:]] if real else []
    known = [0.0, *(second for second in seconds if second is not None)]
    if len(known) < len(real) or known == sorted(known):
        return []
    order = ", ".join(real[n].name for n in sorted(range(len(real)), key=lambda n: known[n]))
    sentence = (
        f"The real phases are given as {', '.join(one.name for one in real)} and were acquired in the order {order} by "
        "their headers"
    )
    if times_given:
        return [f"{sentence}; the times that you gave were used."]
    raise InputError(f"{sentence}; give them in that order, or their true times with --real-times.")


def _seconds(first: Loaded, second: Loaded) -> float | None:
    """Seconds from one image to another on the first clock that both have, over midnight; None where none is."""
    for clock, start in first.clocks.items():
        if clock != "bolus" and clock in second.clocks:
            passed = second.clocks[clock] - start
            return passed + DAY_S if passed < -DAY_S / 2 and clock in ("acquisition", "content") else passed
    return None
