"""CSV tables: what they hold, and that a plain reader understands them."""

import csv
import dataclasses
import math

import pytest
from export_samples import CENTERS, RADII, breast_study
from VirtualContrastLib.export import tables
from VirtualContrastLib.kinetics.agreement import agreement
from VirtualContrastLib.kinetics.curves import lesion_curves
from VirtualContrastLib.lesions.location import LesionPlace
from VirtualContrastLib.lesions.measurement import measure_lesions
from VirtualContrastLib.metrics import image_pairs
from VirtualContrastLib.metrics.image_pairs import PairMetrics
from VirtualContrastLib.metrics.measure import Measure


@pytest.fixture(scope="module")
def study():
    pre, phases, real, labels, uncertainty = breast_study()
    curves = lesion_curves([pre, *phases], labels, uncertainty)
    return pre, measure_lesions(labels, [pre, *phases]), curves, lesion_curves([pre, *real], labels)


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_lesions_have_their_known_place_side_size_and_type(tmp_path, study):
    _, measures, curves, _ = study
    places = [LesionPlace(one.label, side) for one, side in zip(measures, ("left", "right"), strict=True)]
    tables.write_lesions_csv(tmp_path / "lesions.csv", measures, curves, places=places)
    rows = read(tmp_path / "lesions.csv")
    assert [row["side"] for row in rows] == ["left", "right"]
    assert [row["curve_type"] for row in rows] == ["type III (washout)", "type I (persistent)"]
    for label, row in enumerate(rows, start=1):
        x, y, z = CENTERS[label]
        assert float(row["centroid_left_mm"]) == pytest.approx(x, abs=2.0)
        assert float(row["centroid_posterior_mm"]) == pytest.approx(y, abs=2.0)
        assert float(row["centroid_superior_mm"]) == pytest.approx(z, abs=2.0)
        assert float(row["volume_mm3"]) == pytest.approx(4 / 3 * math.pi * RADII[label] ** 3, rel=0.15)
        assert row["synthetic"] == "true"


def test_pictures_have_pixels_in_their_column_names(tmp_path, study):
    _, measures, _, _ = study
    pixels = [dataclasses.replace(measure, unit="px") for measure in measures]
    tables.write_lesions_csv(tmp_path / "lesions.csv", pixels, [], unit="px")
    rows = read(tmp_path / "lesions.csv")
    assert "volume_px" in rows[0]
    assert not [name for name in rows[0] if "mm" in name]
    assert rows[0]["side"] == "unknown"
    assert rows[0]["curve_type"] == ""


def test_no_lesion_gives_the_header_alone(tmp_path):
    tables.write_lesions_csv(tmp_path / "lesions.csv", [], [])
    text = (tmp_path / "lesions.csv").read_bytes()
    assert text.count(b"\r\n") == 1
    assert text.startswith(b"lesion,synthetic,side,voxels,volume_mm3,")


def test_a_curve_has_a_row_per_phase_and_only_its_pre_contrast_row_is_real(tmp_path, study):
    _, _, curves, real = study
    tables.write_curves_csv(tmp_path / "curves.csv", [*curves, *real])
    rows = read(tmp_path / "curves.csv")
    assert len(rows) == 2 * 2 * 4
    assert [row["synthetic"] for row in rows[:4]] == ["false", "true", "true", "true"]
    assert {row["synthetic"] for row in rows[8:]} == {"false"}
    for row, pe in zip(rows[:4], curves[0].pe_percent, strict=True):
        assert float(row["pe_percent"]) == pytest.approx(pe, rel=1e-5, abs=1e-9)


def test_metrics_that_are_not_defined_are_empty_and_infinity_is_named(tmp_path):
    values = {"mse": 0.0, "mae": 0.0, "psnr_db": math.inf, "ssim": math.nan}
    records = [PairMetrics(1, "synthetic", 'a "quoted", region', 8, 1.0, values)]
    tables.write_comparison_csv(tmp_path / "comparison.csv", records)
    (row,) = read(tmp_path / "comparison.csv")
    assert row["region"] == 'a "quoted", region'
    assert (row["psnr_db"], row["ssim"], row["voxels"]) == ("inf", "", "8")


def test_comparison_csv_has_a_column_for_every_measure_of_the_list(tmp_path, monkeypatch, study):
    bias = Measure("bias", "bias", "files", None, "image minus real", lambda one: (one.values - one.real).mean())
    extended = (*image_pairs.MEASURES, bias)
    for module in (image_pairs, tables):
        monkeypatch.setattr(module, "MEASURES", extended)
    real = study[0].image
    tables.write_comparison_csv(tmp_path / "comparison.csv", image_pairs.compare_images(real + 3.0, real, {}, phase=1))
    (row,) = read(tmp_path / "comparison.csv")
    assert float(row["bias"]) == pytest.approx(3.0) and float(row["mae"]) == pytest.approx(3.0)


def test_agreement_names_every_quantity_with_its_unit(tmp_path, study):
    _, _, curves, real = study
    found = agreement(curves, real)
    tables.write_agreement_csv(tmp_path / "agreement.csv", found)
    rows = {row["quantity"]: row for row in read(tmp_path / "agreement.csv")}
    assert float(rows["bias of peak PE"]["value"]) == pytest.approx(found.peak_pe.bias, rel=1e-5)
    assert float(rows["equal curve type"]["value"]) == 1.0
    assert rows["equal curve type"]["lower"] == ""
    assert all(row["unit"] for row in rows.values())
