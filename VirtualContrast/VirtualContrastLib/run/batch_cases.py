"""What a batch works on: the cases of a table or of a folder, checked before the first one starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..events import InputError
from ..files import check_name, expanded
from ..io.suffixes import DICOM, INPUTS, stem_of, suffix_of
from ..io.tables import read_rows
from .settings import case_options

_REAL_COLUMN = re.compile(r"real[1-9][0-9]*")
_UNSAFE = re.compile(r'[/\\:*?"<>|\x00-\x1f]|^[.\s]|[.\s]$')
_OURS = {"summary.csv", "summary.json", "batch.log"}
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class BatchCase:
    """One case.

    Attributes:
        name: Its name, also that of its folder.
        input: The input, as `io` takes it.
        real: The real phases that it is compared with.
        lesions: The user's own lesions.
        settings: Settings by name in which the case differs from the batch, such as `times_s`.
    """

    name: str
    input: str
    real: tuple[str, ...] = ()
    lesions: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_cases(source: str | Path) -> list[BatchCase]:
    """The cases of a table or a folder.

    A table is a CSV file (see `io.tables`) with the columns case, input and optionally real1, real2 ..., lesions,
    and the columns of `case_options` (times in seconds, separated by spaces); relative paths start at the table's
    folder. In a folder every volume file is a case, and every subfolder: one holding a volume called `pre` (its
    `phase_1`, `phase_2` ... are the real phases) or a mammogram called `low_energy` (its `recombined` is the real
    one), one holding a single volume, or a DICOM series.

    Raises:
        InputError: nothing to do, a wrong column, or a case name that is missing, double or no folder name.
    """
    path = expanded(source).absolute()
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
    (_, header), *rows = read_rows(path) or [(1, [])]
    columns = [_known(name) for name in header]
    _check_columns(columns, header, path)
    return [_case(cells, columns, path, line) for line, cells in rows]


def _known(name: str) -> str:
    """A column as it is called here, whatever its case, blanks and hyphens; "" for an unknown one."""
    plain = re.sub(r"[\s-]+", "_", name.strip().lower())
    allowed = {"case", "input", "lesions", *case_options()}
    return plain if plain in allowed or _REAL_COLUMN.fullmatch(plain) else ""


def _check_columns(columns: list[str], header: list[str], path: Path) -> None:
    of_settings = tuple(case_options())
    known = [name for name in columns if name]
    missing = [name for name in ("case", "input") if name not in known]
    if missing or len(set(known)) != len(known):
        raise InputError(
            f"{path} has the columns {', '.join(header)}; needed are case and input, and allowed are real1, "
            f"real2 ..., lesions, {', '.join(of_settings)}, each once; columns of other names are not read."
        )


def _case(cells: list[str], columns: list[str], path: Path, line: int) -> BatchCase:
    if any(cells[len(columns) :]):
        raise InputError(f"{path} line {line} has more cells than the header; quote cells that hold a comma.")
    values = {name: cell for name, cell in zip(columns, cells, strict=False) if name}
    if not values.get("case") or not values.get("input"):
        raise InputError(f"{path} line {line} lacks the case name or the input.")
    reals = sorted((int(key[4:]), value) for key, value in values.items() if _REAL_COLUMN.fullmatch(key) and value)
    if [number for number, _ in reals] != list(range(1, len(reals) + 1)):
        raise InputError(f"{path} line {line} skips a real phase; fill real1, real2 ... without gaps.")
    return BatchCase(
        name=values["case"],
        input=_located(values["input"], path, line),
        real=tuple(_located(value, path, line) for _, value in reals),
        lesions=_located(values["lesions"], path, line) if values.get("lesions") else None,
        settings=_settings(values, path, line),
    )


def _located(value: str, table: Path, line: int) -> str:
    """A path of the table made absolute; a `@N` at its end stays."""
    try:
        return str(table.parent.absolute() / expanded(value))
    except InputError as error:
        raise InputError(
            f"{table} line {line} names {value}, but there is no such user; write the path out."
        ) from error


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
        recombined = (str(volumes["recombined"]),) if "recombined" in volumes else ()
        return BatchCase(folder.name, str(volumes["low_energy"]), recombined)
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
        check_name(case.name)
        if case.name.casefold() in _OURS:
            raise InputError(f"{path}: the case name {case.name!r} is that of a file of the batch; rename it.")
        if _UNSAFE.search(case.name) or _RESERVED.fullmatch(case.name) or len(case.name) > 100:
            raise InputError(f"{path}: the case name {case.name!r} cannot be a folder name; rename it.")
        if case.name.casefold() in seen:
            raise InputError(f"{path}: the case name {case.name!r} occurs twice; every case needs its own.")
        seen.add(case.name.casefold())
