"""DICOM series against SimpleITK's GDCM reader, and the ways in which phases are told apart."""

import random
import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from io_samples import MrSeries, lps_affine, oblique_image, rotation
from pydicom.pixels import pixel_array
from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.dicom import headers, study_folder
from VirtualContrastLib.io.dicom import series as dicom
from VirtualContrastLib.io.dicom.headers import begins_as_data_set
from VirtualContrastLib.io.read import load, read_study


def gdcm(folder):
    """The volume as SimpleITK's own series reader gives it, sorted along the slice normal."""
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    return sitk.ReadImage(names)


def assert_same(image, truth, rtol=0.0):
    np.testing.assert_allclose(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(truth), rtol=rtol)
    np.testing.assert_allclose(lps_affine(image), lps_affine(truth), atol=1e-6)


@pytest.mark.parametrize("slope, intercept", [(1.0, 0.0), (2.0, -100.0), (1.08205128205128, 0.5)])
@pytest.mark.parametrize("flip", [(1, 1, 1), (1, -1, -1), (-1, -1, 1)])
def test_an_oblique_series_with_shuffled_names_reads_as_gdcm_reads_it(tmp_path, slope, intercept, flip):
    image = oblique_image(direction=rotation() * flip)
    MrSeries(image, slope=slope, intercept=intercept).write(tmp_path / "s")
    read = load(tmp_path / "s").image
    assert_same(read, gdcm(tmp_path / "s"), rtol=1e-7)
    np.testing.assert_allclose(lps_affine(read), lps_affine(image), atol=1e-6)
    exact = sitk.GetArrayFromImage(image) * slope + intercept
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), exact.astype(np.float32))


def test_without_rescaling_the_stored_integers_are_kept(tmp_path):
    MrSeries(oblique_image()).write(tmp_path / "s")
    assert load(tmp_path / "s").image.GetPixelID() == sitk.sitkInt16


def test_slices_may_each_have_their_own_rescale_slope(tmp_path):
    MrSeries(oblique_image()).write(tmp_path / "s", RescaleSlope=lambda k: str(1 + k / 4), RescaleIntercept="0")
    stored = sitk.GetArrayFromImage(oblique_image())
    got = sitk.GetArrayFromImage(load(tmp_path / "s").image)
    np.testing.assert_array_equal(got, stored * (1 + np.arange(9)[:, None, None] / 4))


@pytest.mark.parametrize("function", ["_series_header", "_tags"])
def test_a_fault_of_our_own_is_not_called_a_damaged_file(tmp_path, monkeypatch, function):
    def broken(*args):
        raise TypeError("a fault of ours")

    MrSeries(oblique_image()).write(tmp_path / "s")
    monkeypatch.setattr(headers, function, broken)
    with pytest.raises(TypeError, match="a fault of ours"):
        load(tmp_path / "s")


@pytest.mark.parametrize(
    "values",
    [
        {"RescaleSlope": ["1", "2"]},
        {"SamplesPerPixel": [1, 3]},
        {"ImageOrientationPatient": [1, 0, 0, 0, 1]},
        {"PixelSpacing": [0.7]},
        {"InstanceNumber": ["1", "2"]},
    ],
)
def test_a_value_that_cannot_be_used_is_a_damaged_file(tmp_path, values):
    MrSeries(oblique_image()).write(tmp_path / "s", **values)
    with pytest.raises(InputError, match="is a damaged DICOM file"):
        load(tmp_path / "s")


def test_a_file_that_is_replaced_between_its_header_and_its_pixels_is_refused(tmp_path, monkeypatch):
    MrSeries(oblique_image()).write(tmp_path / "s")
    split = study_folder.split_phases

    def replacing(frames, name):
        path = frames[0].path
        other = pydicom.dcmread(path)
        other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        other.save_as(path)
        return split(frames, name)

    monkeypatch.setattr(study_folder, "split_phases", replacing)
    with pytest.raises(InputError, match="replaced by another image"):
        load(tmp_path / "s")


def test_a_missing_slice_is_refused_with_its_place(tmp_path):
    MrSeries(oblique_image()).write(tmp_path / "s", skip=(4,))
    with pytest.raises(InputError, match=r"gap of 4\.20 mm between slices 4 and 5 where 2\.10 mm is usual"):
        load(tmp_path / "s")


