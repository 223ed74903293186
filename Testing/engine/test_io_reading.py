"""Specs, studies and the gate."""

import hashlib

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from io_samples import oblique_image
from VirtualContrastLib.events import CancelledError, Events, InputError
from VirtualContrastLib.io import validation, volumes
from VirtualContrastLib.io.read import load, read_study, read_volume, split_spec
from VirtualContrastLib.study import Source

MEMORY = Source((), "memory", "")
MR = Source((), "memory", "", "MR")


def written(path, image=None):
    volumes.write(image or oblique_image(), path)
    return path


def test_a_study_holds_images_sources_and_phase_numbers(tmp_path):
    pre, post = written(tmp_path / "pre.nrrd"), written(tmp_path / "post.nii.gz", oblique_image() + 40)
    study = read_study(str(pre), [post], times_s=[75.0])
    assert (study.pre.name, study.pre.time_s, study.pre.synthetic) == ("pre", 0.0, False)
    assert [(p.name, p.time_s, p.synthetic) for p in study.real] == [("phase_1", 75.0, False)]
    assert study.source.sha256 == hashlib.sha256(pre.read_bytes()).hexdigest()
    assert study.source.files == (pre,)
    assert [source.format for source in (study.source, *study.real_sources)] == ["nrrd", "nifti"]
    assert study.has_geometry
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(study.real[0].image), sitk.GetArrayFromImage(oblique_image()) + 40
    )


def test_real_phases_on_another_grid_are_refused(tmp_path):
    pre = written(tmp_path / "pre.nrrd")
    other = written(tmp_path / "post.nrrd", oblique_image(origin=(0.0, 0.0, 0.0)))
    with pytest.raises(InputError, match=r"post\.nrrd does not lie on the voxels of pre\.nrrd.* mm apart"):
        read_study(pre, [other])


@pytest.mark.parametrize("times", [[], [10.0, 20.0], [0.0], [-5.0], [float("nan")], [float("inf")]])
def test_times_that_do_not_fit_are_refused(tmp_path, times):
    pre = written(tmp_path / "pre.nrrd")
    with pytest.raises(InputError, match="times"):
        read_study(pre, [pre], times_s=times)


def test_times_must_increase(tmp_path):
    pre = written(tmp_path / "pre.nrrd")
    with pytest.raises(InputError, match="increasing"):
        read_study(pre, [pre, pre], times_s=[60.0, 60.0])


def test_a_path_that_exists_with_an_at_sign_has_no_time_point(tmp_path):
    path = written(tmp_path / "scan@2.nrrd")
    assert split_spec(path) == (path, None)
    assert split_spec(f"{path}@3") == (path, 3)
    assert split_spec("C:/a/b.nii.gz@0")[1] == 0
    assert split_spec("a@b/c.nii")[1] is None
    (tmp_path / "folder@1").mkdir()
    assert split_spec(tmp_path / "folder@1") == (tmp_path / "folder@1", None)


def test_time_point_zero_of_a_3d_file_is_the_file(tmp_path):
    path = written(tmp_path / "v.nrrd")
    assert volumes.same_geometry(load(f"{path}@0").image, oblique_image()) == ""
    with pytest.raises(InputError, match=r"v\.nrrd@1 does not exist: v\.nrrd holds one volume"):
        load(f"{path}@1")


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"hello world\n" * 50, bytes(range(256)) * 4, b"\x1f\x8b" + b"\0" * 90]
)
@pytest.mark.parametrize(
    "name", ["a.nii", "a.nii.gz", "a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.png", "a.dcm", "a.txt", "a"]
)
def test_garbage_under_any_name_is_refused_in_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_missing_files_and_folders_without_images_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"gone\.nii does not exist"):
        read_volume(tmp_path / "gone.nii")
    with pytest.raises(InputError, match="folder without DICOM"):
        read_volume(tmp_path)
    with pytest.raises(InputError):
        read_volume("x" * 5000)
    assert InputError.exit_code == 2


def test_names_in_headers_do_not_travel_on(tmp_path):
    image = oblique_image()
    image.SetMetaData("DICOM.PatientName", "Secret^Name")
    sitk.WriteImage(image, str(tmp_path / "v.nrrd"))
    study = read_study(tmp_path / "v.nrrd")
    assert study.pre.image.GetMetaDataKeys() == ()
    assert "Secret" not in repr(study.source)


def test_a_cancelled_run_stops_before_reading(tmp_path):
    events = Events()
    events.cancel()
    with pytest.raises(CancelledError):
        read_study(written(tmp_path / "v.nrrd"), events=events)


def test_a_pixel_spacing_for_a_volume_is_ignored_with_a_warning(tmp_path):
    events = Events()
    study = read_study(written(tmp_path / "v.nrrd"), pixel_spacing_mm=3.0, events=events)
    assert study.pre.image.GetSpacing() == pytest.approx((0.7, 0.8, 2.1))
    assert any("for pictures only" in text for text in events.warnings)


# The gate


def test_a_good_volume_passes_without_a_word():
    events = Events()
    validation.check_volume(oblique_image(), MR, events=events)
    assert events.warnings == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_voxel_that_is_no_number_is_refused(value):
    array = np.random.default_rng(0).normal(size=(9, 18, 20)).astype(np.float32)
    array[8, 17, 19] = value
    with pytest.raises(InputError, match="NaN or infinite"):
        validation.check_volume(oblique_image(array), MR, events=Events())


