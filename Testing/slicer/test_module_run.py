"""A run from the module's panel: Apply to result, never frozen, cancel, failure."""

import numpy as np
import pytest
import slicer
from module_samples import (
    CRASHING,
    HANGING,
    PATIENT,
    add_pre,
    add_real,
    add_volume,
    apply,
    instant,
    misbehave,
    scene_ids,
)


def test_a_first_user_needs_three_clicks(host, panel, out):
    """Volume, Apply, and then only look; with the real engine."""
    misbehave(panel, None)
    volume = add_pre()
    panel.ui.inputSelector.setCurrentNode(volume)
    assert panel.ui.applyButton.enabled, panel.ui.applyButton.toolTip
    shown, on_progress = [], panel._on_progress

    def noted(fraction, text):  # a stage of so small a volume may be over between two looks
        on_progress(fraction, text)
        shown.append((panel.ui.progressBar.value, panel.ui.statusLabel.text))

    panel._on_progress = noted
    host.process_events()
    panel.ui.applyButton.click()
    assert panel.ui.cancelButton.enabled
    assert not panel.ui.applyButton.enabled
    assert panel.ui.applyButton.toolTip == "A run is under way."
    host.wait_until(lambda: not panel.logic.synthesis.busy)
    loaded = panel.results.loaded
    assert loaded is not None, panel.ui.statusLabel.text
    values = [value for value, _ in shown]
    assert values == sorted(values)
    stages = {text.split(" · ")[0].split(",")[0] for _, text in shown}
    assert stages >= {
        "Checking the volume",
        "Loading the model",
        "Synthesizing the phases",
        "Measuring curves",
        "Writing the result",
    }
    assert panel.ui.statusLabel.text.startswith("Done in")
    assert "Synthetic, research only." in panel.ui.statusLabel.text
    assert "Note: The file format does not record the modality" in panel.ui.statusLabel.text
    assert panel.ui.resultButton.enabled
    assert (panel.ui.phaseSlider.minimum, panel.ui.phaseSlider.maximum) == (1, 3)
    panel.ui.phaseSlider.value = 3
    assert panel.ui.phaseLabel.text == "phase 3 (350 s)"
    assert panel.ui.applyButton.enabled
    (folder,) = out.iterdir()
    assert panel.results.report == folder / "report.html"


@pytest.mark.slow
@pytest.mark.parametrize("run", ["first", "second"])
def test_the_event_loop_stays_free_from_apply_to_the_shown_result(host, panel, out, run):
    """With the real engine, lesions and a comparison included: computing, loading the nodes, drawing the views.

    The first run also makes the views of the layout; in the second they are there.
    """
    misbehave(panel, None)
    panel.ui.lesionsComboBox.currentIndex = 1
    panel.parameters.realVolumes = [add_real(1), add_real(2), add_real(3)]
    panel.ui.inputSelector.setCurrentNode(add_pre())
    host.process_events(0.1)
    synthesis = panel.logic.synthesis
    if run == "second":
        apply(host, panel)
        panel.ui.removeButton.click()
    with host.watch_event_loop() as longest_s:
        panel.ui.applyButton.click()
        host.wait_until(lambda: synthesis._job.loading)
        computing_s = longest_s()
    with host.watch_event_loop() as longest_s:
        host.wait_until(lambda: not synthesis.busy)
        host.wait_until(lambda: not panel.results.showing)
        host.process_events(0.2)  # what the views still have to draw
        loading_s = longest_s()
    print(f"\nblocked at most {1000 * computing_s:.0f} ms computing, {1000 * loading_s:.0f} ms loading and showing")
    assert panel.results.loaded is not None, panel.ui.statusLabel.text
    assert len(panel.results.loaded.lesions) > 0
    assert max(computing_s, loading_s) < host.patience(0.5)


