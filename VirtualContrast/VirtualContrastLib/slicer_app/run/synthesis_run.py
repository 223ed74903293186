"""One synthesis after another from a volume node to nodes in the scene; no widget is needed.

A run: hand the volumes over as files (piece by piece), let the worker process make a result folder, load the folder.
Whatever goes wrong on the way leaves no node, no file and one sentence.
"""

from __future__ import annotations

import contextlib
import datetime
import shutil
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from ...events import CancelledError, InputError, Stage, VirtualContrastError
from ...run.settings import RunSettings
from ...worker.estimate import Estimate, duration_text
from ...worker.protocol import Done, RunRequest
from ..scene import nodes
from . import dicom_source, install, model_list, temporary
from .engine_process import EngineProcess
from .transfer import RealPhases, write_nrrd

if TYPE_CHECKING:
    from ..scene.result import LoadedResult

HAND_OVER_SHARE, LOADING_SHARE = 0.02, 0.03
"""Shares of the progress bar for handing the volumes over and for loading the result."""


@dataclass
class Callbacks:
    """What a run reports: progress, warnings, and one of three ends.

    Attributes:
        progress: Called with a fraction 0..1 and a sentence.
        warning: Called with a sentence.
        done: Called with the loaded result and its folder.
        failed: Called with a sentence.
        cancelled: Called when the user has stopped the run.
    """

    progress: Callable[[float, str], None] = lambda fraction, text: None
    warning: Callable[[str], None] = lambda sentence: None
    done: Callable[[LoadedResult, Path], None] = lambda loaded, folder: None
    failed: Callable[[str], None] = lambda sentence: None
    cancelled: Callable[[], None] = lambda: None


@dataclass
class _Job:
    """A run under way. `steps` hands the volumes over; `request` is what the worker gets then; after its end `steps`
    loads the result folder, which then is `loading`.

    `real_nodes` are the real phases: nodes of the scene, or items of a sequence. `by_slices`: the model's progress
    counts slices.
    """

    input_id: str
    real_nodes: list[Any]
    folder: Path
    request: RunRequest
    callbacks: Callbacks
    steps: Generator[float, None, Any]
    by_slices: bool = True
    loading: Path | None = None


