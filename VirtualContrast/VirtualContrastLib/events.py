"""What a run reports: progress, warnings, cancellation, exit codes and the errors that carry them."""

from __future__ import annotations

import enum
import threading
from dataclasses import dataclass, field, replace
from typing import Protocol


class ExitCode(enum.IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FAILED = 1
    UNUSABLE = 2
    CANCELLED = 3
    SOME_CASES_FAILED = 4


class Stage(enum.StrEnum):
    """Stages of a run, in order."""

    READ = "read"
    MODEL = "model"
    REGISTER = "register"
    SYNTHESIZE = "synthesize"
    SEGMENT = "segment"
    KINETICS = "kinetics"
    COMPARE = "compare"
    EXPORT = "export"


class VirtualContrastError(Exception):
    """A failure in one sentence that a user can act on; `exit_code` is what a command ends with."""

    exit_code = ExitCode.FAILED


class InputError(VirtualContrastError):
    """The input, an argument, a model or the output place cannot be used as given."""

    exit_code = ExitCode.UNUSABLE


class CancelledError(VirtualContrastError):
    """The user asked to stop."""

    exit_code = ExitCode.CANCELLED


class Listener(Protocol):
    """Receives what a run reports; a progress bar, a JSON-lines writer, a GUI or a list in a test."""

    def progress(self, stage: Stage, done: int, total: int) -> None:
        """Hear of progress.

        Args:
            stage: The stage of the run.
            done: Its finished steps.
            total: All its steps.
        """

    def warning(self, message: str) -> None:
        """One sentence that the user should read although the run continues."""


@dataclass
class Events:
    """Carries progress and warnings to listeners, and the request to cancel back to the run.

    Attributes:
        listeners: Receive progress and warnings.
        warnings: Every warning once, in order, for the manifest and the report.
    """

    listeners: list[Listener] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _cancel: threading.Event = field(default_factory=threading.Event, repr=False)

    def progress(self, stage: Stage, done: int, total: int) -> None:
        """Report progress to all listeners; every loop that reports can be left here.

        Args:
            stage: The stage of the run.
            done: Its finished steps.
            total: All its steps.

        Raises:
            CancelledError: `cancel` was called.
        """
        self.check_cancelled()
        for listener in self.listeners:
            listener.progress(stage, done, total)

    def warn(self, message: str) -> None:
        """Report one sentence once; a repeated sentence is dropped."""
        if message in self.warnings:
            return
        self.warnings.append(message)
        for listener in self.listeners:
            listener.warning(message)

    def with_own_warnings(self) -> Events:
        """Events for one case of many: an empty list of warnings, the same listeners and the same request to cancel."""
        return replace(self, warnings=[])

    def cancel(self) -> None:
        """Ask the run to stop at the next step; may be called from any thread or a signal handler."""
        self._cancel.set()

    def check_cancelled(self) -> None:
        """Raise CancelledError when a stop was asked for."""
        if self._cancel.is_set():
            raise CancelledError("Cancelled; nothing was written.")
