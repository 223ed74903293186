"""Values of DICOM elements as text and numbers; where one is not what it must be, an error says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .files import dicom_errors

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Number = TypeVar("Number", int, float)


class UnusableValueError(Exception):
    """A value of a header is not what it must be, such as several numbers where one is needed."""


def seconds_of_moment(value: Any) -> float | None:
    """Seconds of a DICOM DT value (YYYYMMDDHHMMSS.FFFFFF, an optional zone is left out), None if unusable."""
    text = str(value or "").strip().partition("+")[0].partition("-")[0]
    whole, _, fraction = text.partition(".")
    if len(whole) < 10 or not whole.isdigit():
        return None
    whole = whole.ljust(14, "0")
    if int(whole[8:10]) > 23 or int(whole[10:12]) > 59 or int(whole[12:14]) > 60:
        return None
    try:
        days = date(int(whole[:4]), int(whole[4:6]), int(whole[6:8])).toordinal()
        seconds = int(whole[8:10]) * 3600 + int(whole[10:12]) * 60 + int(whole[12:14])
        return days * 86400.0 + seconds + (float(f"0.{fraction}") if fraction else 0.0)
    except ValueError:
        return None


def sequence_items(dataset: Any, sequence: str | int) -> list[Any]:
    """The items of a sequence, [] where it is missing or not a sequence."""
    from pydicom.sequence import Sequence as Items

    found = element_value(dataset, sequence) if dataset is not None else None
    found = getattr(found, "value", found)  # an element where the sequence was asked for by its tag
    return list(found) if isinstance(found, Items) else []


def first_item(dataset: Any, sequence: str | int) -> Any:
    """The first item of a sequence, None where there is none."""
    items = sequence_items(dataset, sequence)
    return items[0] if items else None


def nested_value(group: Any, shared: Any, sequence: str | int, keyword: str | int) -> Any:
    """A value of a functional group of this frame, else of the shared ones, else None.

    Args:
        group: The functional groups of the frame, None where it has none.
        shared: Those of all frames, None where there are none.
        sequence: Keyword or tag of the group.
        keyword: Keyword of the element in it, or its tag, which gives the element itself.

    Returns:
        The value.

    Raises:
        UnusableValueError: It is damaged.
    """
    for place in (group, shared):
        item = first_item(place, sequence)
        if item is not None and (value := element_value(item, keyword)) is not None:
            return value
    return None


def element_value(dataset: Dataset, keyword: str | int) -> Any:
    """An element's value, or by its tag the element; pydicom reads it only now, and may find it damaged."""
    try:
        return dataset.get(keyword)
    except dicom_errors() as error:
        raise UnusableValueError from error


def text_of(dataset: Dataset, keyword: str) -> str:
    """The value of an element as text, several values with spaces between them, "" where it is missing."""
    value = dataset.get(keyword)
    return " ".join(words_of(value)) if value is not None else ""


def words_of(value: Any) -> tuple[str, ...]:
    """The values of an element as text."""
    return (value,) if isinstance(value, str) else tuple(str(v) for v in np.atleast_1d(np.asarray(value, dtype=object)))


def converted(kind: Callable[[Any], Number], value: Any) -> Number:
    """`value` as int or float; raises UnusableValueError for several numbers, text that is not a number, or NaN."""
    try:
        return kind(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise UnusableValueError from error


def number_of(value: Any) -> float | None:
    """A value as a finite number, None where it is missing, empty or not finite; else UnusableValueError."""
    if value is None or value == "":
        return None
    number = converted(float, value)
    return number if math.isfinite(number) else None


def integer_of(value: Any) -> int | None:
    """A value as a whole number, None where it is missing or empty; else UnusableValueError."""
    return None if value is None or value == "" else converted(int, value)


def numbers_of(value: Any, count: int) -> tuple[float, ...] | None:
    """A tuple of `count` finite numbers, None where the element is missing or empty; else UnusableValueError."""
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
    if values in ([], [None], [""]):
        return None
    numbers = tuple(converted(float, part) for part in values)
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise UnusableValueError("a geometry element has the wrong number of values")
    return numbers