class SynthesisRunner:
    """Runs one synthesis at a time in the resident worker process."""

    def __init__(self, worker: EngineProcess | None = None) -> None:
        self.worker = worker or EngineProcess()
        self.estimate = Estimate()
        self._job: _Job | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._step)

    @property
    def busy(self) -> bool:
        """A run is under way or being cancelled."""
        return self._job is not None

    def process(
        self,
        input_volume: Any,
        settings: RunSettings | None = None,
        *,
        real: RealPhases | None = None,
        output_folder: Path | None = None,
    ) -> LoadedResult:
        """Synthesize and load, blocking until done; for scripts and tests.

        Args:
            input_volume: Volume node of the pre-contrast volume.
            settings: Settings of the run; None for the defaults.
            real: Real phases.
            output_folder: Where the result folder is made; None for Slicer's temporary folder.

        Returns:
            The loaded result.

        Raises:
            InputError: Something cannot be used.
            VirtualContrastError: The run failed; nothing was made.
            CancelledError: The run was canceled.
        """
        if missing := install.missing_packages():
            raise VirtualContrastError(install.explanation(missing))
        ends: list[Any] = []
        callbacks = Callbacks(
            done=lambda loaded, folder: ends.append(loaded),
            failed=lambda sentence: ends.append(VirtualContrastError(sentence)),
            cancelled=lambda: ends.append(CancelledError("Cancelled; nothing was made.")),
        )
        self.start(input_volume, settings, callbacks, real=real, output_folder=output_folder)
        while self.busy:
            self._timer.stop()
            if self.worker.busy:
                self.worker.wait()
            else:
                self._step()
        if isinstance(ends[0], VirtualContrastError):
            raise ends[0]
        return ends[0]

    def start(
        self,
        input_volume: Any,
        settings: RunSettings | None,
        callbacks: Callbacks,
        *,
        real: RealPhases | None = None,
        output_folder: Path | None = None,
    ) -> None:
        """Start a run and return.

        Args:
            input_volume: Volume node of the pre-contrast volume.
            settings: Settings of the run; None for the defaults.
            callbacks: Called from the event loop.
            real: Real phases.
            output_folder: Where the result folder is made; None for Slicer's temporary folder.

        Raises:
            InputError: A run is under way, or the output folder cannot be used.
        """
        if self.busy:
            raise InputError(_("A run is under way; wait for its end or cancel it."))
        real, settings = real or RealPhases(), settings or RunSettings()
        phantom = nodes.is_phantom(input_volume)
        settings = model_list.with_real_times(settings, real.times_s, phantom=phantom)
        out = _new_folder(output_folder)
        folder = Path(tempfile.mkdtemp(prefix="VirtualContrast_", dir=slicer.app.temporaryPath))
        places = [folder / "pre", *(folder / f"real_{n}" for n in range(1, len(real.nodes) + 1))]
        request = RunRequest(places[0], out, settings, places[1:])
        steps = _hand_over_all([input_volume, *real.nodes], places, callbacks.warning)
        model = model_list.find_model(settings.model, phantom=phantom)
        by_slices = model is None or model.abilities.by_slices
        self._job = _Job(input_volume.GetID(), list(real.nodes), folder, request, callbacks, steps, by_slices)
        self.estimate.begin(time.monotonic(), real=bool(real.nodes), register=settings.register)
        callbacks.progress(0.0, _("Handing the volume over"))
        self._timer.start()

    def cancel(self) -> None:
        """Stop the run; `callbacks.cancelled` comes within 2 seconds, and nothing is left of it."""
        if self._job is None:
            return
        if self.worker.busy:
            self.worker.cancel()
            return
        if self._job.loading is not None:
            shutil.rmtree(self._job.loading, ignore_errors=True)
        self._end(self._job.callbacks.cancelled)

    def shutdown(self) -> None:
        """End everything now: the run, without notifying anyone, and the worker process."""
        self._timer.stop()
        self.worker.shutdown()
        if self._job is not None:
            self._end(lambda: None)

    # ---- a run -----------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        """Hand over the next piece of the volumes, or load the next piece of the result; after the last, continue."""
        job = self._job
        if job is None:
            self._timer.stop()
            return
        try:
            fraction = next(job.steps)
        except StopIteration as end:
            self._timer.stop()
            self._steps_done(job, end.value)
        except (VirtualContrastError, RuntimeError, OSError) as error:
            self._steps_failed(job, error)
        except Exception:  # a slot of Qt: the run has to end before Slicer's console gets the fault
            self._end(lambda: job.callbacks.failed(_("An unexpected error ended the run; see the Python console.")))
            raise
        else:
            if job.loading is None:
                job.callbacks.progress(HAND_OVER_SHARE * fraction, _("Handing the volume over"))
            else:
                job.callbacks.progress(1.0 - LOADING_SHARE * (1.0 - fraction), _("Loading the result"))

    def _steps_done(self, job: _Job, value: Any) -> None:
        """The volumes are handed over as the paths `value`, or the result is loaded and is `value`."""
        folder = job.loading
        if folder is None:
            job.request = replace(job.request, source=value[0], real=value[1:])
            self.worker.run(job.request, self)
        else:
            self._end(lambda: job.callbacks.done(value, folder))

    def _steps_failed(self, job: _Job, error: Exception) -> None:
        sentence = str(error)
        if job.loading is not None:
            text = _("The result in {folder} could not be loaded ({reason}).")
            sentence = text.format(folder=job.loading, reason=error)
        self._end(lambda: job.callbacks.failed(sentence))

    def progress(self, stage: str, done: int, total: int) -> None:
        """Progress from the worker.

        Args:
            stage: The stage of the run.
            done: Its finished steps.
            total: All its steps.
        """
        if self._job is None:
            return
        fraction = self.estimate.update(Stage(stage), done, total)
        perturbations = self._job.request.settings.uncertainty
        text = _stage_text(Stage(stage), done, total, perturbations, by_slices=self._job.by_slices)
        left = self.estimate.seconds_left(time.monotonic())
        if left is not None:
            text += " · " + _("about {time} left").format(time=duration_text(left))
        share = 1.0 - HAND_OVER_SHARE - LOADING_SHARE
        self._job.callbacks.progress(HAND_OVER_SHARE + share * fraction, text)

    def warning(self, message: str) -> None:
        """From the worker."""
        if self._job is not None:
            self._job.callbacks.warning(message)

    def failed(self, sentence: str) -> None:
        """From the worker."""
        if self._job is not None:
            callbacks = self._job.callbacks
            self._end(lambda: callbacks.failed(sentence))

    def cancelled(self) -> None:
        """From the worker."""
        if self._job is not None:
            self._end(self._job.callbacks.cancelled)

    def done(self, message: Done) -> None:
        """From the worker: load the result folder into the scene, step by step."""
        job = self._job
        if job is None:
            return
        self.estimate.learn(message.timing_s)
        job.loading = Path(message.out)
        node = slicer.mrmlScene.GetNodeByID(job.input_id)
        if node is None:
            text = _("The input volume was removed in the meantime; the result is in {folder}.")
            self._end(lambda: job.callbacks.failed(text.format(folder=job.loading)))
            return
        from ..scene import result

        job.steps = result.load_steps(job.loading, node, real_nodes=job.real_nodes, run_id=message.run_id)
        job.callbacks.progress(1.0 - LOADING_SHARE, _("Loading the result"))
        self._timer.start()

    def _end(self, tell: Callable[[], None]) -> None:
        """The run is over: remove the handed over files and a place that stayed empty, then tell."""
        job, self._job = self._job, None
        self._timer.stop()
        if job is not None:
            job.steps.close()  # an open file, or the nodes of a half loaded result
            shutil.rmtree(job.folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                job.request.out.rmdir()
        tell()


def _hand_over_all(
    volumes: list[Any], places: list[Path], warn: Callable[[str], None]
) -> Generator[float, None, list[Path]]:
    """Hand every volume over at its place; yields the fraction of all after each piece and returns their paths."""
    paths = []
    for number, (volume, place) in enumerate(zip(volumes, places, strict=True)):
        steps = _hand_over(volume, place, warn)
        try:
            while True:
                yield (number + next(steps)) / len(volumes)
        except StopIteration as end:
            paths.append(end.value)
    return paths


def _hand_over(volume: Any, place: Path, warn: Callable[[str], None]) -> Generator[float, None, Path]:
    """The folder `place` with the DICOM files of a volume, or an NRRD file with its voxels where it has none."""
    files = dicom_source.files_of(volume)
    if files:
        steps = dicom_source.hand_over(volume, files, place)
        try:
            while True:
                next(steps)
                yield 0.0
        except StopIteration as end:
            if end.value:
                return place
        warn(_("The volume was changed since it was loaded, so its DICOM header is no longer used."))
    path = place.with_suffix(".nrrd")
    yield from write_nrrd(volume, path)
    return path


def _new_folder(parent: Path | None) -> Path:
    """Make a folder for a result, empty and private to the user; its name holds the time and nothing of the patient.

    Making it is what reserves its name: another Slicer may ask for one in the same second.
    """
    place = parent or Path(slicer.app.temporaryPath)
    try:
        place = parent or temporary.folder()
        place.mkdir(parents=True, exist_ok=True)
        stem = f"VirtualContrast_{datetime.datetime.now():%Y%m%d_%H%M%S}_"
        return Path(tempfile.mkdtemp(prefix=stem, dir=place))
    except OSError as error:
        text = _("No result folder can be made in {folder} ({reason}); choose another one.")
        raise InputError(text.format(folder=place, reason=error.strerror)) from error


def _stage_text(stage: Stage, done: int, total: int, perturbations: int, *, by_slices: bool) -> str:
    names = {
        Stage.READ: _("Checking the volume"),
        Stage.MODEL: _("Loading the model"),
        Stage.REGISTER: _("Correcting the motion of the real phases"),
        Stage.SYNTHESIZE: _("Synthesizing the phases"),
        Stage.SEGMENT: _("Finding lesions"),
        Stage.KINETICS: _("Measuring curves"),
        Stage.COMPARE: _("Comparing with the real phases"),
        Stage.EXPORT: _("Writing the result"),
    }
    if stage is Stage.SYNTHESIZE and total > 1:
        passes = 1 + perturbations  # every slice is counted once per pass
        slices, count = done // passes, total // passes
        text = _("{stage}, slice {done} of {total}") if by_slices else _("{stage}, window {done} of {total}")
        return text.format(stage=names[stage], done=slices, total=count)
    return names[stage]
