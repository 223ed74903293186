"""Tables of text as spreadsheets save them: any usual encoding, comma, semicolon or tab, a `sep=` line; and times."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Sequence
from itertools import zip_longest
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


def read_records(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells by column of every row below the header that holds something; see `by_column`.

    Raises InputError where the file cannot be read or a row is longer than the header.
    """
    (_, header), *rows = read_rows(path) or [(1, [])]
    return [(line, by_column(header, cells, f"{path} line {line}")) for line, cells in rows]


def by_column(header: Sequence[str], cells: Sequence[str], where: str) -> dict[str, str]:
    """Cells by the name of their column in lower case; those that a short row lacks are "".

    Args:
        header: Names of the columns.
        cells: The row.
        where: File and row, for the message.

    Returns:
        The cells.

    Raises:
        InputError: The row is longer than the header: a comma in a number or a text has moved its cells.
    """
    if any(cells[len(header) :]):
        raise InputError(f"{where} has more cells than the header; put text that holds a separator in quotes.")
    return dict(zip_longest((name.lower() for name in header), cells[: len(header)], fillvalue=""))


def number_of(cell: str) -> float:
    """The number in a cell, with decimal point or comma; ValueError for other text."""
    return float(cell.strip().replace(",", "."))


def seconds_of(cell: str) -> float:
    """Seconds of a cell: a number, with decimal point or comma, or `mm:ss` or `h:mm:ss`; ValueError for other text."""
    match = _CLOCK.fullmatch(cell.strip())
    if match:
        return int(match[1] or 0) * 3600.0 + int(match[2]) * 60.0 + float(match[3])
    return number_of(cell)


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
