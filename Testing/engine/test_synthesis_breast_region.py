"""The breasts found in volumes built by formula, in parts of them, and in real studies."""

import weakref

import numpy as np
import pytest
import SimpleITK as sitk
from chest_samples import GLAND, SIZE_KJI, SPACING, Chest, dice, image
from scipy import ndimage
from VirtualContrastLib.events import Events
from VirtualContrastLib.synthesis.breast_region import body_mask, breast_region, find_breasts, with_change


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


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (np.s_[:, :, 12:13], "two breasts"),
        (np.s_[78:, :, :], "one breast"),
        (np.s_[:84, :, :], "one breast"),
    ],
    ids=["one slice", "left half", "right half"],
)
def test_parts_of_a_study_keep_the_breast_and_leave_the_heart_out(part, kind):
    chest, events = Chest(), Events()
    found = find_breasts(chest.images()[0][part], events)
    region, weight = found.mask(), found.weight()
    kji = part[::-1]
    gland = ((chest.pre == GLAND) & chest.breasts)[kji]
    assert found.kind == kind and events.warnings == []
    assert region[gland].mean() > 0.99 and weight[gland].min() == 1
    assert weight[chest.heart[kji]].max() == 0 and region[chest.heart[kji]].sum() == 0
    assert region[chest.breasts[kji]].mean() > 0.6


def test_a_breast_cut_off_before_the_sternum_hides_the_wall_which_is_said():
    chest, events = Chest(), Events()
    found = find_breasts(chest.images()[0][95:, :, :], events)
    assert found.kind == "body"
    assert len(events.warnings) == 1 and "chest wall" in events.warnings[0]
    assert found.mask()[chest.heart[:, :, 95:]].mean() > 0.9


def test_all_of_a_crop_around_a_finding_counts():
    crop = image(np.random.default_rng(0).uniform(40, 200, (5, 112, 112)), spacing=(0.714, 0.714, 3.0))
    events = Events()
    found = find_breasts(crop, events)
    assert found.kind == "crop" and events.warnings == []
    assert found.mask().all() and (found.weight() == 1).all()


def test_the_change_shows_in_the_breasts_and_fades_to_nothing_within_a_centimeter():
    chest = Chest()
    pre = chest.images()[0]
    found = find_breasts(pre)
    weight, region = found.weight(), found.mask()
    shown = with_change(sitk.GetArrayFromImage(pre), np.full(SIZE_KJI, 7, np.float32), weight)
    change = shown - sitk.GetArrayFromImage(pre)
    np.testing.assert_allclose(change[region], 7, atol=1e-3)
    in_plane = np.stack([ndimage.distance_transform_edt(~plane, SPACING[:2]) for plane in region | (weight == 1)])
    far = in_plane > 12
    assert far.any() and change[far].max() == 0
    assert 0 < ((weight > 0) & (weight < 1)).mean() < 0.2


def test_slices_without_breast_need_no_network():
    pre = sitk.GetArrayFromImage(Chest().images()[0])
    flat = pre[0].copy()
    flat[:50] = 3.0  # no breast stands out in front of the thorax
    weight = find_breasts(image(np.concatenate([np.repeat(flat[None], 8, axis=0), pre]))).weight()
    assert not weight[:5].any() and weight[10:].any(axis=(1, 2)).all()


def test_a_finer_grid_gives_the_same_region():
    pre = Chest().images()[0]
    fine = sitk.Expand(pre, (3, 3, 1), sitk.sitkLinear)
    region = sitk.GetImageFromArray(breast_region(fine).astype(np.float32))
    region.CopyInformation(fine)
    back = sitk.GetArrayFromImage(sitk.BinShrink(region, (3, 3, 1))) > 0.5
    assert dice(back, breast_region(pre)) > 0.95


def test_the_real_study_keeps_its_lesion_and_leaves_the_heart_out(shared_data):
    """The annotated box lies in the region; the heart, found as what enhances behind the sternum, does not."""
    pre = sitk.ReadImage(shared_data / "duke-153" / "pre_half.nrrd")[:, :, 80:110]
    post = sitk.ReadImage(shared_data / "duke-153" / "pass1_half.nrrd")[:, :, 80:110]
    found = find_breasts(pre)
    region = found.mask()
    assert found.kind == "two breasts"
    (i0, j0, _), (i1, j1, _) = (
        pre.TransformPhysicalPointToIndex(point) for point in ((-105.57, -118.83, -27.0), (-79.77, -92.27, -27.0))
    )
    before, after = (sitk.GetArrayFromImage(phase).astype(float) for phase in (pre, post))
    gain = after - before
    box = np.zeros_like(region)
    box[:, j0:j1, i0:i1] = True
    lesion = box & (gain > 0.7 * before) & (before > 60)
    heart = np.zeros_like(region)
    heart[:, 135:, :] = (ndimage.uniform_filter(gain, 5) > 80)[:, 135:, :]
    assert lesion.sum() > 300 and region[lesion].mean() > 0.95
    assert heart.sum() > 10_000 and region[heart].mean() == 0