@pytest.mark.parametrize("value", [0, -5, 1000])
def test_a_constant_volume_is_refused(value):
    with pytest.raises(InputError, match=f"same value \\({value:g}\\)"):
        validation.check_volume(oblique_image(np.full((9, 18, 20), value, np.int16)), MR, events=Events())


@pytest.mark.parametrize(
    ("factor", "passes"), [(1e20, False), (-1e20, False), (1e10, True), (1e-3, True), (1e-9, False)]
)
def test_values_that_networks_would_silently_take_for_nothing_are_refused(factor, passes):
    array = np.random.default_rng(0).uniform(0, 1, size=(9, 18, 20)) * factor
    if passes:
        validation.check_volume(oblique_image(array.astype(np.float32)), MR, events=Events())
    else:
        with pytest.raises(InputError, match="beyond any unit of an image"):
            validation.check_volume(oblique_image(array.astype(np.float32)), MR, events=Events())


@given(st.floats(min_value=1e-6, max_value=1e4), st.integers(0, 2))
def test_spacings_pass_exactly_between_the_limits(value, axis):
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = value
    image = oblique_image(spacing=spacing)
    if 0.05 <= value <= 50.0:
        validation.check_volume(image, MR, events=Events())
    else:
        with pytest.raises(InputError, match="voxel spacing"):
            validation.check_volume(image, MR, events=Events())


@pytest.mark.parametrize(
    "shape, passes", [((9, 16, 16), True), ((9, 15, 40), False), ((9, 40, 15), False), ((1, 16, 16), True)]
)
def test_fewer_than_16_voxels_in_plane_are_refused(shape, passes):
    image = oblique_image(np.random.default_rng(0).integers(0, 900, shape).astype(np.int16))
    if passes:
        validation.check_volume(image, MR, events=Events())
    else:
        with pytest.raises(InputError, match="in plane"):
            validation.check_volume(image, MR, events=Events())


@pytest.mark.parametrize("modality", ["CT", "US", "PT", "SEG", ""])
def test_other_modalities_are_refused(modality):
    with pytest.raises(InputError, match="modality"):
        validation.check_volume(oblique_image(), Source((), "dicom", "", modality), events=Events())


def test_vectors_complex_numbers_4d_and_sheared_axes_are_refused():
    image = oblique_image()
    sheared = oblique_image(direction=np.array([[1, 0.2, 0], [0, 0.98, 0], [0, 0, 1]]))
    for bad, words in [
        (sitk.Compose(image, image), "values per voxel"),
        (
            sitk.RealAndImaginaryToComplex(sitk.Cast(image, sitk.sitkFloat32), sitk.Cast(image, sitk.sitkFloat32)),
            "complex",
        ),
        (sitk.JoinSeries([image, image]), "4 dimensions"),
        (sheared, "right angles"),
    ]:
        with pytest.raises(InputError, match=words):
            validation.check_volume(bad, MR, events=Events())


@pytest.mark.parametrize(
    "array, warned",
    [
        (np.arange(256).reshape(1, 16, 16).repeat(9, 0).astype(np.uint8), True),
        (np.arange(256).reshape(1, 16, 16).repeat(9, 0).astype(np.float32), True),
        (np.arange(256).reshape(1, 16, 16).repeat(9, 0).astype(np.float32) + 0.5, False),
        (np.arange(256).reshape(1, 16, 16).repeat(9, 0).astype(np.int16) + 1, False),
        (np.arange(256).reshape(1, 16, 16).repeat(9, 0).astype(np.int16) - 1, False),
    ],
)
def test_whole_numbers_from_0_to_255_are_warned_of(array, warned):
    events = Events()
    validation.check_volume(oblique_image(array), MR, events=events)
    assert any("8-bit" in text for text in events.warnings) == warned


def test_few_slices_and_an_unknown_modality_are_warned_of():
    events = Events()
    validation.check_volume(oblique_image()[:, :, :3], MEMORY, events=events)
    assert any("only 3 slice" in text for text in events.warnings)
    assert any("does not record the modality" in text for text in events.warnings)


def test_the_gate_sees_nan_in_a_nifti_file_that_itk_would_hide(tmp_path):
    voxels = np.random.default_rng(0).normal(size=(20, 18, 9)).astype(np.float32)
    voxels[0, 0, 0] = np.nan
    nib.Nifti1Image(voxels, np.eye(4)).to_filename(tmp_path / "v.nii")
    with pytest.raises(InputError, match=r"v\.nii holds voxels that are NaN"):
        read_volume(tmp_path / "v.nii")


def test_every_bad_nifti_of_the_shared_set_is_refused_by_the_whole_way(shared_data):
    paths = sorted((shared_data / "bad-nifti").iterdir())
    assert paths
    for path in paths:  # all are also below 16 voxels in plane
        with pytest.raises(InputError, match=path.name):
            read_volume(path)


def test_a_real_4d_series_with_a_time_point_passes(shared_data):
    path = shared_data / "breast-invivo-dce" / "derived_dce4d_assumed_spacing.nii.gz"
    study = read_study(f"{path}@3", [f"{path}@13"])
    assert study.pre.image.GetSize() == (192, 192, 1)
    truth = np.asarray(nib.load(path).dataobj)
    np.testing.assert_allclose(sitk.GetArrayFromImage(study.real[0].image).T, truth[..., 13], rtol=1e-6)
