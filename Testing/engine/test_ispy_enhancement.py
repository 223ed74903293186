"""The model that a real study gets: what its package states, and what it does to real patients of another site."""

import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from VirtualContrastLib.cli.main import main
from VirtualContrastLib.metrics.patients import PatientTruth, score_patient
from VirtualContrastLib.models.catalog import load_catalog, resolve_model
from VirtualContrastLib.synthesis import backends
from VirtualContrastLib.synthesis.backends import Chosen
from VirtualContrastLib.synthesis.device import DeviceChoice
from VirtualContrastLib.synthesis.enhancement import EnhancementSynthesizer

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "breast-dce-crops"
MODEL = "ispy-enhancement"


@pytest.fixture(scope="module")
def package():
    return resolve_model(MODEL, "synthesis")


def test_it_is_the_default_and_no_phantom_model():
    catalog = load_catalog()
    assert catalog.default_id("synthesis") == MODEL
    assert not resolve_model(catalog.default_id("synthesis"), "synthesis").card.trained_on_phantoms


def test_it_is_small_and_says_where_it_comes_from(package):
    package.verify()
    everything = sum(path.stat().st_size for path in package.folder.iterdir())
    assert everything < 8 * 2**20
    for text in (package.card.license, package.card.citation):
        assert "I-SPY 1" in text and "CC BY 3.0" in text and "I-SPY 2" in text and "CC BY 4.0" in text
    assert package.card.training["data"]["cohorts"] == ["ISPY1", "ISPY2"]


def test_its_calibration_was_measured(package):
    calibration = package.card.calibration
    assert calibration.patients == 220
    assert all(0.87 <= band.coverage <= 0.93 for band in calibration.bands)
    assert [len(baseline.signals) for baseline in calibration.baselines] == [32, 32]


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/breast-dce-crops is not there")
@pytest.mark.parametrize("name", ["torch float32 channels last", "torch bfloat16 channels last"])
def test_what_it_shows_of_a_patient_is_within_the_bounds_in_every_way_of_computing(package, name):
    choice = DeviceChoice("cpu", "auto", "test")
    synthesizer = EnhancementSynthesizer(package, choice)
    with (REAL / "slices.csv").open() as stream:
        row = next(row for row in csv.DictReader(stream) if row["cohort"].startswith("Duke"))
    pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(REAL / row["file"])))[..., 0].astype(np.float32)
    sample = torch.from_numpy(pixels[:96, :96] / np.percentile(pixels, 90))[None, None]
    network = synthesizer._network.network
    reference = Chosen.reference(network, choice)
    trial = backends._Trial(network, choice, sample, reference, synthesizer._shown, runs=1)
    (way,) = (way for way in backends._WAYS if way.name == name)
    found = trial.tried(way)
    assert found is not None and found.within_bounds
    assert float(trial._expected.abs().max()) > 0.1


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/breast-dce-crops is not there")
def test_command_line_serves_real_patients_of_another_site_better_than_nothing(tmp_path):
    """Patients of Duke, on which it was not trained: three of them, the error of the early phase over tissue."""
    with (REAL / "slices.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["cohort"].startswith("Duke")]
    names = sorted({row["patient"] for row in rows})[:3]
    assert len(names) == 3
    for name in names:
        slices = [row for row in rows if row["patient"] == name]
        pictures = [sitk.GetArrayFromImage(sitk.ReadImage(str(REAL / row["file"]))) for row in slices]
        stack = np.stack(pictures)
        pre = sitk.GetImageFromArray(stack[..., 0])
        pre.SetSpacing((0.714, 0.714, 3.0))
        sitk.WriteImage(pre, str(tmp_path / f"{name}.nrrd"))
        out = tmp_path / name
        assert main(["synthesize", str(tmp_path / f"{name}.nrrd"), "-o", str(out), "--segmentation", "none"]) == 0
        phases = [sitk.GetArrayFromImage(sitk.ReadImage(str(out / "phases" / f"phase_{n}.nrrd"))) for n in (1, 2)]
        box = np.zeros(stack.shape[:3], bool)
        scores = score_patient(PatientTruth.of(stack[..., 0], stack[..., 1], box), phases[0])
        assert scores.harm < 0.05
        assert phases[1].mean() > stack[..., 0].mean()
