"""A table of reads: one case read by one reader under one condition a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.tables import number_of
from VirtualContrastLib.reader_study.study_list import BPE, bpe_grade

from ..data.duke_tables import table_records

_YES, _NO = ("1", "1.0", "yes", "true", "y", "present"), ("0", "0.0", "no", "false", "n", "absent")


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
    (a..d, minimal..marked or 1..4), score (a number).

    Raises InputError with the row number for what cannot be understood, and for a case that a reader read twice under
    one condition.
    """
    rows = table_records(path)
    if not {"reader", "case", "condition"} <= rows[0][1].keys():
        raise InputError(f"{path} needs rows with the columns reader, case and condition.")
    reads = [_read_of(row, number, path) for number, row in rows]
    seen = set()
    for (number, _), read in zip(rows, reads, strict=True):
        key = (read.reader, read.case, read.condition)
        if key in seen:
            raise InputError(f"{path}, row {number}: this reader has read this case under this condition before.")
        seen.add(key)
    return reads


def _read_of(row: Mapping[str, str], number: int, path: Path) -> Read:
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
    return Read(row["reader"], row["case"], row["condition"], *said)
