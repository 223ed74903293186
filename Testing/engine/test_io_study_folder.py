"""Order and times of phases, and study folders as hospitals export them (files.md A2, A3, A5, A6, D1 to D4)."""

import re
import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from io_samples import MrSeries, oblique_image
from pydicom.uid import generate_uid
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.io.dicom import headers
from VirtualContrastLib.io.dicom.clocks import INJECTION, PRE_CONTRAST
from VirtualContrastLib.io.read import load, read_study

STORED = sitk.GetArrayFromImage(oblique_image())


def phase_of(loaded):
    """Which phase a volume is: MrSeries adds the number of the phase to every voxel."""
    difference = sitk.GetArrayFromImage(loaded.image) - STORED
    assert difference.min() == difference.max(), "a mix of phases"
    return int(difference.min())


def order_of(folder, count):
    return [phase_of(load(f"{folder}@{n}")) for n in range(count)]


def times_of(folder, count, events=None):
    real = [f"{folder}@{n}" for n in range(1, count)]
    return [phase.time_s for phase in read_study(f"{folder}@0", real, events=events or Events()).real]


def warnings_of(folder, index=0):
    return " ".join(load(f"{folder}@{index}").warnings)


MIDNIGHT = ["235800", "235930", "000140", "000350"]


@pytest.mark.parametrize("dates", [{"AcquisitionDate": None}, {}, {"AcquisitionDate": None, "SeriesDate": "20240101"}])
@pytest.mark.parametrize("separate", [False, True])
def test_an_examination_over_midnight_keeps_its_order_and_times(tmp_path, dates, separate):
    one = MrSeries(oblique_image())
    for n in (2, 0, 3, 1):
        series = MrSeries(oblique_image(), SeriesNumber=n + 1) if separate else one
        series.write(tmp_path / "s", phase=n, first_instance=9 * n + 1, AcquisitionTime=MIDNIGHT[n], **dates)
    assert order_of(tmp_path / "s", 4) == [0, 1, 2, 3]
    assert times_of(tmp_path / "s", 4) == [90.0, 220.0, 350.0]


def test_folders_without_dates_on_both_sides_of_midnight_have_a_time(tmp_path):
    MrSeries(oblique_image(), AcquisitionDate=None).write(tmp_path / "a", AcquisitionTime="235930")
    MrSeries(oblique_image(), AcquisitionDate=None).write(tmp_path / "b", AcquisitionTime="000100")
    assert read_study(tmp_path / "a", [tmp_path / "b"]).real[0].time_s == 90.0


@pytest.mark.parametrize("tag", ["TriggerTime", "TemporalPositionIdentifier"])
def test_tags_that_contradict_each_other_are_told_with_both_orders(tmp_path, tag):
    series = MrSeries(oblique_image())
    for n in range(4):
        value = 90000.0 * n if tag == "TriggerTime" else n + 1
        series.write(tmp_path / "s", phase=n, AcquisitionTime=f"10{3 - n:02d}00", **{tag: value})
    told = warnings_of(tmp_path / "s")
    assert f"{tag} orders the phases 0 1 2 3, which was used, and AcquisitionTime 3 2 1 0" in told


def test_series_whose_tags_contradict_each_other_are_told_with_both_orders(tmp_path):
    for n in range(3):
        series = MrSeries(oblique_image(), SeriesNumber=n + 1, TemporalPositionIdentifier=3 - n)
        series.write(tmp_path / "s", phase=n, AcquisitionTime=f"10{n:02d}00")
    told = warnings_of(tmp_path / "s")
    assert "the acquisition time orders them 1 2 3, which was used, and the temporal position 3 2 1" in told


def test_random_instance_numbers_without_a_time_are_refused(tmp_path):
    series = MrSeries(oblique_image())
    numbers = iter(np.random.default_rng(5).permutation(27) + 1)
    for n in range(3):
        series.write(tmp_path / "s", phase=n, InstanceNumber=lambda k: int(next(numbers)))
    with pytest.raises(InputError, match="neither phase by phase nor place by place"):
        load(f"{tmp_path / 's'}@0")


