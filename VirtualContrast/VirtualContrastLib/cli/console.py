"""How both programs run a command: how they report (bars on a terminal, plain lines, JSON lines), how they stop."""

from __future__ import annotations

import _thread
import argparse
import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import explain, on_stderr, quiet_libraries, without_values
from ..events import Events, ExitCode, InputError, Stage, VirtualContrastError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ..run.batch import CaseOutcome


PATIENCE_S = 1.5
"""How long a run that was asked to stop may continue before it is interrupted."""


class Reporter:
    """Plain lines: what is made goes to stdout, progress, warnings and errors to stderr."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self.out = out
        self.err = err
        self._stage: Stage | None = None
        self._last_line = 0.0

    def progress(self, stage: Stage, done: int, total: int) -> None:
        """Print one line at the start of each stage, then at most one every 5 seconds.

        Args:
            stage: The stage of the run.
            done: Its finished steps.
            total: All its steps.
        """
        now = time.monotonic()
        if stage is self._stage and now - self._last_line < 5:
            return
        if stage is self._stage:
            self.say(f"  {stage.value} {done}/{total}")
        else:
            self.say(f"{stage.value} ...")
        self._stage, self._last_line = stage, now

    def warning(self, message: str) -> None:
        """One line on stderr."""
        self.say(f"Warning: {message}")

    def case_started(self, case: str, number: int, total: int) -> None:
        """A case of a batch begins.

        Args:
            case: Its name.
            number: Its number, from 1.
            total: The number of cases.
        """
        self._stage = None
        self.say(f"[{number}/{total}] {case}")

    def case_ended(self, outcome: CaseOutcome) -> None:
        """A case of a batch ended."""
        note = f": {outcome.message}" if outcome.message else ""
        self.say(f"  {outcome.case} {outcome.status.value} in {outcome.seconds:.1f} s{note}")

    def done(self, text: str, **fields: Any) -> None:
        """The result of a command that succeeded: `text` for people, `fields` for programs."""
        self.close()
        self.tell(printable(text))

    def tell(self, line: str) -> None:
        """Print a result to standard output.

        Raises:
            VirtualContrastError: It takes no more, as where its disk is full.
            BrokenPipeError: Its reader has gone.
        """
        try:
            print(line, file=self.out, flush=True)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise VirtualContrastError(
                f"Standard output cannot be written ({error.strerror or error}), so that the result of the command is "
                "not told; what it wrote into files is there. Send its output to another place."
            ) from error

    def error(self, message: str, code: ExitCode) -> None:
        """Why a command failed, in one sentence."""
        self.close()
        self.say(f"Error: {message}")

    def close(self) -> None:
        """Release the terminal."""

    def say(self, text: str) -> None:
        """Print to stderr; where it cannot be printed (a closed pipe, a full disk) the work continues."""
        with contextlib.suppress(OSError, ValueError):
            print(printable(text), file=self.err, flush=True)


class QuietReporter(Reporter):
    """As `Reporter`, without progress: the result, warnings and errors."""

    def progress(self, stage: Stage, done: int, total: int) -> None:
        """Nothing."""

    def case_started(self, case: str, number: int, total: int) -> None:
        """Nothing."""

    def case_ended(self, outcome: CaseOutcome) -> None:
        """One line for a case that failed."""
        if outcome.message:
            super().case_ended(outcome)


class BarReporter(Reporter):
    """As `Reporter`, with a progress bar per stage on a terminal."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        super().__init__(out, err)
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def progress(self, stage: Stage, done: int, total: int) -> None:
        """Move the bar of `stage`; a new stage gets a new bar below."""
        bars = self._bars()
        if stage is not self._stage or self._task is None:
            self._task, self._stage = bars.add_task(stage.value, total=total), stage
        bars.update(self._task, completed=done, total=total)

    def case_started(self, case: str, number: int, total: int) -> None:
        """Start with fresh bars for each case."""
        self.close()
        super().case_started(case, number, total)

    def case_ended(self, outcome: CaseOutcome) -> None:
        """A case of a batch ended."""
        self.close()
        super().case_ended(outcome)

    def close(self) -> None:
        """Stop drawing; the bars stay as they are."""
        if self._progress is not None:
            self._progress.stop()
        self._progress = self._task = self._stage = None

    def _bars(self) -> Progress:
        if self._progress is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (
                TextColumn("{task.description:<12}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
            )
            self._progress = Progress(*columns, console=Console(file=self.err))
            self._progress.start()
        return self._progress

    def say(self, text: str) -> None:
        """One line above the bars."""
        if self._progress is not None:
            self._progress.console.print(printable(text), markup=False, highlight=False)
        else:
            super().say(text)


class JsonReporter(Reporter):
    """One JSON object a line on stdout: progress, warning, case, done, error."""

    def progress(self, stage: Stage, done: int, total: int) -> None:
        """{"event": "progress", "stage", "done", "total"}."""
        self._tell("progress", stage=stage.value, done=done, total=total)

    def warning(self, message: str) -> None:
        """{"event": "warning", "message"}."""
        self._tell("warning", message=message)

    def case_started(self, case: str, number: int, total: int) -> None:
        """{"event": "case", "case", "status": "started", "number", "total"}."""
        self._tell("case", case=case, status="started", number=number, total=total)

    def case_ended(self, outcome: CaseOutcome) -> None:
        """{"event": "case", "case", "status", "seconds", "message"}."""
        self._tell(
            "case",
            case=outcome.case,
            status=outcome.status.value,
            seconds=outcome.seconds,
            message=outcome.message,
        )

    def done(self, text: str, **fields: Any) -> None:
        """{"event": "done", ...}."""
        self._emit("done", **fields)

    def error(self, message: str, code: ExitCode) -> None:
        """{"event": "error", "message", "exit_code"}, and the sentence on stderr."""
        self._tell("error", message=message, exit_code=int(code))
        self.say(f"Error: {message}")

    def _tell(self, event: str, **fields: Any) -> None:
        """Emit what may be lost: when the reader is gone the work continues."""
        with contextlib.suppress(OSError, ValueError, VirtualContrastError):
            self._emit(event, **fields)

    def _emit(self, event: str, **fields: Any) -> None:
        self.tell(json.dumps({"event": event, **fields}))


def printable(text: str) -> str:
    """The text with control characters written out: a file name may hold commands for the terminal."""
    return "".join(c if c == "\n" or (c.isprintable() or c == "\t") else ascii(c)[1:-1] for c in text)


def make_reporter(*, json_lines: bool = False, quiet: bool = False) -> Reporter:
    """JSON lines when asked for, no progress when quiet, bars on a terminal where rich is installed, else lines."""
    if json_lines:
        return JsonReporter(sys.stdout, sys.stderr)
    if quiet:
        return QuietReporter(sys.stdout, sys.stderr)
    if sys.stderr is not None and sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            import rich.progress  # noqa: F401

            return BarReporter(sys.stdout, sys.stderr)
    return Reporter(sys.stdout, sys.stderr)


def run_program(parser: argparse.ArgumentParser, argv: Sequence[str]) -> int:
    """Run the command that `argv` names and return its exit code; whatever stops it becomes one sentence.

    Args:
        parser: made of `options.Parser`; each command was added by `options.add_command`.
        argv: the arguments without the program's name.
    """
    try:
        if "" in argv:  # Path would take it for the working folder
            raise InputError("An argument is empty (a shell variable that is not set?); give a value or leave it out.")
        arguments = parser.parse_args(argv)
    except SystemExit as stop:  # --help and --version end the process, which a host application must not
        return stop.code if isinstance(stop.code, int) else int(ExitCode.DONE)
    except InputError as error:
        make_reporter(json_lines="--json" in argv).error(str(error), error.exit_code)
        return int(error.exit_code)
    return guarded(
        lambda reporter, events: arguments.action(arguments, reporter, events),
        reporter=make_reporter(json_lines=arguments.json, quiet=arguments.quiet),
        debug=arguments.debug,
    )


def guarded(action: Callable[[Reporter, Events], ExitCode], *, reporter: Reporter, debug: bool = False) -> int:
    """Run a command's `action` and turn whatever stops it into one sentence and an exit code.

    Prints of third-party code go to stderr, so that stdout holds the command's own words only.

    Args:
        action: gets the reporter and the events that signals cancel.
        reporter: reports it to people or programs.
        debug: the traceback of an error follows its sentence.

    Returns:
        The exit code.
    """
    events = Events([reporter])
    with contextlib.redirect_stdout(sys.stderr), cancelling_on_signals(events), quiet_libraries():
        try:
            code = action(reporter, events)
        except BrokenPipeError:  # `... | head` has read enough
            code = ExitCode.FAILED
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  the boundary of the program
            message, code = explain(error)
            with contextlib.suppress(OSError):
                reporter.error(message, code)
            if debug:
                on_stderr(without_values("".join(traceback.format_exception(error))))
        finally:
            reporter.close()
            _drop_unwritable(reporter.out)
    return int(code)


def _drop_unwritable(out: TextIO) -> None:
    """Where standard output takes no more, send the rest nowhere: Python would complain of it at exit."""
    try:
        out.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


@contextlib.contextmanager
def cancelling_on_signals(events: Events) -> Iterator[None]:
    """Make Ctrl-C and a terminate signal ask the run to stop; a second Ctrl-C interrupts at once.

    What does not ask for so long (a file that takes minutes to read, the import of a large package) is interrupted
    where it is after PATIENCE_S.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        events.cancel()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if not asked:
            asked.append(number)
            with contextlib.suppress(RuntimeError):  # no thread left; a Timer would be waited for without memory
                _thread.start_new_thread(_interrupt_unless, (ended,))

    asked: list[int] = []
    ended = _thread.allocate_lock()
    ended.acquire()
    old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        ended.release()
        for number, handler in old.items():
            signal.signal(number, handler)


def _interrupt_unless(ended: _thread.LockType) -> None:
    """Interrupt the main thread unless `ended` can be had within PATIENCE_S.

    By a real signal where the system has them: only that ends its waiting for a server or a process.
    """
    if ended.acquire(timeout=PATIENCE_S):
        return
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:
        _thread.interrupt_main()
