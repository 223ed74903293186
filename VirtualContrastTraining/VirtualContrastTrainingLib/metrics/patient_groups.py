"""Which group a patient belongs to (cohort, scanner, field strength, subtype ...): from a table, or prepared cases."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from VirtualContrastLib.events import InputError

from ..data.duke_tables import table_rows
from .pairs import Pair

PATIENT_COLUMNS = ("patient", "patient id", "patient_id", "case", "case_id", "pid")
"""Names of the column that identifies the patient, in this order."""
MOST_GROUPS = 20
_HEADER_ROWS = 4
"""Duke's tables have up to three rows of headings; the names stand in one of these."""


def patient_groups(pairs: Sequence[Pair], columns: Sequence[str], table: Path | None) -> dict[str, dict[str, str]]:
    """Group by patient for each column, of the patients that have one.

    Args:
        pairs: their patients are those of the table; without a table, `cohort` and `clinical` in the case.json beside
            the real images tell.
        columns: names as the table or case.json has them; case does not matter, and a part that fits one is enough.
        table: CSV or workbook with a row, or rows that agree, for each patient.

    Returns:
        The group of each patient, by column.

    Raises:
        InputError: the table cannot be used, has no such column, or a column has one group or too many.
    """
    rows = _of_cases(pairs) if table is None else _of_table(table)
    place = "The case.json files of the real images" if table is None else table.name
    found = {}
    for column in columns:
        name = _column_named(column, {name for row in rows.values() for name in row}, place)
        groups = {pair.patient: rows.get(pair.patient, {}).get(name, "") for pair in pairs}
        groups = {patient: value for patient, value in groups.items() if value}
        count = len(set(groups.values()))
        if not 2 <= count <= MOST_GROUPS:
            raise InputError(
                f"{place}: the column '{name}' has {count} groups among the patients compared; --by needs 2 to "
                f"{MOST_GROUPS}. Bring numbers such as ages into classes first, and check that the table names the "
                "patients as the images do."
            )
        found[name] = groups
    return found


def _column_named(wanted: str, names: Iterable[str], place: str) -> str:
    """The column meant: the same name, else the only one that contains it."""
    fitting = [name for name in names if name.casefold() == wanted.casefold()]
    fitting = fitting or [name for name in names if wanted.casefold() in name.casefold()]
    if len(fitting) != 1:
        problem = "no column" if not fitting else "more than one column"
        known = ", ".join(sorted(names)) or "none"
        raise InputError(f"{place}: {problem} called '{wanted}'; there are {known}.")
    return fitting[0]


def _of_table(path: Path) -> dict[str, dict[str, str]]:
    rows = [[cell.strip() for cell in row] for row in table_rows(path)]
    for number, names in enumerate(rows[:_HEADER_ROWS]):
        lower = [name.casefold() for name in names]
        patient = next((lower.index(name) for name in PATIENT_COLUMNS if name in lower), None)
        if patient is not None:
            return _by_patient(path, names, patient, rows[number + 1 :])
    raise InputError(f"{path.name} has no column that names the patient; call it {' or '.join(PATIENT_COLUMNS[:2])}.")


def _by_patient(path: Path, names: Sequence[str], patient: int, rows: Sequence[list[str]]) -> dict[str, dict[str, str]]:
    """Values by column of each patient; where a patient has rows that differ in a column, that column is left out."""
    found: dict[str, dict[str, str]] = {}
    differing: dict[str, set[str]] = {}
    for row in rows:
        name = row[patient] if patient < len(row) else ""
        values = {column: cell for column, cell in zip(names, row, strict=False) if column and cell}
        known = found.setdefault(name, values)
        apart = {column for column, cell in values.items() if known.get(column, cell) != cell}
        differing.setdefault(name, set()).update(apart)
    found.pop("", None)
    return {
        name: {column: cell for column, cell in values.items() if column not in differing[name]}
        for name, values in found.items()
    }


def _of_cases(pairs: Iterable[Pair]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for pair in pairs:
        path = pair.real.parent / "case.json"
        if pair.patient in found or not path.is_file():
            continue
        try:
            description = json.loads(path.read_text(encoding="utf-8"))
            kept = {"cohort": description.get("cohort") or "", **(description.get("clinical") or {})}
            found[pair.patient] = {str(name): str(value) for name, value in kept.items() if value != ""}
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(f"{path} is no case.json of a prepared case; prepare the data again.") from error
    if not found:
        raise InputError(
            "--by needs a table with a row for each patient (--patients TABLE), or prepared cases with clinical data."
        )
    return found
