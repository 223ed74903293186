"""One reader's session: a random order, one image after the other, washout, breaks.

Of a case with a real and a synthetic image a session shows one; half of the cases begin with the real one, drawn for
each reader, and the next session shows the other. A case with one image comes in every session.
"""

from __future__ import annotations

import datetime
import hashlib
import random
import time
from collections.abc import Callable
from pathlib import Path

from ..events import InputError
from ..files import expanded
from . import answers
from .answers import Answer, Log, SessionPlan
from .study_list import ReadingCase, ReadingList

WASHOUT_DAYS = 28


def seed_of(reading_list: ReadingList, reader: str, session: int = 0) -> int:
    """The seed of a reader's session.

    Args:
        reading_list: The list of the study.
        reader: Code of the reader.
        session: Number of the session; 0 for what holds for all sessions of the reader.

    Returns:
        64 bits.
    """
    text = f"{reading_list.digest}|{reader}|{session}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def draw(reading_list: ReadingList, reader: str, session: int) -> list[int]:
    """Draw what a reader reads in a session.

    Args:
        reading_list: The list of the study.
        reader: Code of the reader.
        session: Number of the session, from 1.

    Returns:
        Rows of the list in random order.
    """
    rows_of: dict[str, list[int]] = {}
    for row, one in enumerate(reading_list.cases):
        rows_of.setdefault(one.case, []).append(row)
    pairs = [rows for rows in rows_of.values() if len(rows) > 1]
    random.Random(seed_of(reading_list, reader)).shuffle(pairs)
    chosen = [
        sorted(rows, key=lambda row: reading_list.cases[row].condition)[(place + session) % len(rows)]
        for place, rows in enumerate(pairs)
    ]
    chosen += [rows[0] for rows in rows_of.values() if len(rows) == 1]
    chosen.sort()
    random.Random(seed_of(reading_list, reader, session)).shuffle(chosen)
    return chosen


def now_utc() -> datetime.datetime:
    """The time, with its zone."""
    return datetime.datetime.now(datetime.UTC)