@pytest.mark.parametrize("spacing_mm", [1.4, 3.0])
def test_gaps_may_differ_by_2_percent_of_the_spacing_and_no_more(tmp_path, spacing_mm):
    """One slice of nine is moved along the normal; the gaps before and after it change by as much."""
    image = oblique_image(spacing=(0.7, 0.8, spacing_mm))
    for percent in (1.9, 2.1):
        folder = tmp_path / f"{percent}"
        MrSeries(image).write(folder)
        for path in folder.iterdir():
            dataset = pydicom.dcmread(path)
            if dataset.InstanceNumber == 5:
                place = image.TransformContinuousIndexToPhysicalPoint((0, 0, 4 + percent / 100))
                dataset.ImagePositionPatient = [f"{value:.10g}" for value in place]
                dataset.save_as(path)
    assert load(tmp_path / "1.9").image.GetSize() == image.GetSize()
    with pytest.raises(InputError, match=f"where {spacing_mm:.2f} mm is usual"):
        load(tmp_path / "2.1")


def test_a_doubled_slice_is_refused(tmp_path):
    series = MrSeries(oblique_image())
    series.write(tmp_path / "s")
    series.write(tmp_path / "s", skip=[k for k in range(9) if k != 3], name="again.dcm")
    with pytest.raises(InputError, match=r"holds 2 images where 1 is expected.*again\.dcm"):
        load(tmp_path / "s")


def test_a_copied_file_is_refused(tmp_path):
    MrSeries(oblique_image()).write(tmp_path / "s")
    shutil.copy(next((tmp_path / "s").iterdir()), tmp_path / "s" / "copy.dcm")
    with pytest.raises(InputError, match="same image twice"):
        load(tmp_path / "s")


def test_a_sheared_stack_is_refused(tmp_path):
    MrSeries(oblique_image(direction=np.eye(3))).write(
        tmp_path / "s", ImagePositionPatient=lambda k: [0.4 * k, 0.0, 2.1 * k]
    )
    with pytest.raises(InputError, match="sheared"):
        load(tmp_path / "s")


PHASE_TAGS = {
    "trigger": lambda n: {"TriggerTime": 90000.0 * n},
    "temporal": lambda n: {"TemporalPositionIdentifier": n + 1, "TriggerTime": 0},
    "acquisition": lambda n: {"AcquisitionTime": f"10{n:02d}30.25", "TemporalPositionIdentifier": 1},
    "acquisition of each slice": lambda n: {"AcquisitionTime": lambda k: f"10{n:02d}{3 * k:02d}.5"},
    "date and time": lambda n: {"AcquisitionDateTime": ("20240101235900.0", "20240102000100", "2024010201")[n]},
    "content": lambda n: {"ContentTime": f"11{n:02d}00", "AcquisitionTime": "090000"},
    "instance number": lambda n: {"AcquisitionTime": "090000", "TemporalPositionIdentifier": 1},
}  # fmt: skip


@pytest.mark.parametrize("tag", PHASE_TAGS)
@pytest.mark.parametrize("interleaved", [True, False])
def test_phases_are_told_apart_by_each_tag(tmp_path, tag, interleaved):
    series = MrSeries(oblique_image())
    for n in (2, 0, 1):
        first, step = (n + 1, 3) if interleaved else (9 * n + 1, 1)
        series.write(tmp_path / "s", phase=n, first_instance=first, step=step, **PHASE_TAGS[tag](n))
    stored = sitk.GetArrayFromImage(oblique_image())
    for n in range(3):
        loaded = load(f"{tmp_path / 's'}@{n}")
        np.testing.assert_array_equal(sitk.GetArrayFromImage(loaded.image), stored + n)
        assert any("no time tag" in text for text in loaded.warnings) == (tag == "instance number")
    with pytest.raises(InputError, match=r"s holds 3 phases \(0.*1.*2.*\); choose one, as in s@0\."):
        load(tmp_path / "s")


def test_trigger_time_goes_before_acquisition_time(tmp_path):
    series = MrSeries(oblique_image())
    for n in range(2):
        series.write(tmp_path / "s", phase=n, TriggerTime=1000.0 * n, AcquisitionTime=f"1{1 - n}0000")
    stored = sitk.GetArrayFromImage(oblique_image())
    np.testing.assert_array_equal(sitk.GetArrayFromImage(load(f"{tmp_path / 's'}@1").image), stored + 1)


def test_a_phase_that_lacks_a_slice_is_refused_with_its_place(tmp_path):
    series = MrSeries(oblique_image())
    for n in range(3):
        series.write(tmp_path / "s", phase=n, skip=(5,) if n == 1 else (), TriggerTime=1000.0 * n)
    with pytest.raises(InputError, match="lacks a slice: 2 of 3 phases have one at"):
        load(f"{tmp_path / 's'}@0")


