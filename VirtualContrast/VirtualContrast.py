"""Slicer module: synthetic post-contrast breast MRI from a pre-contrast volume. Research only.

This file only declares the four classes that Slicer looks for; the work is in VirtualContrastLib.
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
from VirtualContrastLib.run.settings import RunSettings
from VirtualContrastLib.slicer_app import self_test, start_up
from VirtualContrastLib.slicer_app.panel import Panel
from VirtualContrastLib.slicer_app.run.parameters import VirtualContrastParameters
from VirtualContrastLib.slicer_app.run.synthesis_run import SynthesisRunner
from VirtualContrastLib.slicer_app.run.transfer import RealPhases
from VirtualContrastLib.slicer_app.scene.result import LoadedResult


class VirtualContrast(ScriptedLoadableModule):
    """Name, help and acknowledgment of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Virtual Contrast")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        parent.dependencies = [
            "Colors", "Markups", "Plots", "Segmentations", "Sequences", "SubjectHierarchy", "Tables", "Texts",
            "VolumeRendering", "Volumes",
        ]  # fmt: skip
        parent.contributors = ["VirtualContrast contributors"]
        parent.helpText = _(
            "Synthesizes the post-contrast phases of a breast MRI from its pre-contrast volume, finds lesions and "
            "shows their kinetic curves. The images are synthetic and can invent or hide lesions: research only, "
            "not for diagnosis. Select a pre-contrast volume, press Apply, look. Blinded reading shows real and "
            "synthetic images in random order and saves what a reader says."
        )
        parent.helpText += self.getDefaultModuleDocumentationLink()
        parent.acknowledgmentText = _(
            "Uses PyTorch, nnU-Net, SimpleITK, highdicom and 3D Slicer. The models that come with it were trained on "
            "simulated phantoms only."
        )
        slicer.app.connect("startupCompleted()", start_up.run)


class VirtualContrastWidget(ScriptedLoadableModuleWidget):
    """The panel; see `VirtualContrastLib.slicer_app.panel.Panel`."""

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = VirtualContrastLogic()
        self.panel = Panel(self.logic, self.resourcePath, lambda: self.parent.isEntered)
        self.layout.addWidget(self.panel.widget)
        self.ui = self.panel.ui

    def enter(self) -> None:
        """Slicer shows the panel."""
        self.panel.enter()

    def exit(self) -> None:
        """Slicer shows another module; a run continues."""
        self.panel.exit()

    def cleanup(self) -> None:
        """Slicer closes or reloads the module: end the worker process."""
        self.panel.cleanup()

    def onReload(self) -> None:
        """Reload the library with the module file, which Slicer alone would not."""
        for name in [name for name in sys.modules if name.startswith("VirtualContrastLib.slicer_app")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)


class VirtualContrastLogic(ScriptedLoadableModuleLogic):
    """Everything without a widget: `VirtualContrastLogic().process(volume)` synthesizes and loads the result."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.synthesis = SynthesisRunner()

    def getParameterNode(self) -> VirtualContrastParameters:
        """The module's parameters in the scene."""
        return VirtualContrastParameters(super().getParameterNode())

    def process(
        self,
        inputVolume: Any,
        settings: RunSettings | None = None,
        *,
        real: RealPhases | None = None,
        outputFolder: Path | None = None,
    ) -> LoadedResult:
        """Synthesize from `inputVolume` and load the result, blocking; returns a `LoadedResult`.

        `settings` is a `VirtualContrastLib.run.settings.RunSettings`, `real` a `transfer.RealPhases`, `outputFolder`
        where the result folder is made (default: Slicer's temporary folder). Raises `VirtualContrastError`.
        """
        return self.synthesis.process(inputVolume, settings, real=real, output_folder=outputFolder)

    def shutdown(self) -> None:
        """End the worker process and free its memory."""
        self.synthesis.shutdown()


class VirtualContrastTest(ScriptedLoadableModuleTest):
    """The whole road on the phantom: load, Apply, look, remove. `model` is a model id or path, "" the default."""

    model = ""

    def setUp(self) -> None:
        """Start from an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self, **_options: Any) -> None:
        """Run the self test."""
        self.setUp()
        self_test.run(self, self.model)