class Session:
    """Goes through the images of a session. Open it with `open_session`."""

    def __init__(
        self,
        reading_list: ReadingList,
        log: Log,
        now: Callable[[], datetime.datetime] = now_utc,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reading_list, self.log = reading_list, log
        self._now, self._clock_s = now, clock_s
        self._shown_s: float | None = None
        self.position = len(log.answers)

    @property
    def count(self) -> int:
        """How many images the session has."""
        return len(self.log.plan.rows)

    @property
    def finished(self) -> bool:
        """There is no image left."""
        return self.position >= self.count

    @property
    def is_shown(self) -> bool:
        """The present image is on the screen, and its time runs."""
        return self._shown_s is not None

    @property
    def row(self) -> int:
        """Row of the present image in the list, from 0; IndexError at the end."""
        return self.log.plan.rows[self.position]

    @property
    def current(self) -> ReadingCase:
        """The present image; IndexError at the end."""
        return self.reading_list.cases[self.row]

    @property
    def following(self) -> ReadingCase | None:
        """The image after the present one, to load it ahead."""
        after = self.position + 1
        return self.reading_list.cases[self.log.plan.rows[after]] if after < self.count else None

    @property
    def earlier_answer(self) -> Answer | None:
        """What was answered on the present image before the reader went back to it."""
        return self.log.answers.get(self.row)

    def shown(self) -> None:
        """The present image is on the screen now: its time begins."""
        self.log.add_shown(self.row, self._now().isoformat(timespec="seconds"))
        self._shown_s = self._clock_s()

    def answer(
        self,
        *,
        bpe: str,
        lesion: bool,
        guess: str,
        confidence: int | None = None,
        location_lps_mm: tuple[float, float, float] | None = None,
        hallucination: bool | None = None,
        remarks: str = "",
    ) -> None:
        """Save the answer on the present image and go to the next one.

        Args:
            bpe: Background parenchymal enhancement: minimal, mild, moderate or marked.
            lesion: Whether there is a lesion.
            guess: Whether the image is taken for real or synthetic.
            confidence: Of the answer on the lesion, 1 to 5.
            location_lps_mm: Place of the lesion in mm to the patient's left, back and head.
            hallucination: Whether something in the image looks invented; None where it was not asked.
            remarks: The reader's own words.

        Raises:
            ValueError: The image was not shown, or the answer is not one of those allowed.
            InputError: The answer could not be written to the disk; the session stays at this image.
        """
        if self._shown_s is None:
            raise ValueError("the present image was not shown")
        seconds = round(self._clock_s() - self._shown_s, 1)
        read_at = self._now().isoformat(timespec="seconds")
        said = (bpe, lesion, guess, confidence, location_lps_mm, seconds, read_at, hallucination, remarks.strip())
        self.log.add_answer(self.row, Answer(*said))
        self.position, self._shown_s = self.position + 1, None

    def can_go_back(self) -> bool:
        """The study allows it and there is an image before this one."""
        return self.log.plan.allow_back and self.position > 0

    def go_back(self) -> None:
        """Return to the image before; a new answer then replaces the old one, and both stay in the file."""
        if not self.can_go_back():
            raise ValueError("going back is not allowed here")
        self.position, self._shown_s = self.position - 1, None


def open_session(
    reading_list: ReadingList,
    folder: str | Path,
    reader: str,
    session: int,
    *,
    washout_days: int = WASHOUT_DAYS,
    allow_back: bool = False,
    now: Callable[[], datetime.datetime] = now_utc,
    clock_s: Callable[[], float] = time.monotonic,
) -> Session:
    """Begin a reader's session, or continue it where it stopped, then with the washout and rules it began with.

    Args:
        reading_list: The list of the study.
        folder: Folder with the answers of all readers.
        reader: Code of the reader.
        session: Number of the session, from 1.
        washout_days: Least number of days since the reader's last session.
        allow_back: Whether the reader may return to the image before.
        now: The present time, with its zone.
        clock_s: A clock for reading times, in seconds.

    Returns:
        The session.

    Raises:
        InputError: There is no such folder, a code cannot be used, the session began with another list or is finished,
            an earlier session is unread or unfinished, or fewer than `washout_days` passed since the reader's last one.
    """
    folder = expanded(folder).absolute()
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; choose one for the answers.")
    if washout_days < 0:
        raise InputError("The washout must be 0 days or more.")
    reader = reader.strip().upper()  # r1 and R1 are one person
    path = answers.path_of(folder, reader, session)
    before = [log for log in answers.load_all(folder, reader) if log.plan.session != session]
    if path.is_file():
        log = answers.load(path, repair=True)
        _check_resume(log, reading_list)
    else:
        rows = draw(reading_list, reader, session)
        cases = tuple(reading_list.cases[row].case for row in rows)
        _check_earlier(before, reader, session)
        _check_washout(before, reader, session, set(cases), washout_days, now())
        seed, began = seed_of(reading_list, reader, session), now().isoformat(timespec="seconds")
        digest = reading_list.digest
        plan = SessionPlan(reader, session, seed, digest, tuple(rows), cases, washout_days, allow_back, began)
        log = answers.create(path, plan)
    return Session(reading_list, log, now, clock_s)


def _check_resume(log: Log, reading_list: ReadingList) -> None:
    who = f"Session {log.plan.session} of reader {log.plan.reader}"
    if log.plan.list_digest != reading_list.digest:
        raise InputError(f"{who} began with another reading list; choose that list, or another folder for the answers.")
    if log.finished:
        raise InputError(f"{who} is finished ({len(log.answers)} reads); choose the next session.")


def _check_earlier(before: list[Log], reader: str, session: int) -> None:
    """Sessions are read one after the other, each to its end."""
    logs = {log.plan.session: log for log in before}
    for number in range(1, session):
        if number not in logs:
            raise InputError(f"Reader {reader} has not read session {number} yet; begin with that one.")
        log = logs[number]
        if not log.finished:
            done = f"{len(log.answers)} of {len(log.plan.rows)} read"
            raise InputError(f"Reader {reader} has not finished session {number} ({done}); finish it first.")


def _check_washout(
    before: list[Log], reader: str, session: int, cases: set[str], days: int, now: datetime.datetime
) -> None:
    """InputError where the reader saw one of `cases`, in either version, fewer than `days` before `now`."""
    for log in before:
        again = sorted(cases & {log.plan.cases[log.plan.rows.index(row)] for row in log.shown})
        if not again:
            continue
        last = datetime.datetime.fromisoformat(log.last_at)
        free = last + datetime.timedelta(days=days)
        if now < free:
            others = f" and {len(again) - 1} more" if len(again) > 1 else ""
            raise InputError(
                f"Reader {reader} saw case {again[0]}{others} of session {session} in session {log.plan.session}, last "
                f"on {last:%Y-%m-%d}; the washout of {days} days ends on {free:%Y-%m-%d at %H:%M} UTC, begin then."
            )
