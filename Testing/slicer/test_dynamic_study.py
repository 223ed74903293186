"""A dynamic examination as the one input: a sequence, or the volumes of a DICOM study, with times to correct."""

import json

import numpy as np
import pydicom
import pytest
import slicer
from module_samples import add_pre, add_real, apply, misbehave, run_samples
from test_dicom import scanner, volumes  # noqa: F401  fixtures
from VirtualContrastLib.events import InputError
from VirtualContrastLib.slicer_app.run import dynamic_study
from VirtualContrastLib.slicer_app.run.parameters import chosen_real_phases, run_settings
from VirtualContrastLib.slicer_app.scene import nodes


def add_series(times_s, unit="s"):
    """A sequence of the small study; its volumes leave the scene."""
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Dynamic")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit(unit)
    sequence.SetIndexTypeFromString("numeric" if unit else "text")
    parts = [add_pre("a"), *(add_real(n) for n in range(1, len(times_s)))]
    for volume, time_s in zip(parts, times_s, strict=True):
        sequence.SetDataNodeAtValue(volume, f"{time_s:g}")
        slicer.mrmlScene.RemoveNode(volume)
    return sequence


def times_shown(panel):
    table = panel.ui.phasesTable
    return [table.item(row, 1).text() for row in range(table.rowCount)]


@pytest.mark.parametrize("start_s", [0.0, 5.0])
def test_a_sequence_is_input_and_real_phases_at_once(host, panel, out, start_s):
    sequence = add_series([start_s, 90.0, 220.0, 350.0])
    panel.ui.studySelector.setCurrentNode(sequence)
    volume = panel.parameters.inputVolume
    assert volume.GetName() == "Dynamic: pre-contrast"
    assert volume.GetImageData() is sequence.GetNthDataNode(0).GetImageData()
    real = chosen_real_phases(panel.parameters)
    assert [node.GetImageData() for node in real.nodes] == [
        sequence.GetNthDataNode(n).GetImageData() for n in (1, 2, 3)
    ]
    assert real.times_s == (90.0, 220.0, 350.0)
    assert times_shown(panel) == ["90", "220", "350"]
    assert panel.ui.applyButton.enabled
    apply(host, panel)
    assert panel.results.loaded.input == volume.GetID()
    panel.ui.studySelector.setCurrentNode(None)
    panel.ui.studySelector.setCurrentNode(sequence)
    assert panel.parameters.inputVolume is volume  # not made twice


def test_corrected_times_are_those_of_the_run_until_the_phases_change(host, panel):
    panel.ui.studySelector.setCurrentNode(add_series([0.0, 90.0, 220.0]))
    table = panel.ui.phasesTable
    table.item(0, 1).setText("60")
    assert chosen_real_phases(panel.parameters).times_s == (60.0, 220.0)
    assert run_settings(panel.parameters).times_s == (60.0, 220.0)  # the tiny model has fixed times: they share them
    table.item(1, 1).setText("50")
    assert "rising" in panel.ui.statusLabel.text
    assert chosen_real_phases(panel.parameters).times_s == (60.0, 220.0)
    panel.parameters.realSequence = None
    one = add_real(1)
    panel.parameters.realVolumes = [one, add_real(2)]
    assert panel.parameters.realTimes == ""
    assert times_shown(panel) == ["", ""]
    assert chosen_real_phases(panel.parameters).times_s is None
    table.item(0, 1).setText("70")
    assert chosen_real_phases(panel.parameters).times_s is None  # one is still unknown
    table.item(1, 1).setText("170")
    assert chosen_real_phases(panel.parameters).times_s == (70.0, 170.0)


