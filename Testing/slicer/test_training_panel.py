"""The training module's own panel, unmodified, over child processes that only pretend to train."""

import re
import subprocess
import sys

import pytest
import qt
import slicer
import slicer.packaging
from module_samples import MODULE as ENGINE_MODULE
from module_samples import run_samples
from training_samples import (
    DEAF,
    ENDLESS,
    GROWING,
    MODULE,
    REPOSITORY,
    begin,
    charts,
    choose_recipe,
    choose_trial,
    gone,
    open_module,
    pretend,
    waiting,
)
from VirtualContrastTrainingLib.slicer_app import layout
from VirtualContrastTrainingLib.slicer_app.charts import LOSSES, METRICS


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


def series_names(chart):
    return [chart.GetNthPlotSeriesNode(n).GetName() for n in range(chart.GetNumberOfPlotSeriesNodes())]


# ---- the panel ----------------------------------------------------------------------------------------------------


def test_the_panel_opens_with_the_banner_and_explains_what_to_do(panel):
    ui = panel.ui
    assert ui.bannerLabel.text == "Synthetic images. Research only."
    assert not ui.startButton.enabled
    assert ui.startButton.toolTip == "Choose an output folder first."
    assert not ui.stopButton.enabled
    assert not ui.resumeButton.enabled
    assert ui.packagesLabel.isHidden()
    assert ui.recipePath.isHidden()
    assert "phantom-joint-p1-p3" in [entry.name for entry in panel.recipes]
    assert charts() == []


def test_every_control_can_be_reached_by_a_key_of_its_own(panel):
    texts = [
        widget.text
        for widget in panel.widget.findChildren(qt.QWidget)
        if isinstance(widget, qt.QLabel | qt.QPushButton | qt.QCheckBox) and "&" in widget.text
    ]
    keys = [text[text.index("&") + 1].lower() for text in texts]
    assert len(keys) == len(set(keys)), sorted(keys)
    assert len(keys) >= 15
    for label in panel.widget.findChildren(qt.QLabel):
        assert "&" not in label.text or label.buddy() is not None, label.text


def test_start_says_why_it_cannot_work(panel, tmp_path):
    ui, run = panel.ui, tmp_path / "run"
    for name in ("train", "validation"):
        (tmp_path / name).mkdir()

    def reason():
        assert not ui.startButton.enabled
        return ui.startButton.toolTip

    ui.outputPath.currentPath = str(run)
    assert "simulate phantoms to try" in reason()
    ui.trainPath.currentPath = ui.validationPath.currentPath = str(tmp_path / "train")
    assert "same folder" in reason()
    ui.validationPath.currentPath = str(tmp_path / "none")
    assert "none does not exist" in reason()
    ui.validationPath.currentPath = str(tmp_path / "validation")
    assert ui.startButton.enabled
    ui.changesLineEdit.text = "seed=2 batch"
    assert "batch is not of the form" in reason()
    ui.changesLineEdit.text = "id='a"
    assert "quote is not closed" in reason()
    ui.changesLineEdit.text = ""
    ui.recipeComboBox.currentIndex = len(panel.recipes)
    assert not ui.recipePath.isHidden()
    assert reason() == "Choose a recipe first."
    ui.recipeComboBox.currentIndex = 0
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "last.ckpt").touch()
    ui.smokeCheckBox.checked = True
    assert "holds a run already" in reason()
    assert ui.resumeButton.enabled
    assert not ui.trainPath.enabled
    (tmp_path / "file").touch()
    ui.outputPath.currentPath = str(tmp_path / "file")
    assert "is a file" in reason()


# ---- a run --------------------------------------------------------------------------------------------------------