def test_a_sagittal_slice_with_a_wrong_header_is_turned_by_what_it_shows(shared_data):
    series = sitk.ReadImage(shared_data / "breast-invivo-dce" / "derived_dce4d_assumed_spacing.nii.gz")
    ring = sitk.GetArrayFromImage(sitk.ReadImage(shared_data / "breast-invivo-dce" / "derived_ring_mask.nii.gz")) > 0
    found = find_breasts(series[..., 0])
    region = found.mask()
    assert found.kind == "one breast" and region[ring].all()
    assert not region[..., 165:].any()  # the picture's chest and heart


def test_the_breasts_of_a_volume_are_found_once_until_it_or_its_place_changes():
    pre = Chest().images()[0]
    found = find_breasts(pre)
    assert find_breasts(pre) is found
    other = sitk.Image(pre)
    assert find_breasts(other) is found  # the same voxels at the same place
    other[0, 0, 0] = other[0, 0, 0] + 1.0
    assert find_breasts(other) is not found
    other.SetOrigin((5.0, 0.0, 0.0))
    moved = find_breasts(other)
    assert moved.grid.GetOrigin()[0] == pytest.approx(found.grid.GetOrigin()[0] + 5.0)
    kept = weakref.ref(pre)
    del pre
    assert kept() is None, "the region keeps no volume alive"


def test_no_wall_is_said_to_everybody_who_asks():
    pre = Chest().images()[0][95:, :, :]
    first, second = Events(), Events()
    find_breasts(pre, first)
    find_breasts(pre, second)
    assert first.warnings == second.warnings != []


@pytest.mark.parametrize("code", ["LPS", "RAS", "PIR"])
def test_the_midline_parts_the_breasts_of_a_patient_off_the_middle_of_the_scanner(code):
    chest, shift = Chest(), 60.0
    pre = chest.images()[0]
    pre.SetOrigin((-79.5 * SPACING[0] + shift, 0.0, 0.0))  # the sternum lies at x = 60 mm
    gland = image((chest.pre == GLAND) & chest.breasts)
    gland.CopyInformation(pre)
    turned, glands = (sitk.DICOMOrient(volume, code) for volume in (pre, gland))
    found = find_breasts(turned)
    right, glands = found.right_side(), sitk.GetArrayFromImage(glands) > 0
    x = sitk.GetArrayFromImage(sitk.PhysicalPointSource(sitk.sitkVectorFloat64, turned.GetSize(), turned.GetOrigin(),
                               turned.GetSpacing(), turned.GetDirection()))[..., 0]  # fmt: skip
    assert 0.45 < glands[right].sum() / glands.sum() < 0.55
    np.testing.assert_array_equal(right[glands], x[glands] < shift)
    offsets = {"left": 17.0, "midline": 3.0, "right": -17.0}
    assert {name: found.side((shift + x, 50.0, 0.0)) for name, x in offsets.items()} == {n: n for n in offsets}


def test_without_two_breasts_the_side_is_that_of_the_scanner_where_its_middle_can_be_the_patients():
    half = Chest().images()[0][95:, :, :]
    half.SetOrigin((30.0, 1.0, 0.0))
    found = find_breasts(half)
    assert found.kind == "body"
    assert [found.side((x, 0.0, 0.0)) for x in (40.0, -40.0, 3.0)] == ["left", "right", "midline"]
    half.SetOrigin((0.0, 0.0, 0.0))
    assert find_breasts(half).side((40.0, 0.0, 0.0)) == "unknown"
    wide = image(np.random.default_rng(0).uniform(100, 200, (4, 60, 120)))
    wide.SetOrigin((5.0, 10.0, 10.0))  # 240 mm wide, and all of it left of x = 0
    assert find_breasts(wide).side((40.0, 0.0, 0.0)) == "unknown"
    for first, expected in (
        (-235.0, "unknown"),
        (-155.0, "left"),
        (-120.0, "left"),
        (-85.0, "left"),
        (-75.0, "unknown"),
    ):
        wide.SetOrigin((first, 10.0, 10.0))  # x = 0 lies in the middle third from -158.7 to -79.3
        assert find_breasts(wide).side((40.0, 0.0, 0.0)) == expected
