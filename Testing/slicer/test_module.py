"""The module's own panel, unmodified: load, apply, cancel, fail, leave and come back, close the scene, packages."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest
import qt
import SampleData
import slicer
import slicer.packaging
from module_samples import (
    CRASHING,
    HANGING,
    MODULE,
    PATIENT,
    add_pre,
    add_real,
    add_volume,
    instant,
    make_result,
    run_samples,
    worker_command,
    write_resources,
)
from VirtualContrastLib.slicer_app import sample_data


@pytest.fixture
def resources(tmp_path, monkeypatch):
    """The tiny model is the installed default; a cache without models."""
    folder = write_resources(tmp_path / "Resources")
    monkeypatch.setenv("VIRTUALCONTRAST_RESOURCES", str(tmp_path / "Resources"))
    monkeypatch.setenv("VIRTUALCONTRAST_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture(scope="session")
def ready_result(host, tmp_path_factory):
    """A result folder for the runs that only pretend to compute."""
    return make_result(tmp_path_factory.mktemp("result"))


@pytest.fixture
def module(host, resources, ready_result):
    """The open module's Widget object, whose worker makes the ready result at once unless a test changes that."""
    widget = host.load_module(MODULE).widgetRepresentation().self()
    widget.panel._device_timer.setInterval(600_000)  # only the test that is about it asks for the device
    misbehave(widget.panel, instant(ready_result))
    yield widget
    host.unload_module("VirtualContrast")


@pytest.fixture
def panel(module):
    return module.panel


@pytest.fixture
def out(panel, tmp_path):
    """The output folder that the panel uses."""
    (tmp_path / "out").mkdir()
    panel.ui.outputPath.currentPath = str(tmp_path / "out")
    return tmp_path / "out"


def misbehave(panel, code):
    """Let the worker's runs be those of `code`, None: the engine's."""
    panel.logic.synthesis.worker._command = worker_command(code) if code else None


def apply(host, panel, timeout_s=120):
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.logic.synthesis.busy, timeout_s)


def scene_ids():
    scene = slicer.mrmlScene
    return {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}


# ---- the panel ----------------------------------------------------------------------------------------------------


def test_the_panel_opens_with_the_banner_and_explains_what_to_do(panel):
    ui = panel.ui
    assert ui.bannerLabel.text == "Synthetic images. Research only."
    assert not ui.applyButton.enabled
    assert ui.applyButton.toolTip == "Select a pre-contrast volume first."
    assert ui.advancedButton.collapsed
    assert ui.modelComboBox.currentText == "Tiny random network"
    assert "TRAINED ON SIMULATED PHANTOMS ONLY" in ui.modelCardLabel.text
    assert not ui.packagesLabel.visible
    assert not ui.resultButton.enabled


def test_a_first_user_needs_three_clicks(host, panel, out):
    """Volume, Apply, and then only look; with the real engine."""
    misbehave(panel, None)
    volume = add_pre()
    panel.ui.inputSelector.setCurrentNode(volume)
    assert panel.ui.applyButton.enabled, panel.ui.applyButton.toolTip
    shown = []
    host.process_events()
    panel.ui.applyButton.click()
    assert panel.ui.cancelButton.enabled
    assert not panel.ui.applyButton.enabled
    assert panel.ui.applyButton.toolTip == "A run is under way."
    while panel.logic.synthesis.busy:
        host.process_events(0.01)
        shown.append((panel.ui.progressBar.value, panel.ui.statusLabel.text))
    loaded = panel.results.loaded
    assert loaded is not None, panel.ui.statusLabel.text
    values = [value for value, _ in shown[:-1]]
    assert values == sorted(values)
    assert {"Loading the model", "Checking the volume"} <= {text.split(" · ")[0] for _, text in shown}
    assert panel.ui.statusLabel.text.startswith("Done in")
    assert "Synthetic, research only." in panel.ui.statusLabel.text
    assert "Note: The modality is not told" in panel.ui.statusLabel.text
    assert panel.ui.resultButton.enabled
    assert (panel.ui.phaseSlider.minimum, panel.ui.phaseSlider.maximum) == (1, 3)
    panel.ui.phaseSlider.value = 3
    assert panel.ui.phaseLabel.text == "3 of 3, 350 s"
    assert panel.ui.applyButton.enabled
    (folder,) = out.iterdir()
    assert panel.results.report == folder / "report.html"


