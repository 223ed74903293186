"""A command of `virtual-contrast` as a process of its own: what the command line does, without waiting for it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from .engine_process import environment, let_go, python_program


class EngineCommand:
    """One command at a time."""

    def __init__(self) -> None:
        self._process: Any = None
        self._ended: Callable[[str], None] = lambda problem: None
        self._output = ""

    @property
    def busy(self) -> bool:
        """A command is under way."""
        return self._process is not None

    def run(self, arguments: Sequence[str], ended: Callable[[str], None]) -> None:
        """Start the command with these arguments; `ended` gets "" or the sentence of what went wrong."""
        self._ended, self._output = ended, ""
        self._process = qt.QProcess()
        self._process.setProcessEnvironment(environment())
        self._process.connect("readyReadStandardOutput()", self._read)
        self._process.connect("finished(int,QProcess::ExitStatus)", self._finished)
        self._process.connect("errorOccurred(QProcess::ProcessError)", self._failed)
        self._process.start(python_program(), ["-m", "VirtualContrastLib", *arguments, "--json"])

    def stop(self) -> None:
        """End the command now; no callback is called."""
        process, self._process = self._process, None
        if process is not None:
            _kill(process)
            process.waitForFinished(1000)
            let_go(process)

    def _read(self) -> None:
        if self._process is not None:
            self._output += bytes(self._process.readAllStandardOutput().data()).decode("utf-8", "replace")

    def _finished(self, code: int, status: Any) -> None:
        self._read()
        self._end("" if code == 0 else _problem(self._output, code))

    def _failed(self, error: Any) -> None:
        if error == qt.QProcess.FailedToStart:
            self._end(_("Python could not be started; reinstall Slicer or see the log."))

    def _end(self, problem: str) -> None:
        process, self._process = self._process, None
        if process is not None:
            let_go(process)
            self._ended(problem)


def _kill(process: Any) -> None:
    """Kill the process and what it started: PythonSlicer is a launcher, and its Python would go on alone."""
    import psutil

    children = []
    if number := int(process.processId()):  # 0: it never started; psutil would take that for the system's first process
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(number).children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile; the others are still there
            child.kill()
    process.kill()


def _problem(output: str, code: int) -> str:
    """The sentence of the last error event of the command."""
    for line in reversed(output.splitlines()):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("event") == "error":
            return str(event.get("message"))
    return _("The command ended with exit code {code}.").format(code=code)
