"""Arrays, geometry and writing of volumes, against SimpleITK and nibabel."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from io_samples import lps_affine, oblique_image, rotation
from VirtualContrastLib.events import InputError, VirtualContrastError
from VirtualContrastLib.io import volumes
from VirtualContrastLib.io.masked import MaskedValues
from VirtualContrastLib.io.read import load

angles = st.tuples(*[st.floats(-180, 180)] * 3)
flips = st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3)
spacings = st.tuples(*[st.floats(0.05, 40)] * 3)
origins = st.tuples(*[st.floats(-500, 500)] * 3)


def image_of(angle, flip, spacing, origin, dtype):
    array = np.random.default_rng(1).uniform(0, 200, (3, 16, 17)).astype(dtype)
    return oblique_image(array, spacing, origin, rotation(angle) * flip)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64, np.uint8])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(angles, flips, spacings, origins)
def test_a_written_volume_comes_back_with_equal_voxels_and_geometry(
    tmp_path, suffix, dtype, angle, flip, spacing, origin
):
    image = image_of(angle, flip, spacing, origin, dtype)
    path = tmp_path / f"volume{suffix}"
    volumes.write(image, path, comment=volumes.SYNTHETIC_COMMENT)
    back = load(path).image
    assert back.GetPixelID() == image.GetPixelID()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(image))
    accuracy = 1e-4 if suffix == ".nii.gz" else 1e-11
    np.testing.assert_allclose(lps_affine(back), lps_affine(image), atol=accuracy)
    assert volumes.same_geometry(back, image) == ""


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(angles, flips, spacings, origins)
def test_a_nifti_file_means_the_same_to_nibabel(tmp_path, angle, flip, spacing, origin):
    image = image_of(angle, flip, spacing, origin, np.float32)
    volumes.write(image, tmp_path / "volume.nii")
    other = nib.load(tmp_path / "volume.nii")
    np.testing.assert_array_equal(np.asarray(other.dataobj).T, sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ other.affine, lps_affine(image), atol=1e-3)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_nrrd_and_metaimage_carry_the_comment(tmp_path, suffix):
    volumes.write(oblique_image(), tmp_path / f"v{suffix}", comment=volumes.SYNTHETIC_COMMENT)
    assert sitk.ReadImage(str(tmp_path / f"v{suffix}")).GetMetaData("VirtualContrast") == "SYNTHETIC - research only"


def test_nifti_carries_the_comment_in_descrip(tmp_path):
    volumes.write(oblique_image(), tmp_path / "v.nii.gz", comment=volumes.SYNTHETIC_COMMENT)
    assert nib.load(tmp_path / "v.nii.gz").header["descrip"].item() == b"SYNTHETIC - research only"


def test_writing_does_not_change_the_image_that_is_written(tmp_path):
    image = oblique_image()
    volumes.write(image, tmp_path / "v.nrrd", comment="x")
    assert image.GetMetaDataKeys() == ()


def test_an_unknown_suffix_is_refused_and_a_missing_folder_is_a_failure(tmp_path):
    with pytest.raises(InputError, match=r"v\.tif cannot be written"):
        volumes.write(oblique_image(), tmp_path / "v.tif")
    with pytest.raises(VirtualContrastError, match="could not be written") as caught:
        volumes.write(oblique_image(), tmp_path / "missing" / "v.nrrd")
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float16, np.float32, np.float64])
def test_like_keeps_values_and_takes_exactly_the_geometry_of_the_reference(dtype):
    reference = oblique_image()
    array = np.random.default_rng(3).integers(0, 2, (9, 18, 20)).astype(dtype)
    image = volumes.like(array, reference)
    np.testing.assert_array_equal(volumes.to_array(image), array.astype(np.float32))
    assert image.GetSpacing() == reference.GetSpacing()
    assert image.GetOrigin() == reference.GetOrigin()
    assert image.GetDirection() == reference.GetDirection()


def test_like_does_not_take_a_last_axis_of_three_for_colors():
    reference = oblique_image(np.zeros((4, 5, 3), np.int16))
    assert volumes.like(np.zeros((4, 5, 3)), reference).GetNumberOfComponentsPerPixel() == 1


def test_like_refuses_another_size():
    with pytest.raises(ValueError, match=r"\(9, 18, 20\)"):
        volumes.like(np.zeros((20, 18, 9)), oblique_image())


def test_to_array_is_float32_in_kji_order():
    image = oblique_image()
    array = volumes.to_array(image)
    assert array.dtype == np.float32
    assert array.shape == (9, 18, 20)
    assert array[2, 5, 11] == image.GetPixel(11, 5, 2)


def test_same_geometry_names_what_differs():
    image = oblique_image()
    moved, coarser, turned = (sitk.Image(image) for _ in range(3))
    moved.SetOrigin((-90.5, 31.25, 12.5))
    coarser.SetSpacing((0.75, 0.8, 2.1))
    turned.SetDirection(np.eye(3).ravel().tolist())
    assert volumes.same_geometry(image, image) == ""
    assert "sizes" in volumes.same_geometry(image, image[:10])
    assert "0.5 mm apart" in volumes.same_geometry(image, moved)
    assert "spacings" in volumes.same_geometry(image, coarser)
    assert "orientations" in volumes.same_geometry(image, turned)


def test_same_geometry_forgives_the_rounding_of_a_float32_header():
    image, rounded = oblique_image(), oblique_image()
    rounded.SetOrigin([float(np.float32(v)) for v in (-90.51234567, 31.25, 12.0)])
    image.SetOrigin((-90.51234567, 31.25, 12.0))
    assert volumes.same_geometry(image, rounded) == ""


def test_a_comment_does_not_drop_the_metadata_that_an_image_carries(tmp_path):
    image = sitk.GetImageFromArray(np.arange(64, dtype=np.uint8).reshape(4, 4, 4))
    for key in ("Segment0_Name", "Segment0_ID"):
        image.SetMetaData(key, "lesion")
    volumes.write(image, tmp_path / "a.seg.nrrd", comment="SYNTHETIC")
    read = sitk.ReadImage(str(tmp_path / "a.seg.nrrd"))
    assert {read.GetMetaData(key) for key in ("Segment0_Name", "Segment0_ID")} == {"lesion"}
    assert read.GetMetaData("VirtualContrast") == "SYNTHETIC"
    assert not image.HasMetaDataKey("VirtualContrast")


def test_lent_voxels_are_the_images_own_and_outlive_it():
    image = oblique_image()
    expected = sitk.GetArrayFromImage(image)
    voxels = volumes.voxels_of(image)
    assert np.shares_memory(voxels, sitk.GetArrayViewFromImage(image))
    with pytest.raises(ValueError, match="read-only"):
        voxels[:] = 0
    del image
    others = [sitk.Image(expected.shape[::-1], sitk.sitkFloat64) + n for n in range(8)]  # would take freed memory
    np.testing.assert_array_equal(voxels, expected)
    assert len(others) == 8


def test_masked_values_are_zero_outside_and_sum_by_label():
    rng = np.random.default_rng(3)
    full = rng.normal(size=(3, 4, 5)).astype(np.float32)
    labels, inside = rng.integers(0, 4, full.shape).astype(np.uint8), rng.random(full.shape) < 0.4
    values = MaskedValues(inside, full[inside])
    np.testing.assert_array_equal(values.volume(), np.where(inside, full, 0))
    reference = oblique_image(np.zeros(full.shape, np.int16))
    made = values.image(reference)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(made), values.volume())
    assert made.GetPixelID() == sitk.sitkFloat32 and not volumes.same_geometry(made, reference)
    sums = values.sums(labels[inside])
    for label in (1, 2, 3):
        assert sums[label] == pytest.approx(full[inside & (labels == label)].sum(), rel=1e-5)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz"])
def test_writing_leaves_the_image_and_its_metadata_as_they_were(tmp_path, suffix):
    image = oblique_image()
    image.SetMetaData("VirtualContrast", "mine")
    image.SetMetaData("other", "kept")
    voxels = volumes.voxels_of(image)
    before = voxels.copy()
    volumes.write(image, tmp_path / f"v{suffix}", comment=volumes.SYNTHETIC_COMMENT)
    assert {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()} == {
        "VirtualContrast": "mine",
        "other": "kept",
    }
    assert np.shares_memory(voxels, sitk.GetArrayViewFromImage(image))  # written without a copy
    np.testing.assert_array_equal(voxels, before)