def test_two_runs_in_a_row_use_one_process_and_the_scene_keeps_both_results(host, panel, out):
    panel.ui.inputSelector.setCurrentNode(add_pre())
    apply(host, panel)
    first, pid = panel.results.loaded, panel.logic.synthesis.worker._child[0]
    apply(host, panel)
    second = panel.results.loaded
    assert panel.logic.synthesis.worker._child[0] == pid
    assert first.run_id != second.run_id
    assert len(list(out.iterdir())) == 2
    panel.ui.removeButton.click()
    assert panel.results.loaded.run_id == first.run_id
    panel.ui.removeButton.click()
    assert panel.results.loaded is None
    assert not panel.ui.resultButton.enabled


def test_the_event_loop_stays_free_from_apply_to_the_shown_result(host, panel, out):
    """With the real engine, lesions and a comparison included: computing, loading the nodes, drawing the views.

    The best of at most five runs counts: on a machine that is busy otherwise a block may be the system's.
    """
    misbehave(panel, None)
    panel.ui.lesionsComboBox.currentIndex = 1
    panel.parameters.realVolumes = [add_real(1), add_real(2), add_real(3)]
    panel.ui.inputSelector.setCurrentNode(add_pre())
    host.process_events(0.1)
    synthesis, blocked_s = panel.logic.synthesis, []
    while len(blocked_s) < 5 and min(blocked_s, default=1.0) >= 0.1:
        with host.watch_event_loop() as longest_s:
            panel.ui.applyButton.click()
            host.wait_until(lambda: synthesis._job.loading, 120)
            computing_s = longest_s()
        with host.watch_event_loop() as longest_s:
            host.wait_until(lambda: not synthesis.busy, 120)
            host.process_events(0.2)  # what the views still have to draw
            loading_s = longest_s()
        print(f"\nblocked at most {1000 * computing_s:.0f} ms computing, {1000 * loading_s:.0f} ms loading and showing")
        blocked_s.append(max(computing_s, loading_s))
        assert panel.results.loaded is not None, panel.ui.statusLabel.text
        assert len(panel.results.loaded.lesions) > 0
        panel.ui.removeButton.click()
    assert min(blocked_s) < 0.1


def half_loaded(host, panel):
    """Press Apply and stop in the middle of loading; returns the IDs of the nodes that were there before."""
    panel.ui.inputSelector.setCurrentNode(add_pre())
    host.process_events()
    before = scene_ids()
    panel.ui.applyButton.click()
    host.wait_until(lambda: any(node.startswith("vtkMRMLSegmentationNode") for node in scene_ids()), 60)
    assert panel.logic.synthesis.busy
    assert panel.ui.statusLabel.text == "Loading the result"
    return before


def test_cancel_while_the_result_is_loaded_takes_everything_back(host, panel, out):
    before = half_loaded(host, panel)
    start = time.monotonic()
    panel.ui.cancelButton.click()
    assert not panel.logic.synthesis.busy
    assert time.monotonic() - start < 2.0
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
    host.wait_until(lambda: not panel.logic.synthesis.busy, 10)
    assert "could not be loaded (the scene was changed" in panel.ui.statusLabel.text
    assert slicer.util.getNodesByClass("vtkMRMLVolumeNode") == []
    assert len(list(out.iterdir())) == 1  # the result folder that the sentence names


