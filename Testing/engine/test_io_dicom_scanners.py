"""Files of scanners from pydicom's corpus, against GDCM's reading of them."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from io_samples import assert_same, gdcm
from pydicom.pixels import pixel_array
from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.dicom import series as dicom
from VirtualContrastLib.io.read import load, read_study

MR_FILES = [
    "MR_small", "MR_small_bigendian", "MR_small_implicit", "MR_small_jpeg_ls_lossless", "MR2_UNCI", "MR2_J2KI",
    "examples_overlay",
]  # fmt: skip


def test_every_file_of_pydicoms_corpus_reads_or_is_refused_in_one_sentence(shared_data):
    read = set()
    for path in sorted((shared_data / "bad-dicom").iterdir()):
        try:
            load(path)
            read.add(path.name)
        except InputError as error:
            assert "\n" not in str(error)
    assert "MR_truncated.dcm" not in read
    assert read == {f"{name}.dcm" for name in MR_FILES}


@pytest.mark.parametrize("name", MR_FILES)
def test_mr_files_of_the_corpus_read_as_gdcm_reads_them(shared_data, name):
    path = shared_data / "bad-dicom" / f"{name}.dcm"
    read, truth = load(path).image, sitk.ReadImage(str(path))
    np.testing.assert_allclose(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(truth), rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(read.GetOrigin(), truth.GetOrigin(), atol=1e-5)
    np.testing.assert_allclose(read.GetDirection(), truth.GetDirection(), atol=1e-5)
    np.testing.assert_allclose(read.GetSpacing()[:2], truth.GetSpacing()[:2])


def test_enhanced_and_classic_siemens_give_one_volume(shared_data):
    data = shared_data / "dicom-siemens-enh-vs-classic"
    classic, enhanced = load(data / "classic_t2"), load(f"{data / 'enhanced'}@1")
    assert_same(enhanced.image, classic.image)
    assert_same(load(data / "enhanced" / "0126.dcm").image, classic.image)
    assert_same(classic.image, gdcm(data / "classic_t2"))
    first_classic, first_enhanced = (
        sitk.GetArrayFromImage(load(spec).image) for spec in (data / "classic_t1", f"{data / 'enhanced'}@0")
    )
    assert (first_classic != first_enhanced).any(axis=(1, 2)).sum() == 1  # as INDEX.md says of this data set


def test_enhanced_phases_have_the_times_of_their_frames(shared_data):
    folder = shared_data / "dicom-siemens-enh-vs-classic" / "enhanced"
    study = read_study(f"{folder}@0", [f"{folder}@{n}" for n in range(1, 5)])
    assert [phase.time_s for phase in study.real] == pytest.approx([1.5, 3.0, 4.5, 6.0])


@pytest.mark.parametrize("posture", ["HFP", "HFS"])
def test_a_prone_sagittal_series_reads_as_gdcm_reads_it(shared_data, posture):
    folder = shared_data / "dicom-siemens-prone" / posture
    assert_same(load(folder).image, gdcm(folder))


def test_philips_volumes_without_a_time_tag_are_split_by_repeated_positions(shared_data):
    folder = shared_data / "dicom-philips" / "dti_vanderbilt_3vol"
    files = {int(pydicom.dcmread(f, specific_tags=["InstanceNumber"]).InstanceNumber): f for f in folder.iterdir()}
    for n in range(3):
        loaded = load(f"{folder}@{n}")
        volume = [files[number] for number in sorted(files)[n::3]]
        truth = sitk.GetArrayFromImage(sitk.ReadImage([str(path) for path in volume]))
        np.testing.assert_allclose(sitk.GetArrayFromImage(loaded.image), truth, rtol=1e-6)
        assert any("by instance number" in text for text in loaded.warnings)


def test_philips_volumes_with_a_trigger_time_are_split_by_it(shared_data):
    folder = shared_data / "dicom-philips" / "fmri_magdeburg"
    for n in range(3):
        loaded = load(f"{folder}@{n}")
        names = sorted(
            (f for f in loaded.files),
            key=lambda f: int(pydicom.dcmread(f, stop_before_pixels=True).InstanceNumber),
        )
        assert {float(pydicom.dcmread(f, stop_before_pixels=True).TriggerTime) for f in names} == {2000.0 * n}
        truth = sitk.ReadImage([str(f) for f in names])
        assert_same(loaded.image, truth, rtol=1e-6)
    assert read_study(f"{folder}@0", [f"{folder}@2"]).real[0].time_s == 4.0


def test_a_dynamic_series_of_many_times_is_split_by_acquisition_time(shared_data, tmp_path):
    source = shared_data / "qiba-dro" / "v4" / "DICOM"
    for n in (1, 61, 121):
        (tmp_path / f"dcemri_{n}.dcm").symlink_to(source / f"dcemri_testversion4_{n:03d}.dcm")
    study = read_study(f"{tmp_path}@0", [f"{tmp_path}@1", f"{tmp_path}@2"])
    assert [phase.time_s for phase in study.real] == [30.0, 60.0]
    for phase, n in zip((study.pre, *study.real), (1, 61, 121), strict=True):
        stored = pixel_array(source / f"dcemri_testversion4_{n:03d}.dcm")
        np.testing.assert_array_equal(sitk.GetArrayFromImage(phase.image)[0], stored)


def test_find_series_lists_all_series_of_a_folder(shared_data):
    found = dicom.find_series(shared_data / "dicom-siemens-enh-vs-classic")
    assert [(series.header.number, len(series.frames)) for series in found] == [
        ("5", 315),
        ("5001", 63),
        ("5002", 63),
    ]
    assert_same(dicom.read_series(found[2]), gdcm(shared_data / "dicom-siemens-enh-vs-classic" / "classic_t2"))
    with pytest.raises(InputError, match="5 phases"):
        dicom.read_series(found[0])


def test_two_postures_of_one_head_are_not_two_phases(shared_data):
    with pytest.raises(InputError, match="2 different series"):
        load(f"{shared_data / 'dicom-siemens-prone'}@1")
