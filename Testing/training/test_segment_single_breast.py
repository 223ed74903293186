"""The half of the volume with the tumor: geometry in the world, side, and the rule for multifocal cases."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from VirtualContrastLib.events import InputError
from VirtualContrastTrainingLib.data.bias_field import correct_bias
from VirtualContrastTrainingLib.data.single_breast import (
    BreastHalf,
    breast_halves,
    focality,
    joined,
    tumor_half,
)

angles = st.floats(-25, 25).map(lambda degrees: round(degrees, 3))  # ITK cannot invert a matrix with 1e-200 in it
sizes = st.integers(2, 9)


def image_of(array, matrix=((1, 0, 0), (0, 1, 0), (0, 0, 1)), spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)):
    """A SimpleITK image of an array [k, j, i]."""
    image = sitk.GetImageFromArray(array)
    image.SetDirection(np.asarray(matrix, float).ravel().tolist())
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


@st.composite
def volumes(draw):
    """A volume of numbered voxels, oblique by up to 25 degrees an axis, its axes permuted and flipped, and a mask."""
    matrix = Rotation.from_euler("xyz", [draw(angles) for _ in range(3)], degrees=True).as_matrix()
    matrix = matrix[:, draw(st.permutations(range(3)))] * [draw(st.sampled_from((-1, 1))) for _ in range(3)]
    shape = tuple(draw(sizes) for _ in range(3))
    geometry = {
        "matrix": matrix,
        "spacing": tuple(draw(st.floats(0.4, 5)) for _ in range(3)),
        "origin": tuple(draw(st.floats(-200, 200)) for _ in range(3)),
    }
    voxels = image_of(np.arange(np.prod(shape), dtype=np.float32).reshape(shape), **geometry)
    mask = np.zeros(shape, np.uint8)
    mask[tuple(draw(st.integers(0, n - 1)) for n in shape)] = 1
    return voxels, image_of(mask, **geometry)


@given(volumes())
@settings(max_examples=150, deadline=None)
def test_every_voxel_of_the_half_stays_where_it_was_in_the_world(case):
    voxels, mask = case
    half = tumor_half(mask).crop(voxels)
    for index in np.ndindex(*half.GetSize()):
        index = tuple(int(n) for n in index)
        there = voxels.TransformPhysicalPointToIndex(half.TransformIndexToPhysicalPoint(index))
        assert voxels[there] == half[index]
    assert half.GetDirection() == voxels.GetDirection() and half.GetSpacing() == voxels.GetSpacing()


@given(volumes())
@settings(max_examples=150, deadline=None)
def test_the_half_holds_the_tumor_and_two_halves_make_the_whole(case):
    voxels, mask = case
    half = tumor_half(mask)
    assert sitk.GetArrayFromImage(half.crop(mask)).sum() == 1
    ends = [0, half.size[half.axis]]
    other = BreastHalf(half.axis, half.stop % ends[1], half.start or ends[1], half.size)
    parts = [half, other] if half.start == 0 else [other, half]
    joined = np.concatenate([sitk.GetArrayFromImage(p.crop(voxels)) for p in parts], axis=2 - half.axis)
    np.testing.assert_array_equal(joined, sitk.GetArrayFromImage(voxels))


@given(volumes())
@settings(max_examples=100, deadline=None)
def test_the_cut_runs_across_the_axis_that_is_nearest_to_left_and_right(case):
    voxels, mask = case
    half = tumor_half(mask)
    along = np.reshape(voxels.GetDirection(), (3, 3))[:, half.axis]
    assert abs(along[0]) == pytest.approx(np.abs(np.reshape(voxels.GetDirection(), (3, 3))[0]).max())


@pytest.mark.parametrize(("columns", "tumor", "kept"), [(6, 2, (0, 3)), (6, 3, (3, 6)), (7, 3, (3, 7)), (7, 2, (0, 3))])
def test_no_column_is_dropped_at_the_middle(columns, tumor, kept):
    mask = np.zeros((2, 3, columns), np.uint8)
    mask[:, :, tumor] = 1
    half = tumor_half(image_of(mask))
    assert (half.axis, half.start, half.stop) == (0, *kept)


def test_the_side_is_that_of_the_center_of_mass():
    mask = np.zeros((1, 1, 10), np.uint8)
    mask[0, 0, [1, 6, 7]] = 1  # mean index 4.67, so that its voxel's center lies beyond the middle
    assert tumor_half(image_of(mask)).start == 5
    mask[0, 0, 0] = 1
    assert tumor_half(image_of(mask)).start == 0


def test_an_empty_mask_and_a_single_column_are_told_in_a_sentence():
    with pytest.raises(InputError, match="mask is empty"):
        tumor_half(image_of(np.zeros((2, 2, 2), np.uint8)))
    with pytest.raises(InputError, match="one voxel wide"):
        tumor_half(image_of(np.ones((2, 2, 1), np.uint8)))
    with pytest.raises(ValueError, match="4, 2, 2"):
        tumor_half(image_of(np.ones((2, 2, 4), np.uint8))).crop(image_of(np.ones((2, 2, 5), np.uint8)))


def boxes(*corners, side=4):
    mask = np.zeros((12, 20, 30), np.uint8)
    for n, (k, j, i) in enumerate(corners, start=1):
        mask[k : k + side, j : j + side, i : i + side] = n
    return mask


def test_lesions_are_counted_by_components_without_specks():
    assert focality(image_of(boxes())) == ("unifocal", 0)
    assert focality(image_of(boxes((1, 1, 1)))) == ("unifocal", 1)
    assert focality(image_of(boxes((1, 1, 1), (1, 1, 10)))) == ("multifocal", 2)
    assert focality(image_of(boxes((1, 1, 1), (5, 5, 5)))) == ("unifocal", 1)  # they touch at a corner
    speck = boxes((1, 1, 1))
    speck[10, 15, 25:28] = 1  # 3 of 64 voxels
    assert focality(image_of(speck)) == ("unifocal", 1)
    speck[10, 15, 28] = 1  # 4 of 64
    assert focality(image_of(speck)) == ("bilateral", 2)


@pytest.mark.parametrize(
    ("corners", "kind"),
    [
        ([(1, 1, 1), (1, 1, 26)], "bilateral"),
        ([(1, 1, 1), (1, 10, 1), (1, 1, 26)], "bilateral"),
        ([(1, 1, 18), (1, 10, 26)], "multifocal"),
        ([(1, 1, 14), (1, 10, 26)], "multifocal"),  # over the middle (15), its center beyond
        ([(1, 1, 12), (1, 10, 26)], "bilateral"),  # over the middle, its center before
    ],
)
def test_lesions_on_both_sides_of_the_middle_are_bilateral(corners, kind):
    assert focality(image_of(boxes(*corners))) == (kind, len(corners))
    sideways = np.swapaxes(boxes(*corners), 1, 2)  # left to right is the second axis
    assert focality(image_of(sideways, matrix=((0, -1, 0), (1, 0, 0), (0, 0, 1)))) == (kind, len(corners))


@given(volumes())
@settings(max_examples=50, deadline=None)
def test_what_is_found_in_either_half_is_joined_where_it_was(case):
    voxels, mask = case
    labels = sitk.Cast(sitk.Modulus(sitk.Cast(voxels, sitk.sitkUInt16), 3), sitk.sitkUInt8)
    halves = breast_halves(mask)
    whole = joined(halves, [half.crop(labels) for half in halves], voxels)
    before, after = sitk.GetArrayFromImage(labels), sitk.GetArrayFromImage(whole)
    np.testing.assert_array_equal(after > 0, before > 0)
    assert whole.GetDirection() == voxels.GetDirection() and whole.GetOrigin() == voxels.GetOrigin()
    parts = [set(np.unique(sitk.GetArrayFromImage(half.crop(whole)))) - {0} for half in halves]
    assert not parts[0] & parts[1]


def test_n4_removes_a_slow_shading_and_keeps_the_geometry():
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in (16, 40, 48)), indexing="ij")
    tissue = np.where(k**2 + j**2 + i**2 < 0.8, 100.0, 2.0) + np.random.default_rng(1).normal(0, 1, k.shape)
    inside = k**2 + j**2 + i**2 < 0.6
    shaded = image_of((tissue * np.exp(0.5 * i)).astype(np.float32), spacing=(1.5, 1.5, 3.0), origin=(5.0, -7.0, 9.0))
    corrected = correct_bias(shaded)
    values, before = (sitk.GetArrayFromImage(image)[inside] for image in (corrected, shaded))
    assert values.std() / values.mean() < 0.25 * before.std() / before.mean()
    assert (corrected.GetOrigin(), corrected.GetSpacing()) == (shaded.GetOrigin(), shaded.GetSpacing())
    assert corrected.GetPixelID() == sitk.sitkFloat32
