"""Slicer module: trains the models of Virtual Contrast from a small panel. Research only.

This file only declares the four classes that Slicer looks for; the work is in VirtualContrastTrainingLib.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from VirtualContrastTrainingLib.slicer_app import layout, self_test
from VirtualContrastTrainingLib.slicer_app.run_folder import RunFolder, Start
from VirtualContrastTrainingLib.slicer_app.training import TrainingRunner
from VirtualContrastTrainingLib.slicer_app.widget import Panel


class VirtualContrastTraining(ScriptedLoadableModule):
    """Name, help and acknowledgment of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Virtual Contrast Training")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        parent.dependencies = ["Plots", "Tables", "VirtualContrast"]
        parent.contributors = ["VirtualContrast contributors"]
        parent.helpText = _(
            "Trains the models that Virtual Contrast runs: choose a recipe, the folders with training and validation "
            "cases and an output folder, press Start, and watch losses, held-out error and sample images. A run can "
            "be stopped and resumed, and ends with a model package. Models are for research only, not for diagnosis; "
            "one that was trained on phantoms knows no patients."
        )
        parent.helpText += self.getDefaultModuleDocumentationLink()
        parent.acknowledgmentText = _(
            "Uses PyTorch, Lightning, nnU-Net, SimpleITK and 3D Slicer. The recipes follow published experiments, "
            "which they name."
        )
        slicer.app.connect("startupCompleted()", layout.register)


class VirtualContrastTrainingWidget(ScriptedLoadableModuleWidget):
    """The panel; see `VirtualContrastTrainingLib.slicer_app.widget.Panel`."""

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = VirtualContrastTrainingLogic()
        path = self.resourcePath("UI/VirtualContrastTraining.ui")
        self.panel = Panel(self.logic.training, path, lambda: self.parent.isEntered)
        self.layout.addWidget(self.panel.widget)
        self.ui = self.panel.ui

    def enter(self) -> None:
        """Slicer shows the panel."""
        self.panel.enter()

    def exit(self) -> None:
        """Slicer shows another module; a run continues."""
        self.panel.exit()

    def cleanup(self) -> None:
        """Slicer closes or reloads the module: end the run, with a checkpoint."""
        self.panel.cleanup()

    def onReload(self) -> None:
        """Reload the library with the module file, which Slicer alone would not."""
        for name in [name for name in sys.modules if name.startswith("VirtualContrastTrainingLib.slicer_app")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)


class VirtualContrastTrainingLogic(ScriptedLoadableModuleLogic):
    """Runs without a widget: `VirtualContrastTrainingLogic().start("phantom-joint-p1-p3", "runs/try", smoke=True)`."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.training = TrainingRunner()

    def start(self, recipe: str, outputFolder: str | Path, **choices: Any) -> RunFolder:
        """Start a run in a child process and return its folder; `choices` are the fields of `run_folder.Start`.

        `self.training.ended` is called with ("train", exit code, sentence) at its end. Raises `InputError`.
        """
        run = RunFolder(Path(outputFolder))
        self.training.start(run, Start(recipe, **choices))
        return run


class VirtualContrastTrainingTest(ScriptedLoadableModuleTest):
    """A smoke trial from the panel to a model package."""

    def setUp(self) -> None:
        """Start from an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self, **_options: Any) -> None:
        """Run the self test."""
        self.setUp()
        self_test.run(self)
