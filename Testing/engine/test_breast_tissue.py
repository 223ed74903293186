"""Fibroglandular tissue and background enhancement against volumes whose tissue and enhancement are known."""

import csv

import export_samples
import numpy as np
import pytest
import run_samples
import SimpleITK as sitk
from VirtualContrastLib.lesions.breast_tissue import LEFT, RIGHT, WHOLE, breast_tissue, fibroglandular_tissue
from VirtualContrastLib.run.pipeline import RunSettings, run
from VirtualContrastLib.study import Phase
from VirtualContrastLib.synthesis.breast_region import find_breasts

OBLIQUE = (0.0, 0.9396926, 0.3420201, 1.0, 0.0, 0.0, 0.0, 0.3420201, -0.9396926)
"""Columns run to the front, rows to the left: the axes of the file are not those of the patient."""


@pytest.fixture(scope="module", params=[None, OBLIQUE], ids=["axial", "turned"])
def breasts(request):
    """Pre-contrast volume, its breasts, its labels, and the tissue that it was built of."""
    pre, _, _, labels, _ = export_samples.breast_study(request.param)
    x, y, _ = export_samples.coordinates(pre.image)
    gland = (y < 20) & (np.sin(x / 7) * np.cos(y / 9) > 0.2) & (sitk.GetArrayFromImage(labels) == 0)
    return pre.image, find_breasts(pre.image), labels, gland, x


def test_gland_is_told_from_fat_and_left_from_right(breasts):
    pre, found, labels, gland, x = breasts
    assert found.kind == "two breasts"
    tissue = fibroglandular_tissue(pre, found, labels)
    assert set(tissue) == {LEFT, RIGHT}
    region = found.mask() & (sitk.GetArrayFromImage(labels) == 0)
    for side, (breast, inside) in tissue.items():
        assert ((x[breast] > 0) if side == LEFT else (x[breast] < 0)).mean() > 0.98
        overlap = 2 * (inside & gland).sum() / (inside.sum() + (gland & breast).sum())
        assert overlap > 0.97
        assert inside.sum() / breast.sum() == pytest.approx((gland & breast).sum() / breast.sum(), abs=0.01)
    assert (tissue[LEFT][0].sum() + tissue[RIGHT][0].sum()) == region.sum()


def test_background_enhancement_is_that_of_the_gland_of_each_breast(breasts):
    pre, found, labels, _, _ = breasts
    tissue = fibroglandular_tissue(pre, found, labels)
    values = sitk.GetArrayFromImage(pre)
    factor = np.where(tissue[LEFT][1], 1.4, np.where(tissue[RIGHT][1], 1.1, 3.0))
    phase = Phase(2, export_samples.like((values * factor).astype(np.float32), pre), 180.0, True)
    left, right = breast_tissue(tissue, pre, [phase])
    assert (left.side, right.side, left.phase, left.synthetic) == (LEFT, RIGHT, 2, True)
    assert (left.bpe_percent, left.bpe_share_percent) == (pytest.approx(40.0, rel=1e-4), 100.0)
    assert (right.bpe_percent, right.bpe_share_percent) == (pytest.approx(10.0, rel=1e-4), 0.0)
    assert left.fgt_mm3 == pytest.approx(tissue[LEFT][1].sum() * 2.5 * 2.5 * 4)
    assert left.fgt_percent == pytest.approx(100 * left.fgt_mm3 / left.breast_mm3)


def test_a_picture_of_a_part_is_one_whole_and_one_gray_value_has_no_tissue():
    crop = run_samples.make_image(run_samples.make_pre())
    assert set(fibroglandular_tissue(crop, find_breasts(crop), None)) == {WHOLE}
    flat = run_samples.make_image(np.full((6, 28, 32), 7.0, np.float32))
    assert fibroglandular_tissue(flat, find_breasts(flat), None) == {}


def test_a_run_tells_the_tissue_of_real_and_synthetic_phases(tmp_path):
    folder = run_samples.write_study(tmp_path / "study", phases=3)
    model = run_samples.write_model(tmp_path / "tiny")
    settings = RunSettings(model=str(model), device="cpu", segmentation="none")
    real = [folder / f"phase_{n}.nrrd" for n in (1, 2, 3)]
    done = run(folder / "pre.nrrd", tmp_path / "out", settings, real=real)
    with (done.folder / "breast_tissue.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["synthetic"], row["phase"]) for row in rows] == [
        (kind, n) for kind in ("true", "false") for n in "123"
    ]
    assert len({row["fgt_mm3"] for row in rows}) == 1
    with (done.folder / "feature_agreement.csv").open(newline="") as file:
        (bias,) = [
            float(row["bias"])
            for row in csv.DictReader(file)
            if (row["kind"], row["feature"], row["phase"]) == ("background", "bpe_percent", "2")
        ]
    assert bias == pytest.approx(float(rows[1]["bpe_percent"]) - float(rows[4]["bpe_percent"]), abs=1e-3)
    report = (done.folder / "report.html").read_text(encoding="utf-8")
    assert "<h2>Breast tissue</h2>" in report and "not a BI-RADS category" in report
