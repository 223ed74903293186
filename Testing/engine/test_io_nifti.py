"""NIfTI reading against nibabel and SimpleITK, and every way in which a file can be damaged."""

import contextlib
import gzip
import random

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from io_samples import lps_affine, patched, rotation
from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.formats import nifti
from VirtualContrastLib.io.read import load

AFFINE = np.eye(4)
AFFINE[:3, :3] = rotation() @ np.diag([0.8, 0.8, 2.0])
AFFINE[:3, 3] = (11.0, -20.0, 30.5)
VOXELS = np.random.default_rng(5).integers(0, 700, (20, 18, 6)).astype(np.int16)
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def saved(path, voxels=VOXELS, kind=nib.Nifti1Image, order="<", **header):
    image = kind(voxels, AFFINE)
    image.set_qform(AFFINE, 1)
    image.set_sform(AFFINE, 1)
    for key, value in header.items():
        image.header[key] = value
    kind(voxels, None, image.header.as_byteswapped(order)).to_filename(path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_every_version_byte_order_and_type_reads_as_nibabel_reads_it(tmp_path, suffix, order, kind, dtype):
    path = tmp_path / f"v{suffix}"
    image = kind((VOXELS % 120).astype(dtype), AFFINE, dtype=np.dtype(dtype))
    kind(np.asarray(image.dataobj), AFFINE, image.header.as_byteswapped(order)).to_filename(path)
    read, truth = load(path).image, nib.load(path)
    got = sitk.GetArrayFromImage(read)
    assert truth.header.endianness == order
    assert got.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(got.T, np.asarray(truth.dataobj))
    np.testing.assert_allclose(lps_affine(read), RAS_TO_LPS @ truth.affine, atol=2e-5)


@pytest.mark.parametrize("slope, inter", [(2.5, -7.0), (1.0, 3.0), (-0.5, 10.0), (1e-6, 0.0)])
def test_scaling_is_applied_as_nibabel_applies_it(tmp_path, slope, inter):
    path = patched(saved(tmp_path / "v.nii"), (112, "<f", slope), (116, "<f", inter))
    truth = nib.load(path).get_fdata()
    np.testing.assert_allclose(sitk.GetArrayFromImage(load(path).image).T, truth, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("slope, inter", [(0.0, 5.0), (np.nan, np.nan), (np.nan, 3.0), (np.inf, 0.0)])
def test_a_slope_of_zero_or_no_number_means_no_scaling_where_itk_would_add_the_intercept(tmp_path, slope, inter):
    path = patched(saved(tmp_path / "v.nii"), (112, "<f", slope), (116, "<f", inter))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(load(path).image).T, VOXELS)


def test_geometry_is_exactly_what_simpleitk_reads(tmp_path):
    path = saved(tmp_path / "v.nii.gz")
    ours, itk = load(path).image, sitk.ReadImage(str(path))
    assert ours.GetSpacing() == itk.GetSpacing()
    assert ours.GetOrigin() == itk.GetOrigin()
    assert ours.GetDirection() == itk.GetDirection()


def test_nan_voxels_stay_nan_where_itk_makes_them_zero(tmp_path):
    voxels = VOXELS.astype(np.float32)
    voxels[3, 4, 5] = np.nan
    path = saved(tmp_path / "v.nii", voxels)
    assert sitk.ReadImage(str(path)).GetPixel(3, 4, 5) == 0
    assert np.isnan(load(path).image.GetPixel(3, 4, 5))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_one_time_point_of_a_4d_file_is_read_as_nibabel_slices_it(tmp_path, suffix):
    voxels = np.random.default_rng(2).normal(size=(20, 18, 6, 4)).astype(np.float32)
    path = saved(tmp_path / f"v{suffix}", voxels)
    for n in range(4):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(load(f"{path}@{n}").image).T, voxels[..., n])
    with pytest.raises(InputError, match=rf"holds 4 time points; choose one by writing v{suffix}@0 to v{suffix}@3"):
        load(path)
    with pytest.raises(InputError, match="@4 does not exist"):
        load(f"{path}@4")


