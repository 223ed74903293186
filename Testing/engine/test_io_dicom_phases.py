"""Phases of DICOM series: which images are one, in what order, and when."""

import numpy as np
import pytest
import SimpleITK as sitk
from io_samples import MrSeries, oblique_image
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.io.read import load, read_study

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


@pytest.mark.parametrize(("time", "warned"), [("081144", True), ("075100", False)])
def test_a_first_phase_long_after_the_pre_contrast_volume_is_warned_of(tmp_path, time, warned):
    """As in a Duke study: 23 minutes lie between them, and no header has the time of the injection."""
    MrSeries(oblique_image()).write(tmp_path / "a", AcquisitionTime="074853")
    MrSeries(oblique_image()).write(tmp_path / "b", AcquisitionTime=time)
    events = Events()
    study = read_study(tmp_path / "a", [tmp_path / "b"], events=events)
    assert any("23 minutes after the pre-contrast" in text for text in events.warnings) == warned
    assert study.real[0].time_s == (1371 if warned else 127)
    again = Events()
    read_study(tmp_path / "a", [tmp_path / "b"], times_s=[90], events=again)
    assert not any("minutes after" in text for text in again.warnings)


def test_times_stay_unknown_where_the_header_tells_none_or_goes_backwards(tmp_path):
    MrSeries(oblique_image()).write(tmp_path / "a", AcquisitionTime="110000")
    MrSeries(oblique_image()).write(tmp_path / "b", AcquisitionTime="100000")
    MrSeries(oblique_image()).write(tmp_path / "c")
    assert read_study(tmp_path / "a", [tmp_path / "b"]).real[0].time_s is None
    assert read_study(tmp_path / "a", [tmp_path / "c"]).real[0].time_s is None
