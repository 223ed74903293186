"""Radiomics of lesions against pyradiomics' published baseline and hand-worked gray values; agreement by feature."""

import csv
import importlib.util
import logging

import numpy as np
import pytest
import run_samples
import SimpleITK as sitk
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.kinetics.feature_agreement import concordance, feature_agreement
from VirtualContrastLib.lesions.radiomics import lesion_radiomics
from VirtualContrastLib.metrics.tissue import scale_of
from VirtualContrastLib.run.analysis import compare_features
from VirtualContrastLib.run.parts import Kinetics
from VirtualContrastLib.run.pipeline import RunSettings, run
from VirtualContrastLib.study import Phase


def phase(array, index=1, *, synthetic=True):
    return Phase(index, run_samples.make_image(array.astype(np.float32)), 90.0 * index, synthetic)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A run with given lesions and real phases."""
    folder = run_samples.write_study(tmp_path_factory.mktemp("study"), phases=3)
    model = run_samples.write_model(folder / "tiny")
    settings = RunSettings(model=str(model), device="cpu", radiomics=True, real_times_s=(90.0, 220.0, 350.0))
    real = [folder / f"phase_{n}.nrrd" for n in (1, 2, 3)]
    return run(folder / "pre.nrrd", folder / "out", settings, real=real, lesions=folder / "mask.nrrd")


def test_the_shape_of_a_real_lesion_is_the_published_one(shared_data):
    folder = shared_data / "pyradiomics-breast1"
    with (folder / "baseline_shape.csv").open(newline="") as file:
        published = {row["featureName"].removeprefix("original_"): row["breast1"] for row in csv.DictReader(file)}
    image, labels = (sitk.ReadImage(str(folder / f"breast1_{name}.nrrd")) for name in ("image", "label"))
    (row,) = lesion_radiomics(labels, [Phase(0, image, 0.0, False)], 100.0)
    ours = {name: value for name, value in row.features.items() if name.startswith("shape")}
    assert len(ours) == 14
    assert ours == pytest.approx({name: float(published[name]) for name in ours}, rel=1e-9)


def test_gray_values_are_percent_of_the_scale_and_levels_five_percent_wide():
    """A lesion of two values side by side along i."""
    array = np.full((4, 6, 6), 80.0)
    mask = np.zeros(array.shape, np.uint8)
    mask[1:3, 1:5, 1:5] = 1
    array[1:3, 1:5, 1:3], array[1:3, 1:5, 3:5] = 204.0, 246.0
    (row,) = lesion_radiomics(run_samples.make_image(mask), [phase(array)], 200.0)
    assert row.features["firstorder_Mean"] == pytest.approx(112.5)
    assert row.features["firstorder_Range"] == pytest.approx(21.0)
    assert row.features["firstorder_Entropy"] == pytest.approx(1.0)
    assert len(row.features) == 107
    assert row.features["shape_VoxelVolume"] == pytest.approx(32 * 1.5 * 1.25 * 3.0)
    # 102 and 123 % are 4 levels of width 5 apart; in 9 of 13 directions a third of the neighbors lie on both sides.
    assert row.features["glcm_Contrast"] == pytest.approx(9 / 13 * 4**2 / 3)
    alike = lesion_radiomics(run_samples.make_image(mask), [phase(array * 7)], 1400.0)[0]
    assert alike.features == pytest.approx(row.features)


def test_one_slice_has_the_shape_of_a_plane_and_one_voxel_is_told():
    mask = np.zeros((1, 12, 12), np.uint8)
    mask[0, 2:7, 2:8], mask[0, 10, 10] = 1, 2
    events = Events()
    image = np.random.default_rng(0).uniform(50, 200, mask.shape)
    (row,) = lesion_radiomics(run_samples.make_image(mask), [phase(image)], 100.0, events)
    assert row.features["shape2D_PixelSurface"] == pytest.approx(30 * 1.5 * 1.25)
    assert not any(name.startswith("shape_") for name in row.features)
    (warning,) = events.warnings
    assert warning.startswith("Lesion 2 has no radiomics")


def test_the_log_of_a_batch_does_not_tell_every_class_of_every_lesion(caplog):
    caplog.set_level(logging.DEBUG)
    lesion_radiomics(run_samples.make_image(run_samples.make_mask()), [phase(run_samples.make_pre())], 100.0)
    assert [record for record in caplog.records if record.name.startswith("radiomics")] == []


def test_another_grid_is_refused():
    labels = run_samples.make_image(run_samples.make_mask())
    labels.SetOrigin((0, 0, 0))
    with pytest.raises(InputError, match="does not lie on the lesions' grid"):
        lesion_radiomics(labels, [phase(run_samples.make_pre())], 100.0)


def test_every_lesion_has_a_row_in_every_phase_real_and_synthetic(result):
    with (result.folder / "radiomics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = [(row["lesion"], row["synthetic"], row["phase"]) for row in rows]
    real, made = [("false", str(n)) for n in range(4)], [("true", str(n)) for n in (1, 2, 3)]
    assert kinds == [(lesion, *kind) for lesion in "12" for kind in (*real, *made)]
    pre, mask = run_samples.make_pre(), run_samples.make_mask()
    (row,) = [row for row in rows if (row["lesion"], row["synthetic"], row["phase"]) == ("1", "false", "2")]
    expected = 100 * run_samples.make_real(2)[mask == 1].mean() / scale_of(pre)
    assert float(row["firstorder_Mean"]) == pytest.approx(expected, rel=1e-5)
    made = sitk.GetArrayFromImage(result.phases()[1].image)
    (row,) = [row for row in rows if (row["lesion"], row["synthetic"], row["phase"]) == ("2", "true", "2")]
    assert float(row["firstorder_Mean"]) == pytest.approx(100 * made[mask == 2].mean() / scale_of(pre), rel=1e-4)


def test_report_manifest_and_agreement_tell_of_them(result):
    report = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "<h2>Radiomics</h2>" in report and "GLCM contrast" in report
    assert result.manifest.settings["radiomics"] is True
    assert {"pyradiomics", "pyradiomics-cuda"} & set(result.manifest.versions)
    with (result.folder / "feature_agreement.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = {("kinetics", ""), *((kind, n) for kind in ("radiomics", "background") for n in "123")}
    assert {(row["kind"], row["phase"]) for row in rows} == kinds
    assert sum(row["kind"] == "radiomics" for row in rows) == 3 * 93
    assert all(row["ccc"] == "" for row in rows), "two lesions have no concordance"
    assert "Lin's concordance" not in report


def test_concordance_is_lins():
    """A shift by c lowers it to 2 s2 / (2 s2 + c2); a gain g to 2 g s2 / (s2 + g2 s2 + (g - 1)2 m2)."""
    values = np.array([1.0, 2.0, 4.0, 7.0])
    spread, mean = values.var(), values.mean()
    assert concordance(values, values) == pytest.approx(1.0)
    assert concordance(values + 3, values) == pytest.approx(2 * spread / (2 * spread + 9))
    expected = 4 * spread / (5 * spread + mean**2)
    assert concordance([*(2 * values), np.nan], [*values, 3.0]) == pytest.approx(expected)
    assert np.isnan(concordance([1, 2], [1, 2])) and np.isnan(concordance([2, 2, 2], [2, 2, 2]))


def test_agreement_by_feature_is_over_the_lesions_of_one_phase():
    mask = np.zeros((6, 12, 30), np.uint8)
    for label in (1, 2, 3):
        mask[1:5, 3:9, 9 * label - 7 : 9 * label - 1] = label
    rng = np.random.default_rng(1)
    image = rng.uniform(80, 120, mask.shape) * (1 + 0.3 * mask)
    labels = run_samples.make_image(mask)
    rows = [
        *lesion_radiomics(labels, [phase(image, 0, synthetic=False), phase(image, synthetic=False)], 100.0),
        *lesion_radiomics(labels, [phase(image + 10), phase(image, 2)], 100.0),
    ]
    kinetics = Kinetics(np.ones(mask.shape, bool), {}, labels, radiomics=tuple(rows))
    found = {one.feature: one for one in compare_features(kinetics)}
    assert {one.phase for one in found.values()} == {1} and len(found) == 93
    mean = found["firstorder_Mean"]
    real = np.array([image[mask == label].mean() for label in (1, 2, 3)])
    assert (mean.lesions, mean.bias) == (3, pytest.approx(10.0, rel=1e-5))
    assert mean.ccc == pytest.approx(2 * real.var() / (2 * real.var() + 100), rel=1e-5)
    assert found["firstorder_Range"].ccc == pytest.approx(1.0)
    with pytest.raises(ValueError, match="2 synthetic and 1 real"):
        feature_agreement("radiomics", [{}, {}], [{}])


def test_without_the_package_a_run_says_so_before_it_begins(tmp_path, monkeypatch):
    study = run_samples.write_study(tmp_path / "study")
    model = run_samples.write_model(tmp_path / "tiny")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"SlicerRadiomics.*pip install pyradiomics-cuda"):
        run(study / "pre.nrrd", tmp_path / "out", RunSettings(model=str(model), device="cpu", radiomics=True))
