"""What the panel and its worker process say to each other: one JSON object per line, UTF-8, both ways.

Every message is a class of this module, which both ends import; a line holds its name and its fields. A line that is
not a message was printed by a library and belongs in the log. Knows neither Qt nor Slicer.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..run.settings import RunSettings

_NAME = "message"
_PLAIN: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "float": (int, float)}
"""Types of fields that are checked."""


@dataclass(frozen=True)
class Message:
    """The base of all messages; its fields hold plain JSON values."""

    def __post_init__(self) -> None:
        """Raise TypeError where a text or number is something else: the other end may be damaged."""
        for one in dataclasses.fields(self):
            wanted = _PLAIN.get(str(one.type))
            if wanted and not isinstance(getattr(self, one.name), wanted):
                raise TypeError(f"{one.name} must be of type {one.type}")


@dataclass(frozen=True)
class Run(Message):
    """To the worker: make a result.

    Attributes:
        number: Comes back in every message about the run.
        source: The input.
        out: The result folder to make.
        settings: Those of `RunSettings` by name.
        real: The real phases.
        idle_s: Seconds without work after which the process ends by itself.
    """

    number: int
    source: str
    out: str
    settings: dict[str, Any]
    real: list[str] = field(default_factory=list)
    idle_s: float = 600.0


@dataclass(frozen=True)
class Cancel(Message):
    """To the worker: stop the run `number`, also where it has not begun."""

    number: int


@dataclass(frozen=True)
class AskDevice(Message):
    """To the worker: which device does `wanted` ("auto", "cpu", ...) stand for?"""

    wanted: str


@dataclass(frozen=True)
class Quit(Message):
    """To the worker: end when the runs that were asked for are done."""


@dataclass(frozen=True)
class Ready(Message):
    """From the worker, first: its process, and whether it leads a process group of its own."""

    pid: int
    group: bool


@dataclass(frozen=True)
class DeviceAnswer(Message):
    """From the worker: the device that `wanted` stands for, after a tiny real computation on it.

    Attributes:
        wanted: What was asked for.
        usable: Whether the device can be used.
        reason: Why.
        device: Its name.
        precision: How exactly networks are computed on it.
    """

    wanted: str
    usable: bool
    reason: str
    device: str = ""
    precision: str = ""


@dataclass(frozen=True)
class Progressed(Message):
    """From the worker: some steps of a stage are finished.

    Attributes:
        number: Number of the run.
        stage: Name of the stage.
        done: Steps that are finished.
        total: All its steps.
    """

    number: int
    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Warned(Message):
    """From the worker: a sentence that the user should read."""

    number: int
    sentence: str


@dataclass(frozen=True)
class Done(Message):
    """From the worker: the result folder is whole.

    Attributes:
        number: Number of the run.
        out: The result folder.
        run_id: As in its manifest.
        timing_s: As in its manifest, in seconds.
        device: As in its manifest.
        warnings: As in its manifest.
    """

    number: int
    out: str
    run_id: str
    timing_s: dict[str, float]
    device: dict[str, str]
    warnings: list[str]


@dataclass(frozen=True)
class Failed(Message):
    """From the worker: nothing was made.

    Attributes:
        number: Number of the run.
        sentence: Why.
        exit_code: As a command would have it.
    """

    number: int
    sentence: str
    exit_code: int


@dataclass(frozen=True)
class Bye(Message):
    """From the worker, last: "idle" or "quit"."""

    reason: str


_MESSAGES = {kind.__name__: kind for kind in Message.__subclasses__()}


@dataclass(frozen=True)
class RunRequest:
    """One run.

    Attributes:
        source: The input.
        out: The result folder to make.
        settings: The settings.
        real: The real phases.
    """

    source: Path
    out: Path
    settings: RunSettings
    real: Sequence[Path] = ()

    def message(self, number: int, idle_s: float) -> Run:
        """The message to the worker."""
        real = [str(path) for path in self.real]
        return Run(number, str(self.source), str(self.out), asdict(self.settings), real, idle_s)


def encode(message: Message) -> bytes:
    """One line of JSON in UTF-8."""
    fields = {_NAME: type(message).__name__, **dataclasses.asdict(message)}
    return (json.dumps(fields, ensure_ascii=False) + "\n").encode("utf-8")


def decode(line: str) -> Message | None:
    """The message of a line, or None for a line that is not a message."""
    if not line.startswith("{"):
        return None
    try:
        fields = json.loads(line)
        return _MESSAGES[fields.pop(_NAME)](**fields)
    except (ValueError, KeyError, TypeError, RecursionError):  # no JSON, no such message, or not with these fields
        return None


class LineSplitter:
    """Assembles lines from chunks of bytes that may end anywhere, even inside a character."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that `chunk` completes, without their ends; bytes that are not UTF-8 become U+FFFD."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [line.rstrip(b"\r").decode("utf-8", "replace") for line in lines]

    def flush(self) -> list[str]:
        """The last line, where the sender stopped without a line end."""
        rest, self._rest = self._rest, b""
        return [rest.decode("utf-8", "replace")] if rest else []