def test_selecting_a_lesion_overlay_and_edited_segment_are_followed(host, panel, out, monkeypatch):
    volume = add_pre()
    panel.parameters.realVolumes = [add_real(1), add_real(2), add_real(3)]
    panel.ui.inputSelector.setCurrentNode(volume)
    apply(host, panel)
    loaded, table = panel.results.loaded, panel.results.table
    assert panel.ui.lesionsTable.rowCount == len(loaded.lesions) == 2
    panel.results._edit_timer.setInterval(50)
    host.process_events(0.3)
    assert "follow" not in panel.ui.statusLabel.text  # nothing was edited yet
    panel.ui.lesionsTable.selectRow(0)
    assert table.selected_label() == loaded.lesions[0].label
    panel.ui.overlayComboBox.currentIndex = 1
    panel.ui.flickerCheckBox.checked = True
    panel.ui.phaseSlider.value = 2
    panel.ui.flickerCheckBox.checked = False
    before = loaded.lesions[0].volume_mm3
    segmentation, segment = slicer.mrmlScene.GetNodeByID(loaded.segmentation), loaded.lesions[0].segment_id
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume)
    mask[:, :, : mask.shape[2] // 2] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, volume)
    host.wait_until(lambda: "follow the edited segments" in panel.ui.statusLabel.text, 20)
    assert loaded.lesions[0].volume_mm3 < before
    shown = [panel.ui.lesionsTable.item(0, column).text() for column in range(panel.ui.lesionsTable.columnCount)]
    assert shown == table.rows()[0]


def test_removing_the_result_leaves_the_scene_as_it_was(host, panel, out):
    panel.ui.inputSelector.setCurrentNode(add_pre())
    before = {i for i in scene_ids() if "Volume" in i or "Segmentation" in i or "Table" in i or "Plot" in i}
    apply(host, panel)
    assert len(scene_ids()) > len(before)
    panel.ui.removeButton.click()
    after = {i for i in scene_ids() if "Volume" in i or "Segmentation" in i or "Table" in i or "Plot" in i}
    assert {i for i in after - before if "PlotView" not in i} == set()


# ---- when it cannot work ------------------------------------------------------------------------------------------


def test_apply_says_why_it_cannot_work(host, panel, out, resources):
    ui, volume = panel.ui, add_pre()
    ui.inputSelector.setCurrentNode(volume)
    assert ui.applyButton.enabled
    ui.uncertaintySpinBox.value = 1
    assert "at least 2 passes" in ui.applyButton.toolTip
    ui.uncertaintySpinBox.value = 0
    ui.outputPath.currentPath = "/no/such/folder"
    assert "output folder does not exist" in ui.applyButton.toolTip
    ui.outputPath.currentPath = ""
    panel.parameters.realVolumes = [volume]
    assert "cannot be one of the real phases" in ui.applyButton.toolTip
    panel.parameters.realVolumes = [add_volume(np.zeros((4, 20, 20), np.float32), "Small")]
    assert "Small has another size" in ui.applyButton.toolTip
    panel.parameters.realVolumes = []
    volume.SetAttribute("VirtualContrast.Synthetic", "1")
    panel.parameters.Modified()
    assert "synthetic" in ui.applyButton.toolTip
    volume.RemoveAttribute("VirtualContrast.Synthetic")
    (resources / "weights.safetensors").unlink()
    panel.parameters.Modified()
    assert "tiny is not installed" in ui.applyButton.toolTip
    assert not ui.applyButton.enabled
    assert "No model is installed" in ui.modelCardLabel.text


def test_a_device_that_cannot_compute_is_told_with_the_reason_and_stops_apply(host, panel):
    misbehave(panel, None)
    panel._device_timer.setInterval(0)
    panel.ui.inputSelector.setCurrentNode(add_pre())
    host.wait_until(lambda: "threads" in panel.ui.deviceLabel.text or "CUDA" in panel.ui.deviceLabel.text, 60)
    assert panel.ui.applyButton.enabled
    assert panel.ui.freeButton.enabled
    panel.ui.deviceComboBox.currentIndex = 3
    host.wait_until(lambda: "MPS" in panel.ui.deviceLabel.text, 30)
    assert not panel.ui.applyButton.enabled
    assert "MPS" in panel.ui.applyButton.toolTip
    panel.ui.deviceComboBox.currentIndex = 0
    assert panel.ui.applyButton.enabled
    panel.ui.freeButton.click()
    host.wait_until(lambda: not panel.logic.synthesis.worker.alive, 3)
    assert not panel.ui.freeButton.enabled


# ---- cancel and failure -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [PATIENT, HANGING])
def test_cancel_ends_the_run_within_two_seconds_and_leaves_nothing(host, panel, out, code):
    misbehave(panel, code)
    panel.ui.inputSelector.setCurrentNode(add_pre())
    before = scene_ids()
    panel.ui.applyButton.click()
    host.wait_until(lambda: panel.logic.synthesis.worker._child, 60)
    host.wait_until(lambda: "slice" in panel.ui.statusLabel.text or any(out.iterdir()), 60)
    start = time.monotonic()
    panel.ui.cancelButton.click()
    assert panel.ui.statusLabel.text == "Stopping ..."
    host.wait_until(lambda: not panel.logic.synthesis.busy, 3)
    assert time.monotonic() - start < 2.0
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


# ---- leaving, closing, reloading ----------------------------------------------------------------------------------


def test_a_run_goes_on_while_another_module_is_shown(host, panel, out):
    panel.ui.inputSelector.setCurrentNode(add_pre())
    panel.ui.applyButton.click()
    slicer.util.selectModule("Volumes")
    assert panel.parameters is None
    host.wait_until(lambda: not panel.logic.synthesis.busy, 120)
    host.select_module("VirtualContrast")
    assert panel.results.loaded is not None
    assert panel.ui.statusLabel.text.startswith("Done")
    assert panel.ui.applyButton.enabled


@pytest.mark.parametrize("code", [PATIENT, HANGING])
def test_closing_the_scene_during_a_run_cancels_it_and_adds_nothing(host, panel, out, code):
    misbehave(panel, code)
    panel.ui.inputSelector.setCurrentNode(add_pre())
    panel.ui.applyButton.click()
    host.wait_until(lambda: "slice" in panel.ui.statusLabel.text or any(out.iterdir()), 60)
    slicer.mrmlScene.Clear(0)
    host.wait_until(lambda: not panel.logic.synthesis.busy, 3)
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == []
    assert list(out.iterdir()) == []
    panel.ui.inputSelector.setCurrentNode(add_pre())
    assert panel.ui.applyButton.enabled


def test_closing_the_scene_with_a_result_leaves_a_panel_that_works(host, panel, out):
    panel.ui.inputSelector.setCurrentNode(add_pre())
    apply(host, panel)
    slicer.mrmlScene.Clear(0)
    host.process_events()
    assert panel.results.loaded is None
    assert not panel.ui.resultButton.enabled
    panel.ui.inputSelector.setCurrentNode(add_pre())
    apply(host, panel)
    assert panel.results.loaded is not None


def test_deleting_the_input_during_a_run_is_told(host, panel, out):
    volume = add_pre()
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.applyButton.click()
    host.wait_until(lambda: panel.logic.synthesis.worker.busy, 10)
    slicer.mrmlScene.RemoveNode(volume)
    host.wait_until(lambda: not panel.logic.synthesis.busy, 120)
    assert "input volume was removed" in panel.ui.statusLabel.text
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == []


@pytest.fixture
def library():
    """The library's modules are again those that the other tests have imported, after a reload made new ones."""
    before = {name: module for name, module in sys.modules.items() if name.startswith("VirtualContrastLib.slicer_app")}
    yield
    for name in [name for name in sys.modules if name.startswith("VirtualContrastLib.slicer_app")]:
        del sys.modules[name]
    sys.modules.update(before)


def test_reloading_the_module_ends_the_worker_and_gives_a_working_panel(library, host, module, out, ready_result):
    panel = module.panel
    misbehave(panel, HANGING)
    panel.ui.inputSelector.setCurrentNode(add_pre())
    panel.ui.applyButton.click()
    host.wait_until(lambda: any(out.iterdir()), 60)
    worker = panel.logic.synthesis.worker
    module.onReload()
    new = slicer.modules.VirtualContrastWidget.panel
    assert new is not panel
    assert not worker.alive
    assert list(out.iterdir()) == []
    new._device_timer.setInterval(600_000)
    misbehave(new, instant(ready_result))
    assert new.ui.inputSelector.currentNode() is not None
    apply(host, new)
    assert new.results.loaded is not None, new.ui.statusLabel.text


def test_parameters_and_result_come_back_with_the_saved_scene(host, panel, out, tmp_path):
    panel.ui.inputSelector.setCurrentNode(add_pre())
    panel.ui.uncertaintySpinBox.value = 2
    panel.ui.lesionsComboBox.currentIndex = 1
    panel.parameters.realVolumes = [add_real(1), add_real(2)]
    assert panel.ui.realLabel.text == "1: Real 1 · 2: Real 2"
    apply(host, panel)
    run_id = panel.results.loaded.run_id
    assert panel.ui.flickerCheckBox.enabled
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    assert panel.parameters.uncertaintyPasses == 0
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    host.process_events()
    assert panel.ui.uncertaintySpinBox.value == 2
    assert panel.parameters.lesions.value == "threshold"
    assert [node.GetName() for node in panel.parameters.realVolumes] == ["Real 1", "Real 2"]
    assert panel.ui.inputSelector.currentNode().GetName() == "Pre"
    assert panel.results.loaded.run_id == run_id


# ---- controls -----------------------------------------------------------------------------------------------------


def test_ticking_real_volumes_and_typing_a_model_folder_reach_the_parameters(host, panel, tmp_path):
    one, two = add_real(1), add_real(2)
    panel.ui.realSelector.setCheckState(two, qt.Qt.Checked)
    panel.ui.realSelector.setCheckState(one, qt.Qt.Checked)
    assert [node.GetName() for node in panel.parameters.realVolumes] == ["Real 1", "Real 2"]
    slicer.mrmlScene.RemoveNode(one)
    panel.parameters.Modified()
    assert panel.ui.realLabel.text == "1: Real 2"
    mine = run_samples.write_model(tmp_path / "mine", id="mine", title="My own")
    panel.parameters.model = str(mine)
    assert panel.ui.modelComboBox.currentText == "My own"
    panel.ui.modelComboBox.currentIndex = 0
    assert panel.parameters.model == "tiny"


def test_every_control_can_be_reached_by_keyboard(panel):
    ui = panel.ui
    for widget in (ui.applyButton, ui.cancelButton, ui.logButton, ui.freeButton, ui.flickerCheckBox, ui.dicomCheckBox):
        assert widget.text.count("&") == 1 or widget is ui.cancelButton
        assert widget.focusPolicy & qt.Qt.TabFocus
    labels = [w for w in panel.widget.findChildren(qt.QLabel) if "&" in w.text]
    assert all(label.buddy() is not None for label in labels)
    keys = [w.text[w.text.index("&") + 1].lower() for w in (*labels, ui.applyButton, ui.logButton, ui.freeButton)]
    others = (ui.flickerCheckBox, ui.dicomCheckBox, ui.reportButton, ui.removeButton)
    keys += [w.text[w.text.index("&") + 1].lower() for w in others]
    assert len(keys) == len(set(keys)), sorted(keys)


# ---- packages -----------------------------------------------------------------------------------------------------


def test_with_nothing_installed_the_panel_explains_itself_and_asks_on_apply(host, resources, monkeypatch, ready_result):
    slicer.packaging.host.missing |= {"torch", "nnunetv2"}
    panel = host.load_module(MODULE).widgetRepresentation().self().panel
    misbehave(panel, instant(ready_result))
    assert not panel.ui.packagesLabel.isHidden()
    assert "torch, nnunetv2" in panel.ui.packagesLabel.text
    panel.ui.inputSelector.setCurrentNode(add_pre())
    assert panel.ui.applyButton.enabled
    answers = [False]
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_, **__: answers[0])
    with host.interactive():
        panel.ui.applyButton.click()
        assert panel.ui.statusLabel.text.startswith("Nothing was installed")
        assert slicer.packaging.host.calls == []
        assert not panel.logic.synthesis.busy
        answers[0] = True
        apply(host, panel)
    assert panel.results.loaded is not None
    assert panel.ui.packagesLabel.isHidden()


