"""The panel's list of models: the engine's, what each says of itself, and what it needs before a run can start."""

import json

import pytest
import slicer
from module_samples import (
    TESTING,
    add_pre,
    add_real,
    add_volume,
    run_samples,
    write_resources,
)
from VirtualContrastLib.io.volumes import SYNTHETIC_COMMENT, write
from VirtualContrastLib.models import catalog
from VirtualContrastLib.run.settings import RunSettings
from VirtualContrastLib.slicer_app.run import model_list, parameters

tiny_models = run_samples.tiny_models


@pytest.fixture
def model(tmp_path):
    return str(run_samples.write_model(tmp_path / "model"))


def test_the_panel_finds_the_same_models_in_the_same_places_as_the_engine(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUALCONTRAST_CACHE", str(tmp_path / "cache"))
    assert model_list.paths.resources_dir() == catalog.resources_dir()
    assert model_list.default_id() == (catalog.load_catalog().default_id("synthesis") or "")
    monkeypatch.setenv("VIRTUALCONTRAST_RESOURCES", str(tmp_path))
    write_resources(tmp_path)
    run_samples.write_model(tmp_path / "cache" / "Models" / "another", id="another")
    engine = {name: folder for name, folder in catalog.installed_models().items()}
    assert [entry.name for entry in model_list.installed_models()] == ["tiny", "another"]
    assert set(engine) == {"tiny", "another"}
    assert model_list.paths.resources_dir() == catalog.resources_dir()
    assert model_list.paths.downloaded_models_dir() == catalog.downloaded_models_dir()
    assert model_list.find_model("").name == "tiny"
    assert model_list.find_model("no-such") is None
    monkeypatch.delenv("VIRTUALCONTRAST_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert model_list.paths.downloaded_models_dir() == catalog.downloaded_models_dir()


def test_the_card_says_loudly_what_a_model_was_trained_on(tmp_path):
    run_samples.write_model(tmp_path / "phantoms")
    run_samples.write_model(tmp_path / "patients", trained_on_phantoms=False)
    line = model_list.find_model(str(tmp_path / "phantoms")).card_line()
    assert line.startswith("<b>TRAINED ON SIMULATED PHANTOMS ONLY")
    assert "3 phases at 90, 220, 350 s" in line
    assert "PHANTOM" not in model_list.find_model(str(tmp_path / "patients")).card_line()


def test_a_package_without_weights_or_with_a_damaged_card_is_no_model(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUALCONTRAST_RESOURCES", str(tmp_path))
    folder = write_resources(tmp_path)
    (folder / "weights.safetensors").unlink()
    damaged = tmp_path / "Models" / "damaged"
    damaged.mkdir()
    (damaged / "model.json").write_text("{")
    assert model_list.find_model("") is None
    assert model_list.find_model(str(damaged)) is None


@pytest.mark.parametrize(
    "change",
    [{"outputs": {"times_s": None, "channel_phases": [1]}}, {"inputs": {"phases": None}}, {"architecture": None},
     {"architecture": {"name": ["x"]}}, {"outputs": [1]}, {"id": 5}, {"schema_version": 99}],
)  # fmt: skip
def test_a_damaged_or_newer_card_in_the_cache_hides_no_other_model(tmp_path, monkeypatch, change):
    monkeypatch.setenv("VIRTUALCONTRAST_CACHE", str(tmp_path / "cache"))
    others = [entry.name for entry in model_list.installed_models()]
    odd = tmp_path / "cache" / "Models" / "odd"
    run_samples.write_model(odd)
    card = json.loads((odd / "model.json").read_text())
    (odd / "model.json").write_text(json.dumps(card | change))
    assert [entry.name for entry in model_list.installed_models() if entry.name in others] == others
    (odd / "model.json").write_text("[" * 100_000)
    assert [entry.name for entry in model_list.installed_models()] == others


def test_the_list_tells_what_each_kind_of_model_needs_and_makes(tmp_path):
    folders = {
        "later": tiny_models.tiny_iter_unet(tmp_path / "later").folder,
        "anytime": tiny_models.tiny_time_conditioned(tmp_path / "anytime").folder,
        "mammogram": tiny_models.tiny_mammogram_model(tmp_path / "mammogram").folder,
    }
    entries = {name: model_list.find_model(str(folder)) for name, folder in folders.items()}
    assert [entry.acquired for entry in entries.values()] == [(1,), (), ()]
    assert [entry.is_mammography for entry in entries.values()] == [False, False, True]
    assert "2 phases at 220, 350 s. <b>Needs the real phase 1.</b>" in entries["later"].card_line()
    assert "Recombined image from a low-energy mammogram." in entries["mammogram"].card_line()
    assert model_list.find_model(str(TESTING.parent / "Resources" / "Models" / "phantom-lesion-nnunet")) is None


def test_times_of_real_phases_are_those_of_the_phases_only_for_a_model_of_fixed_times(model, tmp_path):
    later = str(tiny_models.tiny_iter_unet(tmp_path / "later").folder)
    times = (80.0, 210.0)
    fixed = model_list.with_real_times(RunSettings(model=model), times)
    assert (fixed.times_s, fixed.real_times_s) == (times, None)
    free = model_list.with_real_times(RunSettings(model=later), times)
    assert (free.times_s, free.real_times_s) == (None, times)
    chosen = RunSettings(model=model, times_s=(60.0, 120.0, 180.0))
    assert model_list.with_real_times(chosen, times) == chosen


# ---- what can be run ----------------------------------------------------------------------------------------------


@pytest.fixture
def chosen(host):
    """The parameters of the panel with a pre-contrast volume."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "parameters")
    wrapped = parameters.VirtualContrastParameters(node)
    wrapped.inputVolume = add_pre()
    return wrapped


def test_a_model_that_reads_phase_1_waits_until_that_is_chosen(chosen, tmp_path):
    chosen.model = str(tiny_models.tiny_iter_unet(tmp_path / "later").folder)
    assert parameters.why_not(chosen) == "This model needs the real phase 1; choose it under real phases."
    chosen.realVolumes = [add_real(1)]
    assert parameters.why_not(chosen) == ""
    chosen.uncertaintyPasses = 4
    assert parameters.why_not(chosen) == "This model gives no uncertainty; choose 0 passes."


def test_a_model_that_is_to_read_two_phases_waits_for_the_second(chosen, tmp_path):
    chosen.model = str(tiny_models.tiny_iter_unet(tmp_path / "later").folder)
    chosen.realVolumes = [add_real(1)]
    chosen.acquired = 2
    assert parameters.why_not(chosen) == "This model needs the real phase 2; choose it under real phases."
    chosen.realVolumes = [add_real(1), add_real(2)]
    assert parameters.why_not(chosen) == ""
    chosen.model = str(tiny_models.tiny_time_conditioned(tmp_path / "anytime").folder)
    chosen.realVolumes = []
    assert parameters.why_not(chosen) == ""  # a model that reads none is not asked to


def test_a_mammography_model_takes_one_image_and_no_series(chosen, tmp_path):
    chosen.model = str(tiny_models.tiny_mammogram_model(tmp_path / "mammogram").folder)
    assert "has 6 slices; select a mammogram" in parameters.why_not(chosen)
    chosen.inputVolume = add_volume(run_samples.make_pre()[:1])
    assert parameters.why_not(chosen) == ""
    chosen.dicom = True
    assert "side and view of its DICOM file" in parameters.why_not(chosen)
    chosen.dicom = False
    chosen.realVolumes = [add_volume(run_samples.make_real(n)[:1]) for n in (1, 2)]
    assert "one real recombined image" in parameters.why_not(chosen)


def test_a_volume_loaded_from_a_synthetic_file_is_neither_input_nor_real_phase(chosen, tmp_path):
    write(run_samples.make_image(run_samples.make_real(1)), tmp_path / "phase_1.nrrd", comment=SYNTHETIC_COMMENT)
    loaded = slicer.util.loadVolume(str(tmp_path / "phase_1.nrrd"))
    chosen.realVolumes = [loaded]
    assert "is synthetic and no real phase" in parameters.why_not(chosen)
    chosen.realVolumes, chosen.inputVolume = [], loaded
    assert "This volume is synthetic" in parameters.why_not(chosen)


# ---- runs ---------------------------------------------------------------------------------------------------------