@pytest.mark.parametrize("tag", [{"AcquisitionTime": ("100000", "100130")}, {"InstanceNumber": (0, 100)}])
def test_a_second_phase_shifted_by_half_a_slice_is_refused(tmp_path, tag):
    first = oblique_image()
    second = oblique_image(origin=first.TransformContinuousIndexToPhysicalPoint((0, 0, 0.5)))
    (keyword, values), uid = next(iter(tag.items())), generate_uid()
    for n, image in enumerate((first, second)):
        value = (lambda k, start=values[n]: start + k) if keyword == "InstanceNumber" else values[n]
        MrSeries(image, series_uid=uid).write(tmp_path / "s", phase=n, **{keyword: value})
    with pytest.raises(InputError, match=r"2 phases whose slices interleave \(1.05 mm apart where 2.10"):
        load(tmp_path / "s")


@pytest.mark.parametrize("thickness", [1.05, 4.2, None])
@pytest.mark.parametrize("tags", [{"MRAcquisitionType": "3D"}, {"TriggerTime": (0.0, 90000.0)}])
def test_a_shifted_second_phase_is_refused_whatever_thickness_is_declared(tmp_path, thickness, tags):
    shifted_phases(tmp_path / "s", SliceThickness=thickness, **tags)
    with pytest.raises(InputError, match="2 phases whose slices interleave"):
        load(tmp_path / "s")


def test_slices_that_two_scans_or_one_interleaved_one_may_have_made_are_told(tmp_path):
    shifted_phases(tmp_path / "s", SliceThickness=1.05)
    assert "one slice in 2 is of another AcquisitionTime), or was scanned slice by slice" in warnings_of(tmp_path / "s")
    image = oblique_image()
    MrSeries(image, MRAcquisitionType="2D").write(
        tmp_path / "b", AcquisitionTime=lambda k: f"1000{5 * (k % 2) + k // 2:02d}"
    )
    assert "slices lie between" not in warnings_of(tmp_path / "b"), "each slice has its own time"


def shifted_phases(folder, **tags):
    """Two phases a minute apart in one series, the second half a slice further on; tuples are of each phase."""
    first, uid = oblique_image(), generate_uid()
    for n in range(2):
        image = oblique_image(origin=first.TransformContinuousIndexToPhysicalPoint((0, 0, 0.5 * n)))
        own = {key: value[n] if isinstance(value, tuple) else value for key, value in tags.items()}
        MrSeries(image, series_uid=uid).write(folder, phase=n, AcquisitionTime=f"10{n:02d}00", **own)


def test_slices_interpolated_to_half_their_thickness_are_one_volume(tmp_path):
    image = oblique_image()
    MrSeries(image).write(tmp_path / "s", SliceThickness=4.2, AcquisitionTime="100000")
    assert load(tmp_path / "s").image.GetSize() == image.GetSize()


def test_a_first_trigger_time_that_was_left_out_is_zero(tmp_path):
    series = MrSeries(oblique_image())
    for n, trigger in enumerate((None, 100000.0, 150000.0, 280000.0)):
        series.write(tmp_path / "s", phase=n, TriggerTime=trigger)
    assert order_of(tmp_path / "s", 4) == [0, 1, 2, 3]
    assert times_of(tmp_path / "s", 4) == [100.0, 150.0, 280.0]


def test_a_trigger_time_in_seconds_is_known_by_the_acquisition_time(tmp_path):
    series = MrSeries(oblique_image())
    for n, seconds in enumerate((0, 90, 220)):
        clock = f"10{seconds // 60:02d}{seconds % 60:02d}"
        series.write(tmp_path / "s", phase=n, TriggerTime=float(seconds), AcquisitionTime=clock)
    assert times_of(tmp_path / "s", 3) == [90.0, 220.0]


def test_a_clock_that_lost_its_leading_zero_keeps_its_seconds(tmp_path):
    series = MrSeries(oblique_image())
    for n, clock in enumerate((b"90000", b"90130", b"90340")):
        series.write(tmp_path / "s", phase=n, AcquisitionTime="100000")
        for path in (tmp_path / "s").glob(f"{n}_*.dcm"):
            dataset = pydicom.dcmread(path)
            dataset["AcquisitionTime"] = pydicom.dataelem.RawDataElement(
                pydicom.tag.Tag(0x00080032), "TM", 6, clock + b" ", 0, False, True
            )
            dataset.save_as(path)
    assert times_of(tmp_path / "s", 3) == [90.0, 220.0]


