"""Masks as users have them, on any grid of the same patient (files.md D5), and tables as Excel saves them (D6)."""

import numpy as np
import pytest
import SimpleITK as sitk
from io_samples import oblique_image
from VirtualContrastLib.errors import without_values
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.io.lesion_mask import read_lesions
from VirtualContrastLib.io.tables import read_rows, seconds_of
from VirtualContrastLib.io.volumes import like
from VirtualContrastLib.run.batch_cases import read_cases
from VirtualContrastLib.run.settings import RunSettings

PRE = oblique_image()
LABELS = np.zeros((9, 18, 20), np.uint8)
LABELS[2:5, 3:8, 4:9], LABELS[5:8, 10:14, 12:17] = 1, 2


def read(image, tmp_path, name="mask.nrrd"):
    sitk.WriteImage(image, str(tmp_path / name))
    events = Events()
    labels, _ = read_lesions(tmp_path / name, PRE, events)
    return sitk.GetArrayFromImage(labels), " ".join(events.warnings)


def test_other_axis_order_crop_and_small_shift_give_the_same_voxels(tmp_path):
    mask = like(LABELS, PRE)
    shifted = like(LABELS, PRE)
    shifted.SetOrigin(PRE.TransformContinuousIndexToPhysicalPoint((0.08, 0, 0)))
    flipped = sitk.Flip(sitk.PermuteAxes(mask, (1, 0, 2)), (True, False, True))
    for other in (flipped, mask[2:18, 1:16, 1:9], shifted):
        found, told = read(other, tmp_path)
        np.testing.assert_array_equal(found, LABELS)
        assert "resampled" in told
    assert read(mask, tmp_path)[1] == ""


def test_soft_masks_count_from_a_half_and_labels_may_be_floats(tmp_path):
    soft = np.where(LABELS == 1, 0.9, np.where(LABELS == 2, 0.4, 0.0)).astype(np.float32)
    np.testing.assert_array_equal(read(like(soft, PRE), tmp_path)[0], LABELS == 1)
    np.testing.assert_array_equal(read(like(LABELS.astype(np.float32), PRE), tmp_path)[0], LABELS)
    for values, words in ((0.3 * soft, "empty"), (soft * 5, "not labels"), (0 * soft, "empty")):
        with pytest.raises(InputError, match=words):
            read(like(values.astype(np.float32), PRE), tmp_path)


def test_a_mask_that_lies_elsewhere_is_refused(tmp_path):
    mask = like(LABELS, PRE)
    mask.SetOrigin((500.0, 0.0, 0.0))
    with pytest.raises(InputError, match="0 % of it would be left"):
        read(mask, tmp_path)


def test_all_segments_of_a_layered_segmentation_are_read(tmp_path):
    layers = sitk.Compose([like((n == LABELS).astype(np.uint8), PRE) for n in (1, 2)])
    for n in (0, 1):
        layers.SetMetaData(f"Segment{n}_LabelValue", "1")
        layers.SetMetaData(f"Segment{n}_Layer", str(n))
    np.testing.assert_array_equal(read(layers, tmp_path, "lesions.seg.nrrd")[0], LABELS)


def test_segments_that_overlap_are_told(tmp_path):
    layers = sitk.Compose([like(part.astype(np.uint8), PRE) for part in (LABELS == 1, LABELS > 0)])
    for n in (0, 1):
        layers.SetMetaData(f"Segment{n}_LabelValue", "1")
        layers.SetMetaData(f"Segment{n}_Layer", str(n))
    assert f"overlap: {np.count_nonzero(LABELS == 1)} voxels" in read(layers, tmp_path, "lesions.seg.nrrd")[1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_of_excel_are_read(tmp_path, encoding, delimiter):
    rows = [["Case", "Input", "Notes", "Real-Times", "real1"], ["Müller", "a.nrrd", "x", "1:30", "b.nrrd"], [""] * 5]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    (tmp_path / "t.csv").write_bytes((f"sep={delimiter}\r\n{text}").encode(encoding))
    (case,) = read_cases(tmp_path / "t.csv")
    assert (case.name, case.settings["real_times_s"]) == ("Müller", (90.0,))
    assert read_rows(tmp_path / "t.csv")[0][0] == 2


def test_what_a_table_cannot_mean_is_refused(tmp_path):
    for name, cell in (("summary.csv", "a.nrrd"), ("x", "~nobody-there/x.nrrd")):
        (tmp_path / "t.csv").write_text(f"case,input\n{name},{cell}\n")
        with pytest.raises(InputError, match=r"file of the batch|no such user"):
            read_cases(tmp_path / "t.csv")
    assert [seconds_of(cell) for cell in ("90", "1:30", "1:02:03", "90,5")] == [90.0, 90.0, 3723.0, 90.5]


@pytest.mark.parametrize("times", [(1.5, 3.7, 5.8), (90000.0, 220000.0), (1.0, 2.0)])
def test_minutes_and_milliseconds_given_for_seconds_are_refused(times):
    for name in ("times_s", "real_times_s"):
        with pytest.raises(InputError, match="look like"):
            RunSettings(**{name: times})
    with pytest.raises(InputError, match="seed"):
        RunSettings(seed=-1)


def test_texts_of_libraries_lose_the_values_in_them():
    for text in (
        "Unable to convert '1970-01-02' to 'DA' object",
        'The string "Secretname" is unlikely',
        "PN Doe^Jane bad",
    ):
        left = without_values(text)
        assert not any(word in left for word in ("1970", "Secretname", "Doe", "Jane"))
