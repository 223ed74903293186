"""The engine as a resident child process: JSON lines in on standard input, JSON lines out on standard output.

    python -m VirtualContrastLib.worker.process [--idle SECONDS]

Weights stay loaded from one run to the next; after `--idle` seconds without work the process ends by itself, and so
it does when its parent closes standard input or dies. Everything that libraries print goes to standard error.

To the worker:    {"command": "run", "run": N, "source", "out", "real": [...], "settings": {...}, "idle_s"}
                  {"command": "device", "wanted"}    {"command": "cancel", "run": N}    {"command": "quit"}
From the worker:  {"event": "ready", "pid", "group"}   group: the pid leads a process group of its own
                  {"event": "device", "wanted", "device", "precision", "reason", "usable"}
                  {"event": "progress", "run", "stage", "done", "total"}    {"event": "warning", "run", "message"}
                  {"event": "done", "run", "out", "run_id", "timing_s", "device", "warnings"}
                  {"event": "error", "run", "message", "exit_code"}    {"event": "bye", "reason"}
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from ..errors import UNFORESEEN, explain
from ..events import CancelledError, Events, ExitCode, InputError, Stage, VirtualContrastError
from ..results.staging import remove_partial
from ..run.model_cache import ModelCache
from ..torch_threads import let_waiting_threads_sleep

GRACE_S = 1.0
"""A cancelled run that has not stopped after this many seconds is ended with its process and all its children."""
_TELL_EVERY_S = 0.05
_CLI_HINT = "; run again with --debug to see where it arose."


class CommandLoop:
    """Takes commands from a thread that reads standard input and runs them one after the other in the main thread."""

    def __init__(self, out: TextIO, idle_s: float) -> None:
        self.models = ModelCache()
        self.idle_s = idle_s
        self._out = out
        self._writing = threading.Lock()
        self._commands: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._cancelled: set[int] = set()
        self._run: int | None = None
        self._target: Path | None = None
        self._events = Events()
        self._told: tuple[Stage | None, float] = (None, 0.0)

    # ---- the reading thread ----------------------------------------------------------------------------------------

    def read(self, handle: int) -> None:
        """Read commands from file descriptor `handle` until it ends; then stop all work."""
        rest = b""
        while chunk := _read(handle):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.strip():
                    self._hear(line)
        self._commands.put(None)
        self._events.cancel()
        time.sleep(GRACE_S)
        self._end_now()  # the parent is gone and the run does not stop

    def _hear(self, line: bytes) -> None:
        """Take one command; a line that is none is told of in the log, and the next one is heard."""
        try:
            self._take(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            print(f"The worker got a line that is no command: {line[:200]!r}", file=sys.stderr, flush=True)

    def _take(self, command: dict[str, Any]) -> None:
        if command["command"] == "cancel":
            self._cancelled.add(command["run"])
            if self._run == command["run"]:
                self._events.cancel()
            timer = threading.Timer(GRACE_S, self._insist, [command["run"]])
            timer.daemon = True
            timer.start()
        else:
            self._commands.put(command if command["command"] != "quit" else None)

    def _insist(self, run: int) -> None:
        if self._run == run:
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
                command = self._commands.get(timeout=self.idle_s)
            except queue.Empty:
                return "idle"
            if command is None:
                return "quit"
            if command["command"] == "run":
                self._do_run(command)
            elif command["command"] == "device":
                self._do_device(command["wanted"])

    def _do_run(self, command: dict[str, Any]) -> None:
        number = command["run"]
        self.idle_s = float(command["idle_s"])
        self._events, self._told = Events([self]), (None, 0.0)
        self._target, self._run = Path(command["out"]), number
        if number in self._cancelled:
            self._events.cancel()
        try:
            fields = self._synthesize(command)
        except (VirtualContrastError, KeyboardInterrupt, *UNFORESEEN) as error:
            message, code = explain(error)
            if not isinstance(error, InputError | CancelledError):
                traceback.print_exception(error, file=sys.stderr)
                self.models = ModelCache()  # a device that failed may be in any state
            message = message.replace(_CLI_HINT, "; the log shows where it arose.")
            fields = {"event": "error", "message": message, "exit_code": int(code)}
        finally:
            self._run = self._target = None
        self.say(run=number, **fields)

    def _synthesize(self, command: dict[str, Any]) -> dict[str, Any]:
        from ..run.pipeline import run
        from ..run.settings import RunSettings

        values = dict(command["settings"])
        for name in ("times_s", "real_times_s"):  # JSON has no tuples
            values[name] = tuple(values[name]) if values.get(name) else None
        settings = RunSettings(**values)
        result = run(
            command["source"], command["out"], settings, real=command["real"], events=self._events, models=self.models
        )
        told = result.manifest
        return {
            "event": "done",
            "out": str(result.folder),
            "run_id": told.run_id,
            "timing_s": told.timing_s,
            "device": told.device,
            "warnings": told.warnings,
        }

    def _do_device(self, wanted: str) -> None:
        """Tell which device `wanted` ("auto", "cpu", ...) comes to, after a tiny real computation on it."""
        fields: dict[str, Any] = {"wanted": wanted, "device": "", "precision": "", "usable": False}
        try:
            choice = self.models.device(wanted)
            fields |= {"device": choice.device, "precision": choice.precision, "usable": True, "reason": choice.reason}
        except (VirtualContrastError, *UNFORESEEN) as error:
            fields["reason"] = explain(error)[0]
        self.say(event="device", **fields)

    # ---- what it says ----------------------------------------------------------------------------------------------

    def progress(self, stage: Stage, done: int, total: int) -> None:
        """Tell the start and end of a stage at once, what lies between at most 20 times a second."""
        now = time.monotonic()
        if stage is self._told[0] and done < total and now - self._told[1] < _TELL_EVERY_S:
            return
        self._told = (stage, now)
        self.say(event="progress", run=self._run, stage=stage.value, done=done, total=total)

    def warning(self, message: str) -> None:
        """Tell a warning."""
        self.say(event="warning", run=self._run, message=message)

    def say(self, **fields: Any) -> None:
        """Write one message; a parent that is gone is not an error."""
        with self._writing, contextlib.suppress(OSError):
            print(json.dumps(fields, ensure_ascii=False), file=self._out, flush=True)


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
    """Serve until idle, told to quit, or left alone; returns the exit code."""
    parser = argparse.ArgumentParser(prog="worker_process")
    parser.add_argument("--idle", type=float, default=600.0, help="seconds without work after which it ends")
    arguments = parser.parse_args(argv)
    faulthandler.enable()
    let_waiting_threads_sleep()
    worker = CommandLoop(_private_stdout(), arguments.idle)
    worker.say(event="ready", pid=os.getpid(), group=_lead_a_group())
    threading.Thread(target=worker.read, args=[0], daemon=True).start()
    reason = worker.work()
    worker.say(event="bye", reason=reason)
    return int(ExitCode.DONE)


def _private_stdout() -> TextIO:
    """A stream to the parent; whatever else writes to standard output, also from C, lands in standard error."""
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