def test_seconds_count_from_the_injection_where_the_header_tells_it(tmp_path):
    MrSeries(oblique_image()).write(tmp_path / "a", AcquisitionTime="100000")
    MrSeries(oblique_image()).write(tmp_path / "b", AcquisitionTime="100300", ContrastBolusStartTime="100230")
    MrSeries(oblique_image()).write(tmp_path / "c", AcquisitionTime="100300")
    told = read_study(tmp_path / "a", [tmp_path / "b"])
    assert (told.real[0].time_s, told.time_zero) == (30.0, INJECTION)
    plain = read_study(tmp_path / "a", [tmp_path / "c"])
    assert (plain.real[0].time_s, plain.time_zero) == (180.0, PRE_CONTRAST)


@pytest.mark.parametrize("bolus", ["100330", "093000"], ids=["after the first phase", "before the first volume"])
def test_an_injection_at_an_impossible_moment_is_no_zero_for_any_phase(tmp_path, bolus):
    series = MrSeries(oblique_image())
    for n, clock in enumerate(("100000", "100300", "100430")):
        series.write(tmp_path / "s", phase=n, AcquisitionTime=clock, ContrastBolusStartTime=bolus)
    events = Events()
    assert times_of(tmp_path / "s", 3, events) == [180.0, 270.0]
    assert any("ContrastBolusStartTime" in warning and "not lie between" in warning for warning in events.warnings)


def test_a_trigger_time_of_no_known_unit_is_no_time(tmp_path):
    for name, content in (("alone", None), ("with content time", ("101010", "101125", "101320"))):
        series = MrSeries(oblique_image())
        for n, seconds in enumerate((0.0, 75.0, 190.0)):
            clock = {"ContentTime": content[n]} if content else {}
            series.write(tmp_path / name, phase=n, TriggerTime=seconds, **clock)
        assert times_of(tmp_path / name, 3) == ([75.0, 190.0] if content else [None, None])
        assert ("its unit is unknown" in warnings_of(tmp_path / name)) is not bool(content)


def dynamic(folder, *, count=3, **tags):
    for n in range(count):
        series = MrSeries(oblique_image(), SeriesNumber=10 + n, description=f"t1 fl3d dyn {n}", **tags)
        series.write(folder, phase=n, AcquisitionTime=f"10{2 * n:02d}00", name=f"dyn{n}_{{k}}.dcm")


