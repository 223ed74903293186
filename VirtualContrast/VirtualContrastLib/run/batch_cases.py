"""What a batch works on: the cases of a table or of a folder, checked before the first one starts."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..events import InputError
from ..io.suffixes import DICOM, INPUTS, stem_of, suffix_of
from .settings import case_options

_REAL_COLUMN = re.compile(r"real[1-9][0-9]*")
_UNSAFE = re.compile(r'[/\\:*?"<>|\x00-\x1f]|^[.\s]|[.\s]$')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class BatchCase:
    """One case: its name (also its folder's name), the input as `io` takes it, and what it is compared with.

    `settings` are those in which the case differs from the batch, by name, such as `times_s`.
    """

    name: str
    input: str
    real: tuple[str, ...] = ()
    lesions: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_cases(source: str | Path) -> list[BatchCase]:
    """The cases of a table or a folder.

    A table is a CSV file (comma or semicolon) with the columns case, input and optionally real1, real2 ..., lesions,
    and the columns of `case_options` (times in seconds, separated by spaces); relative paths start at the table's
    folder. In a folder every volume file is a case, and every subfolder: one holding a volume called `pre` (its
    `phase_1`, `phase_2` ... are the real phases) or a mammogram called `low_energy` (its `recombined` is the real
    one), one holding a single volume, or a DICOM series.

    Raises:
        InputError: nothing to do, a wrong column, or a case name that is missing, double or no folder name.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        cases = _from_folder(path)
    elif path.is_file():
        cases = _from_table(path)
    else:
        raise InputError(f"{path} does not exist; give a CSV table or a folder of cases.")
    if not cases:
        raise InputError(f"{path} holds no cases; a table needs rows, a folder needs volumes or subfolders.")
    _check_names(cases, path)
    return cases


def _from_table(path: Path) -> list[BatchCase]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a readable UTF-8 table: {error}.") from error
    header = text.partition("\n")[0]
    delimiter = ";" if ";" in header and "," not in header else ","
    rows = csv.DictReader(text.splitlines(), delimiter=delimiter, strict=True)
    try:
        columns = [(name or "").strip() for name in rows.fieldnames or []]
        rows.fieldnames = columns
        _check_columns(columns, path)
        return [_case(row, path, rows.line_num) for row in rows if any((value or "") for value in _cells(row))]
    except csv.Error as error:
        raise InputError(f"{path} line {rows.line_num} is not valid CSV: {error}.") from error


def _cells(row: dict[str, str]) -> Iterable[str]:
    return (value for value in row.values() if isinstance(value, str))


def _check_columns(columns: list[str], path: Path) -> None:
    of_settings = tuple(case_options())
    allowed = {"case", "input", "lesions", *of_settings}
    wrong = [name for name in columns if name not in allowed and not _REAL_COLUMN.fullmatch(name)]
    missing = [name for name in ("case", "input") if name not in columns]
    if wrong or missing or len(set(columns)) != len(columns):
        raise InputError(
            f"{path} has the columns {', '.join(columns)}; needed are case and input, and allowed are real1, "
            f"real2 ..., lesions, {', '.join(of_settings)}, each once."
        )


def _case(row: dict[str, str], path: Path, line: int) -> BatchCase:
    values = {key: (value or "").strip() for key, value in row.items() if key is not None}
    if None in row:
        raise InputError(f"{path} line {line} has more cells than the header; quote cells that hold a comma.")
    if not values["case"] or not values["input"]:
        raise InputError(f"{path} line {line} lacks the case name or the input.")
    reals = sorted((int(key[4:]), value) for key, value in values.items() if _REAL_COLUMN.fullmatch(key) and value)
    if [number for number, _ in reals] != list(range(1, len(reals) + 1)):
        raise InputError(f"{path} line {line} skips a real phase; fill real1, real2 ... without gaps.")
    return BatchCase(
        name=values["case"],
        input=_located(values["input"], path.parent),
        real=tuple(_located(value, path.parent) for _, value in reals),
        lesions=_located(values["lesions"], path.parent) if values.get("lesions") else None,
        settings=_settings(values, path, line),
    )


def _located(value: str, folder: Path) -> str:
    """A path of the table made absolute; a `@N` at its end stays."""
    return str(folder.absolute() / Path(value).expanduser())


def _settings(values: Mapping[str, str], path: Path, line: int) -> dict[str, Any]:
    """The settings that a row gives, by name."""
    settings = {}
    for column, (name, option) in case_options().items():
        cell = values.get(column, "")
        try:
            value = option.parse(cell)
        except ValueError as error:
            what = f"{option.unit or 'values'} separated by spaces" if option.many else f"one {option.kind.__name__}"
            raise InputError(f"{path} line {line}: {column} must be {what}, not {cell!r}.") from error
        if value is not None:
            settings[name] = value
    return settings


def _from_folder(folder: Path) -> list[BatchCase]:
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    files = [BatchCase(_stem(entry), str(entry)) for entry in entries if entry.is_file() and _is_volume(entry)]
    return files + [_from_subfolder(entry) for entry in entries if entry.is_dir()]


def _from_subfolder(folder: Path) -> BatchCase:
    """A subfolder is taken as it is (DICOM), or by its volume files; an unclear one fails when it is read."""
    volumes = {_stem(file): file for file in sorted(folder.iterdir()) if _is_volume(file) and not _is_dicom(file)}
    if "pre" in volumes:
        real: list[str] = []
        while (name := f"phase_{len(real) + 1}") in volumes:
            real.append(str(volumes[name]))
        return BatchCase(folder.name, str(volumes["pre"]), tuple(real))
    if "low_energy" in volumes:
        truth = (str(volumes["recombined"]),) if "recombined" in volumes else ()
        return BatchCase(folder.name, str(volumes["low_energy"]), truth)
    if len(volumes) == 1:
        return BatchCase(folder.name, str(next(iter(volumes.values()))))
    return BatchCase(folder.name, str(folder))


def _is_volume(path: Path) -> bool:
    return bool(suffix_of(path, INPUTS))


def _is_dicom(path: Path) -> bool:
    return bool(suffix_of(path, DICOM))


def _stem(path: Path) -> str:
    return stem_of(path, INPUTS)


def _check_names(cases: list[BatchCase], path: Path) -> None:
    seen: set[str] = set()
    for case in cases:
        if _UNSAFE.search(case.name) or _RESERVED.fullmatch(case.name) or len(case.name) > 100:
            raise InputError(f"{path}: the case name {case.name!r} cannot be a folder name; rename it.")
        if case.name.casefold() in seen:
            raise InputError(f"{path}: the case name {case.name!r} occurs twice; every case needs its own.")
        seen.add(case.name.casefold())
