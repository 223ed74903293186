"""Breast region and threshold segmentation on volumes built by formula: breasts, chest, heart, vessels."""

import numpy as np
import pytest
import SimpleITK as sitk
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.lesions.breast_region import body_mask, breast_region
from VirtualContrastLib.lesions.threshold import (
    ThresholdSettings,
    elongation,
    instance_labels,
    segment_by_threshold,
    without_vessels,
)

SPACING = (2.0, 2.0, 3.0)
SIZE_KJI = (24, 100, 160)
FAT, GLAND, MUSCLE, HEART, NOISE = 50.0, 200.0, 150.0, 160.0, 3.0


def axes():
    x = (np.arange(SIZE_KJI[2]) - 79.5) * SPACING[0]
    y = (np.arange(SIZE_KJI[1]) + 0.5) * SPACING[1]
    z = (np.arange(SIZE_KJI[0]) - 11.5) * SPACING[2]
    return x[None, None, :], y[None, :, None], z[:, None, None]


def ball(center_xyz, radius):
    x, y, z = axes()
    cx, cy, cz = center_xyz
    return (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 <= radius**2


class Chest:
    """Pre-contrast and early volumes in LPS order; `post` starts with an enhancing heart and no lesion."""

    def __init__(self, seed=0):
        x, y, z = axes()
        wall = 100 + 95 * (1 - np.sqrt(np.clip(1 - (x / 165) ** 2, 0, 1)))
        self.thorax = np.broadcast_to((y > wall) & (np.abs(x) < 150), SIZE_KJI)
        breasts = np.zeros(SIZE_KJI, dtype=bool)
        for side in (-1, 1):
            breasts |= ((x - side * 70) / 55) ** 2 + ((y - 105) / 85) ** 2 + (z / 90) ** 2 < 1
        self.breasts = breasts & ~self.thorax
        self.heart = ((x - 20) / 45) ** 2 + ((y - 165) / 38) ** 2 + (z / 80) ** 2 < 1
        gland = ball((-70, 80, 0), 26) | ball((70, 80, 0), 26)
        pre = np.zeros(SIZE_KJI)
        pre[self.breasts], pre[self.thorax] = FAT, MUSCLE
        pre[gland], pre[self.heart] = GLAND, HEART
        self.pre, self.post = pre, pre.copy()
        self.post[self.heart] *= 4
        self.rng = np.random.default_rng(seed)

    def enhance(self, mask, factor=2.5):
        self.post[mask] = factor * np.maximum(self.pre[mask], GLAND)
        self.pre[mask] = np.maximum(self.pre[mask], GLAND)

    def images(self):
        """Both volumes with Rician noise."""
        return [
            image(np.hypot(v + self.rng.normal(0, NOISE, SIZE_KJI), self.rng.normal(0, NOISE, SIZE_KJI)))
            for v in (self.pre, self.post)
        ]


def image(array, spacing=SPACING):
    out = sitk.GetImageFromArray(np.asarray(array, dtype=np.float32))
    out.SetSpacing(spacing)
    return out


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_the_body_is_told_from_noisy_air_although_fat_is_dark():
    chest = Chest()
    truth = chest.pre > 0
    assert dice(body_mask(chest.images()[0]), truth) > 0.97


def test_the_breast_region_holds_the_breasts_and_not_the_heart():
    chest, events = Chest(), Events()
    region = breast_region(chest.images()[0], events)
    assert events.warnings == []
    gland = (chest.pre == GLAND) & chest.breasts
    assert region[gland].mean() > 0.99
    assert region[chest.heart].sum() == 0
    assert region[chest.thorax].mean() < 0.15
    assert region[~(chest.breasts | chest.thorax)].mean() < 0.005
    assert 0.6 < region[chest.breasts].mean() < 0.98  # all but the skin


@pytest.mark.parametrize("code", ["RAS", "LPS", "PIR", "SRA"])
def test_the_breast_region_is_the_same_in_any_order_of_the_axes(code):
    pre = Chest().images()[0]
    expected = image(breast_region(pre))
    turned = sitk.DICOMOrient(pre, code)
    region = breast_region(turned)
    expected.CopyInformation(pre)
    assert region.shape == turned.GetSize()[::-1]
    np.testing.assert_array_equal(region, sitk.GetArrayFromImage(sitk.DICOMOrient(expected, code)) > 0)


@pytest.mark.parametrize("cut", ["one slice", "one breast"])
def test_without_a_chest_wall_to_find_the_whole_body_is_taken_and_a_warning_given(cut):
    chest, events = Chest(), Events()
    pre = chest.images()[0]
    pre = pre[:, :, 12:13] if cut == "one slice" else pre[95:, :, :]
    region = breast_region(pre, events)
    assert len(events.warnings) == 1 and "chest wall" in events.warnings[0]
    heart = chest.heart[12:13] if cut == "one slice" else chest.heart[:, :, 95:]
    assert region[heart].mean() > 0.9


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
    assert len(events.warnings) == 1  # one slice: no chest wall
    assert (labels[ring] == 1).mean() > 0.65
