"""The self test that Slicer runs with Reload and Test, and CTest: a smoke trial from the panel to a model package."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import slicer

from . import recipe_list

TIMEOUT_S = 600.0
"""The first import of torch takes its time."""


def run(test: Any) -> None:
    """Choose a recipe, tick the smoke trial, Start, and look at what came; `test` is the unittest case.

    Where packages are missing it checks that the panel says so, since a test installs nothing.
    """
    slicer.util.selectModule("VirtualContrastTraining")
    panel = slicer.util.getModuleWidget("VirtualContrastTraining").panel
    test.assertFalse(panel.training.busy)
    with tempfile.TemporaryDirectory() as folder:
        names = [entry.name for entry in panel.recipes]
        panel.ui.recipeComboBox.currentIndex = names.index(recipe_list.DEFAULT)
        panel.ui.smokeCheckBox.checked = True
        panel.ui.outputPath.currentPath = str(Path(folder) / "run")
        if panel.missing:
            test.assertIn(panel.missing[0], panel.ui.packagesLabel.text)
            test.delayDisplay("Packages are missing; the panel says so")
        else:
            _train(test, panel)
        panel.ui.outputPath.currentPath = ""
    test.delayDisplay("Self test passed")


def _train(test: Any, panel: Any) -> None:
    test.assertTrue(panel.ui.startButton.enabled, panel.ui.startButton.toolTip)
    test.delayDisplay("Training for a moment")
    panel.ui.startButton.click()
    end = time.monotonic() + TIMEOUT_S
    while panel.training.busy:
        test.assertLess(time.monotonic(), end, "the training did not end")
        slicer.app.processEvents()
        time.sleep(0.01)
    run = panel.view.run
    test.assertIsNotNone(run.model, panel.ui.statusLabel.text)
    test.assertIsNotNone(panel.view.samples.shown)
    test.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLPlotChartNode")), 2)
