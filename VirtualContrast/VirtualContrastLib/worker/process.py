"""The engine as a resident child process: JSON lines in on standard input, JSON lines out on standard output.

    python -m VirtualContrastLib.worker.process [--idle SECONDS]

Weights stay loaded from one run to the next; after `--idle` seconds without work the process ends by itself, and so
it does when its parent closes standard input or dies. Everything that libraries print goes to standard error.

The messages are those of `worker.protocol`.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import logging
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from ..errors import SEE_LOG, explain, without_values
from ..events import CancelledError, Events, ExitCode, InputError, Stage
from ..results.staging import remove_partial
from ..run.model_cache import ModelCache
from ..run.settings import RunSettings
from ..threads import set_up_threads
from . import protocol

GRACE_S = 1.0
"""A canceled run that has not stopped after this many seconds is ended with its process and all its children."""
_TELL_EVERY_S = 0.05


class CommandLoop:
    """Takes commands from a thread that reads standard input and runs them one after the other in the main thread."""

    def __init__(self, out: TextIO, idle_s: float) -> None:
        self.models = ModelCache()
        self.idle_s = idle_s
        self._out = out
        self._writing = threading.Lock()
        self._commands: queue.Queue[protocol.Message] = queue.Queue()
        self._cancelled: set[int] = set()
        self._number: int | None = None
        self._target: Path | None = None
        self._events = Events()
        self._last_report: tuple[Stage | None, float] = (None, 0.0)

    # ---- the reading thread ----------------------------------------------------------------------------------------

    def read(self, handle: int) -> None:
        """Read commands from file descriptor `handle` until it ends; then stop all work."""
        splitter = protocol.LineSplitter()
        while chunk := _read(handle):
            for line in splitter.feed(chunk):
                if line.strip():
                    self._receive(line)
        self._commands.put(protocol.Quit())
        self._events.cancel()
        time.sleep(GRACE_S)
        self._end_now()  # the parent is gone and the run does not stop

    def _receive(self, line: str) -> None:
        """Take one command; ignore and log a line that is not one, without its text, which may name a patient."""
        message = protocol.decode(line)
        if message is None:
            print(
                f"The worker ignored a line of {len(line)} characters that is not a command.",
                file=sys.stderr,
                flush=True,
            )
        else:
            self._take(message)

    def _take(self, message: protocol.Message) -> None:
        if not isinstance(message, protocol.Cancel):
            self._commands.put(message)
            return
        self._cancelled.add(message.number)
        if self._number == message.number:
            self._events.cancel()
        timer = threading.Timer(GRACE_S, self._insist, [message.number])
        timer.daemon = True
        timer.start()

    def _insist(self, number: int) -> None:
        if self._number == number:
            self._end_now()

    def _end_now(self) -> None:
        """End this process and its children at once, and remove what the run had written."""
        kill_children()
        if self._target is not None:
            remove_partial(self._target, os.getpid())
        os._exit(int(ExitCode.CANCELLED))

    # ---- the main thread -------------------------------------------------------------------------------------------

    def work(self) -> str:
        """Run commands until there are no more; returns why it ended: "idle" or "quit"."""
        while True:
            try:
                message = self._commands.get(timeout=self.idle_s)
            except queue.Empty:
                return "idle"
            if isinstance(message, protocol.Run):
                self._do_run(message)
            elif isinstance(message, protocol.AskDevice):
                self.send(self._answer(message.wanted))
            elif isinstance(message, protocol.Quit):
                return "quit"

    def _do_run(self, command: protocol.Run) -> None:
        self.idle_s = command.idle_s
        self._events, self._last_report = Events([self]), (None, 0.0)
        self._target, self._number = Path(command.out), command.number
        if command.number in self._cancelled:
            self._events.cancel()
        try:
            end: protocol.Message = self._synthesize(command)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  the boundary of the worker
            if not isinstance(error, InputError | CancelledError):
                print(without_values("".join(traceback.format_exception(error))), file=sys.stderr)
                self.models = ModelCache()  # a device that failed may be in any state
            sentence, code = explain(error, advice=SEE_LOG)
            end = protocol.Failed(command.number, sentence, int(code))
        finally:
            self._number = self._target = None
        self.send(end)

    def _synthesize(self, command: protocol.Run) -> protocol.Done:
        from ..run.pipeline import run

        settings = RunSettings.from_json(command.settings)
        result = run(command.source, command.out, settings, real=command.real, events=self._events, models=self.models)
        manifest = result.manifest
        return protocol.Done(
            number=command.number,
            out=str(result.folder),
            run_id=manifest.run_id,
            timing_s=manifest.timing_s,
            device=manifest.device,
            warnings=manifest.warnings,
        )

    def _answer(self, wanted: str) -> protocol.DeviceAnswer:
        """Which device `wanted` ("auto", "cpu", ...) stands for, after a tiny real computation on it."""
        try:
            choice = self.models.device(wanted)
        except Exception as error:  # noqa: BLE001  whatever a driver raises, the panel wants an answer
            return protocol.DeviceAnswer(wanted, usable=False, reason=explain(error, advice=SEE_LOG)[0])
        return protocol.DeviceAnswer(wanted, True, choice.reason, choice.device, choice.precision)

    # ---- what it says ----------------------------------------------------------------------------------------------

    def progress(self, stage: Stage, done: int, total: int) -> None:
        """Send the start and end of a stage at once, what lies between at most 20 times a second.

        Args:
            stage: The stage of the run.
            done: Its finished steps.
            total: All its steps.
        """
        now = time.monotonic()
        if stage is self._last_report[0] and done < total and now - self._last_report[1] < _TELL_EVERY_S:
            return
        self._last_report = (stage, now)
        if self._number is not None:
            self.send(protocol.Progressed(self._number, stage.value, done, total))

    def warning(self, message: str) -> None:
        """Send a warning."""
        if self._number is not None:
            self.send(protocol.Warned(self._number, message))

    def send(self, message: protocol.Message) -> None:
        """Write one message; a parent that is gone is not an error."""
        with self._writing, contextlib.suppress(OSError):
            self._out.write(protocol.encode(message).decode("utf-8"))
            self._out.flush()


def kill_children() -> None:
    """Kill all descendants of this process, where psutil is there to find them; the parent does the same by group."""
    try:
        import psutil
    except ImportError:
        return
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until idle, asked to quit, or left alone; returns the exit code."""
    parser = argparse.ArgumentParser(prog="worker_process")
    parser.add_argument("--idle", type=float, default=600.0, help="seconds without work after which it ends")
    arguments = parser.parse_args(argv)
    faulthandler.enable()
    set_up_threads()
    _log_to_stderr()
    worker = CommandLoop(_private_stdout(), arguments.idle)
    worker.send(protocol.Ready(os.getpid(), _lead_a_group()))
    threading.Thread(target=worker.read, args=[0], daemon=True).start()
    reason = worker.work()
    worker.send(protocol.Bye(reason))
    return int(ExitCode.DONE)


def _log_to_stderr() -> None:
    """Send the library's log (stages and their seconds, no names) to standard error, which the panel records."""
    logger = logging.getLogger("VirtualContrastLib")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _private_stdout() -> TextIO:
    """A stream to the parent; everything else written to standard output, even from C, goes to standard error."""
    sys.stdout.flush()
    private = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    return private


def _lead_a_group() -> bool:
    """Become the leader of a new process group, so that the parent can end this process with all its children."""
    if os.name != "posix":
        return False
    with contextlib.suppress(OSError):
        os.setsid()
    return os.getpgrp() == os.getpid()


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 65536)
    except OSError:
        return b""


if __name__ == "__main__":
    sys.exit(main())