def half_loaded(host, panel):
    """Press Apply and stop in the middle of loading; returns the IDs of the nodes that were there before."""
    panel.ui.inputSelector.setCurrentNode(add_pre())
    host.process_events()
    before = scene_ids()
    panel.logic.synthesis._timer.setInterval(20)  # at most one step between two looks
    panel.ui.applyButton.click()
    host.wait_until(lambda: any(node.startswith("vtkMRMLSegmentationNode") for node in scene_ids()))
    assert panel.logic.synthesis.busy
    assert panel.ui.statusLabel.text == "Loading the result"
    return before


def test_cancel_while_the_result_is_loaded_takes_everything_back(host, panel, out):
    before = half_loaded(host, panel)
    with host.promised(2.0):
        panel.ui.cancelButton.click()
    assert not panel.logic.synthesis.busy
    assert scene_ids() == before
    assert list(out.iterdir()) == []
    assert panel.ui.statusLabel.text == "Cancelled; nothing was made."
    apply(host, panel)
    assert panel.results.loaded is not None


def test_closing_the_scene_while_the_result_is_loaded_leaves_an_empty_scene(host, panel, out):
    half_loaded(host, panel)
    slicer.mrmlScene.Clear(0)
    assert not panel.logic.synthesis.busy
    for name in ("vtkMRMLVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLTextNode", "vtkMRMLSequenceNode"):
        assert slicer.util.getNodesByClass(name) == []
    panel.ui.inputSelector.setCurrentNode(add_pre())
    apply(host, panel)
    assert panel.results.loaded is not None


def test_deleting_the_input_while_the_result_is_loaded_is_told(host, panel, out):
    half_loaded(host, panel)
    slicer.mrmlScene.RemoveNode(panel.ui.inputSelector.currentNode())
    host.wait_until(lambda: not panel.logic.synthesis.busy)
    assert "could not be loaded (the scene was changed" in panel.ui.statusLabel.text
    assert slicer.util.getNodesByClass("vtkMRMLVolumeNode") == []
    assert len(list(out.iterdir())) == 1  # the result folder that the sentence names


@pytest.mark.parametrize("code", [PATIENT, HANGING])
def test_cancel_ends_the_run_within_two_seconds_and_leaves_nothing(host, panel, out, code):
    misbehave(panel, code)
    panel.ui.inputSelector.setCurrentNode(add_pre())
    before = scene_ids()
    panel.ui.applyButton.click()
    host.wait_until(lambda: panel.logic.synthesis.worker._child)
    host.wait_until(lambda: "slice" in panel.ui.statusLabel.text or any(out.glob("*.partial-*")))
    with host.promised(2.0):
        panel.ui.cancelButton.click()
        assert panel.ui.statusLabel.text == "Stopping ..."
        host.wait_until(lambda: not panel.logic.synthesis.busy)
    assert panel.ui.statusLabel.text == "Cancelled; nothing was made."
    assert panel.ui.progressBar.value == 0
    assert list(out.iterdir()) == []
    assert scene_ids() == before
    assert panel.ui.applyButton.enabled


def test_a_crash_is_one_sentence_with_the_log_at_hand(host, panel, out, ready_result):
    misbehave(panel, CRASHING)
    panel.ui.inputSelector.setCurrentNode(add_pre())
    before = scene_ids()
    apply(host, panel)
    assert panel.ui.statusLabel.text.startswith("The computation ended unexpectedly (crashed or was killed")
    assert panel.ui.statusLabel.styleSheet != ""
    panel.ui.logButton.click()
    assert "about to crash: Grüße" in panel.log_window.text
    assert scene_ids() == before
    assert list(out.iterdir()) == []
    misbehave(panel, instant(ready_result))
    apply(host, panel)
    assert panel.ui.statusLabel.text.startswith("Done")
    assert panel.ui.statusLabel.styleSheet == ""


def test_an_input_that_the_engine_refuses_is_told_in_its_words(host, panel, out):
    misbehave(panel, None)
    panel.ui.inputSelector.setCurrentNode(add_volume(np.full((6, 20, 20), 7.0, np.float32)))
    apply(host, panel)
    assert "has the same value (7) in every voxel" in panel.ui.statusLabel.text
    assert panel.results.loaded is None
