"""Were two series scanned with the same sequence? By what their headers say of fat suppression, echo and timing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from .series_record import DicomSeries

_NO_SUPPRESSION = re.compile(r"(?<![a-z])(no|non|w/?o|without|ohne)[ _-]*(fs|fat|fett)|(?<![a-z])n(on)?[ _-]?fs", re.I)
MEASURED = {"repetition time": ("ms", 0.1, 0.0), "flip angle": ("degrees", 0.0, 1.5)}
"""Unit, relative and absolute tolerance; the shortest repetition time varies by some percent between series."""


def difference(one: DicomSeries, others: DicomSeries) -> str:
    """In what the sequences of two series differ, in words of the first; "" where nothing says that they do."""
    if (fat := _fat(one)) != _fat(others):
        return f"fat is {'suppressed' if fat == (True, False) else 'not suppressed'} in it by its header"
    if (echo := _echo(one)) != _echo(others):
        return f"its echo time is {echo.removeprefix('echo ') or 'unknown'}"
    if one.header.hints["b value"] != others.header.hints["b value"]:
        return "its diffusion weighting is another"
    return numbers_differ(others.header.hints, one.header.hints)


def numbers_differ(others: Mapping[str, str], one: Mapping[str, str]) -> str:
    """How far repetition time or flip angle of `one` is from that of `others`, in words; "" where it is not."""
    for what, (unit, relative, absolute) in MEASURED.items():
        a, b = (_number(numbers.get(what, "")) for numbers in (one, others))
        if a is not None and b is not None and abs(a - b) > max(absolute, relative * max(a, b)):
            return f"its {what} is {a:g} {unit} and not {b:g}"
    return ""


def alike(series: Sequence[DicomSeries]) -> list[list[DicomSeries]]:
    """The series in groups of one sequence each."""
    groups: list[list[DicomSeries]] = []
    for one in series:
        fitting = next((group for group in groups if not difference(one, group[0])), None)
        if fitting is None:
            groups.append([one])
        else:
            fitting.append(one)
    return groups


def _fat(series: DicomSeries) -> tuple[bool, bool]:
    """Whether the scan options name fat suppression, and whether the description says that there is none."""
    header = series.header
    return "FS" in header.hints["scan options"].split(), bool(_NO_SUPPRESSION.search(header.description))


def _echo(series: DicomSeries) -> str:
    return next((word for word in series.frames[0].kind if word.startswith("echo ")), "")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