def test_phases_that_each_lack_another_slice_are_not_mixed(tmp_path):
    series = MrSeries(oblique_image())
    for n in range(3):
        skip = [k for k in range(9) if k % 3 == n]
        series.write(tmp_path / "s", phase=n, skip=skip, TriggerTime=1000.0 * n, InstanceNumber=None)
    with pytest.raises(InputError, match="no tag that distinguishes the phases"):
        load(f"{tmp_path / 's'}@0")


def test_echoes_of_one_series_are_not_taken_for_phases(tmp_path):
    series = MrSeries(oblique_image())
    for n in range(2):
        series.write(tmp_path / "s", phase=n, EchoTime=1.2 + n, AcquisitionTime=f"10{n}000")
    with pytest.raises(InputError, match="2 different series"):
        load(f"{tmp_path / 's'}@0")


def test_series_of_one_dynamic_examination_are_its_phases(tmp_path):
    for n in (1, 0, 2):
        series = MrSeries(oblique_image(), SeriesNumber=5 + n, description=f"dyn {n}")
        series.write(tmp_path / "s", phase=n, AcquisitionTime=f"10{2 * n:02d}00")
    with pytest.raises(InputError, match=r"3 phases \(0: 0 s dyn 0, 1: 120 s dyn 1, 2: 240 s dyn 2\)"):
        load(tmp_path / "s")
    stored = sitk.GetArrayFromImage(oblique_image())
    np.testing.assert_array_equal(sitk.GetArrayFromImage(load(f"{tmp_path / 's'}@2").image), stored + 2)


def test_different_series_are_listed_without_patient_names(tmp_path):
    MrSeries(oblique_image(), description="t2 tirm").write(tmp_path / "s", AcquisitionTime="100000")
    other = oblique_image(spacing=(1.0, 1.0, 2.1))
    MrSeries(other, description="t1 fl3d", SeriesNumber=4).write(
        tmp_path / "s", AcquisitionTime="110000", name="b{k}.dcm"
    )
    with pytest.raises(InputError, match=r"3 \(MR, t2 tirm, 9 images\), 4 \(MR, t1 fl3d, 9 images\)") as caught:
        load(tmp_path / "s")
    assert "Secret" not in str(caught.value)
    assert "4711" not in str(caught.value)


def test_times_of_real_phases_come_from_the_header_and_are_overruled_by_the_user(tmp_path):
    series = MrSeries(oblique_image())
    for n in range(3):
        series.write(tmp_path / "s", phase=n, TriggerTime=95500.0 * n)
    folder = tmp_path / "s"
    real = [f"{folder}@1", f"{folder}@2"]
    assert [phase.time_s for phase in read_study(f"{folder}@0", real).real] == [95.5, 191.0]
    assert [phase.time_s for phase in read_study(f"{folder}@0", real, times_s=[60, 120]).real] == [60, 120]


def test_times_between_folders_use_the_acquisition_time_over_midnight(tmp_path):
    MrSeries(oblique_image()).write(tmp_path / "a", AcquisitionTime="235930.5", TriggerTime=0)
    MrSeries(oblique_image()).write(
        tmp_path / "b", AcquisitionDate="20240102", AcquisitionTime="000100.0", TriggerTime=70000
    )
    assert read_study(tmp_path / "a", [tmp_path / "b"]).real[0].time_s == 89.5


def test_times_stay_unknown_where_the_header_tells_none_or_goes_backwards(tmp_path):
    MrSeries(oblique_image()).write(tmp_path / "a", AcquisitionTime="110000")
    MrSeries(oblique_image()).write(tmp_path / "b", AcquisitionTime="100000")
    MrSeries(oblique_image()).write(tmp_path / "c")
    assert read_study(tmp_path / "a", [tmp_path / "b"]).real[0].time_s is None
    assert read_study(tmp_path / "a", [tmp_path / "c"]).real[0].time_s is None


@pytest.mark.parametrize(
    "tags, words",
    [
        ({"Modality": "CT"}, "modality CT"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "color images"),
        ({"ImagePositionPatient": None}, "no position in space"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "right angles"),
        ({"PixelSpacing": [0, 0]}, "not positive"),
        ({"RescaleSlope": "0", "RescaleIntercept": "0"}, "rescale slope"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "mosaic"),
        ({"PixelData": b"\0" * 100}, "cut off"),
        ({"Rows": 65535, "Columns": 65535}, "more than any breast volume|cut off"),
    ],
)
def test_an_unusable_series_is_refused_in_one_sentence(tmp_path, tags, words):
    MrSeries(oblique_image()).write(tmp_path / "s")
    for path in (tmp_path / "s").iterdir():
        dataset = pydicom.dcmread(path)
        for key, value in tags.items():
            delattr(dataset, key) if value is None else setattr(dataset, key, value)
        dataset.save_as(path)
    with pytest.raises(InputError, match=words) as caught:
        load(tmp_path / "s")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tags", [{"Modality": "CT"}, {"PhotometricInterpretation": "MONOCHROME1"}])