def test_trailing_dimensions_of_one_are_no_time_axis(tmp_path):
    path = saved(tmp_path / "v.nii", VOXELS[..., None, None])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(load(path).image).T, VOXELS)


def test_a_2d_file_becomes_one_slice_with_the_place_its_sform_tells(tmp_path):
    path = saved(tmp_path / "v.nii", VOXELS[..., 0])
    image = load(path).image
    assert image.GetSize() == (20, 18, 1)
    np.testing.assert_allclose(lps_affine(image), RAS_TO_LPS @ AFFINE, atol=1e-5)


def test_qform_and_sform_that_disagree_are_warned_of_and_itk_decides(tmp_path):
    path = patched(saved(tmp_path / "v.nii"), (254, "<h", 2), (268, "<3f", (50.0, 0.0, 0.0)))
    loaded = load(path)
    assert any("qform and sform disagree; the qform was used" in text for text in loaded.warnings)
    assert loaded.image.GetOrigin() == sitk.ReadImage(str(path)).GetOrigin()


def test_a_file_without_orientation_is_warned_of(tmp_path):
    path = patched(saved(tmp_path / "v.nii"), (252, "<hh", (0, 0)))
    assert any("no orientation" in text for text in load(path).warnings)


DAMAGED = {
    "sizeof_hdr": ([(0, "<i", 347)], "not a NIfTI file"),
    "sizeof_hdr of the other order": ([(0, ">i", 348)], "dimensions|declares"),
    "dim[0] zero": ([(40, "<h", 0)], "declares 0 dimensions"),
    "dim[0] one": ([(40, "<h", 1)], "declares 1 dimensions"),
    "dim[0] eight": ([(40, "<h", 8)], "declares 8 dimensions"),
    "dim[0] negative": ([(40, "<h", -3)], "declares -3 dimensions"),
    "dim zero": ([(44, "<h", 0)], "empty or negative"),
    "dim negative": ([(46, "<h", -6)], "empty or negative"),
    "dim too large": ([(46, "<h", 7)], "truncated"),
    "dim enormous": ([(42, "<3h", (32767, 32767, 32767))], "more than any breast volume"),
    "five dimensions": ([(40, "<6h", (5, 20, 18, 1, 2, 3))], "5 dimensions"),
    "time points negative": ([(40, "<5h", (4, 20, 18, 6, -2))], "-2 time points"),
    "datatype 0": ([(70, "<h", 0)], "unknown NIfTI data type 0"),
    "datatype 3": ([(70, "<h", 3)], "unknown NIfTI data type 3"),
    "datatype bit": ([(70, "<h", 1)], "one bit per voxel"),
    "datatype complex": ([(70, "<h", 32)], "complex"),
    "datatype RGB": ([(70, "<h", 128)], "RGB"),
    "datatype RGBA": ([(70, "<h", 2304)], "RGBA"),
    "datatype float128": ([(70, "<h", 1536)], "128-bit"),
    "datatype wider": ([(70, "<h", 64)], "truncated"),
    "vox_offset zero": ([(108, "<f", 0.0)], "vox_offset"),
    "vox_offset negative": ([(108, "<f", -352.0)], "vox_offset"),
    "vox_offset NaN": ([(108, "<f", np.nan)], "vox_offset"),
    "vox_offset infinite": ([(108, "<f", np.inf)], "vox_offset"),
    "vox_offset fraction": ([(108, "<f", 352.5)], "vox_offset"),
    "vox_offset beyond": ([(108, "<f", 400.0)], "truncated"),
    "scl_inter NaN": ([(112, "<ff", (2.0, np.nan))], "scl_inter"),
    "scl_inter infinite": ([(112, "<ff", (2.0, np.inf))], "scl_inter"),
    "pixdim zero": ([(80, "<f", 0.0)], "spacing"),
    "pixdim negative": ([(84, "<f", -1.0)], "spacing"),
    "pixdim NaN": ([(88, "<f", np.nan)], "spacing"),
    "pixdim infinite": ([(88, "<f", np.inf)], "spacing"),
    "pixdim against the matrices": ([(252, "<hh", (0, 1)), (80, "<3f", (3.0,) * 3)], "contradicts itself"),
    "sform NaN": ([(280, "<f", np.nan)], "sform"),
    "sform infinite": ([(292, "<f", np.inf)], "sform"),
    "sform zero": ([(280, "<12f", (0.0,) * 12)], "sform"),
    "sform flat": ([(312, "<3f", (0.0, 0.0, 0.0))], "sform"),
    "sform sheared": ([(252, "<hh", (0, 1)), (284, "<f", 0.4)], "right angles|contradicts"),
    "quaternion too long": ([(256, "<3f", (1.0, 1.0, 1.0))], "quaternion"),
    "quaternion NaN": ([(260, "<f", np.nan)], "quaternion"),
    "qoffset NaN": ([(268, "<f", np.nan)], "qform"),
    "magic wrong": ([(344, "4s", b"XXXX")], "magic"),
    "magic of two files": ([(344, "4s", b"ni1\0")], "two-file"),
    "magic not ended": ([(344, "4s", b"n+1x")], "magic"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_header_is_refused_in_one_sentence(tmp_path, case):
    patches, words = DAMAGED[case]
    path = patched(saved(tmp_path / "v.nii"), *patches)
    with pytest.raises(InputError, match=words) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert "v.nii" in str(caught.value)


@pytest.mark.parametrize(
    "patch, words",
    [
        ((16, "<q", 9), "9 dimensions"),
        ((24, "<q", -1), "empty or negative"),
        ((24, "<q", 2**40), "more than any breast volume"),
        ((12, "<h", 32), "complex"),
        ((168, "<q", -1), "vox_offset"),
        ((168, "<q", 2**40), "vox_offset"),
        ((112, "<d", np.nan), "spacing"),
        ((4, "8s", b"n+2\0XXXX"), "magic"),
    ],
)
def test_a_damaged_nifti2_header_is_refused(tmp_path, patch, words):
    path = patched(saved(tmp_path / "v.nii", kind=nib.Nifti2Image), patch)
    with pytest.raises(InputError, match=words):
        load(path)


@pytest.mark.parametrize("keep", [0, 1, 4, 100, 347, 348, 352, 353, 2000, -1])
def test_a_file_cut_off_anywhere_is_refused(tmp_path, keep):
    path = saved(tmp_path / "v.nii")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"empty|too short|truncated"):
        load(path)


@pytest.mark.parametrize("keep", [1, 10, 40, 300, 1500, -9, -1])
def test_a_gzip_file_cut_off_anywhere_is_refused(tmp_path, keep):
    path = saved(tmp_path / "v.nii.gz")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"truncated|damaged|not gzip"):
        load(path)


