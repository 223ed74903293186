"""Which model is taken where none is named: never one of phantoms on anything but a marked phantom."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from tiny_models import tiny_package
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.io.marks import PHANTOM_MANUFACTURER, is_phantom, marked
from VirtualContrastLib.models.card import LesionFinder
from VirtualContrastLib.models.catalog import installed_models, load_catalog
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.run import plan
from VirtualContrastLib.run.settings import RunSettings


def volume():
    image = sitk.GetImageFromArray(np.random.default_rng(0).uniform(0, 200, (4, 24, 32)).astype(np.float32))
    image.SetSpacing((1.6, 1.6, 3.0))
    return image


def resources(folder, monkeypatch, *entries):
    """A catalog of `entries` (id, default, default_for_phantoms), all installed as tiny packages."""
    models = folder / "Resources" / "Models"
    for name, _, _ in entries:
        tiny_package(models / name, id=name, trained_on_phantoms=name.startswith("phantom"))
    described = [
        {"id": name, "kind": "synthesis", "title": name, "description": "", "source": "embedded", "license": "x"}
        | {"default": default, "default_for_phantoms": phantoms}
        for name, default, phantoms in entries
    ]
    (models / "catalog.json").write_text(json.dumps({"schema_version": 1, "models": described}), encoding="utf-8")
    monkeypatch.setenv("VIRTUALCONTRAST_RESOURCES", str(folder / "Resources"))
    monkeypatch.setenv("VIRTUALCONTRAST_CACHE", str(folder / "cache"))


def chosen(path, **settings):
    return plan.synthesis_package(RunSettings(**settings), path).card.id


def test_no_model_of_phantoms_is_the_default_of_real_studies():
    """Of the catalog as shipped, whatever it holds."""
    catalog, installed = load_catalog(), installed_models()
    for kind in ("synthesis", "segmentation"):
        name = catalog.default_id(kind)
        assert name is None or not load_package(installed[name]).card.trained_on_phantoms
        phantom = catalog.default_id(kind, phantom=True)
        assert phantom is None or load_package(installed[phantom]).card.trained_on_phantoms


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".nii.gz", ".mha"])
def test_the_mark_travels_in_the_file_and_chooses_the_model(tmp_path, monkeypatch, suffix):
    resources(tmp_path, monkeypatch, ("patients", True, False), ("phantoms", False, True))
    sitk.WriteImage(marked(volume()), tmp_path / f"phantom{suffix}", useCompression=True)
    sitk.WriteImage(volume(), tmp_path / f"study{suffix}", useCompression=True)
    assert is_phantom(tmp_path / f"phantom{suffix}") and not is_phantom(tmp_path / f"study{suffix}")
    assert chosen(tmp_path / f"phantom{suffix}") == "phantoms"
    assert chosen(tmp_path / f"study{suffix}") == "patients"
    assert chosen(tmp_path / f"study{suffix}", model="phantoms") == "phantoms"


def test_dicom_carries_the_mark_as_its_manufacturer(tmp_path, shared_data):
    import pydicom

    source = next((shared_data / "duke-153" / "dicom" / "pre").glob("*.dcm"))
    assert not is_phantom(source) and not is_phantom(source.parent)
    dataset = pydicom.dcmread(source)
    dataset.Manufacturer = PHANTOM_MANUFACTURER
    dataset.save_as(tmp_path / "1.dcm")
    assert is_phantom(tmp_path) and is_phantom(tmp_path / "1.dcm")


def test_a_real_study_without_a_model_for_patients_is_refused_although_one_of_phantoms_is_there(tmp_path, monkeypatch):
    resources(tmp_path, monkeypatch, ("phantoms", False, True))
    sitk.WriteImage(volume(), tmp_path / "study.nrrd")
    with pytest.raises(InputError, match="never taken unless"):
        chosen(tmp_path / "study.nrrd")
    for missing in ("none.nrrd", "none"):
        assert not is_phantom(tmp_path / missing)


def test_the_threshold_works_by_the_settings_that_the_card_states(tmp_path):
    from types import SimpleNamespace

    from VirtualContrastLib.run import analysis, pipeline
    from VirtualContrastLib.study import Phase

    measured = LesionFinder(
        finder="threshold", settings={"pe_percent": 25}, sensitivity=0.5, false_positives=0.1, definition="x", data="y"
    )
    rule = pipeline._measured_rule(SimpleNamespace(card=SimpleNamespace(lesion_finder=measured)))
    assert (
        rule.pe_percent == 25
        and pipeline._measured_rule(SimpleNamespace(card=SimpleNamespace(lesion_finder=None))) is None
    )
    pre = np.full((12, 40, 40), 100, np.float32)
    post = pre.copy()
    post[2:10, 15:23, 15:23] = 140
    images = [sitk.GetImageFromArray(array) for array in (pre, post)]
    phases = [Phase(0, images[0], 0.0, False), Phase(1, images[1], 150.0, True)]
    study = SimpleNamespace(pre=SimpleNamespace(image=images[0]))
    series = SimpleNamespace(study=study, pre=images[0], phases=phases)
    found = [sitk.GetArrayFromImage(analysis.find_lesions(series, None, Events(), by)).max() for by in (None, rule)]
    assert found == [0, 1]


def finder(tmp_path, **card):
    model = tiny_package(tmp_path / "model", **card).card
    events = Events()
    return plan._finder_of(model, events), events.warnings


def test_lesions_are_sought_only_by_what_was_measured_on_images_of_the_model(tmp_path):
    name, told = finder(tmp_path, trained_on_phantoms=False)
    assert name == "none" and "--segmentation threshold" in told[0]
    measured = LesionFinder(
        finder="threshold",
        sensitivity=0.62,
        false_positives=1.4,
        definition="half of a part in the box",
        data="9 cases",
    )
    name, told = finder(tmp_path / "b", trained_on_phantoms=False, lesion_finder=measured.model_dump())
    assert name == "threshold" and "62 %" in told[0] and "1.4 false ones per case" in told[0]
    name, told = finder(tmp_path / "c", trained_on_phantoms=True)
    assert name == "phantom-lesion-nnunet" and told == []