def test_one_slice_of_another_kind_refuses_the_series(tmp_path, tags):
    MrSeries(oblique_image()).write(tmp_path / "s")
    path = sorted((tmp_path / "s").iterdir())[2]
    dataset = pydicom.dcmread(path)
    for key, value in tags.items():
        setattr(dataset, key, value)
    dataset.save_as(path)
    with pytest.raises(InputError, match="mixes images of MR"):
        load(tmp_path / "s")


def test_a_header_that_looks_post_contrast_or_unsuppressed_is_warned_of(tmp_path):
    def warnings_of(**tags):
        shutil.rmtree(tmp_path / "s", ignore_errors=True)
        MrSeries(oblique_image(), **{"description": "ax t1 fs pre"} | tags).write(tmp_path / "s")
        loaded = load(tmp_path / "s")
        return " ".join((*loaded.refusals, *loaded.contrast_warnings))

    assert warnings_of() == ""
    assert "contrast agent" in warnings_of(ContrastBolusAgent="Gadovist")
    assert "post-contrast" in warnings_of(description="ax t1 fs post")
    assert "post-contrast" in warnings_of(description="t1 fs +C")
    assert warnings_of(description="t1 fs without contrast") == ""
    assert "fat suppression" in warnings_of(description="ax t1", ScanOptions=["PFP"])
    assert warnings_of(description="ax t1", ScanOptions=["PFP", "FS"]) == ""
    assert "T1-weighted" in warnings_of(EchoTime=80.0)
    assert "T1-weighted" in warnings_of(EchoTime=20.5) and warnings_of(EchoTime=20.0) == ""
    assert "T1-weighted" in warnings_of(DiffusionBValue=0.5) and warnings_of(DiffusionBValue=0.0) == ""


def test_a_mammogram_gets_the_pixel_spacing_of_its_detector(tmp_path):
    MrSeries(oblique_image()[:, :, :1]).write(tmp_path / "s")
    path = next((tmp_path / "s").iterdir())
    dataset = pydicom.dcmread(path)
    dataset.Modality, dataset.ImagerPixelSpacing = "MG", [0.094, 0.1]
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.PixelSpacing
    dataset.save_as(path)
    loaded = load(path)
    assert loaded.modality == "MG"
    assert loaded.image.GetSpacing()[:2] == (0.1, 0.094)
    assert loaded.has_geometry


def test_a_folder_may_hold_other_files_and_a_series_in_a_subfolder(tmp_path):
    (tmp_path / "study").mkdir()
    MrSeries(oblique_image()).write(tmp_path / "study" / "series")
    (tmp_path / "study" / "notes.txt").write_text("hello")
    (tmp_path / "study" / "series" / "notes.txt").write_text("hello")
    assert load(tmp_path / "study").image.GetSize() == (20, 18, 9)


def test_damaged_bytes_give_a_volume_or_a_clean_refusal(tmp_path, capfd):
    MrSeries(oblique_image()).write(tmp_path / "s", skip=range(1, 9))
    path = next((tmp_path / "s").iterdir())
    good, chance = path.read_bytes(), random.Random(3)
    refused = 0
    for _ in range(150):
        data = bytearray(good[: chance.choice((len(good), len(good), chance.randrange(len(good))))])
        for _ in range(chance.choice((1, 3, 10))):
            data[chance.randrange(min(len(data), 1400))] = chance.randrange(256)
        path.write_bytes(data)
        try:
            load(path)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 50
    assert capfd.readouterr().err == ""


# Real data

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


@pytest.mark.parametrize(("length", "expected"), [(0, False), (1, True), (1024, True), (1025, False)])
def test_a_file_without_mark_is_dicom_by_a_first_element_of_plausible_length(length, expected):
    implicit = b"\x08\0\x05\0" + length.to_bytes(4, "little") + bytes(8)
    assert begins_as_data_set(implicit) is expected
    assert begins_as_data_set(b"\x08\0\x05\0CS\x0a\0ISO_IR 100"), "an explicit one names its kind of value"
    assert not begins_as_data_set(b"\x10\0" + implicit[2:]) and not begins_as_data_set(implicit[:15])
