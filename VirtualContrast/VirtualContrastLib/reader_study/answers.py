"""The answers of one reader in one session, on disk after every read.

A file of JSON lines that only grows: first the plan (who, which session, seed, order, washout), then one line each time
a case is shown and one for each answer, forced to the disk. A line cut off by a crash does not count. It names rows of
the list and case codes; whether an image is real is in the reading list alone.
"""

from __future__ import annotations

import datetime
import errno
import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..events import InputError
from ..files import write_text
from .study_list import BPE, REAL, SYNTHETIC

SCHEMA_VERSION = 1
REFERENCE = "reference"
"""The code under which the list's own grades stand in the table of reads."""
CONFIDENCES = (1, 2, 3, 4, 5)
_READER = re.compile(r"[A-Za-z0-9-]{1,20}")


@dataclass(frozen=True)
class Answer:
    """What a reader said of one image; ValueError where it cannot be.

    Files of earlier versions have neither `hallucination` nor `remarks`.

    Attributes:
        bpe: Background parenchymal enhancement, as the reader graded it.
        lesion: Whether the reader sees a lesion.
        guess: Whether the reader takes the image for real or synthetic.
        confidence: That of the answer on the lesion, 1 (a guess) to 5 (certain).
        location_lps_mm: Where the reader put the lesion, in LPS mm.
        seconds: Seconds since the image was shown.
        read_at: Time of the answer, UTC in ISO 8601.
        hallucination: Whether something in the image looks invented.
        remarks: The reader's own words.
    """

    bpe: str
    lesion: bool
    guess: str
    confidence: int | None
    location_lps_mm: tuple[float, float, float] | None
    seconds: float
    read_at: str
    hallucination: bool | None = None
    remarks: str = ""

    def __post_init__(self) -> None:
        location = self.location_lps_mm
        if self.bpe not in BPE or self.guess not in (REAL, SYNTHETIC) or type(self.lesion) is not bool:
            raise ValueError(f"not an answer: {self}")
        if (self.hallucination is not None and type(self.hallucination) is not bool) or type(self.remarks) is not str:
            raise ValueError(f"not an answer: {self}")
        if self.confidence not in (None, *CONFIDENCES) or (location is not None and len(location) != 3):
            raise ValueError(f"not an answer: {self}")
        datetime.datetime.fromisoformat(self.read_at)


@dataclass(frozen=True)
class SessionPlan:
    """Who reads what.

    Attributes:
        reader: Id of the reader.
        session: Number of the session.
        seed: Seed of the order.
        list_digest: Digest of the reading list.
        rows: Rows of the list (from 0) in the order of reading.
        cases: Their codes, in the same order.
        washout_days: Least number of days since the reader's last session.
        allow_back: Whether the reader may return to the image before.
        began: When the session began, in ISO 8601.
        schema_version: Version of the file's layout.
    """

    reader: str
    session: int
    seed: int
    list_digest: str
    rows: tuple[int, ...]
    cases: tuple[str, ...]
    washout_days: int
    allow_back: bool
    began: str
    schema_version: int = SCHEMA_VERSION


@dataclass
class Log:
    """A session's file as it is now.

    Attributes:
        path: The file.
        plan: Who reads what.
        answers: The last answer for each row.
        given: How many answers there were for each row.
        shown: How often the image of each row was shown.
        last_at: Time of the last event, in ISO 8601.
    """

    path: Path
    plan: SessionPlan
    answers: dict[int, Answer] = field(default_factory=dict)
    given: dict[int, int] = field(default_factory=dict)
    shown: dict[int, int] = field(default_factory=dict)
    last_at: str = ""

    @property
    def finished(self) -> bool:
        """Every image of the plan has an answer."""
        return len(self.answers) == len(self.plan.rows)

    def add_shown(self, row: int, at: str) -> None:
        """Note on disk that an image was shown."""
        self._append({"shown": row, "at": at})

    def add_answer(self, row: int, answer: Answer) -> None:
        """Note an answer on disk; InputError where the disk does not take it."""
        self._append({"row": row, **asdict(answer)})

    def _append(self, event: dict[str, Any]) -> None:
        line = (json.dumps(event, allow_nan=False) + "\n").encode()
        try:
            with self.path.open("ab", buffering=0) as file:
                whole = file.tell()
                try:
                    if file.write(line) != len(line):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(whole)  # half a line would swallow the next answer
                    raise
        except OSError as error:
            raise InputError(f"The answer could not be saved in {self.path} ({error.strerror or error}).") from error
        self._take(event)

    def _take(self, event: dict[str, Any]) -> None:
        if "shown" in event:
            row, at = int(event["shown"]), str(event["at"])
            self.shown[row] = self.shown.get(row, 0) + 1
        else:
            location = event["location_lps_mm"]
            asked_later = {"hallucination", "remarks"} - event.keys()
            values = {name: event[name] for name in Answer.__dataclass_fields__.keys() - asked_later} | {
                "location_lps_mm": None if location is None else tuple(map(float, location))
            }
            row, at = int(event["row"]), str(event["read_at"])
            if row not in self.plan.rows:
                raise ValueError(f"row {row} is not in the plan")
            self.answers[row] = Answer(**values)
            self.given[row] = self.given.get(row, 0) + 1
        self.last_at = max(self.last_at, at)


def path_of(folder: Path, reader: str, session: int) -> Path:
    """The file of a reader's session.

    Args:
        folder: Folder of all answers of the study.
        reader: Code of the reader.
        session: Number of the session, from 1.

    Returns:
        The path.

    Raises:
        InputError: The code or the number cannot be used.
    """
    if not _READER.fullmatch(reader) or reader.lower() == REFERENCE:
        raise InputError("The reader code must be 1 to 20 letters, digits or '-' (a code such as R1, not a name).")
    if session < 1:
        raise InputError("Sessions count from 1.")
    return folder / f"reading_{reader}_session_{session}.jsonl"


def create(path: Path, plan: SessionPlan) -> Log:
    """Begin a session's file, whole or not at all; InputError where the place cannot be written to."""
    try:
        write_text(path, json.dumps(asdict(plan)) + "\n")
    except OSError as error:
        raise InputError(f"{path.parent} cannot be written to ({error.strerror or error}); choose another.") from error
    return Log(path, plan)


def load(path: Path, *, repair: bool = False) -> Log:
    """Read a session's file; `repair` also takes a line that a crash cut off out of the file, to go on after it.

    Raises:
        InputError: the file cannot be read, was made by a newer version, or was changed by hand.
    """
    try:
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        first, *events = [json.loads(line) for line in data[:whole].splitlines()]
        if int(first["schema_version"]) > SCHEMA_VERSION:
            raise InputError(f"{path} was made by a newer version of this program; update it.")
        plan = SessionPlan(**first | {"rows": tuple(first["rows"]), "cases": tuple(first["cases"])})
        log = Log(path, plan)
        for event in events:
            log._take(event)
        if repair and whole < len(data):
            with path.open("rb+") as file:
                file.truncate(whole)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); check its permissions.") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is not a file of answers or was changed by hand; restore it from a copy.") from error
    return log


def load_all(folder: Path, reader: str = "*") -> list[Log]:
    """Every session in a folder (of one reader), by reader and session."""
    logs = [load(path) for path in sorted(folder.glob(f"reading_{reader}_session_*.jsonl"))]
    return sorted(logs, key=lambda log: (log.plan.reader, log.plan.session))
