"""Intensity recipes against their formulas, and Otsu's threshold against scikit-image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.filters import threshold_otsu
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.card import IntensitySpec
from VirtualContrastLib.synthesis.intensity import foreground_threshold, make_recipe

PERCENTILE = {"recipe": "pre_percentile", "constants": {"percentile": 99, "max_ratio": 4.0}}
MINMAX = {"recipe": "minmax_8bit"}
ZSCORE = {"recipe": "zscore", "constants": {"max_sd": 5.0}}


def breast(seed=0, tissue=300.0, air=10.0):
    """A box of tissue in noisy air."""
    rng = np.random.default_rng(seed)
    volume = np.abs(rng.normal(0, air, (6, 20, 24)))
    volume[1:5, 4:16, 5:20] += rng.normal(tissue, 30, (4, 12, 15))
    return volume.astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_the_foreground_threshold_is_otsus_of_the_clipped_volume(seed):
    volume = breast(seed)
    clipped = np.minimum(volume, np.percentile(volume, 99.9))
    bin_width = np.ptp(clipped) / 256
    assert abs(foreground_threshold(volume) - threshold_otsu(clipped, nbins=256)) <= bin_width


def test_a_few_very_bright_voxels_do_not_move_the_threshold():
    volume = breast()
    spiked = volume.copy()
    spiked[3, 8, 8:10] = 1e6
    assert foreground_threshold(spiked) == pytest.approx(foreground_threshold(volume), rel=0.1)


def test_a_single_bright_voxel_in_zeros_is_foreground():
    volume = np.zeros((4, 32, 32), np.float32)
    volume[2, 5, 6] = 7.0
    assert 0 <= foreground_threshold(volume) < 7


def test_the_percentile_recipe_follows_its_formula():
    volume = breast()
    recipe = make_recipe(PERCENTILE)
    constants = recipe.fit(volume)
    scale = np.percentile(volume[volume > foreground_threshold(volume)], 99)
    assert constants == {"offset": 0.0, "scale": pytest.approx(scale)}
    assert scale > 300
    found = recipe.forward(np.array([0, scale, 2 * scale, 4 * scale, 5 * scale, -1]), constants)
    np.testing.assert_allclose(found, [-1, -0.5, 0, 1, 1, -1], atol=1e-6)
    np.testing.assert_allclose(recipe.inverse(np.array([-1, 0, 1]), constants), [0, 2 * scale, 4 * scale], rtol=1e-6)
    assert not recipe.arbitrary_units


def test_a_volume_with_negative_numbers_is_mapped_as_the_same_volume_moved_to_zero():
    volume = breast().round().astype(np.int16)
    moved = volume - np.int16(1024)
    recipe = make_recipe(PERCENTILE)
    constants, moved_constants = recipe.fit(volume), recipe.fit(moved)
    assert moved_constants["offset"] == moved.min() == -1024 + volume.min()
    assert moved_constants["scale"] == pytest.approx(constants["scale"] - volume.min(), rel=1e-6)
    network = recipe.forward(moved, moved_constants)
    assert network.min() == -1
    np.testing.assert_allclose(recipe.inverse(network, moved_constants), moved, atol=1e-2)


def test_phases_brighter_than_the_pre_contrast_volume_use_its_constants():
    pre = breast()
    recipe = make_recipe(PERCENTILE)
    constants = recipe.fit(pre)
    post = 2.5 * pre
    difference = recipe.inverse(recipe.forward(post, constants), constants) - pre
    np.testing.assert_allclose(difference, 1.5 * pre, atol=1e-2)


def test_the_8_bit_recipe_gives_the_256_steps_of_the_published_pictures():
    volume = breast() - 5
    recipe = make_recipe(MINMAX)
    constants = recipe.fit(volume)
    low, high = float(volume.min()), float(volume.max())
    gray = np.rint((volume.astype(np.float64) - low) / (high - low) * 255)
    found = (recipe.forward(volume, constants).astype(np.float64) + 1) * 127.5
    np.testing.assert_allclose(found, np.rint(found), atol=1e-4)
    off = np.abs(found - gray) > 0.5
    assert off.mean() < 1e-3  # float32 may fall to the other side of a half
    np.testing.assert_allclose(recipe.inverse(np.array([-1, 0, 0.5, 1]), constants), [0, 127.5, 191.25, 255])
    assert recipe.arbitrary_units


def test_halves_are_rounded_to_even_as_opencv_writes_them():
    recipe = make_recipe(MINMAX)
    constants = {"minimum": 0.0, "maximum": 255.0}
    gray = (recipe.forward(np.array([0.5, 1.5, 2.5, 300, -7]), constants) + 1) * 127.5
    np.testing.assert_allclose(gray, [0, 2, 2, 255, 0], atol=1e-4)


def test_the_output_units_of_the_8_bit_recipe_are_0_to_255_without_rounding():
    volume = breast()
    recipe = make_recipe(MINMAX)
    shown = recipe.to_output_units(volume, recipe.fit(volume))
    np.testing.assert_allclose([shown.min(), shown.max()], [0, 255], atol=1e-3)
    np.testing.assert_allclose(np.corrcoef(shown.ravel(), volume.ravel())[0, 1], 1, atol=1e-9)


def test_the_z_score_recipe_takes_mean_and_deviation_of_the_volume_or_fixed_ones():
    volume = breast()
    recipe = make_recipe(ZSCORE)
    constants = recipe.fit(volume)
    mean, std = volume.astype(np.float64).mean(), volume.astype(np.float64).std()
    assert constants == {"mean": pytest.approx(mean), "std": pytest.approx(std)}
    points = np.array([mean, mean + 5 * std, mean - 2.5 * std, mean + 50 * std])
    np.testing.assert_allclose(recipe.forward(points, constants), [0, 1, -0.5, 1], atol=1e-6)
    fixed = make_recipe({"recipe": "zscore", "constants": {"max_sd": 5.0, "mean": 100.0, "std": 20.0}})
    assert fixed.fit(volume) == {"mean": 100.0, "std": 20.0}


@settings(max_examples=40, deadline=None)
@given(
    spec=st.sampled_from([PERCENTILE, ZSCORE]),
    gain=st.floats(1e-3, 1e4),
    offset=st.floats(-1e3, 1e3),
    seed=st.integers(0, 100),
)
def test_there_and_back_gives_the_input_wherever_nothing_was_clipped(spec, gain, offset, seed):
    volume = (breast(seed) * gain + offset * gain).astype(np.float32)
    recipe = make_recipe(spec)
    constants = recipe.fit(volume)
    network = recipe.forward(volume, constants)
    assert network.dtype == np.float32
    inside = np.abs(network) < 1
    assert inside.mean() > 0.3  # air that lies a little below 0 counts as 0 and is clipped
    back = recipe.inverse(network, constants)
    np.testing.assert_allclose(back[inside], volume[inside], atol=2e-5 * np.abs(volume).max())
    assert np.array_equal(recipe.to_output_units(volume, constants), volume)


@settings(max_examples=25, deadline=None)
@given(gain=st.floats(0.01, 1000), seed=st.integers(0, 100))
def test_the_network_sees_the_same_whatever_the_gain_of_the_scanner(gain, seed):
    volume = breast(seed)
    for spec in (PERCENTILE, ZSCORE):
        recipe = make_recipe(spec)
        expected = recipe.forward(volume, recipe.fit(volume))
        scaled = (volume * gain).astype(np.float32)
        np.testing.assert_allclose(recipe.forward(scaled, recipe.fit(scaled)), expected, atol=2e-3)


@pytest.mark.parametrize("spec", [PERCENTILE, MINMAX, ZSCORE])
def test_a_constant_volume_or_one_with_gaps_is_refused(spec):
    recipe = make_recipe(spec)
    with pytest.raises(InputError, match="same value everywhere"):
        recipe.fit(np.full((2, 8, 8), 3.0))
    broken = breast()
    broken[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        recipe.fit(broken)


def test_a_card_and_a_mapping_give_the_same_recipe():
    assert make_recipe(IntensitySpec.model_validate(PERCENTILE)) == make_recipe(PERCENTILE)
