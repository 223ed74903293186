"""Runs of the panel, one at a time: start, stop with a checkpoint, resume, and phantoms to try it on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from slicer.i18n import tr as _
from VirtualContrastLib.events import ExitCode, InputError

from .process import Process
from .run_folder import RunFolder, Start

PHANTOMS = (("train", 6, 1), ("validation", 2, 800001))
"""Folder, number and first seed of the studies to try with."""
PATIENCE_S = 3.0
"""How long the application's end waits for the checkpoint of a run."""


class TrainingRunner:
    """Starts commands and reports their end. `ended` gets a kind ("train", "phantoms"), an exit code, a sentence."""

    def __init__(self, ended: Callable[[str, int, str], None] = lambda kind, code, sentence: None) -> None:
        self.ended = ended
        self.process = Process(self._on_ended)
        self.run: RunFolder | None = None
        self.stopping = False
        self._kind = ""
        self._queue: list[list[str]] = []

    @property
    def busy(self) -> bool:
        """A command is running."""
        return self.process.busy

    @property
    def kind(self) -> str:
        """What is going on: "train", "phantoms" or ""."""
        return self._kind if self.busy else ""

    def start(self, run: RunFolder, start: Start, *, resume: bool = False) -> None:
        """Start or resume a run and return.

        Args:
            run: Folder of the run.
            start: What to train.
            resume: Whether to continue from its last checkpoint.

        Raises:
            InputError: A run is under way, or the folder cannot be written.
        """
        self._refuse_if_busy()
        try:
            run.begin(start)
        except OSError as error:
            text = _("The output folder {folder} cannot be written ({reason}); choose another.")
            raise InputError(text.format(folder=run.folder, reason=error.strerror)) from error
        self.run = run
        self._begin("train", [start.arguments(run.folder, resume=resume)])

    def make_phantoms(self, folder: Path, *, mammograms: bool = False) -> None:
        """Simulate studies into `folder`/train and `folder`/validation; those that are there stay as they are."""
        self._refuse_if_busy()
        command = ["prepare", "phantom-mammograms"] if mammograms else ["phantom"]
        self._begin(
            "phantoms",
            [
                [*command, "--output", str(folder / name), "--count", str(count), "--seed", str(seed)]
                for name, count, seed in PHANTOMS
            ],
        )

    def stop(self) -> None:
        """Let a run end with a checkpoint after the step it is in.

        A second call ends it at once, and so does the first where there is nothing to keep yet or nothing that stops
        by itself (phantoms).
        """
        if not self.busy:
            return
        if self._kind == "train" and not self.stopping and self.run is not None and self.run.progress is not None:
            self.stopping = True
            self.run.ask_to_stop()
        else:
            self._queue.clear()
            self.process.kill()

    def shutdown(self) -> None:
        """End everything without notifying anyone; a run gets PATIENCE_S to write its checkpoint."""
        self._queue.clear()
        if self._kind == "train" and self.busy and self.run is not None and self.run.progress is not None:
            self.run.ask_to_stop()
            self.process.shutdown(PATIENCE_S)
        else:
            self.process.shutdown(0.0)

    def _refuse_if_busy(self) -> None:
        if self.busy:
            raise InputError(_("A run is under way; wait for its end or stop it."))

    def _begin(self, kind: str, commands: Sequence[list[str]]) -> None:
        self._kind, self.stopping = kind, False
        first, *self._queue = commands
        self.process.start(first)

    def _on_ended(self, code: int, sentence: str) -> None:
        if code == ExitCode.DONE and self._queue:
            self.process.start(self._queue.pop(0))
            return
        if self.stopping and code != ExitCode.DONE and self.run is not None and self.run.has_stopped:
            code = int(ExitCode.CANCELLED)  # the launcher of several processes calls it a failure
        self._queue.clear()
        self.stopping = False
        self.ended(self._kind, code, sentence)