def test_a_flipped_bit_in_a_gzip_file_is_found_by_its_checksum(tmp_path):
    path = saved(tmp_path / "v.nii.gz")
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="gzip stream is not valid"):
        load(path)


def test_names_that_lie_about_compression_are_refused(tmp_path):
    plain = saved(tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(plain)
    (tmp_path / "c.nii").write_bytes(gzip.compress(plain))
    with pytest.raises(InputError, match="not gzip-compressed"):
        load(tmp_path / "b.nii.gz")
    with pytest.raises(InputError, match=r"not named \.nii\.gz"):
        load(tmp_path / "c.nii")


def test_a_surplus_of_bytes_is_warned_of(tmp_path):
    path = saved(tmp_path / "v.nii")
    path.write_bytes(path.read_bytes() + b"\0" * 12)
    assert any("12 bytes more" in text for text in load(path).warnings)


def test_bytes_changed_at_random_give_a_clean_refusal_or_what_nibabel_reads(tmp_path):
    chance = random.Random(42)
    path = saved(tmp_path / "v.nii")
    good = path.read_bytes()
    read = 0
    for _ in range(300):
        data = bytearray(good)
        for _ in range(chance.choice((1, 2, 4))):
            data[chance.randrange(348)] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
        path.write_bytes(data)
        try:
            image = load(path).image
        except InputError as error:
            assert "\n" not in str(error)
            continue
        try:
            truth = np.asarray(nib.load(path).dataobj)
        except Exception:  # noqa: BLE001 nibabel is stricter about some unused fields
            continue
        read += 1
        np.testing.assert_allclose(sitk.GetArrayFromImage(image).T.reshape(truth.shape), truth, rtol=1e-6)
    assert read > 100


REFUSED = {
    "byteswapped_half.nii", "datatype_rgb.nii", "dim0_nine.nii", "dim_negative.nii", "empty.nii",
    "gz_named_nii.nii",
    "header_only.nii", "huge_dims_377bytes.nii", "magic_bad.nii", "pixdim_negative.nii", "sform_nan.nii",
    "sform_zero.nii", "sizeof_hdr_bad.nii", "truncated_gzip.nii.gz", "vector_5d.nii", "vox_offset_1e30.nii",
    "vox_offset_neg.nii",
}  # fmt: skip
READ = {"good.nii", "no_qform_no_sform.nii", "qform_sform_disagree.nii", "scl_slope_nan.nii", "one_voxel.nii"}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_hostile_file_of_the_shared_set_is_refused(shared_data, name):
    with pytest.raises(InputError) as caught:
        load(shared_data / "bad-nifti" / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(READ | {"all_nan.nii"}))
def test_an_odd_file_of_the_shared_set_is_read_as_nibabel_reads_it(shared_data, name):
    path = shared_data / "bad-nifti" / name
    loaded, truth = load(path), nib.load(path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(loaded.image).T, np.asarray(truth.dataobj))
    if name == "no_qform_no_sform.nii":
        assert any("no orientation" in text for text in loaded.warnings)
    else:
        np.testing.assert_allclose(lps_affine(loaded.image), RAS_TO_LPS @ truth.affine, atol=1e-5)
    assert any("disagree" in text for text in loaded.warnings) == (name == "qform_sform_disagree.nii")


def test_no_file_of_the_shared_set_ends_in_anything_but_a_volume_or_a_refusal(shared_data):
    paths = sorted((shared_data / "bad-nifti").iterdir())
    assert paths
    for path in paths:
        with contextlib.suppress(InputError):
            assert load(path).image.GetDimension() == 3


@pytest.mark.parametrize("name", ["anatomical.nii", "example_mr_sm.nii.gz", "reoriented_anat_moved.nii"])
def test_real_files_read_as_nibabel_reads_them(shared_data, name):
    path = shared_data / "tiny-nifti" / name
    image, truth = load(path).image, nib.load(path)
    np.testing.assert_allclose(sitk.GetArrayFromImage(image).T, truth.get_fdata(), rtol=1e-6)
    np.testing.assert_allclose(lps_affine(image), RAS_TO_LPS @ truth.affine, atol=1e-3)


@pytest.mark.parametrize("name", ["example4d.nii.gz", "example_nifti2.nii.gz", "functional.nii"])
def test_real_4d_files_read_as_nibabel_reads_them(shared_data, name):
    path = shared_data / "tiny-nifti" / name
    image, truth = nifti.read(path, 1).image, nib.load(path)
    np.testing.assert_allclose(sitk.GetArrayFromImage(image).T, truth.get_fdata()[..., 1], rtol=1e-6)
    np.testing.assert_allclose(lps_affine(image), RAS_TO_LPS @ truth.affine, atol=1e-3)
