"""Where lesions lie, against the formula of the chest: distances to its surfaces by dense points on them."""

import numpy as np
import pytest
import SimpleITK as sitk
from chest_samples import SPACING, Chest, ball, image
from VirtualContrastLib.lesions.location import LesionPlace, lesion_places
from VirtualContrastLib.synthesis.breast_region import find_breasts

ORIGIN = (-79.5 * SPACING[0], 0.5 * SPACING[1], -11.5 * SPACING[2])
"""Where the first voxel of the chest lies in its own coordinates, which are LPS mm with x = 0 at the sternum."""
NIPPLES = {-1: (-70.0, 20.0, 0.0), 1: (70.0, 20.0, 0.0)}


@pytest.fixture(scope="module")
def pre():
    return placed(Chest().images()[0])


@pytest.fixture(scope="module")
def region(pre):
    return find_breasts(pre)


def placed(volume):
    volume.SetOrigin(ORIGIN)
    return volume


def labels_of(*balls):
    array = sum(number * ball(*one).astype(np.uint8) for number, one in enumerate(balls, start=1))
    return placed(sitk.Cast(image(array), sitk.sitkUInt8))


def skin_points(side):
    """The front of a breast: an ellipsoid with half axes 55, 85 and 90 mm."""
    x, z = np.meshgrid(np.linspace(-54, 54, 400), np.linspace(-60, 60, 400))
    inside = (x / 55) ** 2 + (z / 90) ** 2 < 1
    y = 105 - 85 * np.sqrt(1 - (x[inside] / 55) ** 2 - (z[inside] / 90) ** 2)
    return np.column_stack([x[inside] + 70 * side, y, z[inside]])


def wall_points():
    x, z = np.meshgrid(np.linspace(-149, 149, 600), np.linspace(-35, 35, 100))
    return np.column_stack([x.ravel(), (100 + 95 * (1 - np.sqrt(1 - (x / 165) ** 2))).ravel(), z.ravel()])


def nearest(center, radius, points):
    return np.linalg.norm(points - center, axis=1).min() - radius


@pytest.mark.parametrize(
    ("center", "quadrant"),
    [((-95, 60, 18), "upper outer"), ((-50, 60, -18), "lower inner"), ((95, 70, -18), "lower outer"),
     ((48, 65, 18), "upper inner"), ((70, 60, 3), "central")],
)  # fmt: skip
def test_a_ball_lies_where_the_formula_says(region, center, quadrant):
    radius, side = 6.0, int(np.sign(center[0]))
    (place,) = lesion_places(labels_of((center, radius)), region)
    assert place.quadrant == quadrant
    assert place.nipple_mm == pytest.approx(np.linalg.norm(np.subtract(center, NIPPLES[side])), abs=3.0)
    assert place.skin_mm == pytest.approx(nearest(center, radius, skin_points(side)), abs=3.0)
    assert place.chest_wall_mm == pytest.approx(nearest(center, radius, wall_points()), abs=6.0)


def test_places_do_not_hang_on_the_order_of_the_axes_and_follow_the_labels(pre, region):
    labels = labels_of(((-95, 60, 18), 6.0), ((95, 70, -18), 6.0))
    expected = lesion_places(labels, region)
    turned = [sitk.DICOMOrient(volume, "RAS") for volume in (pre, labels)]
    found = lesion_places(turned[1], find_breasts(turned[0]))
    assert [(one.label, one.quadrant) for one in found] == [(1, "upper outer"), (2, "lower outer")]
    for one, other in zip(found, expected, strict=True):
        assert one.skin_mm == pytest.approx(other.skin_mm, abs=0.01)
        assert one.chest_wall_mm == pytest.approx(other.chest_wall_mm, abs=0.01)


def test_the_side_is_that_of_the_breasts_where_the_patient_lies_off_the_middle(pre):
    labels = labels_of(((-25, 60, 0), 6.0), ((25, 60, 0), 6.0))
    moved = [sitk.Image(volume) for volume in (pre, labels)]
    for volume in moved:
        volume.SetOrigin((ORIGIN[0] + 40.0, *ORIGIN[1:]))  # the lesion of the right breast now has x = +15
    assert [one.side for one in lesion_places(moved[1], find_breasts(moved[0]))] == ["right", "left"]
    half = moved[0][80:, :, :]
    assert find_breasts(half).side((15.0, 60.0, 0.0)) == "left", "all that the header alone can say"


def test_one_breast_has_a_side_only_where_the_image_says_where_it_lies(pre):
    half = pre[80:, :, :]
    region = find_breasts(half)
    assert region.kind == "one breast"
    labels = labels_of(((95, 70, -18), 6.0))[80:, :, :]
    (place,) = lesion_places(labels, region)
    assert (place.side, place.quadrant) == ("left", "lower outer")
    for volume in (half, labels):
        volume.SetOrigin((0, 0, 0))
    (place,) = lesion_places(labels, find_breasts(half))
    assert (place.side, place.quadrant) == ("unknown", "unknown")
    assert place.nipple_mm == pytest.approx(np.linalg.norm(np.subtract((95, 70, -18), NIPPLES[1])), abs=3.0)


def test_the_side_hangs_on_where_the_volume_lies_not_on_a_cutout_of_its_labels(pre):
    region = find_breasts(pre[80:, :, :])
    labels = labels_of(((95, 70, -18), 6.0))
    corner = labels.TransformPhysicalPointToIndex((0.0, 0.0, -30.0))
    at_zero = labels[corner[0] :, corner[1] :, corner[2] :]
    shift = np.array(at_zero.GetOrigin())
    moved = sitk.Image(pre[80:, :, :])
    moved.SetOrigin(np.array(moved.GetOrigin()) - shift)
    at_zero.SetOrigin((0.0, 0.0, 0.0))
    (before,) = lesion_places(labels, region)
    (place,) = lesion_places(at_zero, find_breasts(moved))
    assert place.quadrant == before.quadrant == "lower outer" and place.side == before.side == "left"


def test_only_the_side_is_known_where_the_picture_does_not_show_the_breast(pre):
    labels = labels_of(((-95, 60, 18), 6.0))
    crop = np.s_[10:60, 10:60, :]
    assert lesion_places(labels[crop], find_breasts(pre[crop])) == [LesionPlace(1, "right")]
    flipped = [sitk.Flip(volume, (False, True, False)) for volume in (pre, labels)]
    for volume in flipped:
        volume.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, 1))  # the header now says that the front is the back
    region = find_breasts(flipped[0])
    assert not region.faces_front
    assert lesion_places(flipped[1], region) == [LesionPlace(1, "right")]
    assert lesion_places(labels * 0, find_breasts(pre)) == []
