"""Tables of text as spreadsheets save them: any usual encoding, comma, semicolon or tab, a `sep=` line; and times."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Sequence
from pathlib import Path

from ..events import InputError

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,3}):(\d{2}(?:\.\d+)?)")


def read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Line number and cells (without blanks at their ends) of every row that holds something; raises InputError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"The table {path.name} cannot be opened; check its name and permissions.") from error
    lines = _text(data, path).splitlines()
    skipped = 1 if lines and lines[0].strip().lower().startswith("sep=") else 0
    delimiter = lines[0].strip()[4:5] if skipped and len(lines[0].strip()) > 4 else ""
    rows = csv.reader(lines[skipped:], delimiter=delimiter or _delimiter(lines[skipped:]), strict=True)
    found = []
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if any(cells):
                found.append((rows.line_num + skipped, cells))
    except csv.Error as error:
        raise InputError(f"{path} line {rows.line_num + skipped} is not valid CSV: {error}.") from error
    return found


def seconds_of(cell: str) -> float:
    """Seconds of a cell: a number, with decimal point or comma, or `mm:ss` or `h:mm:ss`; ValueError for other text."""
    match = _CLOCK.fullmatch(cell.strip())
    if match:
        return int(match[1] or 0) * 3600.0 + int(match[2]) * 60.0 + float(match[3])
    return float(cell.strip().replace(",", "."))


def _text(data: bytes, path: Path) -> str:
    """The text of a file by its byte order mark, else UTF-8, else the code page of Windows in western languages."""
    encodings = [name for mark, name in _MARKS if data.startswith(mark)] or ["utf-8", "cp1252"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise InputError(f"{path} is not a table of text; save it as CSV (UTF-8).")


def _delimiter(lines: Sequence[str]) -> str:
    header = next((line for line in lines if line.strip()), "")
    return max((",", ";", "\t"), key=header.count)
