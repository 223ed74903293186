"""The self test that Slicer runs with Reload and Test, and CTest: the whole road through panel, worker and scene."""

from __future__ import annotations

import time
from typing import Any

import slicer

from . import sample_data
from .run import install

TIMEOUT_S = 900.0
"""The default models need some minutes on a CPU."""


def run(test: Any, model: str) -> None:
    """Load the phantom, press Apply, look at what came, remove it; `test` is the unittest case, `model` "" the default.

    Where packages are missing it checks that the panel says so, since a test installs nothing.
    """
    test.delayDisplay("Loading the phantom")
    sample_data.register()
    import SampleData

    volume = SampleData.SampleDataLogic().downloadSample(sample_data.NAME)
    test.assertIsNotNone(volume)
    slicer.util.selectModule("VirtualContrast")
    panel = slicer.util.getModuleWidget("VirtualContrast").panel
    test.assertFalse(panel.logic.synthesis.busy)
    panel.parameters.inputVolume = volume
    panel.parameters.model = model
    slicer.app.processEvents()
    missing = install.missing_packages()
    if missing:
        test.assertIn(missing[0], panel.ui.packagesLabel.text)
        test.delayDisplay("Packages are missing; the panel says so")
        return
    test.assertTrue(panel.ui.applyButton.enabled, panel.ui.applyButton.toolTip)
    _apply_and_wait(test, panel)
    _look(test, panel)
    panel.results.remove()
    test.assertEqual(slicer.util.getNodesByClass("vtkMRMLSegmentationNode"), [])
    panel.logic.shutdown()
    test.delayDisplay("Self test passed")


def _apply_and_wait(test: Any, panel: Any) -> None:
    test.delayDisplay("Synthesizing")
    panel.ui.applyButton.click()
    end = time.monotonic() + TIMEOUT_S
    while panel.logic.synthesis.busy:
        test.assertLess(time.monotonic(), end, "the synthesis did not end")
        slicer.app.processEvents()
        time.sleep(0.01)
    test.assertIsNotNone(panel.results.loaded, panel.ui.statusLabel.text)


def _look(test: Any, panel: Any) -> None:
    test.delayDisplay("Looking at the result")
    loaded = panel.results.loaded
    test.assertGreaterEqual(len(loaded.phases), 1)
    pre = slicer.util.arrayFromVolume(panel.parameters.inputVolume)
    for node_id in (phase.volume for phase in loaded.phases):
        node = slicer.mrmlScene.GetNodeByID(node_id)
        test.assertEqual(slicer.util.arrayFromVolume(node).shape, pre.shape)
        test.assertEqual(node.GetAttribute("VirtualContrast.Synthetic"), "1")
    panel.ui.phaseSlider.value = panel.ui.phaseSlider.maximum
    slicer.app.processEvents()
