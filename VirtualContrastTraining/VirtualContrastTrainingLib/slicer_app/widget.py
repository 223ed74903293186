"""The panel: what to train on what, Start, Stop, Resume, and the outcome. It never blocks the event loop.

What is chosen here is not kept in the scene: a run belongs to its folder, and choosing the folder shows it again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from VirtualContrastLib.events import ExitCode, VirtualContrastError
from VirtualContrastLib.slicer_app import path_edit
from VirtualContrastLib.slicer_app.observers import Observers
from VirtualContrastLib.slicer_app.run import install
from VirtualContrastLib.slicer_app.text_window import log_window

from . import choices, packages
from .recipe_list import DEFAULT, RecipeEntry, read_recipe, shipped_recipes
from .run_folder import RunFolder
from .run_view import RunView
from .training import TrainingRunner

ERROR_STYLE = "color: #b00020; font-weight: bold;"
POLL_MS = 500


class Panel:
    """The module's widget and what its controls do. `is_entered` says whether Slicer shows the module."""

    def __init__(self, training: TrainingRunner, ui_path: str, is_entered: Callable[[], bool]) -> None:
        self._observers = Observers()
        self.training, self._is_entered = training, is_entered
        self.missing: list[str] = []
        self.recipes: list[RecipeEntry] = []
        self._phantoms = Path()
        self.widget = slicer.util.loadUI(ui_path)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.view = RunView(self.ui)
        self.log_window = log_window(training.process.log_text)
        training.ended = self._on_ended
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._poll)
        self._fill()
        self._connect()
        self._refresh_packages()
        self._on_recipe()
        self._on_output()
        self._timer.start()

    # ---- life ------------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """The module is shown: look again at the packages and at the run."""
        self._refresh_packages()
        self._timer.start()
        self._poll()

    def exit(self) -> None:
        """Another module is shown; a run continues, and its charts grow."""
        if not self.training.busy:
            self._timer.stop()

    def cleanup(self) -> None:
        """The module goes away: end what runs."""
        self._timer.stop()
        self._observers.clear()
        self.log_window.close()
        self.training.ended = lambda kind, code, sentence: None
        self.training.shutdown()

    def _fill(self) -> None:
        self.recipes = shipped_recipes()
        self.ui.recipeComboBox.addItems([entry.name for entry in self.recipes])
        self.ui.recipeComboBox.addItem(_("A YAML file ..."))
        self.ui.recipeComboBox.currentIndex = [entry.name for entry in self.recipes].index(DEFAULT)
        self.ui.precisionComboBox.addItems([_("As the recipe says"), *choices.PRECISIONS])

    def _connect(self) -> None:
        ui, scene = self.ui, slicer.mrmlScene
        self._observers.add(scene, scene.EndCloseEvent, self._on_scene_changed)
        self._observers.add(scene, scene.EndImportEvent, self._on_scene_changed)
        ui.recipeComboBox.connect("currentIndexChanged(int)", self._on_recipe)
        for editor, answer in ((ui.recipePath, self._on_recipe), (ui.outputPath, self._on_output),
                               (ui.trainPath, self._update), (ui.validationPath, self._update)):  # fmt: skip
            path_edit.on_change(editor, answer)
        ui.smokeCheckBox.connect("toggled(bool)", self._update)
        ui.changesLineEdit.connect("textChanged(QString)", self._update)
        ui.startButton.connect("clicked(bool)", self._on_start)
        ui.stopButton.connect("clicked(bool)", self._on_stop)
        ui.resumeButton.connect("clicked(bool)", self._on_resume)
        ui.phantomsButton.connect("clicked(bool)", self._on_phantoms)
        ui.logButton.connect("clicked(bool)", self._on_log)
        ui.curvesButton.connect("clicked(bool)", self._on_curves)
        ui.useButton.connect("clicked(bool)", self._on_use)

    def _on_scene_changed(self, caller: Any, event: Any) -> None:
        """The charts of a continued run are shown again; those of another on request."""
        if self.training.busy:
            self.view.update_charts()
        self._update()

    # ---- choices ---------------------------------------------------------------------------------------------------

    @property
    def recipe(self) -> RecipeEntry | None:
        """The chosen recipe; None where the file is none."""
        number = self.ui.recipeComboBox.currentIndex
        if number < len(self.recipes):
            return self.recipes[number]
        path = self.ui.recipePath.currentPath
        return read_recipe(Path(path)) if path else None

    def _on_recipe(self, _changed: Any = None) -> None:
        own = self.ui.recipeComboBox.currentIndex >= len(self.recipes)
        self.ui.recipePath.visible = own
        self.ui.recipePathLabel.visible = own
        entry = self.recipe
        self.ui.recipeLabel.text = entry.text() if entry is not None else _("Choose a YAML file that is a recipe.")
        self.ui.recipeLabel.toolTip = entry.about if entry is not None else ""
        self._update()

    def _on_output(self, _changed: Any = None) -> None:
        text = self.ui.outputPath.currentPath
        if self.training.kind == "train" and self.training.run is not None:
            return  # the continued run stays in view
        self.view.open(RunFolder(Path(text)) if text else None)
        self._tell(self.view.state())
        self._update()

    def _update(self, _changed: Any = None) -> None:
        """Bring the buttons in line with what is chosen and what is going on."""
        ui, busy = self.ui, self.training.busy or install.under_way()
        reason = choices.why_not_start(ui, self.recipe, self.view.run, busy=busy)
        ui.startButton.enabled = not reason
        ui.startButton.toolTip = reason or _("Train, then write the model package into the output folder.")
        reason = choices.why_not_resume(self.view.run, busy=busy)
        ui.resumeButton.enabled = not reason
        ui.resumeButton.toolTip = reason or _("Continue from the last checkpoint in the output folder.")
        ui.stopButton.enabled = busy
        ui.stopButton.text = _("Sto&p now") if self.training.stopping else _("Sto&p")
        ui.stopButton.toolTip = choices.what_stop_does(self.training.kind, stopping=self.training.stopping)
        for widget in (ui.runButton, ui.advancedButton):
            widget.enabled = not busy
        smoke = ui.smokeCheckBox.checked
        for widget in (ui.trainPath, ui.validationPath, ui.phantomsButton):
            widget.enabled = not smoke

    def _refresh_packages(self) -> None:
        self.missing = install.missing_packages(packages.TRAINING)
        self.ui.packagesLabel.text = install.explanation(self.missing, packages.TRAINING) if self.missing else ""
        self.ui.packagesLabel.visible = bool(self.missing)

    # ---- buttons ---------------------------------------------------------------------------------------------------

    def _on_start(self) -> None:
        run, recipe = self.view.run, self.recipe
        if run is not None and recipe is not None and self._ready():
            self._begin(lambda: self.training.start(run, choices.start_of(self.ui, recipe)))

    def _on_resume(self) -> None:
        run = self.view.run
        if run is not None and self._ready():
            self._begin(lambda: self.training.start(run, run.start(), resume=True))

    def _begin(self, start: Callable[[], None]) -> None:
        try:
            start()
        except VirtualContrastError as error:
            self._tell(str(error), error=True)
        else:
            self._tell(_("Starting ..."))
            self.ui.outputPath.addCurrentPathToHistory()
            self._timer.start()
            self.view.show_charts()
        self._update()

    def _ready(self) -> bool:
        """Install what is missing, after asking; shows why not. True where a run can start now."""
        if not self.missing:
            return True
        try:
            install.ensure_packages(packages.TRAINING, begins=self._update)
        except install.NotInstalledError as error:
            self._tell(str(error), error=True)
        self._refresh_packages()
        self._update()
        return not self.missing and not self.training.busy  # the installation lets events through

    def _on_phantoms(self) -> None:
        if not self._ready():
            return
        mammograms = self.recipe is not None and self.recipe.mammograms
        self._phantoms = choices.phantom_folder(self.ui.outputPath.currentPath, mammograms=mammograms)
        self.training.make_phantoms(self._phantoms, mammograms=mammograms)
        self._tell(_("Simulating studies into {folder} ...").format(folder=self._phantoms))
        self._update()

    def _on_stop(self) -> None:
        self.training.stop()
        if self.training.stopping:
            self._tell(_("Stopping after this step, with a checkpoint ..."))
        self._update()

    def _on_log(self) -> None:
        self.log_window.show()

    def _on_curves(self) -> None:
        self.view.show_charts()

    def _on_use(self) -> None:
        if self.view.run is not None and self.view.run.model is not None:
            choices.use_model(self.view.run.model)

    # ---- what the run reports ----------------------------------------------------------------------------------------

    def _poll(self) -> None:
        """Look at the run's files: progress, curves, pictures."""
        self.view.poll()
        if self.training.kind == "train":
            fraction, text = self.view.progress_text()
            self.ui.progressBar.value = round(1000 * fraction)
            if text and not self.training.stopping:
                self._tell(text)
        elif self.training.busy:
            self.ui.progressBar.value = 0
        elif not self._is_entered():
            self._timer.stop()

    def _on_ended(self, kind: str, code: int, sentence: str) -> None:
        self.view.poll()
        self.ui.progressBar.value = 0
        if code == ExitCode.DONE and kind == "phantoms":
            self.ui.trainPath.currentPath = str(self._phantoms / "train")
            self.ui.validationPath.currentPath = str(self._phantoms / "validation")
            self._tell(_("The simulated studies are chosen as training and validation cases."))
        elif code == ExitCode.DONE:
            self.ui.progressBar.value = 1000
            self._tell(_("Done; the model is in {folder}.").format(folder=self.view.run.model if self.view.run else ""))
        elif code == ExitCode.CANCELLED and kind == "phantoms":
            self._tell(_("Stopped; finished studies are kept."))
        else:
            self._tell(sentence, error=code != ExitCode.CANCELLED)
        self._update()

    def _tell(self, text: str, *, error: bool = False) -> None:
        self.ui.statusLabel.styleSheet = ERROR_STYLE if error else ""
        self.ui.statusLabel.text = text