def test_a_run_shows_progress_curves_and_its_model_and_blocks_nothing(host, panel, out, model):
    """The run goes on after an epoch when it was shown."""
    seen, ui, epochs = [], panel.ui, set()
    panel.training.process.command = pretend(waiting(GROWING.format(model=str(model)), "shown_{epoch}"))

    def over():
        seen.append((ui.progressBar.value, ui.statusLabel.text))
        if found := re.match(r"Epoch (\d) of 5, step 4 of 4 · about 2 min left · cpu$", ui.statusLabel.text):
            epochs.add(int(found[1]))
        shown = 5 if ui.statusLabel.text.startswith("Writing the model") else max(epochs, default=0)
        if shown:
            (out / f"shown_{shown}").touch()
        return not panel.training.busy

    with host.watch_event_loop() as longest_s:
        ui.startButton.click()
        assert ui.stopButton.enabled
        assert not ui.runButton.enabled
        assert ui.startButton.toolTip.startswith("A run is under way")
        host.wait_until(over)
        print(f"\nblocked at most {1000 * longest_s():.0f} ms")
        assert longest_s() < host.patience(0.5)
    assert epochs == {1, 2, 3, 4}
    values = [value for value, _ in seen]
    assert values == sorted(values)
    assert ui.statusLabel.text == f"Done; the model is in {out / 'model'}."
    assert [series_names(chart) for chart in charts()] == [["D_real", "G_L1"], ["lesion mae", "mae"]]
    for chart in charts():
        assert "research only" in chart.GetTitle()
        table = chart.GetNthPlotSeriesNode(0).GetTableNode().GetTable()
        rows = range(table.GetNumberOfRows())
        assert [table.GetValueByName(row, "epoch").ToDouble() for row in rows] == [1, 2, 3, 4, 5]
    assert charts()[0].GetYAxisLogScale()
    assert not charts()[1].GetYAxisLogScale()
    assert layout.is_shown()
    for kind in (LOSSES, METRICS):
        view = slicer.mrmlScene.GetSingletonNode(layout.VIEWS[kind], "vtkMRMLPlotViewNode")
        assert view.GetPlotChartNodeID() == panel.view.charts.chart(kind).GetID()
    assert "lesion mae 0.04 (0.2 at first)" in ui.metricsLabel.text
    assert "TRAINED ON SIMULATED PHANTOMS ONLY" in ui.modelLabel.text
    assert not ui.startButton.enabled
    assert "done" in ui.resumeButton.toolTip


def test_the_model_goes_into_virtual_contrast(host, panel, out, model, monkeypatch, tmp_path):
    monkeypatch.setenv("VIRTUALCONTRAST_CACHE", str(tmp_path / "cache"))
    begin(host, panel, GROWING.format(model=str(model)))
    assert not panel.ui.useButton.enabled  # the module is not there
    engine = host.load_module(ENGINE_MODULE, select=False).widgetRepresentation().self().panel
    panel.view._offered = None
    panel._poll()
    assert panel.ui.useButton.enabled, panel.ui.useButton.toolTip
    panel.ui.useButton.click()
    assert engine.parameters.model == str(out / "model")
    assert engine.ui.modelComboBox.currentText == "Tiny random network"
    host.unload_module("VirtualContrast")


def test_a_run_is_stopped_and_resumed(host, panel, out):
    begin(host, panel, ENDLESS, until=lambda: "step" in panel.ui.statusLabel.text)
    panel.ui.stopButton.click()
    assert panel.ui.statusLabel.text.startswith("Stopping after this step")
    assert panel.ui.stopButton.text == "Sto&p now"
    host.wait_until(lambda: not panel.training.busy)
    assert panel.ui.statusLabel.text.startswith("Stopped; the checkpoint is kept")
    assert panel.ui.statusLabel.styleSheet == ""
    assert panel.ui.stopButton.text == "Sto&p"
    assert not (out / "stop").exists()
    assert panel.ui.resumeButton.enabled
    panel.ui.resumeButton.click()
    host.wait_until(lambda: "step" in panel.ui.statusLabel.text)
    assert "--resume" in panel.training.process.log_text().splitlines()[-1]
    panel.ui.stopButton.click()
    host.wait_until(lambda: not panel.training.busy)


def test_a_deaf_run_is_ended_by_the_second_stop_with_everything_it_started(host, panel, out):
    begin(host, panel, DEAF, until=lambda: panel.view.run.progress)
    child, grandchild = panel.training.process.pid, int((out / "child").read_text())
    panel.ui.stopButton.click()
    host.process_events(0.3)
    assert panel.training.busy
    with host.watch_event_loop() as longest_s:
        with host.promised(2.0):
            panel.ui.stopButton.click()
            host.wait_until(lambda: not panel.training.busy)
        assert longest_s() < host.patience(0.5)
    assert "the last checkpoint, if there is one, is kept" in panel.ui.statusLabel.text
    host.wait_until(lambda: gone(child) and gone(grandchild))
    assert panel.ui.resumeButton.enabled


def test_a_stop_before_the_first_step_ends_the_run_at_once(host, panel, out):
    begin(host, panel, "time.sleep(600)", until=lambda: panel.training.process.pid)
    panel.ui.stopButton.click()
    host.wait_until(lambda: not panel.training.busy)
    assert panel.ui.startButton.enabled
    assert panel.ui.resumeButton.toolTip == "The output folder holds no run to continue."


