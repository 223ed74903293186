"""From the answers of all readers to the tables that `virtual-contrast-training readers` evaluates."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..events import InputError
from ..files import expanded, write_text
from . import answers
from .answers import REFERENCE, Answer, Log
from .study_list import SYNTHETIC, ReadingList

READS = (
    "reader", "case", "condition", "truth", "lesion", "bpe", "score", "guess", "session", "position", "seconds",
    "times_shown", "times_answered", "read_at", "lesion_left_mm", "lesion_posterior_mm", "lesion_superior_mm",
    "hallucination", "remarks",
)  # fmt: skip
GUESSES = ("reader", "case", "condition", "truth", "lesion")


def write_reads(reading_list: ReadingList, folder: str | Path, out: str | Path) -> tuple[Path, Path]:
    """Join the answers with the list into reads.csv and guesses.csv. This ends the blinding.

    reads.csv has one row per read: truth and BPE as given, `score` the confidence (1..5) of the answer on the lesion,
    seconds, place (mm to the patient's left, back and head), whether something looked invented ("hallucination"; empty
    where it was not asked) and the reader's remarks. A condition that a reader reads again (a third session)
    becomes "real, read 2". Where the list has BPE grades they stand under the reader "reference", so that every
    reader's kappa with them is computed (and one of the reference with itself).

    guesses.csv puts to the same command how well readers tell synthetic from real: its truth is "is synthetic", its
    lesion is "was called synthetic", so sensitivity is the share of synthetic images that were recognized.

    Args:
        reading_list: The list of the study.
        folder: The answers of all readers.
        out: Folder of the two tables.

    Returns:
        The paths of reads.csv and guesses.csv.

    Raises:
        InputError: There are no answers or answers to another list, a file is damaged, or `out` cannot be written to.
    """
    folder, out = expanded(folder).absolute(), expanded(out).absolute()
    logs = answers.load_all(folder)
    for log in logs:
        if log.plan.list_digest != reading_list.digest:
            raise InputError(f"{log.path} answers another reading list than {reading_list.path.name}; move it away.")
    if not any(log.answers for log in logs):
        raise InputError(f"{folder} holds no answers yet.")
    reads, guesses = out / "reads.csv", out / "guesses.csv"
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_text(reads, _csv(READS, [*_reads(reading_list, logs), *_reference(reading_list)]))
        write_text(guesses, _csv(GUESSES, _guesses(reading_list, logs)))
    except OSError as error:
        raise InputError(f"{out} cannot be written to ({error.strerror or error}); choose another folder.") from error
    return reads, guesses


def _reads(reading_list: ReadingList, logs: Sequence[Log]) -> Iterable[Sequence[object]]:
    read_before: dict[tuple[str, int], int] = {}
    for log in logs:
        for position, row in enumerate(log.plan.rows, start=1):
            if row in log.answers:
                one, answer, who = reading_list.cases[row], log.answers[row], log.plan.reader
                read_before[who, row] = number = read_before.get((who, row), 0) + 1
                condition = one.condition if number == 1 else f"{one.condition}, read {number}"
                said = [_yes(one.truth), _yes(answer.lesion), answer.bpe, answer.confidence or "", answer.guess]
                how = [log.plan.session, position, answer.seconds, log.shown.get(row, 0), log.given[row]]
                more = [_yes(answer.hallucination), answer.remarks]
                yield [who, one.case, condition, *said, *how, answer.read_at, *_place(answer), *more]


def _reference(reading_list: ReadingList) -> Iterable[Sequence[object]]:
    for one in reading_list.cases:
        if one.bpe is not None:
            yield [REFERENCE, one.case, one.condition, "", "", one.bpe, *[""] * (len(READS) - 6)]


def _guesses(reading_list: ReadingList, logs: Sequence[Log]) -> Iterable[Sequence[object]]:
    for log in logs:
        for row, answer in log.answers.items():
            one = reading_list.cases[row]
            truth, called = one.condition == SYNTHETIC, answer.guess == SYNTHETIC
            case = f"{one.case} {one.condition} session {log.plan.session}"
            yield [log.plan.reader, case, "real or synthetic", _yes(truth), _yes(called)]


def _yes(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"


def _place(answer: Answer) -> Sequence[object]:
    return ["", "", ""] if answer.location_lps_mm is None else [round(v, 2) for v in answer.location_lps_mm]


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO(newline="")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(columns)
    table.writerows(rows)
    return out.getvalue()
