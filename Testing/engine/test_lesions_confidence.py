"""Bands and grades of lesions: by hand on small arrays, and through a whole run into the table and the report."""

import csv

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from test_residual_enhancement import CALIBRATION, breast, package
from VirtualContrastLib.io.masked import MaskedValues
from VirtualContrastLib.lesions.confidence import LIKELY, UNCERTAIN, Evidence, lesion_confidence
from VirtualContrastLib.models.calibration import Calibration
from VirtualContrastLib.networks.residual_enhancement import HEADS
from VirtualContrastLib.run.pipeline import RunSettings, run

GRADE = {"threshold": 60, "false_positive_rate": 0.13, "share": 0.5}
GRADED = {**CALIBRATION, "grade": GRADE}


def image(array):
    return sitk.GetImageFromArray(np.asarray(array, np.float32))


def evidence(pre, probability, calibration, inside=None):
    """Bands of 150 to 250 early and 200 to 300 late, known `inside` only: elsewhere nothing changes."""
    inside = np.ones((1, 4, 4), bool) if inside is None else inside
    bands = [[MaskedValues(inside, (end - pre)[inside]) for end in ends] for ends in ((150, 250), (200, 300))]
    return Evidence(bands, MaskedValues(inside, probability[inside]), Calibration.model_validate(calibration))


def test_bands_are_percent_of_the_lesions_own_signal_and_grades_follow_the_threshold():
    labels = np.zeros((1, 4, 4), np.uint8)
    labels[0, :2], labels[0, 3] = 1, 2
    pre = np.full((1, 4, 4), 100.0)
    pre[0, 3] = 50
    probability = np.where(labels == 1, 0.7, 0.5)
    found = lesion_confidence(
        sitk.GetImageFromArray(labels), image(pre), [150, 450], evidence(pre, probability, GRADED)
    )
    assert [lesion.grade for lesion in found] == [UNCERTAIN, LIKELY]
    assert found[0].low_percent == pytest.approx((50, 100)) and found[0].high_percent == pytest.approx((150, 200))
    assert found[1].low_percent == pytest.approx((200, 300))
    assert "13 % of lesions so graded on unseen patients did not" in found[1].sentence
    assert found[0].sentence == UNCERTAIN and found[0].false_positive_rate is None
    assert [lesion.probability for lesion in found] == pytest.approx([0.7, 0.5])


def test_without_a_measured_grade_every_lesion_is_uncertain():
    labels, pre = sitk.GetImageFromArray(np.ones((1, 4, 4), np.uint8)), np.full((1, 4, 4), 100)
    found = lesion_confidence(labels, image(pre), [150, 450], evidence(pre, np.ones((1, 4, 4)), CALIBRATION))
    assert [lesion.grade for lesion in found] == [UNCERTAIN]


def test_voxels_where_nothing_was_predicted_keep_their_signal_in_the_bands():
    """Of lesion 1 half lies where the model shows a change, of lesion 2 nothing."""
    labels, pre = np.ones((1, 4, 4), np.uint8), np.full((1, 4, 4), 100.0)
    labels[0, 3] = 2
    labels[0, 2] = 0
    inside = np.zeros((1, 4, 4), bool)
    inside[0, 0] = True
    found = lesion_confidence(
        sitk.GetImageFromArray(labels), image(pre), [150, 450], evidence(pre, np.ones((1, 4, 4)), CALIBRATION, inside)
    )
    assert found[0].low_percent == pytest.approx((25, 50)) and found[0].high_percent == pytest.approx((75, 100))
    assert found[1].low_percent == (0, 0) and found[1].high_percent == (0, 0)
    assert [lesion.probability for lesion in found] == [0.5, 0.0]


def test_a_run_tells_certainty_in_table_and_report(tmp_path):
    pre = breast()
    sitk.WriteImage(pre, str(tmp_path / "pre.nrrd"))
    mask = np.zeros(sitk.GetArrayFromImage(pre).shape, np.uint8)
    mask[1, 15:25, 20:30] = 1
    labels = sitk.GetImageFromArray(mask)
    labels.CopyInformation(pre)
    sitk.WriteImage(labels, str(tmp_path / "mask.nrrd"))
    bias = torch.zeros(HEADS)
    bias[0], bias[2], bias[12] = 0.8, 0.8, 3.0
    made = package(tmp_path / "model", last_bias=bias, calibration=GRADED)
    result = run(
        tmp_path / "pre.nrrd",
        tmp_path / "out",
        RunSettings(model=str(made.folder), device="cpu"),
        lesions=tmp_path / "mask.nrrd",
    )
    with (result.folder / "confidence.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["time_s"] for row in rows] == ["150", "450"] and {row["grade"] for row in rows} == {LIKELY}
    assert float(rows[0]["probability"]) == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-3)
    report = (result.folder / "report.html").read_text()
    assert "likely enhancing (13 % of lesions so graded on unseen patients did not)" in report
    assert "Certainty was measured on patients not used for training" in report