# ---- sample data and self test ------------------------------------------------------------------------------------


def test_the_phantom_is_registered_once_and_loads(host, module):
    sample_data.register()
    sample_data.register()
    names = [source.sampleName for source in slicer.modules.sampleDataSources["VirtualContrast"]]
    assert names == [sample_data.NAME]
    source = SampleData.SampleDataLogic.sourceForSampleName(sample_data.NAME)
    assert Path(source.thumbnailFileName).is_file()
    node = SampleData.downloadSample(sample_data.NAME)
    assert node.GetImageData().GetDimensions() == (192, 120, 40)
    assert slicer.util.arrayFromVolume(node).max() > 300


@pytest.mark.slow  # test_packaging runs it from the installed extension
def test_the_self_test_runs_the_whole_road(host, module):
    misbehave(module.panel, None)
    slicer.selfTests["VirtualContrast"](msec=0)
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == []


def test_the_self_test_checks_the_explanation_where_packages_are_missing(host, resources):
    slicer.packaging.host.missing.add("highdicom")
    host.load_module(MODULE)
    slicer.selfTests["VirtualContrast"](msec=0)


def test_the_module_says_what_it_is(host, module):
    about = slicer.modules.virtualcontrast
    assert about.title == "Virtual Contrast"
    assert about.categories == ["Quantification"]
    assert about.contributors
    assert "research only" in about.helpText
    assert about.acknowledgementText
    assert not about.icon.isNull()
