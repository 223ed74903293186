"""Breast region and threshold segmentation on volumes built by formula: breasts, chest, heart, vessels."""

import numpy as np
import pytest
import SimpleITK as sitk
from chest_samples import FAT, SIZE_KJI, Chest, ball, dice, image
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.lesions.threshold import (
    ThresholdSettings,
    elongation,
    instance_labels,
    segment_by_threshold,
    without_vessels,
)


def test_lesions_are_found_largest_first_and_the_heart_is_not_among_them():
    chest = Chest()
    small, large = ball((-70, 75, 6), 5), ball((65, 85, -6), 9)
    chest.enhance(small)
    chest.enhance(large)
    labels = sitk.GetArrayFromImage(segment_by_threshold(*chest.images()))
    assert labels.dtype == np.uint8 and labels.max() == 2
    assert dice(labels == 1, large) > 0.97 and dice(labels == 2, small) > 0.95


def test_weak_enhancement_and_foci_are_left_out():
    chest = Chest()
    chest.enhance(ball((-70, 75, 6), 9), factor=1.5)  # 50 %
    focus = ball((69, 85, -4.5), 2.1)
    chest.enhance(focus)
    assert focus.sum() * 12 < 65
    assert sitk.GetArrayFromImage(segment_by_threshold(*chest.images())).max() == 0


def test_noise_in_dark_fat_is_no_lesion():
    chest = Chest()
    chest.post[chest.breasts & (chest.pre == FAT)] *= 1.8
    assert sitk.GetArrayFromImage(segment_by_threshold(*chest.images())).max() == 0
    permissive = ThresholdSettings(background_fraction=0.1)
    assert sitk.GetArrayFromImage(segment_by_threshold(*chest.images(), permissive)).max() > 0


def test_a_rim_enhancing_lesion_is_kept_although_its_rim_is_thin():
    chest = Chest()
    outer, core = ball((-70, 80, 0), 12), ball((-70, 80, 0), 9)
    chest.enhance(outer & ~core)
    labels = sitk.GetArrayFromImage(segment_by_threshold(*chest.images()))
    assert labels.max() == 1 and dice(labels == 1, outer & ~core) > 0.95


def vessel():
    """A tube of 2 mm radius, 80 mm long, winding through the right breast."""
    mask = np.zeros(SIZE_KJI, dtype=bool)
    for s in np.linspace(0, 1, 120):
        mask |= ball((-100 + 60 * s, 60 + 45 * s, 8 * np.sin(6 * s)), 2.0)
    return mask


def test_a_vessel_alone_is_not_a_lesion_unless_the_rule_is_switched_off():
    chest = Chest()
    chest.enhance(vessel())
    pre, post = chest.images()
    assert sitk.GetArrayFromImage(segment_by_threshold(pre, post)).max() == 0
    off = ThresholdSettings(maximum_elongation=np.inf)
    assert sitk.GetArrayFromImage(segment_by_threshold(pre, post, off)).max() > 0


def test_a_vessel_is_cut_off_the_lesion_that_it_feeds():
    chest = Chest()
    lesion = ball((-70, 82, 0), 8)
    chest.enhance(lesion | vessel())
    labels = sitk.GetArrayFromImage(segment_by_threshold(*chest.images()))
    assert labels.max() == 1
    assert dice(labels == 1, lesion) > 0.85
    assert (labels[vessel() & ~ball((-70, 82, 0), 14)] > 0).sum() == 0


@pytest.mark.parametrize("spacing_kji", [(1.0, 1.0, 1.0), (3.0, 0.8, 0.8)])
def test_elongation_is_about_one_for_a_ball_and_its_length_for_a_rod(spacing_kji):
    z, y, x = ((np.arange(n) - (n - 1) / 2) * s for n, s in zip((31, 61, 61), spacing_kji, strict=True))
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    assert elongation(x**2 + y**2 + z**2 <= 10**2, spacing_kji) == pytest.approx(1, abs=0.4)
    rod = np.broadcast_to((np.abs(x) <= 22) & (y**2 + z**2 <= 5**2), (31, 61, 61))
    assert elongation(rod, spacing_kji) == pytest.approx(np.hypot(44, 10) / 10, rel=0.35)
    assert without_vessels(rod, spacing_kji, 7.0).sum() == rod.sum()
    # Opened with a ball of 2.5 mm the rod keeps its length, so it goes as a whole.
    assert not without_vessels(rod, spacing_kji, 3.0).any()


def test_the_thickness_of_a_bar_is_that_between_its_faces_not_between_voxel_centers():
    found = elongation(np.ones((5, 5, 41), bool), (1.0, 1.0, 1.0))
    assert np.hypot(40, np.hypot(4, 4)) / 5 <= found <= np.hypot(41, np.hypot(5, 5)) / 5


def test_instances_are_numbered_by_volume_with_the_chosen_connectivity():
    mask = np.zeros((3, 8, 8), dtype=bool)
    mask[0, 0:2, 0:2] = True
    mask[1, 2:4, 2:5] = True  # touches the first at a corner
    mask[2, 7, 7] = True
    joined = sitk.GetArrayFromImage(instance_labels(mask, image(mask), minimum_volume_mm3=0))
    assert [(joined == n).sum() for n in (1, 2)] == [10, 1]
    apart = instance_labels(mask, image(mask), minimum_volume_mm3=13, connectivity=6)
    assert [(sitk.GetArrayFromImage(apart) == n).sum() for n in (1, 2, 3)] == [6, 4, 0]


def test_more_than_255_instances_get_sixteen_bits():
    mask = np.zeros((1, 40, 40), dtype=bool)
    mask[0, ::2, ::2] = True
    labels = instance_labels(mask, image(mask), minimum_volume_mm3=0)
    assert labels.GetPixelID() == sitk.sitkUInt16
    assert sitk.GetArrayFromImage(labels).max() == 400


def test_smoothing_saves_a_lesion_from_heavy_noise():
    chest = Chest()
    lesion = ball((-70, 80, 0), 9)
    chest.enhance(lesion, factor=2.0)
    pre, post = (image(v + chest.rng.normal(0, 45, SIZE_KJI)) for v in (chest.pre, chest.post))
    found = {}
    for sigma in (0.0, 2.0):
        labels = sitk.GetArrayFromImage(segment_by_threshold(pre, post, ThresholdSettings(smoothing_mm=sigma)))
        found[sigma] = dice(labels > 0, lesion)
    assert found[2.0] > 0.8 and found[2.0] > found[0.0] + 0.1


def test_an_empty_or_foreign_volume_is_answered_and_not_crashed_on():
    chest = Chest()
    pre, post = chest.images()
    assert sitk.GetArrayFromImage(segment_by_threshold(pre, pre)).max() == 0
    zero = pre * 0
    assert sitk.GetArrayFromImage(segment_by_threshold(zero, zero)).max() == 0
    with pytest.raises(InputError, match="grid"):
        segment_by_threshold(pre, post[1:, :, :])


def test_the_real_ring_tumor_is_the_largest_lesion_of_its_slice(shared_data):
    folder = shared_data / "breast-invivo-dce"
    series = sitk.ReadImage(folder / "derived_dce4d_assumed_spacing.nii.gz")
    ring = sitk.GetArrayFromImage(sitk.ReadImage(folder / "derived_ring_mask.nii.gz")) > 0
    events = Events()
    labels = sitk.GetArrayFromImage(segment_by_threshold(series[..., 0], series[..., 8], events=events))
    assert events.warnings == []  # the chest wall is found in one slice too, whatever its header says of its sides
    assert (labels[ring] == 1).mean() > 0.65
