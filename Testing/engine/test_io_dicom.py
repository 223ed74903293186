"""DICOM series against SimpleITK's GDCM reader, and the ways in which phases are told apart."""

import random
import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from io_samples import MrSeries, assert_same, gdcm, lps_affine, oblique_image, rotation
from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.dicom import headers, study_folder
from VirtualContrastLib.io.dicom.files import begins_as_data_set
from VirtualContrastLib.io.read import load


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


@pytest.mark.parametrize(("length", "expected"), [(0, False), (1, True), (1024, True), (1025, False)])
def test_a_file_without_mark_is_dicom_by_a_first_element_of_plausible_length(length, expected):
    implicit = b"\x08\0\x05\0" + length.to_bytes(4, "little") + bytes(8)
    assert begins_as_data_set(implicit) is expected
    assert begins_as_data_set(b"\x08\0\x05\0CS\x0a\0ISO_IR 100"), "an explicit one names its kind of value"
    assert not begins_as_data_set(b"\x10\0" + implicit[2:]) and not begins_as_data_set(implicit[:15])
