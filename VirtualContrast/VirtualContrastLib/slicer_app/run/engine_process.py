"""The resident worker process as the panel sees it: start, run, cancel, free; one run at a time.

It never blocks the event loop: the process reports through QProcess' signals. Only `wait` blocks, for scripts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import qt
from slicer.i18n import tr as _

from ...events import ExitCode
from ...results.staging import remove_partial
from ...worker import protocol
from ...worker.protocol import LineSplitter, RunRequest, decode, encode

KILL_AFTER_MS = 1500
"""A canceled run that has not answered by then is killed. The worker itself gives up after 1 s."""
LOG_LINES = 5000


class RunListener(Protocol):
    """Callbacks of one run: any number of `progress` and `warning`, then exactly one of the other three."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Hear of progress.

        Args:
            stage: The stage of the run.
            done: Its finished steps.
            total: All its steps.
        """

    def warning(self, message: str) -> None:
        """A sentence the user should read."""

    def done(self, message: protocol.Done) -> None:
        """The result folder is whole."""

    def failed(self, sentence: str) -> None:
        """Nothing was made."""

    def cancelled(self) -> None:
        """The run was stopped on request and nothing was left."""


class EngineProcess:
    """Owns the child process. `command` is the program and its arguments, by default Slicer's Python."""

    def __init__(self, command: Sequence[str] | None = None, *, idle_s: float = 600.0) -> None:
        self.idle_s = idle_s
        self.state_changed: Callable[[], None] = lambda: None
        self._command = list(command) if command else None
        self._process: Any = None
        self._child: tuple[int, bool] | None = None  # its pid, and whether it leads a process group
        self._last_child: tuple[int, bool] | None = None  # also of one that has ended
        self._idled = False  # it said that it ends because nobody asked it for anything
        self._run: tuple[int, RunRequest, RunListener] | None = None
        self._cancelling = False
        self._number = 0
        self._device_callbacks: list[tuple[str, Callable[[protocol.DeviceAnswer], None]]] = []
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._kill_timer = qt.QTimer()
        self._kill_timer.setSingleShot(True)
        self._kill_timer.setInterval(KILL_AFTER_MS)
        self._kill_timer.connect("timeout()", self._kill)

    @property
    def busy(self) -> bool:
        """A run is going on or being cancelled."""
        return self._run is not None

    @property
    def alive(self) -> bool:
        """There is a process (its weights take memory)."""
        return self._process is not None

    @property
    def _pid(self) -> int | None:
        """Of the process, once it has reported it; it writes nothing before."""
        return self._child[0] if self._child else None

    def log_text(self) -> str:
        """What the processes printed, the last 5000 lines."""
        return "\n".join(self._log)

    def run(self, request: RunRequest, listener: RunListener) -> None:
        """Start a run; RuntimeError where one is going on."""
        if self.busy:
            raise RuntimeError("the worker is busy")
        self._number += 1
        self._cancelling = False
        self._run = (self._number, request, listener)
        self._note(_("Run {number} starts.").format(number=self._number))
        self._send(request.message(self._number, self.idle_s))
        self.state_changed()

    def ask_device(self, wanted: str, callback: Callable[[protocol.DeviceAnswer], None]) -> None:
        """Ask which device `wanted` comes to and why; `callback` gets the answer unless the process ends before."""
        self._device_callbacks.append((wanted, callback))
        self._send(protocol.AskDevice(wanted))

    def cancel(self) -> None:
        """Ask the run to stop; its whole process tree is killed if it has not within 1.5 s."""
        if self._run is None or self._cancelling:
            return
        self._cancelling = True
        self._send(protocol.Cancel(self._run[0]))
        self._kill_timer.start()

    def free(self) -> None:
        """End an idle process, so that its memory is free; a busy one is left alone."""
        if self.alive and not self.busy:
            self._kill()

    def shutdown(self) -> None:
        """End the process and its run now; the listener is not notified."""
        request = self._run[1] if self._run else None
        self._run = None
        self._device_callbacks.clear()
        if self._process is None:
            return
        process = self._process
        self._kill()
        process.waitForFinished(1000)
        self._forget(process)
        if request is not None and self._last_child is not None:
            kill_tree(*self._last_child)  # it may have told its pid in its last words only
            remove_partial(request.out, self._last_child[0])

    def wait(self) -> None:
        """Block until the run has ended (for scripts; the event loop does not run meanwhile)."""
        while self.busy and self._process is not None:
            self._process.waitForReadyRead(100)

    # ---- the process -----------------------------------------------------------------------------------------------

    def _send(self, message: protocol.Message) -> None:
        if self._process is None:
            self._start()
        if self._process is not None:
            self._process.write(qt.QByteArray(encode(message)))

    def _start(self) -> None:
        self._process, self._child, self._last_child, self._idled = qt.QProcess(), None, None, False
        self._splitter, self._errors = LineSplitter(), LineSplitter()
        self._process.setProcessEnvironment(environment())
        self._process.connect("readyReadStandardOutput()", self._on_output)
        self._process.connect("readyReadStandardError()", self._on_errors)
        self._process.connect("finished(int,QProcess::ExitStatus)", self._on_finished)
        self._process.connect("errorOccurred(QProcess::ProcessError)", self._on_error)
        program, *arguments = self._command or [python_program(), "-m", "VirtualContrastLib.worker.process"]
        self._process.start(program, [*arguments, "--idle", str(self.idle_s)])
        self.state_changed()

    def _on_output(self) -> None:
        if self._process is None:
            return  # a signal that was on its way when the process was let go
        for line in self._splitter.feed(bytes(self._process.readAllStandardOutput().data())):
            message = decode(line)
            if message is None:
                self._note(line)
            else:
                self._heard(message)

    def _on_errors(self) -> None:
        if self._process is None:
            return
        for line in self._errors.feed(bytes(self._process.readAllStandardError().data())):
            self._note(line)

    def _heard(self, message: protocol.Message) -> None:
        if isinstance(message, protocol.Ready):
            self._child = self._last_child = (message.pid, message.group)
        elif isinstance(message, protocol.Bye):
            self._idled = message.reason == "idle"
        elif isinstance(message, protocol.DeviceAnswer):
            self._heard_device(message)
        elif self._run is not None and getattr(message, "number", None) == self._run[0]:
            self._heard_of_run(message, self._run[2])

    def _heard_device(self, message: protocol.DeviceAnswer) -> None:
        answered = [entry for entry in self._device_callbacks if entry[0] == message.wanted]
        for entry in answered:
            self._device_callbacks.remove(entry)
            entry[1](message)

    def _heard_of_run(self, message: protocol.Message, listener: RunListener) -> None:
        if isinstance(message, protocol.Progressed):
            if not self._cancelling:
                listener.progress(message.stage, message.done, message.total)
        elif isinstance(message, protocol.Warned):
            self._note(message.sentence)
            listener.warning(message.sentence)
        elif isinstance(message, protocol.Done):
            self._end(lambda: listener.done(message))
        elif isinstance(message, protocol.Failed):
            self._note(message.sentence)
            stopped = message.exit_code == int(ExitCode.CANCELLED)
            self._end(listener.cancelled if stopped else lambda: listener.failed(message.sentence))

    def _end(self, tell: Callable[[], None]) -> None:
        """The run is over; a cancelled one is cancelled, whatever came in late."""
        assert self._run is not None
        _number, request, listener = self._run
        self._run = None
        self._kill_timer.stop()
        if self._cancelling:
            shutil.rmtree(request.out, ignore_errors=True)  # it finished a moment before the request to cancel arrived
            tell = listener.cancelled
        self.state_changed()
        tell()

    def _on_finished(self, code: int, status: Any) -> None:
        process = self._process
        if process is None:
            return
        self._on_output()
        self._on_errors()
        for line in (*self._splitter.flush(), *self._errors.flush()):
            self._note(line)
        crashed, pid = status == qt.QProcess.CrashExit, self._pid
        if self._run is not None and self._child is not None and self._child[1]:
            kill_tree(*self._child)  # what it had started outlives it otherwise
        unheard = list(self._device_callbacks) if self._idled else []
        self._forget(process)
        self._note(_("The worker process ended ({how}).").format(how=_how(code, crashed)))
        if self._idled and not self._cancelling and (self._run is not None or unheard):
            self._ask_again(unheard)
        elif self._run is not None:
            _number, request, listener = self._run
            if pid is not None:
                remove_partial(request.out, pid)
            sentence = _("The computation ended unexpectedly ({how}), nothing was made; see the log for more.")
            self._end(lambda: listener.failed(sentence.format(how=_how(code, crashed))))
        self.state_changed()

    def _ask_again(self, unheard: list[tuple[str, Callable[[protocol.DeviceAnswer], None]]]) -> None:
        """Start a process for what was asked of one that was about to end, as nobody had asked it for anything."""
        for wanted, callback in unheard:
            self.ask_device(wanted, callback)
        if self._run is not None:
            number, request, _listener = self._run
            self._send(request.message(number, self.idle_s))

    def _on_error(self, error: Any) -> None:
        if error != qt.QProcess.FailedToStart or self._process is None:
            return  # any other error ends with `finished`
        self._forget(self._process)
        if self._run is not None:
            listener = self._run[2]
            sentence = _("Python for the computation could not be started; reinstall Slicer or see the log.")
            self._end(lambda: listener.failed(sentence))

    def _forget(self, process: Any) -> None:
        """Let go of a process that has ended."""
        if self._process is process:
            self._process, self._child = None, None
            self._device_callbacks.clear()
            let_go(process)

    def _kill(self) -> None:
        """Kill the process and everything it started."""
        if self._process is None:
            return
        if self._child is not None:
            kill_tree(*self._child)
        self._process.kill()

    def _note(self, line: str) -> None:
        self._log.append(line)