def test_a_model_goes_on_from_as_many_phases_of_a_sequence_as_it_is_told_to_read(host, panel, out, tmp_path):
    """The control is there for such a model alone; the run is the engine's, and phase 3 is made and compared."""
    misbehave(panel, None)
    ui, parameters = panel.ui, panel.parameters
    ui.realButton.collapsed = False
    ui.studySelector.setCurrentNode(add_series([0.0, 90.0, 220.0, 350.0]))
    assert ui.acquiredSpinBox.isHidden()
    parameters.model = str(run_samples.tiny_models.tiny_iter_unet(tmp_path / "later").folder)
    assert not ui.acquiredSpinBox.isHidden() and ui.acquiredSpinBox.value == 1
    ui.acquiredSpinBox.value = 4
    assert "needs the real phase 4" in ui.applyButton.toolTip
    ui.acquiredSpinBox.value = 2
    apply(host, panel)
    loaded = panel.results.loaded
    assert loaded is not None, ui.statusLabel.text
    assert [phase.time_s for phase in loaded.input_phases] == [90.0, 220.0]
    assert [(phase.index, phase.time_s) for phase in loaded.phases] == [(3, 350.0)]
    (folder,) = out.iterdir()
    settings = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["settings"]
    assert settings["acquired"] == 2
    sequence = slicer.mrmlScene.GetNodeByID(loaded.sequence)
    items = [sequence.GetNthDataNode(n) for n in range(sequence.GetNumberOfDataNodes())]
    assert [nodes.is_synthetic(item) for item in items] == [False, False, False, True]


def test_a_sequence_without_times_shows_them_empty(panel):
    panel.ui.studySelector.setCurrentNode(add_series([0.0, 1.0, 2.0], unit=""))
    assert times_shown(panel) == ["", ""]
    assert len(chosen_real_phases(panel.parameters).nodes) == 2


def test_what_is_no_dynamic_series_is_told(panel):
    with pytest.raises(InputError, match="no dynamic series"):
        dynamic_study.first_of(add_series([0.0]))
    panel.ui.studySelector.setCurrentNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Empty"))
    assert "Empty is no dynamic series" in panel.ui.statusLabel.text


def test_the_phases_of_a_dicom_study_are_found_by_their_headers(host, panel, volumes):  # noqa: F811
    pre, first, second = volumes
    add_pre("no DICOM")
    panel.parameters.inputVolume = second  # whichever of them is selected
    panel.ui.studyButton.click()
    host.wait_until(lambda: not panel._study.busy)
    assert panel.parameters.inputVolume is pre
    assert list(panel.parameters.realVolumes) == [first, second]
    assert times_shown(panel) == ["95", "185"]
    assert chosen_real_phases(panel.parameters).times_s is None  # the run reads them itself
    assert "2 real phases" in panel.ui.statusLabel.text


def test_a_volume_of_another_sequence_is_left_out_and_the_panel_says_so(host, panel, scanner):  # noqa: F811
    for number, folder in enumerate(scanner):
        for file in folder.iterdir():
            dataset = pydicom.dcmread(file)
            dataset.FlipAngle = 25.0 if number == 0 else 12.0
            dataset.save_as(file)
    loaded = [slicer.dicomDatabase.load_series(folder, folder.name) for folder in scanner]
    panel.parameters.inputVolume = loaded[1]
    panel.ui.studyButton.click()
    host.wait_until(lambda: not panel._study.busy)
    assert panel.parameters.inputVolume is loaded[1]
    assert "flip angle is 25 degrees" in panel.ui.statusLabel.text
    assert "acquired before them" in panel.ui.statusLabel.text
    assert "bold" in panel.ui.statusLabel.styleSheet


def test_without_other_phases_the_button_says_so(host, panel, volumes):  # noqa: F811
    for volume in volumes[1:]:
        slicer.mrmlScene.RemoveNode(volume)
    panel.parameters.inputVolume = volumes[0]
    panel.ui.studyButton.click()
    host.wait_until(lambda: not panel._study.busy)
    assert "No other volume" in panel.ui.statusLabel.text
    assert np.size(panel.parameters.realVolumes) == 0
