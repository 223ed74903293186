"""The module's panel and the scene: results, leaving, closing, reloading, saving."""

import sys

import pytest
import qt
import slicer
from module_samples import HANGING, PATIENT, add_pre, add_real, apply, instant, misbehave, scene_ids
from VirtualContrastLib.slicer_app.stepper import Stepper


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
    inputs = [panel.ui.inputButton, panel.ui.realButton, panel.ui.computeButton, panel.ui.advancedButton]
    assert all(button.collapsed for button in inputs)
    panel.ui.removeButton.click()
    assert panel.results.loaded is None
    assert not panel.ui.resultButton.enabled
    assert not panel.ui.inputButton.collapsed


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
    before = loaded.lesions[0].volume
    segmentation, segment = slicer.mrmlScene.GetNodeByID(loaded.segmentation), loaded.lesions[0].segment_id
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume)
    mask[:, :, : mask.shape[2] // 2] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, volume)
    host.wait_until(lambda: "follow the edited segments" in panel.ui.statusLabel.text)
    assert loaded.lesions[0].volume < before
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


def test_a_run_goes_on_while_another_module_is_shown(host, panel, out):
    panel.ui.inputSelector.setCurrentNode(add_pre())
    panel.ui.applyButton.click()
    slicer.util.selectModule("Volumes")
    assert panel.parameters is None
    host.wait_until(lambda: not panel.logic.synthesis.busy)
    host.select_module("VirtualContrast")
    assert panel.results.loaded is not None
    assert panel.ui.statusLabel.text.startswith("Done")
    assert panel.ui.applyButton.enabled


@pytest.mark.parametrize("code", [PATIENT, HANGING])
def test_closing_the_scene_during_a_run_cancels_it_and_adds_nothing(host, panel, out, code):
    misbehave(panel, code)
    panel.ui.inputSelector.setCurrentNode(add_pre())
    panel.ui.applyButton.click()
    host.wait_until(lambda: "slice" in panel.ui.statusLabel.text or any(out.glob("*.partial-*/child")))
    slicer.mrmlScene.Clear(0)
    host.wait_until(lambda: not panel.logic.synthesis.busy)
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == []
    assert list(out.iterdir()) == []
    panel.ui.inputSelector.setCurrentNode(add_pre())
    assert panel.ui.applyButton.enabled


def test_the_ticked_real_phases_come_back_with_a_scene(host, panel, out, tmp_path):
    for number in (1, 2, 3):
        panel.ui.realSelector.setCheckState(add_real(number), qt.Qt.Checked)
    slicer.util.saveScene(str(tmp_path / "ticked.mrb"))
    slicer.mrmlScene.Clear(0)
    assert panel.parameters.realVolumes == []
    slicer.util.loadScene(str(tmp_path / "ticked.mrb"))
    assert [node.GetName() for node in panel.parameters.realVolumes] == ["Real 1", "Real 2", "Real 3"]
    assert len(panel.ui.realSelector.checkedNodes()) == 3
    assert "Real 3" in panel.ui.realLabel.text


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
    host.wait_until(lambda: panel.logic.synthesis.worker.busy)
    slicer.mrmlScene.RemoveNode(volume)
    host.wait_until(lambda: not panel.logic.synthesis.busy)
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
    host.wait_until(lambda: any(out.glob("*.partial-*/child")))
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


@pytest.mark.parametrize("error", [OSError("the disk is full"), TypeError("a fault of the program")])
def test_whatever_ends_work_in_steps_is_told_once(host, error):
    def steps():
        yield
        raise error

    told = []
    stepper = Stepper()
    stepper.start(steps(), lambda value: told.append("done"), told.append)
    stepper._step()
    if isinstance(error, OSError):
        stepper._step()
    else:
        with pytest.raises(TypeError):  # Slicer shows it, with its traceback, in the error log
            stepper._step()
    assert len(told) == 1 and str(error) in told[0] and not stepper.busy
