"""JSON as its standard has it: Python's reader also takes NaN and Infinity, which comparisons swallow silently."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ..events import InputError


def read_object(data: bytes, path: Path) -> dict[str, Any]:
    """The JSON object in the bytes `data` of the file `path`; raises InputError where there is none."""
    try:
        content = loads(data.decode("utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a JSON object ({{...}}).")
    return content


def loads(text: str) -> Any:
    """The value of a JSON text; ValueError where it is none, holds a number that is not finite, or nests too deeply."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not a finite number")
