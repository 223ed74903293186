"""The training panel over real child processes: the command line of the library, Lightning, tiny networks."""

import time

import pytest
import slicer
from training_samples import MODULE, choose_recipe, gone, write_recipe
from VirtualContrastLib.models.package import load_package
from VirtualContrastTrainingLib.slicer_app import recipe_list


@pytest.fixture
def panel(host, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    widget = host.load_module(MODULE).widgetRepresentation().self()
    widget.panel._timer.setInterval(50)
    yield widget.panel
    host.unload_module("VirtualContrastTraining")


def wait(host, panel):
    host.wait_until(lambda: not panel.training.busy)


def epochs_of(panel):
    return list(panel.view.run.losses["G_L1"] if "G_L1" in panel.view.run.losses else panel.view.run.losses["D_real"])


def test_the_modules_own_test_passes(host, panel):
    """A smoke trial of a shipped recipe: start, curves, pictures, model."""
    import sys

    sys.modules["VirtualContrastTraining"].VirtualContrastTrainingTest().runTest()


def test_a_recipe_file_is_started_stopped_with_a_checkpoint_resumed_and_ends_with_a_model(host, panel, tmp_path):
    epochs = 10
    run = tmp_path / "run"
    choose_recipe(panel, write_recipe(tmp_path, epochs))
    panel.ui.outputPath.currentPath = str(run)
    assert panel.ui.startButton.enabled, panel.ui.startButton.toolTip
    with host.watch_event_loop() as longest_s:
        panel.ui.startButton.click()
        host.wait_until(lambda: panel.view.run.held_out.get("val_mae"))
        first = panel.ui.statusLabel.text
        panel.ui.stopButton.click()
        start = time.monotonic()
        wait(host, panel)
        print(f"\nstopped in {time.monotonic() - start:.1f} s, event loop blocked {1000 * longest_s():.0f} ms at most")
        blocked_s = longest_s()
    assert f"of {epochs}, step" in first
    assert panel.ui.statusLabel.text.startswith("Stopped; the checkpoint"), panel.training.process.log_text()
    assert panel.view.run.has_checkpoint
    assert panel.view.run.model is None
    assert gone(panel.training.process.pid)
    seen = epochs_of(panel)
    assert 1 <= len(seen) < epochs
    panel.ui.resumeButton.click()
    wait(host, panel)
    assert panel.ui.statusLabel.text.startswith("Done"), panel.training.process.log_text()
    assert epochs_of(panel) == list(range(1, epochs + 1))
    assert len(panel.view.run.samples()) == epochs
    assert panel.view.samples.shown.name == f"epoch_{epochs:04d}.png"
    assert load_package(panel.view.run.model).card.id == "tiny-run"
    assert len(slicer.util.getNodesByClass("vtkMRMLPlotChartNode")) == 2
    assert blocked_s < host.patience(0.5)


def test_a_folder_without_cases_is_one_sentence_of_the_librarys(host, panel, tmp_path):
    for name in ("train", "validation"):
        (tmp_path / name).mkdir()
        getattr(panel.ui, f"{name}Path").currentPath = str(tmp_path / name)
    choose_recipe(panel, recipe_list.DEFAULT)
    panel.ui.outputPath.currentPath = str(tmp_path / "run")
    panel.ui.startButton.click()
    wait(host, panel)
    assert panel.ui.statusLabel.text.startswith(f"{tmp_path / 'train'} holds no prepared cases")
    assert "Error:" in panel.training.process.log_text()
    assert panel.ui.startButton.enabled
