"""Perturbations undo themselves, noise comes from the background, spread is numpy's standard deviation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from VirtualContrastLib.synthesis.uncertainty import (
    Perturbation,
    RunningSpread,
    background_noise_sd,
    draw_perturbations,
)


def perturbation(**changes):
    return Perturbation(**{"number": 0, "seed": 0, "flip": True, "factor": 1.03, "noise_sd": 0.0} | changes)


@settings(max_examples=40, deadline=None)
@given(count=st.integers(2, 12), scale=st.floats(1e-3, 1e3), offset=st.floats(-1e3, 1e3))
def test_the_running_spread_is_the_sample_standard_deviation(count, scale, offset):
    values = (np.random.default_rng(0).normal(size=(count, 3, 4)) * scale + offset).astype(np.float32)
    running = RunningSpread()
    for value in values:
        running.add(value)
    expected = values.astype(np.float64)
    np.testing.assert_allclose(running.mean, expected.mean(axis=0), rtol=1e-6, atol=1e-6 * scale)
    np.testing.assert_allclose(running.standard_deviation(), expected.std(axis=0, ddof=1), rtol=1e-5)


def test_one_pass_has_no_spread():
    running = RunningSpread()
    running.add(np.ones((2, 2), np.float32))
    with pytest.raises(ValueError, match="two"):
        running.standard_deviation()


@pytest.mark.parametrize("flip", [True, False])
def test_a_perturbation_is_undone_by_a_network_that_gives_its_input_back(flip):
    stack = np.random.default_rng(0).uniform(-1, 0.8, (2, 3, 5, 7)).astype(np.float32)
    p = perturbation(flip=flip, factor=1.04)
    changed = p.apply(stack, np.arange(6).reshape(2, 3))
    assert not np.allclose(changed, stack, atol=1e-3)
    np.testing.assert_allclose(p.undo(changed), stack, atol=1e-6)


def test_noise_has_its_level_and_is_that_of_the_slice_wherever_it_appears():
    p = perturbation(flip=False, factor=1.0, noise_sd=0.05)
    stack = np.zeros((2, 2, 100, 100), np.float32)
    noisy = p.apply(stack, np.array([[4, 5], [5, 6]]))
    assert noisy.std() == pytest.approx(0.05, rel=0.03)
    assert np.array_equal(noisy[0, 1], noisy[1, 0])
    assert abs(np.corrcoef(noisy[0, 0].ravel(), noisy[0, 1].ravel())[0, 1]) < 0.05
    other = perturbation(flip=False, factor=1.0, noise_sd=0.05, number=1).apply(stack, np.array([[4, 5], [5, 6]]))
    assert abs(np.corrcoef(noisy.ravel(), other.ravel())[0, 1]) < 0.05


def test_network_input_stays_in_range():
    changed = perturbation(noise_sd=3.0).apply(np.zeros((1, 1, 20, 20), np.float32), np.array([[0]]))
    assert changed.min() == -1 and changed.max() == 1


def test_the_same_seed_draws_the_same_and_half_of_them_flip():
    first = draw_perturbations(6, 7, 0.1)
    assert first == draw_perturbations(6, 7, 0.1)
    assert first != draw_perturbations(6, 8, 0.1)
    assert [p.flip for p in first] == [False, True] * 3
    assert all(0.95 <= p.factor <= 1.05 for p in first)
    assert len({p.factor for p in first}) == 6


@pytest.mark.parametrize("sigma", [0.01, 0.04])
def test_the_noise_level_of_a_magnitude_image_is_found_in_its_background(sigma):
    rng = np.random.default_rng(0)
    signal = np.zeros((8, 64, 64))
    signal[2:6, 16:48, 16:48] = 1.0
    magnitude = np.hypot(signal + rng.normal(0, sigma, signal.shape), rng.normal(0, sigma, signal.shape))
    assert background_noise_sd(magnitude.astype(np.float32)) == pytest.approx(sigma, rel=0.1)


def test_a_background_set_to_zero_has_no_noise():
    volume = np.zeros((4, 32, 32), np.float32)
    volume[1:3, 8:20, 8:20] = np.random.default_rng(0).normal(5, 1, (2, 12, 12))
    assert background_noise_sd(volume) == 0.0
