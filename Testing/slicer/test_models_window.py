"""The window with all models: what it tells, and that nothing is fetched without asking."""

import json
import shutil

import pytest
import qt
import slicer
import slicer.packaging
from module_samples import REPOSITORY, run_samples
from VirtualContrastLib.slicer_app.run import model_records
from VirtualContrastLib.slicer_app.run.engine_command import EngineCommand

URL = "https://models.example.org/far.zip"


@pytest.fixture
def catalog(resources, tmp_path):
    """The tiny default, and one that can be fetched."""
    path = tmp_path / "Resources" / "Models" / "catalog.json"
    entries = json.loads(path.read_text())
    far = {
        "id": "far",
        "kind": "synthesis",
        "title": "Far away",
        "description": "Trained on 10 patients.",
        "urls": [URL],
        "source": "download",
        "license": "CC BY 4.0",
        "size_bytes": 120_000_000,
        "sha256": "a" * 64,
    }
    entries["models"].append(far)
    path.write_text(json.dumps(entries))


@pytest.fixture
def window(catalog, panel):
    panel.ui.modelsButton.click()
    return panel.models_window


def select(window, name):
    names = [window.table.item(row, 0).text() for row in range(window.table.rowCount)]
    window.table.selectRow(names.index(name))


def test_models_are_listed_with_what_a_user_must_know(window):
    select(window, "far")
    assert [window.table.item(1, n).text() for n in range(5)] == ["far", "synthesis", "not here", "120 MB", "CC BY 4.0"]
    assert "Trained on 10 patients." in window.details.plainText
    assert "Measured: nothing is stated" in window.details.plainText
    assert window.download_button.enabled
    assert not window.remove_button.enabled
    select(window, "tiny")
    assert window.table.item(0, 2).text() == "part of the software"
    assert not window.download_button.enabled
    assert not window.remove_button.enabled


def test_the_models_of_the_software_tell_license_training_data_and_quality(monkeypatch):
    monkeypatch.setenv("VIRTUALCONTRAST_RESOURCES", str(REPOSITORY / "Resources"))
    records = {one.id: one for one in model_records.all_models()}
    shipped = records["ispy-enhancement"]
    card = json.loads((REPOSITORY / "Resources" / "Models" / "ispy-enhancement" / "model.json").read_text())
    assert "220 patients" in shipped.trained_on
    assert len(shipped.quality) == len(card["metrics"]) + len(card["against_copying"]) > 3
    assert str(card["metrics"][0]["value"]) in shipped.details
    assert "phase 1, whole image: error 4.25 % of the range, a copy of the pre-contrast image 5" in shipped.details
    measured = {
        "image": "phase 2",
        "region": "whole image",
        "copied": "phase 1",
        "error": 34.567,
        "copy_error": 5.7,
        "cases": 3,
    }
    line = model_records._against_copying(measured)
    assert line == "  phase 2, whole image: error 34.6 % of the range, a copy of phase 1 5.7 % (held-out cases: 3)"
    assert (
        shipped.size_bytes > (REPOSITORY / "Resources" / "Models" / shipped.id / "weights.safetensors").stat().st_size
    )
    assert records["phantom-lesion-nnunet"].kind == "segmentation"
    assert records["medigan-00023-pix2pixhd"].downloadable
    assert all(one.license and one.trained_on for one in records.values())


def test_before_a_download_it_is_said_what_is_fetched_from_where_and_asked(window, monkeypatch):
    asked, started, answer = [], [], [False]
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *_: asked.append(text) or answer[0])
    monkeypatch.setattr(EngineCommand, "run", lambda self, arguments, ended: started.append(arguments))
    select(window, "far")
    window.download_button.click()
    assert started == []
    for told in (URL, "models.example.org", "120 MB", "CC BY 4.0", "No image and nothing of a patient is sent"):
        assert told in asked[0]
    answer[0] = True
    window.download_button.click()
    assert started == [["models", "download", "far"]]


def test_a_model_is_imported_from_a_file_and_removed(host, window, panel, tmp_path, monkeypatch):
    package = run_samples.write_model(tmp_path / "mine", id="mine", title="My own")
    name = shutil.make_archive(str(tmp_path / "mine"), "zip", package)
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: name)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_: True)
    window.import_button.click()
    assert not window.import_button.enabled
    host.wait_until(lambda: not window.busy)
    assert window.status.text == "Done."
    assert panel.ui.modelComboBox.count == 2
    select(window, "mine")
    assert window.remove_button.enabled
    window.import_button.click()
    host.wait_until(lambda: not window.busy)
    assert "mine" in window.status.text  # there is one of that name
    assert window.status.text != "Done."
    select(window, "mine")
    window.remove_button.click()
    host.wait_until(lambda: not window.busy)
    assert not (tmp_path / "cache" / "Models" / "mine").exists()
    assert panel.ui.modelComboBox.count == 1


def test_without_packages_the_window_says_what_is_missing(window):
    slicer.packaging.host.missing.add("pydantic")
    window._start(["remove", "x"], "")
    assert "pydantic" in window.status.text
    assert not window.busy
