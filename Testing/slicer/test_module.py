"""The module's own panel, unmodified: what it shows, when it cannot work, controls, packages, sample data."""

from pathlib import Path

import numpy as np
import pytest
import qt
import SampleData
import slicer
import slicer.packaging
from module_samples import MODULE, add_pre, add_real, add_volume, apply, instant, misbehave, run_samples
from VirtualContrastLib.slicer_app import sample_data
from VirtualContrastLib.slicer_app.run.parameters import output_folder
from VirtualContrastLib.slicer_app.scene import nodes


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


def test_the_first_volume_that_can_be_an_input_is_selected(host, module):
    assert module.panel.parameters.inputVolume is None
    made = add_pre("Made")
    made.SetAttribute("VirtualContrast.Synthetic", "1")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    first, second = add_pre("First"), add_pre("Second")
    module.exit()
    module.enter()
    assert module.panel.parameters.inputVolume is first
    module.panel.parameters.inputVolume = second
    module.exit()
    module.enter()
    assert module.panel.parameters.inputVolume is second  # a choice stays


def test_a_device_that_cannot_compute_is_told_with_the_reason_and_stops_apply(host, panel):
    misbehave(panel, None)
    panel._device_timer.setInterval(0)
    panel.ui.inputSelector.setCurrentNode(add_pre())
    host.wait_until(lambda: "threads" in panel.ui.deviceLabel.text or "CUDA" in panel.ui.deviceLabel.text)
    assert panel.ui.applyButton.enabled
    assert panel.ui.freeButton.enabled
    panel.ui.deviceComboBox.currentIndex = 3
    host.wait_until(lambda: "MPS" in panel.ui.deviceLabel.text)
    assert not panel.ui.applyButton.enabled
    assert "MPS" in panel.ui.applyButton.toolTip
    panel.ui.deviceComboBox.currentIndex = 0
    assert panel.ui.applyButton.enabled
    panel.ui.freeButton.click()
    host.wait_until(lambda: not panel.logic.synthesis.worker.alive)
    assert not panel.ui.freeButton.enabled


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


def keys(editor, *strokes):
    """Type into a path editor."""
    from PySide6.QtTest import QTest

    for stroke in strokes:
        if isinstance(stroke, str):
            QTest.keyClicks(editor.comboBox().lineEdit(), stroke)
        else:
            QTest.keyClick(editor.comboBox().lineEdit(), stroke)


def test_a_folder_can_be_typed_anywhere_in_the_text_and_cleared(host, panel, tmp_path):
    editor, line = panel.ui.outputPath, panel.ui.outputPath.comboBox().lineEdit()
    line.setText(str(tmp_path / "abcdef"))
    line.setCursorPosition(len(str(tmp_path)) + 3)
    keys(editor, "XY")
    assert line.text == str(tmp_path / "abXYcdef")
    assert panel.parameters.outputFolder == tmp_path / "abXYcdef"
    line.clear()
    keys(editor, "./out")
    assert line.text == "./out"
    assert panel.parameters.outputFolder == Path("out")
    line.setText("~/out")
    assert panel.parameters.outputFolder == Path.home() / "out"
    assert line.text == "~/out"
    for _ in "~/out":
        keys(editor, qt.Qt.Key_Backspace)
    assert panel.parameters.outputFolder == Path()
    assert output_folder(panel.parameters) is None
    panel.ui.uncertaintySpinBox.value = 3
    assert line.text == ""
    panel.parameters.outputFolder = tmp_path
    assert line.text == str(tmp_path)


def test_the_panel_is_no_wider_than_slicers_own(panel):
    """Its minimum is that of Slicer's dock, which has no horizontal scroll bar."""
    for name in ("inputButton", "computeButton", "advancedButton", "resultButton", "readingButton"):
        getattr(panel.ui, name).collapsed = False
    assert panel.widget.minimumSizeHint.width() <= 400


def test_every_control_can_be_reached_by_keyboard(panel):
    ui = panel.ui
    for widget in (ui.applyButton, ui.cancelButton, ui.logButton, ui.freeButton, ui.flickerCheckBox, ui.dicomCheckBox):
        assert widget.text.count("&") == 1 or widget is ui.cancelButton
        assert widget.focusPolicy & qt.Qt.TabFocus
    labels = [w for w in panel.widget.findChildren(qt.QLabel) if "&" in w.text]
    assert all(label.buddy() is not None for label in labels)
    keys = [w.text[w.text.index("&") + 1].lower() for w in (*labels, ui.applyButton, ui.logButton, ui.freeButton)]
    others = (ui.flickerCheckBox, ui.dicomCheckBox, ui.reportButton, ui.removeButton, panel.reading.ui.startButton)
    keys += [w.text[w.text.index("&") + 1].lower() for w in others]
    assert len(keys) == len(set(keys)), sorted(keys)


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


def test_the_phantom_is_registered_once_and_loads(host, module):
    sample_data.register()
    sample_data.register()
    assert SampleData.SampleDataLogic.categoryTitle(sample_data.CATEGORY) == "Virtual Contrast"
    names = [source.sampleName for source in slicer.modules.sampleDataSources["VirtualContrast"]]
    assert names == [sample_data.NAME]
    nodes.keep_marks()  # as at Slicer's start
    source = SampleData.SampleDataLogic().sourceForSampleName(sample_data.NAME)
    assert Path(source.thumbnailFileName).is_file()
    node = SampleData.downloadSample(sample_data.NAME)
    assert node.GetImageData().GetDimensions() == (192, 120, 40)
    assert slicer.util.arrayFromVolume(node).max() > 300
    assert nodes.is_phantom(node), "the models of phantoms are taken for it"
    assert not nodes.is_synthetic(node)


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
    assert about.acknowledgmentText
    assert not about.icon.isNull()