LEFT_OUT = {
    "subtraction": (
        {"ImageType": ["DERIVED", "PRIMARY", "M", "SUB"], "description": "dyn_SUB", "AcquisitionTime": "100200"},
        "it is a subtraction",
    ),
    "localizer": ({"description": "localizer 3 plane"}, "it is a localizer"),
    "capture": ({"Modality": "OT", "description": "screen save"}, "its modality is OT"),
    "report picture": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "it is a secondary capture"),
    "projection": ({"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, "it is a projection"),
    "Dixon fat": ({"ImageType": ["DERIVED", "PRIMARY", "DIXON", "FAT"]}, "Dixon image other than water"),
    "map": ({"ImageType": ["DERIVED", "PRIMARY", "WI"], "description": "wash"}, "it is derived from the others"),
    "difference": ({"ImageType": ["DERIVED", "SECONDARY"], "description": "dyn 2 minus 1"}, "it is derived"),
    "phase": ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "it is a phase, real or imaginary image"),
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_what_is_no_phase_is_left_out_of_a_study_folder_with_a_line(tmp_path, kind):
    tags, reason = LEFT_OUT[kind]
    tags = {"SeriesNumber": 99, "description": "other", "AcquisitionTime": "101500", **tags}
    dynamic(tmp_path / "s")
    clock = tags.pop("AcquisitionTime")
    MrSeries(oblique_image(), **tags).write(tmp_path / "s", phase=7, AcquisitionTime=clock, name="other_{k}.dcm")
    assert order_of(tmp_path / "s", 3) == [0, 1, 2]
    events = Events()
    assert times_of(tmp_path / "s", 3, events) == [120.0, 240.0]
    assert sum(reason in warning and "series 99" in warning for warning in events.warnings) == 1


def test_a_whole_study_gives_its_dynamic_examination_and_series_chooses_another(tmp_path):
    dynamic(tmp_path / "s")
    t2 = oblique_image(spacing=(1.0, 1.0, 4.0))
    MrSeries(t2, SeriesNumber=3, description="t2 tse", EchoTime=80).write(tmp_path / "s", name="t2_{k}.dcm")
    assert order_of(tmp_path / "s", 3) == [0, 1, 2]
    assert load(tmp_path / "s", wanted=["3"]).image.GetSpacing()[2] == pytest.approx(4.0)
    assert phase_of(load(tmp_path / "s", wanted=["11"])) == 1
    assert [phase_of(load(f"{tmp_path / 's'}@{n}", wanted=["10", "12"])) for n in (0, 1)] == [0, 2]
    with pytest.raises(InputError, match=r"no series 77; it holds 3 \(MR, t2 tse, 9 images\), 10 "):
        load(tmp_path / "s", wanted=["77"])


def test_kinds_of_one_series_have_numbers_that_differ_and_can_be_chosen(tmp_path):
    uid = generate_uid()
    for n, kind in enumerate((["ORIGINAL", "PRIMARY", "A"], ["ORIGINAL", "PRIMARY", "B"])):
        MrSeries(oblique_image(), series_uid=uid, SeriesNumber=801, ImageType=kind).write(tmp_path / "s", phase=n)
    with pytest.raises(InputError, match=r"801\.1 \(MR.*PRIMARY A.*801\.2 \(MR.*PRIMARY B.*--series"):
        load(tmp_path / "s")
    assert phase_of(load(tmp_path / "s", wanted=["801.2"])) == 1


def test_dixon_and_phase_images_in_one_series_are_left_out(tmp_path):
    uid = generate_uid()
    for n, kind in enumerate(("W", "F", "IP", "OP")):
        series = MrSeries(oblique_image(), series_uid=uid, ImageType=["DERIVED", "PRIMARY", kind, kind])
        series.write(tmp_path / "s", phase=n)
    loaded = load(tmp_path / "s")
    assert phase_of(loaded) == 0
    assert len(loaded.notes) == 3


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("lacking", [1, 7])
def test_an_incomplete_last_phase_is_left_out_and_the_whole_ones_stay(tmp_path, count, lacking):
    series = MrSeries(oblique_image())
    for n in range(count):
        skip = tuple(range(9 - lacking, 9)) if n == count - 1 else ()
        series.write(tmp_path / "s", phase=n, skip=skip, TriggerTime=90000.0 * n)
    name = tmp_path / "s" if count == 2 else f"{tmp_path / 's'}@0"
    loaded = load(name)
    assert phase_of(loaded) == 0
    stay = "1 whole phase stays." if count == 2 else "3 whole phases stay."
    assert f"lacks {lacking} of 9 slices and was left out; {stay}" in " ".join(loaded.warnings)
    if count == 4:
        assert order_of(tmp_path / "s", 3) == [0, 1, 2]


@pytest.mark.parametrize("lacking", [1, 2, 4])
def test_a_last_series_that_was_stopped_is_left_out_and_the_whole_ones_stay(tmp_path, lacking):
    for n in range(4):
        series = MrSeries(oblique_image(), SeriesNumber=10 + n)
        skip = tuple(range(9 - lacking, 9)) if n == 3 else ()
        series.write(tmp_path / "s", phase=n, skip=skip, AcquisitionTime=f"10{n:02d}00", name=f"p{n}_{{k}}.dcm")
    events = Events()
    assert times_of(tmp_path / "s", 3, events) == [60.0, 120.0]
    assert any("series 13" in warning and "was left out" in warning for warning in events.warnings)
    if lacking == 1:  # nearly whole, so its number of slices is told from that of another examination
        lacks = r"its last phase \(series 13.*\) lacks 1 of 9 slices and was left out\.$"
        assert any(re.search(lacks, warning) for warning in events.warnings)
    with pytest.raises(InputError, match="holds 3 phases"):
        load(tmp_path / "s")


@pytest.mark.parametrize("separate", [False, True])
def test_positions_that_were_rounded_differently_are_the_same_place(tmp_path, separate):
    uid = generate_uid()
    for n in range(3):
        shifted = oblique_image()
        shifted.SetOrigin(shifted.TransformContinuousIndexToPhysicalPoint((0, 0, 0.01 * n)))
        series = MrSeries(shifted, series_uid=None if separate else uid, SeriesNumber=n if separate else 1)
        series.write(tmp_path / "s", phase=n, AcquisitionTime=f"10{n:02d}00")
    assert order_of(tmp_path / "s", 3) == [0, 1, 2]
    assert times_of(tmp_path / "s", 3) == [60.0, 120.0]


def test_an_unreadable_number_in_an_unneeded_tag_is_told_by_its_name(tmp_path):
    MrSeries(oblique_image()).write(tmp_path / "s")
    for path in (tmp_path / "s").iterdir():
        dataset = pydicom.dcmread(path)
        dataset["EchoTime"] = pydicom.dataelem.RawDataElement(
            pydicom.tag.Tag(0x00180081), "DS", 4, b"2,4 ", 0, False, True
        )
        dataset.save_as(path)
    loaded = load(tmp_path / "s")
    assert phase_of(loaded) == 0
    assert "unreadable elements were left out: EchoTime" in " ".join(loaded.warnings)


def test_slices_without_preamble_are_read_and_links_to_nowhere_are_refused(tmp_path):
    MrSeries(oblique_image()).write(tmp_path / "s")
    for path in sorted((tmp_path / "s").iterdir())[:4]:
        data = path.read_bytes()
        length = int.from_bytes(data[140:144], "little")
        path.write_bytes(data[144 + length :])  # no preamble, no mark, no file meta
    assert phase_of(load(tmp_path / "s")) == 0
    shutil.copytree(tmp_path / "s", tmp_path / "linked")
    (tmp_path / "linked" / "last.dcm").symlink_to(tmp_path / "gone.dcm")
    with pytest.raises(InputError, match="a link that leads nowhere"):
        load(tmp_path / "linked")


def test_contrast_in_the_header_of_a_later_phase_is_read_for_that_phase(tmp_path):
    series = MrSeries(oblique_image())
    for n in range(2):
        agent = {"ContrastBolusAgent": "Gadovist"} if n else {}
        series.write(tmp_path / "s", phase=n, TriggerTime=90000.0 * n, **agent)
    assert not any("contrast agent" in text for text in load(f"{tmp_path / 's'}@0").contrast_warnings)
    assert any("contrast agent" in text for text in load(f"{tmp_path / 's'}@1").contrast_warnings)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"BodyPartExamined": "BRAIN"}, "names the body part BRAIN"),
        ({"description": "3D Ax T1 MP-RAGE"}, "not a dynamic T1-weighted series by its description"),
        ({"ScanningSequence": "EP"}, "not a gradient-echo image by its header"),
        ({"BodyPartExamined": "BREAST", "ScanningSequence": "GR"}, ""),
    ],
)
def test_body_part_and_sequence_are_read(tmp_path, tags, words):
    MrSeries(oblique_image(), **tags).write(tmp_path / "s")
    told = " ".join((*(found := load(tmp_path / "s")).refusals, *found.contrast_warnings))
    assert words in told if words else told == ""


