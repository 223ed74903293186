"""One training command at a time in a child process; it never blocks the event loop."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt
import VirtualContrastLib
from slicer.i18n import tr as _
from VirtualContrastLib.events import ExitCode
from VirtualContrastLib.slicer_app.run.engine_process import kill_tree, let_go, python_program
from VirtualContrastLib.worker.protocol import LineSplitter

from .child import child_processes

LOG_LINES = 5000
_ERROR = "Error: "
_CHILD = "VirtualContrastTrainingLib.slicer_app.child"


class Process:
    """Owns the child process. `ended` gets an exit code and a sentence, "" where all went well."""

    def __init__(self, ended: Callable[[int, str], None]) -> None:
        self.command = [python_program(), "-m", _CHILD]
        self._ended = ended
        self._process: Any = None
        self._pid = 0
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._error = ""
        self._killed = False

    @property
    def busy(self) -> bool:
        """A command is running."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Process id of the last command that was started."""
        return self._pid

    def log_text(self) -> str:
        """What the commands printed, the last 5000 lines."""
        return "\n".join(self._log)

    def start(self, arguments: Sequence[str]) -> None:
        """Start a command of `virtual-contrast-training`; RuntimeError where one is running."""
        if self.busy:
            raise RuntimeError("a command is running")
        self._error, self._killed = "", False
        self._log.append("virtual-contrast-training " + " ".join(arguments))
        self._splitters = LineSplitter(), LineSplitter()
        self._process = process = qt.QProcess()
        process.setProcessEnvironment(_environment())
        process.connect("readyReadStandardOutput()", self._read)
        process.connect("readyReadStandardError()", self._read)
        process.connect("finished(int,QProcess::ExitStatus)", self._on_finished)
        process.connect("errorOccurred(QProcess::ProcessError)", self._on_error)
        program, *first = self.command
        process.start(program, [*first, *arguments])
        self._pid = int(process.processId())

    def kill(self) -> None:
        """End the command with everything it started; `ended` follows."""
        if self._process is None:
            return
        self._killed = True
        _kill_tree(self._pid)
        self._process.kill()

    def shutdown(self, patience_s: float) -> None:
        """End the command without notifying anyone: killed with its children if it has not ended in `patience_s`."""
        process, self._process = self._process, None  # so that its last signals are ignored
        if process is None:
            return
        process.closeWriteChannel()
        if not process.waitForFinished(int(1000 * patience_s)):
            _kill_tree(self._pid)
            process.kill()
            process.waitForFinished(1000)
        let_go(process)

    # ---- what it says ----------------------------------------------------------------------------------------------

    def _read(self) -> None:
        if self._process is None:
            return
        chunks = self._process.readAllStandardOutput(), self._process.readAllStandardError()
        for splitter, chunk in zip(self._splitters, chunks, strict=True):
            for line in splitter.feed(bytes(chunk.data())):
                self._take(line)

    def _take(self, line: str) -> None:
        text = line.rpartition("\r")[2].rstrip()  # of a progress bar the last state
        if text:
            self._log.append(text)
        if text.startswith(_ERROR) and not self._error:  # of several processes the first says why
            self._error = text.removeprefix(_ERROR)

    def _on_finished(self, code: int, status: Any) -> None:
        if self._process is None:
            return
        crashed = status == qt.QProcess.CrashExit
        self._read()
        for splitter in self._splitters:
            for line in splitter.flush():
                self._take(line)
        if crashed:
            _kill_tree(self._pid)  # what it had started outlives it otherwise
        self._forget()
        self._log.append(_("The process ended (exit code {code}).").format(code=code))
        self._ended(*self._outcome(code, crashed))

    def _outcome(self, code: int, crashed: bool) -> tuple[int, str]:
        if self._killed:
            return int(ExitCode.CANCELLED), _("Ended at once; the last checkpoint, if there is one, is kept.")
        if crashed:
            text = _("The process crashed or was killed (code {code}); the last checkpoint is kept, see the log.")
            return int(ExitCode.FAILED), text.format(code=code)
        unknown = _("The process ended unexpectedly (exit code {code}); see the log.").format(code=code)
        return code, "" if code == ExitCode.DONE else self._error or unknown

    def _on_error(self, error: Any) -> None:
        if error != qt.QProcess.FailedToStart or self._process is None:
            return  # any other error ends with `finished`
        self._forget()
        sentence = _("Python for the training could not be started; reinstall Slicer or see the log.")
        self._ended(int(ExitCode.FAILED), sentence)

    def _forget(self) -> None:
        process, self._process = self._process, None
        let_go(process)


def _kill_tree(pid: int) -> None:
    """Kill process `pid` and all that it started, also what has left its process group (as torchrun's ranks do)."""
    descendants = child_processes(pid)
    try:
        leads_group = os.name != "nt" and os.getpgid(pid) == pid
    except ProcessLookupError:
        leads_group = True  # it has ended, its group may not have
    kill_tree(pid, leads_group)
    for descendant in descendants:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(descendant, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)


def _environment() -> Any:
    """The application's environment with both libraries on the path, UTF-8 everywhere, and output at once."""
    environment = qt.QProcessEnvironment.systemEnvironment()
    libraries = [str(Path(file).resolve().parents[1]) for file in (VirtualContrastLib.__file__, Path(__file__).parent)]
    paths = dict.fromkeys([*libraries, *filter(None, environment.value("PYTHONPATH", "").split(os.pathsep))])
    environment.insert("PYTHONPATH", os.pathsep.join(paths))
    environment.insert("PYTHONUTF8", "1")
    environment.insert("PYTHONUNBUFFERED", "1")
    environment.remove("ITK_AUTOLOAD_PATH")  # Slicer's ITK plug-ins do not fit SimpleITK outside the application
    return environment
