"""A table of reads: one case read by one reader under one condition a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.tables import number_of
from VirtualContrastLib.reader_study.answers import REFERENCE
from VirtualContrastLib.reader_study.study_list import BPE, bpe_grade

from ..data.duke_tables import table_records

_YES = ("1", "1.0", "yes", "true", "y", "present", "positive")
_NO = ("0", "0.0", "no", "false", "n", "absent", "negative")
_NAMES = {
    "reader": ("reader id", "rater", "radiologist"),
    "case": ("case id", "patient", "patient id"),
    "condition": ("image type",),
    "truth": ("ground truth", "lesion truth"),
    "lesion": ("lesion present", "lesion detected", "detected"),
    "bpe": ("bpe grade",),
    "score": ("confidence", "rating"),
    "hallucination": ("hallucinations", "hallucinated"),
}
"""Other names of the columns, with underscores as blanks."""


@dataclass(frozen=True)
class Read:
    """One case read by one reader under one condition; what was not asked is None.

    Attributes:
        reader: Id of the reader.
        case: Id of the case.
        condition: For example real or synthetic.
        truth: Whether there is a lesion.
        lesion: Whether the reader saw one.
        bpe: Background parenchymal enhancement, a (minimal) to d (marked), as the reader graded it.
        score: The reader's rating.
        hallucination: Whether something in the image looked invented.
    """

    reader: str
    case: str
    condition: str
    truth: bool | None = None
    lesion: bool | None = None
    bpe: str | None = None
    score: float | None = None
    hallucination: bool | None = None

    @property
    def correct(self) -> bool | None:
        """Whether the lesion yes/no is the truth; None where one of them is unknown."""
        return None if self.truth is None or self.lesion is None else self.truth == self.lesion

    @property
    def grade(self) -> int | None:
        """BPE from 0, minimal, to 3, marked; None where it was not graded."""
        return None if self.bpe is None else BPE.index(self.bpe)


def load_reads(path: Path) -> list[Read]:
    """Read a table (CSV or .xlsx) with columns reader, case, condition and any of the following, in any order.

    truth, lesion and hallucination (yes/no; the last: something is shown that the reader holds to be invented), bpe
    (a..d, minimal..marked or 1..4), score (a number). Other names of a column are those of _NAMES; readers, cases and
    conditions that differ by capitals alone are one, spelled as at first.

    Raises InputError with the row number for what cannot be understood, for a row without reader, case or condition,
    and for a case that a reader read twice under one condition.
    """
    rows = [(number, _named(row, path)) for number, row in table_records(path)]
    if not {"reader", "case", "condition"} <= rows[0][1].keys():
        raise InputError(f"{path} needs rows with the columns reader, case and condition.")
    spelled = {("reader", REFERENCE): REFERENCE}
    reads = [_read_of(row, number, path, spelled) for number, row in rows]
    seen = set()
    for (number, _), read in zip(rows, reads, strict=True):
        key = (read.reader, read.case, read.condition)
        if key in seen:
            raise InputError(f"{path}, row {number}: this reader has read this case under this condition before.")
        seen.add(key)
    return reads


def _named(row: Mapping[str, str], path: Path) -> dict[str, str]:
    """The cells and, where a column of ours is missing, that of another name in its place.

    Raises InputError where two columns could be meant.
    """
    columns = {" ".join(column.replace("_", " ").split()): cell for column, cell in row.items()}
    named = dict(columns)
    for name, others in _NAMES.items():
        there = [other for other in others if other in columns]
        if name not in columns and len(there) > 1:
            raise InputError(f"{path}: {there[0]} or {there[1]} could be the column {name}; call one of them {name}.")
        if name not in columns and there:
            named[name] = columns[there[0]]
    return named


def _read_of(row: Mapping[str, str], number: int, path: Path, spelled: dict[tuple[str, str], str]) -> Read:
    def key(name: str) -> str:
        if not row[name]:
            raise InputError(f"{path}, row {number}: {name} is empty.")
        return spelled.setdefault((name, row[name].lower()), row[name])

    def flag(name: str) -> bool | None:
        text = row.get(name, "").lower()
        if text and text not in _YES + _NO:
            raise InputError(f"{path}, row {number}: {name} must be yes or no, not '{text}'.")
        return None if not text else text in _YES

    score = row.get("score", "")
    try:
        value = number_of(score) if score else None
    except ValueError as error:
        raise InputError(f"{path}, row {number}: score must be a number, not '{score}'.") from error
    bpe = bpe_grade(row.get("bpe", ""), f"{path}, row {number}")
    said = (flag("truth"), flag("lesion"), bpe, value, flag("hallucination"))
    return Read(key("reader"), key("case"), key("condition"), *said)
