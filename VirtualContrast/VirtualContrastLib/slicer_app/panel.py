"""The panel: what to compute, Apply, progress, and the outcome. It never blocks the event loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from ..events import VirtualContrastError
from ..worker.estimate import duration_text
from ..worker.protocol import DeviceAnswer
from . import path_edit
from .models_window import ModelsWindow
from .observers import Observers
from .reader.widget import ReadingPanel
from .run import dicom_source, install
from .run.model_choice import ModelChoice
from .run.parameters import (
    chosen_real_phases,
    makes_any_time,
    output_folder,
    preselect,
    reads_several,
    run_settings,
    why_not,
)
from .run.study_choice import StudyChoice
from .run.synthesis_run import Callbacks
from .scene import nodes
from .text_window import log_window
from .views.result_opener import ResultOpener
from .views.result_panel import ResultPanel

if TYPE_CHECKING:
    from .scene.result import LoadedResult

ERROR_STYLE = "color: #b00020; font-weight: bold;"
DEVICE_DELAY_MS = 500
_NOT_FOR_READERS = (
    "inputButton", "realButton", "computeButton", "advancedButton", "applyButton", "cancelButton", "progressBar",
    "statusLabel", "logButton", "resultButton", "openResultButton", "openBatchButton", "casesTable",
)  # fmt: skip


class Panel:
    """The module's widget and what its controls do.

    `resource_path` gives the path of a file in Resources, `is_entered` says whether Slicer shows the module.
    """

    def __init__(self, logic: Any, resource_path: Callable[[str], str], is_entered: Callable[[], bool]) -> None:
        self._observers = Observers()
        self.logic, self._is_entered = logic, is_entered
        self.parameters: Any = None
        self._gui_tag: int | None = None
        self._missing: list[str] = []
        self._devices: dict[str, DeviceAnswer] = {}
        self._warnings: list[str] = []
        self._updating, self._started_s = False, 0.0
        self.widget = slicer.util.loadUI(resource_path("UI/VirtualContrast.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self._models = ModelChoice(self.ui, self._on_model)
        self.results = ResultPanel(self.ui, self._tell)
        self.opener = ResultOpener(self.ui, self._inputs, self.results.show, self._tell)
        self.reading = ReadingPanel(
            resource_path("UI/VirtualContrastReading.ui"), self.results.annotator, self._on_reading
        )
        self.ui.readingButton.layout().addWidget(self.reading.widget)
        self.models_window = ModelsWindow(self._on_models_changed)
        self.log_window = log_window(self.logic.synthesis.worker.log_text)
        self.logic.synthesis.worker.state_changed = self._update
        self._device_timer = qt.QTimer()
        self._device_timer.setSingleShot(True)
        self._device_timer.setInterval(DEVICE_DELAY_MS)
        self._device_timer.connect("timeout()", self._ask_device)
        self._study = StudyChoice(self.ui, lambda: self.parameters, self._tell)
        self._connect()
        self._refresh_packages()
        self._use(self.logic.getParameterNode())

    # ---- life ------------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """The module is shown: look again at packages, models and results."""
        self._refresh_packages()
        self._use(self.logic.getParameterNode())
        self.results.find()
        self.reading.enter()

    def exit(self) -> None:
        """Another module is shown; a run continues."""
        self._device_timer.stop()
        self.reading.exit()
        self._use(None)

    def cleanup(self) -> None:
        """The module goes away: end the run and the worker process."""
        self._device_timer.stop()
        self._use(None)
        self._observers.clear()
        self.opener.stop()
        self._study.stop()
        self.reading.cleanup()
        self.results.cleanup()
        self.log_window.close()
        self.models_window.close()
        self.logic.synthesis.worker.state_changed = lambda: None
        self.logic.shutdown()

    def _connect(self) -> None:
        ui, scene = self.ui, slicer.mrmlScene
        self._observers.add(scene, scene.StartCloseEvent, self._on_scene_closes)
        self._observers.add(scene, scene.StartImportEvent, self._on_scene_loads)
        self._observers.add(scene, scene.EndCloseEvent, self._on_scene_changed)
        self._observers.add(scene, scene.EndImportEvent, self._on_scene_changed)
        ui.applyButton.connect("clicked(bool)", self._on_apply)
        ui.cancelButton.connect("clicked(bool)", self._on_cancel)
        ui.freeButton.connect("clicked(bool)", self._on_free)
        ui.logButton.connect("clicked(bool)", self._on_log)
        ui.modelsButton.connect("clicked(bool)", self.models_window.show)
        ui.realSelector.connect("checkedNodesChanged()", self._on_real_volumes)
        path_edit.on_change(ui.outputPath, self._on_output_path)

    def _on_scene_closes(self, caller: Any, event: Any) -> None:
        self._use(None)
        self.reading.stop()
        self.opener.stop()
        self._study.stop()
        self.results.clear()
        self.logic.synthesis.cancel()

    def _on_scene_loads(self, caller: Any, event: Any) -> None:
        """The list of real phases then reports ticks that nobody made."""
        self._use(None)

    def _on_scene_changed(self, caller: Any, event: Any) -> None:
        if self._is_entered():
            self._use(self.logic.getParameterNode())
            self.results.find()

    # ---- parameters and controls -----------------------------------------------------------------------------------

    def _use(self, parameters: Any) -> None:
        """Let the controls show and change `parameters` (None: no scene to work on)."""
        if self.parameters is not None:
            self.parameters.disconnectGui(self._gui_tag)
            self._observers.forget(self.parameters)
        self.parameters = parameters
        if parameters is not None:
            preselect(parameters)
            self._gui_tag = parameters.connectGui(self.ui)
            self._observers.add(parameters, vtk.vtkCommand.ModifiedEvent, self._update)
            self._models.fill(parameters.model)
        self._update()

    def _on_models_changed(self) -> None:
        """A model has come or gone."""
        if self.parameters is not None:
            self._models.fill(self.parameters.model)
        self._update()

    def _inputs(self) -> tuple[Any, Sequence[Any]]:
        """The input volume and the real phases, as they are chosen now."""
        if self.parameters is None:
            return None, ()
        return self.parameters.inputVolume, chosen_real_phases(self.parameters).nodes

    def _on_model(self, name: str) -> None:
        if self.parameters is not None:
            self.parameters.model = name

    def _on_real_volumes(self) -> None:
        if not self._updating and self.parameters is not None:
            self.parameters.realVolumes = list(self.ui.realSelector.checkedNodes())

    def _on_output_path(self, text: str) -> None:
        if not self._updating and self.parameters is not None:
            self.parameters.outputFolder = path_edit.path_of(text)

    def _update(self, caller: Any = None, event: Any = None) -> None:
        """Bring everything on the panel in line with the parameters and the state of the run."""
        busy, worker = self.logic.synthesis.busy, self.logic.synthesis.worker
        reason = self._why_not()
        self.ui.applyButton.enabled = not reason
        self.ui.applyButton.toolTip = reason or _("Synthesize the phases, find lesions and show their curves.")
        self.ui.cancelButton.enabled = busy
        self.ui.freeButton.enabled = worker.alive and not busy
        if self.parameters is None:
            return
        self._study.show()
        self._models.show(self.parameters.model, phantom=nodes.is_phantom(self.parameters.inputVolume))
        self.ui.timesLabel.visible = self.ui.timesEdit.visible = makes_any_time(self.parameters)
        self.ui.acquiredLabel.visible = self.ui.acquiredSpinBox.visible = reads_several(self.parameters)
        volume = self.parameters.inputVolume
        self.ui.dicomLabel.visible = self.parameters.dicom and volume is not None
        self.ui.dicomLabel.text = dicom_source.explanation(volume) if volume is not None else ""
        self._updating = True
        self._show_real()
        path_edit.show(self.ui.outputPath, self.parameters.outputFolder)
        self._updating = False
        worker.idle_s = 60.0 * self.parameters.idleMinutes
        self._show_device()

    def _show_real(self) -> None:
        wanted = [node for node in self.parameters.realVolumes if node is not None]
        for node in [self.ui.realSelector.nodeFromIndex(n) for n in range(self.ui.realSelector.nodeCount())]:
            state = qt.Qt.Checked if node in wanted else qt.Qt.Unchecked
            if self.ui.realSelector.checkState(node) != state:
                self.ui.realSelector.setCheckState(node, state)
        real = chosen_real_phases(self.parameters)
        parts = [f"{number}: {node.GetName()}" for number, node in enumerate(real.nodes, start=1)]
        if real.times_s:
            parts = [f"{part} ({time_s:g} s)" for part, time_s in zip(parts, real.times_s, strict=True)]
        self.ui.realLabel.text = " · ".join(parts) or _("None chosen.")

    def _on_reading(self) -> None:
        """While a reader reads, the panel shows the questions alone."""
        reading = self.reading.active
        if reading:
            self.ui.readingButton.collapsed = False
        for name in _NOT_FOR_READERS:
            getattr(self.ui, name).visible = not reading
        text = _("Research reading: images may be synthetic.") if reading else _("Synthetic images. Research only.")
        self.ui.bannerLabel.text = text
        self._update()

    def _why_not(self) -> str:
        if self.reading.active:
            return _("A blinded reading is under way.")
        if self.logic.synthesis.busy:
            return _("A run is under way.")
        if self.parameters is None:
            return _("The scene is being closed or loaded.")
        if install.under_way():
            return _("Packages are being installed.")
        answer = self._devices.get(self.parameters.device.value)
        if answer is not None and not answer.usable:
            return answer.reason
        return why_not(self.parameters)

    # ---- device and packages ---------------------------------------------------------------------------------------

    def _refresh_packages(self) -> None:
        self._missing = install.missing_packages()
        self.ui.packagesLabel.text = install.explanation(self._missing) if self._missing else ""
        self.ui.packagesLabel.visible = bool(self._missing)

    def _show_device(self) -> None:
        """The reason for the device, once the worker has tried it; it is asked when an input is there."""
        answer = self._devices.get(self.parameters.device.value)
        if answer is not None:
            self.ui.deviceLabel.text = answer.reason
            return
        self.ui.deviceLabel.text = _("Tried out with a small computation before the run.")
        if self.parameters.inputVolume is not None and not self._missing and not self.logic.synthesis.busy:
            self._device_timer.start()

    def _ask_device(self) -> None:
        if self.parameters is not None and not self.logic.synthesis.busy:
            self.logic.synthesis.worker.ask_device(self.parameters.device.value, self._on_device)

    def _on_device(self, answer: DeviceAnswer) -> None:
        self._devices[answer.wanted] = answer
        self._update()

    # ---- buttons ---------------------------------------------------------------------------------------------------

    def _on_apply(self) -> None:
        if self._missing and not self._install():
            return
        parameters, self._warnings, self._started_s = self.parameters, [], time.monotonic()
        callbacks = Callbacks(
            self._on_progress, self._warnings.append, self._on_done, self._on_failed, self._on_stopped
        )
        try:
            self.logic.synthesis.start(
                parameters.inputVolume,
                run_settings(parameters),
                callbacks,
                real=chosen_real_phases(parameters),
                output_folder=output_folder(parameters),
            )
        except VirtualContrastError as error:
            self._tell(str(error), error=True)
        self._update()

    def _install(self) -> bool:
        """Install what is missing, after asking; shows why not. True where a run can start now."""
        try:
            install.ensure_packages(begins=self._update)
        except install.NotInstalledError as error:
            self._tell(str(error), error=True)
        self._refresh_packages()
        self._update()
        return not self._missing and self.parameters is not None  # the installation lets events through

    def _on_cancel(self) -> None:
        self._tell(_("Stopping ..."))
        self.ui.cancelButton.enabled = False
        self.logic.synthesis.cancel()

    def _on_free(self) -> None:
        self.logic.synthesis.worker.free()
        self._tell(_("The memory is free; the next run starts a little later."))

    def _on_log(self) -> None:
        self.log_window.show()

    # ---- what the run reports ----------------------------------------------------------------------------------------

    def _on_progress(self, fraction: float, text: str) -> None:
        self.ui.progressBar.value = round(1000 * fraction)
        self._tell(text)

    def _on_done(self, loaded: LoadedResult, folder: Path) -> None:
        self.results.show(loaded, folder)
        took = duration_text(time.monotonic() - self._started_s)
        lines = [_("Done in {time}. Synthetic, research only.").format(time=took)]
        self._end("\n".join([*lines, *(_("Note: {text}").format(text=text) for text in self._warnings)]))

    def _on_failed(self, sentence: str) -> None:
        self._end(sentence, error=True)

    def _on_stopped(self) -> None:
        self._end(_("Cancelled; nothing was made."))

    def _end(self, text: str, *, error: bool = False) -> None:
        self.ui.progressBar.value = 0
        self._tell(text, error=error)
        self._update()

    def _tell(self, text: str, *, error: bool = False) -> None:
        self.ui.statusLabel.styleSheet = ERROR_STYLE if error else ""
        self.ui.statusLabel.text = text