def let_go(process: Any) -> None:
    """Delete a QProcess that has ended, when its signals are through.

    Without a parent it would be gone with its last Python name, and this is called from its own signals: that crashes.
    """
    process.setParent(qt.QCoreApplication.instance())
    process.deleteLater()


def kill_tree(pid: int, leads_group: bool) -> None:
    """Kill process `pid` and its descendants: by process group where it leads one, on Windows by taskkill."""
    if os.name == "nt":
        qt.QProcess.startDetached("taskkill", ["/F", "/T", "/PID", str(pid)])
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if leads_group:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)


def python_program() -> str:
    """Slicer's Python interpreter for a child process."""
    return shutil.which("PythonSlicer") or sys.executable


def environment() -> Any:
    """The application's environment with this library on the path and UTF-8 everywhere."""
    environment = qt.QProcessEnvironment.systemEnvironment()
    library = str(Path(__file__).resolve().parents[3])
    others = environment.value("PYTHONPATH", "")
    environment.insert("PYTHONPATH", library + os.pathsep + others if others else library)
    environment.insert("PYTHONUTF8", "1")
    environment.insert("PYTHONUNBUFFERED", "1")
    environment.remove("ITK_AUTOLOAD_PATH")  # Slicer's ITK plug-ins do not fit SimpleITK outside the application
    return environment


def _how(code: int, crashed: bool) -> str:
    return _("crashed or was killed, code {code}").format(code=code) if crashed else f"exit code {code}"
