"""Image metrics against their formulas and against scikit-image."""

import math

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from VirtualContrastLib.metrics.image_pairs import WHOLE_IMAGE, compare_images


def pair(seed=0, shape=(3, 24, 20)):
    rng = np.random.default_rng(seed)
    real = rng.normal(100.0, 20.0, shape)
    return real + rng.normal(0.0, 5.0, shape), real


def images(ours, real):
    return sitk.GetImageFromArray(ours), sitk.GetImageFromArray(real)


def test_whole_image_metrics_equal_scikit_images_and_the_formulas():
    ours, real = pair()
    (row,) = compare_images(*images(ours, real), {}, phase=2)
    data_range = real.max() - real.min()
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    ssim = [structural_similarity(a, b, data_range=data_range, **options) for a, b in zip(ours, real, strict=True)]
    assert (row.phase, row.compared, row.region, row.voxels) == (2, "synthetic", WHOLE_IMAGE, real.size)
    assert row.data_range == pytest.approx(data_range)
    assert row.values["mse"] == pytest.approx(((ours - real) ** 2).mean())
    assert row.values["mae"] == pytest.approx(np.abs(ours - real).mean())
    assert row.values["psnr_db"] == pytest.approx(peak_signal_noise_ratio(real, ours, data_range=data_range))
    assert row.values["ssim"] == pytest.approx(np.mean(ssim))


def test_region_metrics_use_only_the_voxels_of_the_region():
    ours, real = pair()
    mask = np.zeros(real.shape, bool)
    mask[1, 5:9, 6:11] = True
    ours[~mask] += 1000.0
    whole, lesion = compare_images(*images(ours, real), {"lesions": mask}, phase=1)
    assert lesion.voxels == 20
    assert lesion.values["mae"] == pytest.approx(np.abs(ours[mask] - real[mask]).mean())
    assert lesion.values["mae"] < 20 < 900 < whole.values["mae"]


def test_equal_images_have_infinite_psnr_and_ssim_one():
    _, real = pair()
    (row,) = compare_images(*images(real, real), {}, phase=1)
    assert (row.values["mse"], row.values["mae"], row.values["psnr_db"]) == (0.0, 0.0, math.inf)
    assert row.values["ssim"] == pytest.approx(1.0)


def test_an_empty_region_is_left_out():
    ours, real = pair()
    rows = compare_images(*images(ours, real), {"lesions": np.zeros(real.shape, bool)}, phase=1)
    assert [row.region for row in rows] == [WHOLE_IMAGE]


def test_different_sizes_and_a_constant_real_image_are_refused():
    ours, real = pair()
    with pytest.raises(ValueError, match="size"):
        compare_images(*images(ours[:, :-1], real), {}, phase=1)
    with pytest.raises(ValueError, match="constant"):
        compare_images(*images(ours, np.ones_like(real)), {}, phase=1)
    for bad in (np.nan, np.inf):
        broken = ours.copy()
        broken[0, 0, 0] = bad
        for one, other in ((broken, real), (real, broken)):
            with pytest.raises(ValueError, match="NaN or infinite"):
                compare_images(*images(one, other), {}, phase=1)


@settings(deadline=None, max_examples=20)
@given(scale=st.floats(0.01, 1e4), offset=st.floats(-1e3, 1e3))
def test_psnr_and_ssim_do_not_depend_on_the_unit_of_intensity(scale, offset):
    ours, real = pair()
    (base,) = compare_images(*images(ours, real), {}, phase=1)
    (row,) = compare_images(*images(ours * scale, real * scale), {}, phase=1)
    assert row.values["psnr_db"] == pytest.approx(base.values["psnr_db"], abs=1e-6)
    assert row.values["ssim"] == pytest.approx(base.values["ssim"], abs=1e-6)
    (shifted,) = compare_images(*images(ours + offset, real + offset), {}, phase=1)
    assert shifted.values["mse"] == pytest.approx(base.values["mse"], rel=1e-6)