def test_series_of_philips_with_different_private_scales_are_brought_to_one(tmp_path):
    for n, scale in ((0, 0.002), (1, 0.001)):
        MrSeries(oblique_image(), slope=2.0).write(tmp_path / f"{n}", AcquisitionTime=f"10{n:02d}00")
        for path in (tmp_path / f"{n}").iterdir():
            dataset = pydicom.dcmread(path)
            block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
            block.add_new(0x0E, "FL", scale)
            dataset.save_as(path)
    events = Events()
    study = read_study(tmp_path / "0", [tmp_path / "1"], events=events)
    ratio = sitk.GetArrayFromImage(study.real[0].image)[STORED > 0] / (2.0 * STORED[STORED > 0])
    np.testing.assert_allclose(ratio, 2.0, rtol=1e-6)
    assert any("Philips scale slope" in warning and "by 2" in warning for warning in events.warnings)


def test_the_same_image_given_as_real_phase_is_told(tmp_path):
    sitk.WriteImage(oblique_image(), str(tmp_path / "pre.nrrd"))
    events = Events()
    read_study(tmp_path / "pre.nrrd", [tmp_path / "pre.nrrd"], events=events)
    assert any("the same image as the pre-contrast one" in warning for warning in events.warnings)


def test_a_header_is_read_once_for_all_phases_of_a_folder_and_again_after_a_change(tmp_path, monkeypatch):
    folder, read = tmp_path / "s", []
    open_data_set = headers.open_data_set
    monkeypatch.setattr(headers, "open_data_set", lambda path, **how: read.append(path) or open_data_set(path, **how))
    one = MrSeries(oblique_image())
    for n in range(4):
        one.write(folder, phase=n, first_instance=9 * n + 1, AcquisitionTime=f"12{n:02d}00")
    assert times_of(folder, 4) == [60.0, 120.0, 180.0]
    assert sorted(read) == sorted(folder.iterdir()) and len(read) == 36
    read.clear()
    one.write(folder, phase=3, first_instance=28, AcquisitionTime="120330")
    assert times_of(folder, 4) == [60.0, 120.0, 210.0]
    assert sorted(read) == sorted(folder.glob("3_*.dcm"))
