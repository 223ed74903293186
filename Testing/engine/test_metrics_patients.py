"""Measures of synthetic phases of patients, and the baselines, against plain formulas and scikit-image."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity
from VirtualContrastLib.events import InputError
from VirtualContrastLib.metrics.baselines import GAIN, IDENTITY, TABLE, fit_baselines
from VirtualContrastLib.metrics.patients import PatientTruth, auroc, score_patient
from VirtualContrastLib.metrics.tissue import scale_of, tissue_of


@pytest.fixture
def truth():
    rng = np.random.default_rng(0)
    pre = rng.uniform(20, 60, (2, 40, 48)).round()
    pre[:, :10] = 0
    post = pre * rng.uniform(1.0, 1.15, pre.shape)
    box = np.zeros(pre.shape, bool)
    box[:, 20:30, 20:34] = True
    post[:, 22:28, 22:30] = pre[:, 22:28, 22:30] * 2
    return PatientTruth.of(pre, post, box)


def test_perfect_phase_has_no_error_and_identity_no_harm(truth):
    perfect = score_patient(truth, truth.post)
    assert perfect.mae == 0 and perfect.lesion_mae == 0 and perfect.harm == -1
    assert perfect.ssim == pytest.approx(1) and perfect.recovered == pytest.approx(1) and perfect.auroc == 1
    identity = score_patient(truth, truth.pre)
    assert identity.harm == 0 and identity.recovered == 0 and identity.brightening == 0 and identity.auroc == 0.5


def test_measures_follow_their_definitions(truth):
    made = truth.pre * 1.3
    scores = score_patient(truth, made)
    tissue = truth.pre > 0.08 * np.percentile(truth.pre, 99.5)
    assert scores.mae == pytest.approx(np.abs(made - truth.post)[tissue].mean())
    lesion = np.zeros(tissue.shape, bool)
    lesion[:, 22:28, 22:30] = True
    assert scores.lesion_mae == pytest.approx((0.7 * truth.pre)[lesion].mean())
    assert scores.recovered == pytest.approx(0.3)
    assert scores.brightening == pytest.approx(0.3)
    expected = [
        structural_similarity(a, b, data_range=255.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
        for a, b in zip(made, truth.post, strict=True)
    ]
    assert scores.ssim == pytest.approx(np.mean(expected), abs=1e-6)


def test_auroc_counts_pairs():
    score = np.array([3, 3, 1, 2, 5, 0, 1, 4, 2, 2] * 3, float)
    positive = np.array([1, 0, 0, 1, 1, 0, 1, 0, 0, 0] * 3, bool)
    pairs = [(s > t) + 0.5 * (s == t) for s in score[positive] for t in score[~positive]]
    assert auroc(score, positive) == pytest.approx(np.mean(pairs))
    assert np.isnan(auroc(score[:9], positive[:9]))


def test_patient_without_a_lesion_has_none_to_measure(truth):
    scores = score_patient(PatientTruth.of(truth.pre, truth.post, np.zeros_like(truth.box)), truth.post)
    assert np.isnan(scores.lesion_mae) and np.isnan(scores.recovered)


def test_scale_ignores_air_and_follows_the_units():
    pre = np.concatenate([np.zeros(500), np.arange(1, 101, dtype=float)])
    assert scale_of(pre * 7) == pytest.approx(7 * scale_of(pre))
    assert scale_of(pre) == pytest.approx(np.percentile(pre[tissue_of(pre)], 90))
    with pytest.raises(InputError, match="no tissue"):
        scale_of(np.zeros(10))


def test_baselines_find_what_the_data_were_made_with():
    rng = np.random.default_rng(1)
    patients = []
    for _ in range(4):
        pre = rng.uniform(10, 100, (2, 30, 30))
        patients.append((pre, pre * 1.37))
    fitted = fit_baselines(patients)
    assert fitted.gain == pytest.approx(1.37)
    pre = patients[0][0]
    assert np.array_equal(fitted.apply(IDENTITY, pre), pre)
    np.testing.assert_allclose(fitted.apply(GAIN, pre), 1.37 * pre)
    assert np.abs(fitted.apply(TABLE, pre) - 1.37 * pre).mean() < 0.01 * pre.mean()


def test_table_knows_what_a_gain_cannot():
    pre = np.random.default_rng(2).uniform(10, 100, (1, 64, 64))
    post = np.where(pre < 50, pre + 30, pre)
    fitted = fit_baselines([(pre, post)])
    errors = {name: np.abs(fitted.apply(name, pre) - post).mean() for name in (IDENTITY, GAIN, TABLE)}
    assert errors[TABLE] < 0.3 * errors[GAIN]
