"""Values of DICOM elements as scanners, anonymizers and converters write them, brought to what the standard allows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CHECKED = ("AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI")
"""Value representations whose form the standard prescribes; free text may hold anything."""
_DAY = re.compile(r"(\d{4})[-./ ]?(\d{2})[-./ ]?(\d{2})")
_CLOCK = re.compile(r"(\d{1,2}):?(\d{2})?:?(\d{2})?(\.\d{1,6})?\d*")


def day_digits(value: Any) -> str:
    """`YYYYMMDD` of a date in any usual spelling (19700102, 1970-01-02, 1970.01.02); "" for what is no date."""
    match = _DAY.fullmatch(str(value or "").strip())
    if not match:
        return ""
    try:
        date(*(int(part) for part in match.groups()))
    except ValueError:
        return ""
    return "".join(match.groups())


def clock_digits(value: Any) -> str:
    """`HHMMSS[.F]` of a time of day (090130.5, 90130, 09:01:30, 0901); "" for what is none.

    A lost leading zero, as spreadsheets and converters drop it, is put back.
    """
    text = str(value or "").strip()
    whole, point, fraction = text.partition(".")
    if whole.isdigit() and len(whole) in (3, 5):
        text = f"0{whole}{point}{fraction}"
    match = _CLOCK.fullmatch(text)
    if not match:
        return ""
    hour, minute, second = (int(part or 0) for part in match.groups()[:3])
    if hour > 23 or minute > 59 or second > 60:
        return ""
    return f"{hour:02d}{minute:02d}{second:02d}{match[4] or ''}"


def drop_unreadable(dataset: Dataset, keywords: Iterable[str]) -> list[str]:
    """Remove the elements of `keywords` whose value cannot be read at all (text for a number); returns their names."""
    from pydicom.datadict import dictionary_VR
    from pydicom.multival import MultiValue

    dropped = []
    for keyword in keywords:
        try:
            value = dataset.get(keyword)
            if value not in (None, "") and dictionary_VR(keyword) in ("DS", "IS"):
                for part in value if isinstance(value, MultiValue) else [value]:
                    float(part or 0)  # pydicom hands on text that is no number
        except (ValueError, TypeError, ArithmeticError, AttributeError, LookupError):
            if keyword in dataset:
                del dataset[keyword]
                dropped.append(keyword)
    return dropped


def make_writable(dataset: Dataset, keywords: Iterable[str]) -> None:
    """Bring the elements of `keywords` to a form that may be written, in place.

    Text is decoded from whatever character set the source declares (Japanese, Korean, an unknown one read as Latin-1)
    and will be written as UTF-8. Dates and times are spelled as the standard does; a value that is none is emptied. A
    number, code, age or UID of a wrong form is removed.
    """
    keywords = list(keywords)
    drop_unreadable(dataset, keywords)
    for keyword in keywords:
        if keyword not in dataset or keyword == "SpecificCharacterSet":
            continue
        element = dataset[keyword]
        if element.VR == "PN":
            element.value = _each(element.value, str)
        elif element.VR == "DA":
            element.value = _each(element.value, day_digits)
        elif element.VR == "TM":
            element.value = _each(element.value, clock_digits)
        elif element.VR in _CHECKED and not _valid(element.VR, element.value):
            del dataset[keyword]
    dataset.SpecificCharacterSet = "ISO_IR 192"


def _each(value: Any, change: Any) -> Any:
    from pydicom.multival import MultiValue

    return [change(part) for part in value] if isinstance(value, MultiValue) else change(value or "")


def _valid(vr: str, value: Any) -> bool:
    from pydicom.config import RAISE
    from pydicom.multival import MultiValue
    from pydicom.valuerep import validate_value

    try:
        for part in value if isinstance(value, MultiValue) else [value]:
            validate_value(vr, str(part) if part is not None else "", RAISE)
    except (ValueError, TypeError):
        return False
    return True
