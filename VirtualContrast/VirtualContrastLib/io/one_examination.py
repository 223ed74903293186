"""Do the images given for one study belong together? By patient, study, sequence and time in their headers."""

from __future__ import annotations

from collections.abc import Sequence

from ..events import InputError
from .dicom.clocks import DAY_S, LONGEST_SERIES_S
from .dicom.protocol import numbers_differ
from .loaded import Loaded

_IDENTITIES = {"PatientID": "patient", "StudyInstanceUID": "study"}


def doubts(pre: Loaded, name: str, other: Loaded, other_name: str) -> list[str]:
    """What speaks against a real phase being of the examination of the pre-contrast volume; no value of a name or id.

    Args:
        pre: The pre-contrast volume.
        name: Its name, for messages.
        other: The real phase.
        other_name: Its name.

    Returns:
        Sentences.
    """
    found = list(other.refusals)
    for keyword, what in _IDENTITIES.items():
        ids = [str(one.headers[0].get(keyword) or "") if one.headers else "" for one in (pre, other)]
        if all(ids) and ids[0] != ids[1]:
            found.append(
                f"{other_name} is of another {what} than {name} by its header; give images of one examination."
            )
            break
    if text := numbers_differ(pre.sequence, other.sequence):
        found.append(f"{other_name} was acquired with another sequence than {name}: {text}.")
    passed = _seconds(pre, other) or 0.0
    if abs(passed) > LONGEST_SERIES_S:
        found.append(f"{other_name} was acquired more than an hour before or after {name} by its header.")
    elif passed < 0:
        found.append(
            f"{other_name} was acquired {-passed:g} s before {name} by its header: make sure that {name} is the image "
            "before contrast."
        )
    return found


def check_order(real: Sequence[Loaded], names: Sequence[str], *, times_given: bool) -> list[str]:
    """Whether the real phases are given in the order in which they were acquired.

    Args:
        real: The real phases as given.
        names: Their names.
        times_given: Whether the user tells their times, which then count.

    Returns:
        A sentence where they are not and times were given.

    Raises:
        InputError: They are not, and no times were given.
    """
    seconds = [_seconds(real[0], one) for one in real[1:]] if real else []
    known = [0.0, *(second for second in seconds if second is not None)]
    if len(known) < len(real) or known == sorted(known):
        return []
    order = ", ".join(names[n] for n in sorted(range(len(real)), key=lambda n: known[n]))
    sentence = (
        f"The real phases are given as {', '.join(names)} and were acquired in the order {order} by their headers"
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
