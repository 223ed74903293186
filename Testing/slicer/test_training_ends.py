"""The training panel when a run goes wrong, and when it is left, closed, reloaded or opened again."""

import os

import pytest
import slicer
from module_samples import run_samples
from training_samples import (
    CRASHING,
    DEAF,
    ENDLESS,
    FAILING,
    GROWING,
    UNFORESEEN,
    begin,
    charts,
    choose_trial,
    gone,
    open_module,
    waiting,
)


@pytest.fixture
def module(host):
    yield from open_module(host)


@pytest.fixture
def panel(module):
    return module.panel


@pytest.fixture
def out(panel, tmp_path):
    """The output folder, chosen for a smoke trial."""
    return choose_trial(panel, tmp_path / "run")


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return run_samples.write_model(tmp_path_factory.mktemp("tiny") / "model")


# ---- when it goes wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (FAILING, "The folder x holds no prepared cases; make some."),
        (UNFORESEEN, "The process ended unexpectedly (exit code 7); see the log."),
        (CRASHING, "The process crashed or was killed (code 11); the last checkpoint is kept, see the log."),
    ],
)
def test_a_failure_is_one_sentence_with_the_log_at_hand(host, panel, out, code, sentence):
    begin(host, panel, code)
    assert panel.ui.statusLabel.text == sentence
    assert panel.ui.statusLabel.styleSheet != ""
    panel.ui.logButton.click()
    assert "virtual-contrast-training train phantom-joint-p1-p3" in panel.log_window.text
    if code is CRASHING:
        assert "about to crash: Grüße" in panel.log_window.text
    if code is FAILING:
        assert "Epoch 1/2" not in panel.log_window.text  # a bar's earlier states
    assert panel.ui.startButton.enabled


def test_an_error_that_nobody_foresaw_is_told_in_the_panel(host, panel, out):
    code = """
import VirtualContrastTrainingLib.cli as cli
from VirtualContrastTrainingLib.slicer_app import child
def broken(argv):
    raise KeyError("nobody foresaw this")
cli.main = broken
sys.exit(child.main(sys.argv[1:]))
"""
    begin(host, panel, code)
    assert panel.ui.statusLabel.text.startswith("Unexpected KeyError")
    assert "Traceback" in panel.training.process.log_text()


def test_a_child_killed_from_outside_is_told_and_its_children_end(host, panel, out):
    inside = DEAF.replace("import os, time; os.setsid(); time", "import time; time")
    begin(host, panel, inside, until=lambda: panel.view.run.progress)
    os.kill(panel.training.process.pid, 9)
    host.wait_until(lambda: not panel.training.busy)
    assert "crashed or was killed" in panel.ui.statusLabel.text
    host.wait_until(lambda: gone(int((out / "child").read_text())))


def test_a_python_that_cannot_be_started_is_told(host, panel, out, tmp_path):
    panel.training.process.command = [str(tmp_path / "no-such-python")]
    panel.ui.startButton.click()
    host.wait_until(lambda: not panel.training.busy)
    assert "could not be started" in panel.ui.statusLabel.text


def test_an_output_below_a_file_is_told(panel, tmp_path, out):
    (tmp_path / "file").touch()
    panel.ui.outputPath.currentPath = str(tmp_path / "file" / "run")
    panel.ui.startButton.click()
    assert "cannot be written" in panel.ui.statusLabel.text
    assert not panel.training.busy


# ---- leaving, closing, opening again ------------------------------------------------------------------------------


def test_a_run_goes_on_while_another_module_is_shown(host, panel, out, model):
    begin(host, panel, waiting(GROWING.format(model=str(model)), "left"), until=lambda: panel.training.busy)
    slicer.util.selectModule("Volumes")
    (out / "left").touch()
    host.wait_until(lambda: not panel.training.busy)
    assert len(charts()) == 2
    host.select_module("VirtualContrastTraining")
    assert panel.ui.statusLabel.text.startswith("Done")


def test_closing_the_scene_during_a_run_keeps_the_run_and_its_charts_come_again(host, panel, out, model):
    begin(host, panel, waiting(GROWING.format(model=str(model)), "closed"), until=charts)
    slicer.mrmlScene.Clear(0)
    (out / "closed").touch()
    host.wait_until(lambda: not panel.training.busy)
    assert len(charts()) == 2
    assert charts()[0].GetNthPlotSeriesNode(0).GetTableNode().GetTable().GetNumberOfRows() == 5
    slicer.mrmlScene.Clear(0)
    host.process_events(0.1)
    assert charts() == []
    panel.ui.curvesButton.click()
    assert len(charts()) == 2


def test_a_run_on_disk_is_opened_again(host, module, panel, out, model, tmp_path):
    begin(host, panel, GROWING.format(model=str(model)))
    panel.ui.outputPath.currentPath = str(tmp_path / "other")
    assert charts() == []
    assert panel.ui.statusLabel.text == ""
    assert not panel.ui.curvesButton.enabled
    assert panel.ui.modelLabel.text == "The run ends with a model package."
    module.onReload()
    panel = slicer.util.getModuleWidget("VirtualContrastTraining").panel
    panel.ui.outputPath.currentPath = str(out)
    assert panel.ui.statusLabel.text == "The run run in this folder is done."
    assert charts() == []  # a look at a folder changes no scene
    panel.ui.curvesButton.click()
    assert len(charts()) == 2
    assert str(out / "model") in panel.ui.modelLabel.text


def test_an_interrupted_run_says_where_it_ended(host, panel, out, tmp_path):
    begin(host, panel, ENDLESS, until=lambda: panel.view.run.progress)
    panel.ui.stopButton.click()
    host.wait_until(lambda: not panel.training.busy)
    panel.ui.outputPath.currentPath = str(tmp_path / "other")
    panel.ui.outputPath.currentPath = str(out)
    assert panel.ui.statusLabel.text == "The run run in this folder ended in epoch 1 of 100 and can be continued."


@pytest.mark.parametrize("code", [ENDLESS, DEAF])
def test_closing_the_application_ends_the_run_and_a_willing_one_with_its_checkpoint(host, panel, out, code):
    begin(host, panel, code, until=lambda: panel.view.run.progress)
    pid = panel.training.process.pid
    patience_s = 0.5 if code is DEAF else 60.0  # the willing one hears it, however slow this machine is
    panel.training.process.shutdown, shutdown = lambda _usual: shutdown(patience_s), panel.training.process.shutdown
    with host.promised(2.0):
        host.unload_module("VirtualContrastTraining")
    assert gone(pid)
    if code is ENDLESS:
        assert not (out / "stop").exists()  # it was heard
    else:
        host.wait_until(lambda: gone(int((out / "child").read_text())))
