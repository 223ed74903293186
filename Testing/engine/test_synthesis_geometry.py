"""Axial views against SimpleITK's DICOMOrient, and resizing and padding against what they must conserve."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from VirtualContrastLib.synthesis.geometry import AxialView, pad_to_multiple, resampled_size, resize_in_plane

CODES = [
    "".join(letters) for axes in itertools.permutations(["LR", "PA", "SI"]) for letters in itertools.product(*axes)
]


def numbered_image(size=(18, 17, 16), spacing=(0.7, 0.9, 3.0)):
    values = np.arange(np.prod(size), dtype=np.float32).reshape(size[::-1])
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing)
    image.SetOrigin((-3.0, 11.0, 5.0))
    return image


def rotated(image, degrees_xyz):
    transform = sitk.Euler3DTransform()
    transform.SetRotation(*np.deg2rad(degrees_xyz))
    turn = np.reshape(transform.GetMatrix(), (3, 3)) @ np.reshape(image.GetDirection(), (3, 3))
    image.SetDirection(turn.ravel().tolist())
    return image


@pytest.mark.parametrize("code", CODES)
def test_the_axial_view_of_each_of_the_48_orientations_is_simpleitks(code):
    stored = sitk.DICOMOrient(numbered_image(), code)
    view = AxialView.of(stored)
    expected = sitk.DICOMOrient(stored, "LPS")
    array = sitk.GetArrayFromImage(stored)
    assert np.array_equal(view.from_stored(array), sitk.GetArrayFromImage(expected))
    assert view.spacing_mm == expected.GetSpacing()[::-1]
    assert np.array_equal(view.to_stored(view.from_stored(array)), array)


@settings(max_examples=60, deadline=None)
@given(code=st.sampled_from(CODES), angles=st.tuples(*[st.floats(-20, 20)] * 3))
def test_an_oblique_volume_is_seen_along_its_nearest_axes(code, angles):
    stored = rotated(sitk.DICOMOrient(numbered_image(), code), angles)
    view = AxialView.of(stored)
    array = sitk.GetArrayFromImage(stored)
    expected = sitk.GetArrayFromImage(sitk.DICOMOrient(stored, "LPS"))
    assert np.array_equal(view.from_stored(array), expected)
    assert np.array_equal(view.to_stored(view.from_stored(array)), array)


@settings(max_examples=60, deadline=None)
@given(angles=st.tuples(*[st.floats(-180, 180)] * 3))
def test_any_direction_comes_back_to_the_last_bit(angles):
    stored = rotated(numbered_image(), angles)
    view = AxialView.of(stored)
    array = sitk.GetArrayFromImage(stored)
    assert np.array_equal(view.to_stored(view.from_stored(array)), array)


def test_a_picture_without_geometry_is_taken_as_it_is():
    view = AxialView.of(sitk.GetImageFromArray(np.zeros((1, 40, 50), np.float32)))
    assert view == AxialView((0, 1, 2), (), (1.0, 1.0, 1.0))


def test_a_single_sagittal_slice_is_taken_as_it_is_and_marked():
    image = numbered_image(size=(40, 30, 1))
    image.SetDirection((0, 0, -1, 1, 0, 0, 0, -1, 0))
    view = AxialView.of(image)
    assert view.as_stored
    assert view.axes == (0, 1, 2)
    assert view.spacing_mm == (3.0, 0.9, 0.7)


def test_resampled_size_keeps_the_field_of_view():
    assert resampled_size((512, 256), (0.7, 1.4), 1.4) == (256, 256)
    assert resampled_size((3, 2), (0.1, 0.1), 5.0) == (1, 1)


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_resizing_keeps_a_constant_and_stays_within_the_range(size, target):
    rng = np.random.default_rng(0)
    flat = np.full((2, *size), 3.5, np.float32)
    np.testing.assert_allclose(resize_in_plane(flat, target), 3.5, rtol=1e-6)
    noise = rng.random((2, *size), dtype=np.float32)
    resized = resize_in_plane(noise, target)
    assert resized.shape == (2, *target)
    assert noise.min() - 1e-6 <= resized.min() and resized.max() <= noise.max() + 1e-6


def test_resizing_does_not_move_a_structure():
    rows, columns = np.mgrid[0:60, 0:48].astype(np.float32)
    blob = np.exp(-((rows - 30.2) ** 2 + (columns - 20.7) ** 2) / 50)[None]
    for target in ((30, 24), (120, 96), (45, 31)):
        small = resize_in_plane(blob, target)[0]
        y, x = np.mgrid[0 : target[0], 0 : target[1]]
        # pixel centers at (n + 1/2) * 60 / rows - 1/2 of the first grid
        center = ((small * y).sum() / small.sum() + 0.5) * 60 / target[0] - 0.5
        assert center == pytest.approx(30.2, abs=0.02)
        center = ((small * x).sum() / small.sum() + 0.5) * 48 / target[1] - 0.5
        assert center == pytest.approx(20.7, abs=0.02)


def test_reducing_suppresses_what_the_coarse_grid_cannot_show():
    stripes = np.tile(np.array([0, 1], np.float32), 32)[None, None].repeat(64, axis=1)
    reduced = resize_in_plane(stripes, (16, 16))
    assert np.abs(reduced[..., 2:-2] - 0.5).max() < 0.05  # picking every fourth column would give 0 or 1


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 70),
    columns=st.integers(1, 70),
    multiple=st.sampled_from([2, 4, 16]),
    mode=st.sampled_from(["reflect", "constant"]),
)
def test_padding_gives_multiples_and_the_window_gives_the_picture_back(rows, columns, multiple, mode):
    x = torch.rand(2, 3, rows, columns)
    padded, window = pad_to_multiple(x, multiple, mode)
    assert torch.equal(padded[..., window[0], window[1]], x)
    for side, given_side in zip(padded.shape[-2:], (rows, columns), strict=True):
        assert side % multiple == 0
        assert side == max(given_side + (-given_side) % multiple, 2 * multiple)
    if mode == "constant":
        padded[..., window[0], window[1]] = -1
        assert (padded == -1).all()
    else:
        assert padded.min() == x.min() and padded.max() == x.max()


def test_reflection_does_not_repeat_the_edge_and_small_pictures_do():
    x = torch.arange(30.0)[None, None, None].expand(1, 1, 30, 30)
    padded, _ = pad_to_multiple(x, 16, "reflect")
    assert padded[0, 0, 0].tolist() == [1.0, *range(30), 28.0]
    padded, _ = pad_to_multiple(x[..., :3, :3], 16, "reflect")
    assert padded[0, 0, 0].tolist() == [0.0] * 14 + [0, 1, 2] + [2.0] * 15