def test_several_processes_that_stopped_are_no_failure(host, panel, out):
    """Each tells that it stopped, and the launcher that some failed."""
    launcher = ENDLESS.replace("stop_if_asked()", "if (out / 'stop').exists(): break")
    launcher += """
(out / "stop").unlink()
print("Error: Stopped; go on with --resume.\\nError: One of the 2 processes failed.", file=sys.stderr)
sys.exit(1)
"""
    begin(host, panel, launcher, until=lambda: panel.view.run.progress)
    panel.ui.stopButton.click()
    host.wait_until(lambda: not panel.training.busy)
    assert panel.ui.statusLabel.text == "Stopped; go on with --resume."
    assert panel.ui.statusLabel.styleSheet == ""


# ---- phantoms -----------------------------------------------------------------------------------------------------


def test_phantoms_are_made_and_chosen(host, panel, tmp_path):
    choose_recipe(panel, "phantom-joint-p1-p3")
    panel.ui.outputPath.currentPath = str(tmp_path / "run")
    panel.training.process.command = pretend("out.mkdir(parents=True); (out / 'line').write_text(' '.join(sys.argv))")
    panel.ui.phantomsButton.click()
    assert panel.ui.stopButton.toolTip.startswith("End the simulation")
    host.wait_until(lambda: not panel.training.busy)
    lines = [(tmp_path / "phantoms" / name / "line").read_text() for name in ("train", "validation")]
    assert lines[0] == f"-c phantom --output {tmp_path / 'phantoms' / 'train'} --count 6 --seed 1"
    assert lines[1].endswith("--count 2 --seed 800001")
    assert panel.ui.trainPath.currentPath == str(tmp_path / "phantoms" / "train")
    assert panel.ui.validationPath.currentPath == str(tmp_path / "phantoms" / "validation")
    assert panel.ui.startButton.enabled, panel.ui.startButton.toolTip
    choose_recipe(panel, "phantom-cem-cyclegan")
    panel.ui.phantomsButton.click()
    host.wait_until(lambda: not panel.training.busy)
    line = (tmp_path / "phantom_mammograms" / "train" / "line").read_text()
    assert line.startswith("-c prepare phantom-mammograms --output")


def test_the_simulation_of_phantoms_can_be_stopped(host, panel, tmp_path):
    panel.ui.outputPath.currentPath = str(tmp_path / "run")
    panel.training.process.command = pretend("time.sleep(600)")
    panel.ui.phantomsButton.click()
    host.process_events(0.1)
    panel.ui.stopButton.click()
    host.wait_until(lambda: not panel.training.busy)
    assert panel.ui.statusLabel.text == "Stopped; finished studies are kept."
    assert panel.ui.trainPath.currentPath == ""


# ---- packages -----------------------------------------------------------------------------------------------------


def test_missing_packages_are_told_and_asked_for_by_start(host, panel, out, model, monkeypatch):
    asked = []
    slicer.packaging.host.missing |= {"torch", "lightning", "nnunetv2"}
    panel.enter()
    assert "torch, nnunetv2, lightning. Start asks" in panel.ui.packagesLabel.text
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, title=None, **_: asked.append(text))
    panel.ui.startButton.click()
    assert "press Start to be asked again" in panel.ui.statusLabel.text
    assert not panel.training.busy
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, title=None, **_: True)
    with host.interactive():
        begin(host, panel, GROWING.format(model=str(model)))
    assert "VirtualContrastTraining needs" in asked[0]
    assert panel.ui.packagesLabel.isHidden()
    assert panel.ui.statusLabel.text.startswith("Done")
    installed = [call for call in slicer.packaging.host.calls if call["requester"] == "VirtualContrastTraining"]
    assert {"SimpleITK", "numpy", "torch", "torchvision"} <= set(installed[0]["skip_packages"])


def test_loading_the_module_imports_no_third_party_package():
    """In a fresh interpreter that has none but what Slicer ships: an import of any other fails there."""
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in BLOCKED: raise ImportError('refused ' + name)\n"
        "BLOCKED = {'torch', 'lightning', 'nnunetv2', 'pydantic', 'yaml', 'PIL', 'safetensors', 'skimage', "
        "'matplotlib', 'psutil', 'pydicom', 'rich', 'torchmetrics', 'radiomics'}\n"
        f"sys.path[:0] = [{str(REPOSITORY / 'Testing' / 'host')!r}, {str(ENGINE_MODULE.parent)!r}, "
        f"{str(MODULE.parent)!r}]\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import slicer_host; host = slicer_host.boot()\n"
        "import slicer.packaging\n"
        "slicer.packaging.host.missing |= {'torch', 'lightning', 'pydantic'}\n"
        f"panel = host.load_module({str(MODULE)!r}).widgetRepresentation().self()\n"
        "print(panel.ui.packagesLabel.text)\n"
        "sys.modules['VirtualContrastTraining'].VirtualContrastTrainingTest().runTest()\n"
        "import qt; assert not qt.slotErrors, qt.slotErrors\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "torch, pydantic, lightning" in done.stdout
