"""Curve arithmetic against hand-worked curves, plain loops, and digital reference objects."""

import csv

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat
from VirtualContrastLib.events import InputError
from VirtualContrastLib.kinetics.parameters import (
    CurveRules,
    CurveType,
    check_times,
    curve_parameters,
    curve_type,
    early_and_late,
    enhancement_area,
    percent_enhancement,
    signal_enhancement_ratio,
)

TIMES = [0.0, 120.0, 240.0, 360.0, 480.0]

curves = st.lists(st.floats(10, 1000), min_size=5, max_size=5)


def test_a_curve_worked_by_hand_gives_the_parameters_of_the_definitions():
    # S0 = 100; peak 300 at 120 s; 150 s is nearest to phase 1, 450 s to phase 4.
    p = curve_parameters([100, 300, 280, 260, 240], TIMES)
    assert p.early_pe_percent == pytest.approx(200)
    assert p.peak_pe_percent == pytest.approx(200)
    assert p.time_to_peak_s == 120
    assert p.wash_in_percent_per_min == pytest.approx(100)  # 200 % in 2 min
    assert p.wash_out_percent_per_min == pytest.approx(-10)  # from 200 to 140 % in 6 min
    assert p.late_change_percent == pytest.approx(-20)  # 300 to 240
    assert p.ser == pytest.approx(200 / 140)
    assert p.auc_percent_min == pytest.approx(200 + 2 * (190 + 170 + 150))
    assert p.initial_auc_percent_min == pytest.approx(200 + 195)  # to 180 s, half way to 180 %
    assert p.curve_type == CurveType.WASHOUT


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (331, CurveType.PERSISTENT),
        (329, CurveType.PLATEAU),
        (271, CurveType.PLATEAU),
        (269, CurveType.WASHOUT),
    ],
)
def test_ten_percent_of_the_early_maximum_separates_the_types(last, expected):
    assert curve_type([100, 300, 300, 300, last], TIMES) == expected


def test_the_early_maximum_is_looked_for_only_within_the_early_period():
    # The maximum at 170 s is in, the higher one at 240 s is not.
    assert curve_type([100, 200, 300, 400, 310], [0, 100, 170, 240, 400]) == CurveType.PLATEAU
    # With no phase that early, the first one stands for the early period.
    assert curve_type([100, 200, 400, 230], [0, 200, 300, 400]) == CurveType.PERSISTENT


def test_a_curve_that_does_not_enhance_has_no_type_but_a_slow_one_keeps_its_own():
    assert curve_type([100, 110, 120, 130, 149], TIMES) == CurveType.NO_ENHANCEMENT
    assert curve_type([100, 120, 150, 180, 220], TIMES) == CurveType.PERSISTENT


@pytest.mark.parametrize(
    ("signal", "times"),
    [
        ([100, 300], [0, 400]),  # one phase cannot be early and late
        ([100, 300, 200], [0, 60, 120]),  # nothing late
        ([0, 300, 200], [0, 100, 400]),  # no baseline
        ([100, np.nan, 200], [0, 100, 400]),
    ],
)
def test_a_curve_without_what_a_type_needs_is_left_unassessed(signal, times):
    assert curve_type(signal, times) == CurveType.UNASSESSED


def test_ser_is_not_a_number_where_the_late_enhancement_is_noise():
    ser = signal_enhancement_ratio([[100, 200, 100.5], [100, 200, 150], [0, 5, 9]], [0, 150, 450])
    assert np.isnan(ser[0]) and ser[1] == pytest.approx(2) and np.isnan(ser[2])
    assert np.isnan(signal_enhancement_ratio([100, 200], [0, 150]))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 131, 262, 393], (1, 3)),
        ([0, 60, 140, 300, 460, 600], (2, 4)),
        ([0, 80, 220, 350], (1, 3)),  # 80 and 220 s are equally near: the earlier one
        ([0, 60, 130], (2, None)),
        ([0, 30, 90, 155], (3, None)),
        ([0, 90], (1, None)),
    ],
)
def test_the_early_and_late_phases_are_those_nearest_to_150_and_then_to_450_seconds(times, expected):
    assert early_and_late(times) == expected


def test_without_a_phase_after_the_early_one_there_is_no_ser_but_an_early_enhancement():
    p = curve_parameters([100, 120, 180, 250], [0, 30, 90, 155])
    assert np.isnan(p.ser)
    assert p.early_pe_percent == pytest.approx(150)


@pytest.mark.parametrize("times", [[0, None], [5, 60], [0, 60, 60], [0, 90, 30], [0], [0, float("nan")]])
def test_times_that_cannot_be_used_are_refused(times):
    with pytest.raises(InputError):
        check_times(times)


def test_a_linear_curve_has_the_area_of_its_triangle():
    times = np.array([0, 30, 100, 250, 300.0])
    assert enhancement_area(times * 0.5, times) == pytest.approx(0.5 * 300**2 / 2 / 60)
    assert enhancement_area(times * 0.5, times, 180) == pytest.approx(0.5 * 180**2 / 2 / 60)
    assert np.isnan(enhancement_area(times, times, 301))


def test_a_biexponential_curve_is_measured_at_its_analytic_peak_and_area():
    # PE = A (exp(-b t) - exp(-a t)), peak at ln(a / b) / (a - b)
    a, b, height = 1 / 40, 1 / 900, 300.0
    times = np.linspace(0, 600, 6001)
    p = curve_parameters(100 + height * (np.exp(-b * times) - np.exp(-a * times)), times)
    peak = np.log(a / b) / (a - b)
    assert p.time_to_peak_s == pytest.approx(peak, abs=0.1)
    assert p.peak_pe_percent == pytest.approx(height * (np.exp(-b * peak) - np.exp(-a * peak)), rel=1e-6)
    area = height * ((1 - np.exp(-600 * b)) / b - (1 - np.exp(-600 * a)) / a) / 60
    assert p.auc_percent_min == pytest.approx(area, rel=1e-5)


@given(curves, st.floats(0.01, 100))
@settings(max_examples=100, deadline=None)
def test_a_gain_of_the_scanner_changes_no_parameter(signal, gain):
    one = curve_parameters(np.array(signal), TIMES)
    other = curve_parameters(np.array(signal) * gain, TIMES)
    for name in ("early_pe_percent", "peak_pe_percent", "ser", "auc_percent_min", "late_change_percent"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6, atol=1e-6)


@given(curves, st.integers(-6, 6))
@settings(max_examples=100, deadline=None)
def test_a_gain_that_is_a_power_of_two_changes_no_type(signal, power):
    assert curve_type(signal, TIMES) == curve_type(np.array(signal) * 2.0**power, TIMES)


@given(curves)
@settings(max_examples=200, deadline=None)
def test_a_rising_curve_is_never_washout_and_a_falling_one_never_persistent(signal):
    rising = sorted(signal)
    assert curve_type(rising, TIMES) != CurveType.WASHOUT
    falling = [min(signal), *sorted(signal, reverse=True)[:4]]
    assert curve_type(falling, TIMES) != CurveType.PERSISTENT
    assert curve_parameters(rising, TIMES).wash_out_percent_per_min == 0


def test_curves_of_any_leading_shape_equal_curves_taken_one_by_one():
    signals = np.random.default_rng(0).uniform(50, 400, size=(3, 2, 5))
    signals[0, 0, 0] = 0
    together = curve_parameters(signals, TIMES)
    for index in np.ndindex(3, 2):
        alone = curve_parameters(signals[index], TIMES)
        assert len(vars(alone)) == 10
        for name, value in vars(alone).items():
            np.testing.assert_array_equal(getattr(together, name)[index], value)


def test_signals_and_times_of_different_length_are_refused():
    with pytest.raises(ValueError, match="4 signals but 5 times"):
        curve_parameters([100, 200, 300, 400], TIMES)


def test_rules_can_be_changed():
    wide = CurveRules(plateau_percent=25, minimum_pe_percent=0)
    assert curve_type([100, 300, 280, 260, 240], TIMES, wide) == CurveType.PLATEAU
    assert curve_type([100, 101, 102, 103, 104], TIMES, wide) == CurveType.PLATEAU


def test_the_area_of_osipi_tofts_curves_obeys_the_mass_balance_of_their_known_parameters(shared_data):
    # dC/dt = Ktrans Cp - Ktrans/ve C, integrated from 0 to T: area(C) = (Ktrans area(Cp) - C(T)) ve / Ktrans
    path = shared_data / "osipi-dce" / "DCEmodels" / "dce_DRO_data_tofts.csv"
    with path.open(encoding="utf-8-sig") as file:
        rows = [row for row in csv.DictReader(file) if row["label"].endswith("highSNR")]
    assert len(rows) >= 5
    for row in rows:
        times, tissue, plasma = (np.array(row[name].split(), dtype=float) for name in ("t", "C", "ca"))
        ktrans, ve = float(row["Ktrans"]) / 60, float(row["ve"])
        expected = (ktrans * np.trapezoid(plasma, times) - tissue[-1]) * ve / ktrans
        assert enhancement_area(tissue, times) * 60 == pytest.approx(expected, rel=2e-3)


def test_qiba_curves_wash_in_faster_with_higher_ktrans(shared_data):
    data = loadmat(shared_data / "qiba-dro" / "v4" / "qiba4.mat")
    signals = np.moveaxis(data["DCEdata"], 0, -1)  # [ve and vp, Ktrans, time]
    times = data["t"][0] - data["t"][0, 0]
    p = curve_parameters(signals, times)
    np.testing.assert_allclose(p.peak_pe_percent, 100 * (signals[..., 1:].max(-1) / signals[..., 0] - 1))
    assert (np.diff(p.peak_pe_percent, axis=1) >= 0).all()
    assert (np.diff(p.auc_percent_min, axis=1) > 0).all()
    # A larger vp adds a bolus peak to the early maximum, which takes the curve toward washout. The signals
    # are whole numbers from 21 on, so a difference of one gray level, 5 %, says nothing.
    change = p.late_change_percent.reshape(6, 3, 5)  # [vp, ve, Ktrans]
    assert (np.diff(change, axis=0) <= 100 / 21).all()
    assert (p.curve_type.reshape(6, 3, 5)[-1] == CurveType.WASHOUT).all()


def test_parameters_of_real_qin_breast_voxels_equal_a_plain_loop(shared_data):
    image = sitk.ReadImage(
        shared_data / "pkmodeling-multivolume" / "QINBreast001" / "Input" / "QINBreast001-phantom.nrrd"
    )
    times = [float(label) / 1000 for label in image.GetMetaData("MultiVolume.FrameLabels").split(",")]
    voxels = sitk.GetArrayFromImage(image).reshape(-1, len(times)).astype(float)
    p = curve_parameters(voxels, times)
    assert len(voxels) == 15
    for number, signal in enumerate(voxels):
        pe = [100 * (value / signal[0] - 1) for value in signal]
        best = max(range(1, len(times)), key=lambda n: pe[n])
        early = max((n for n in range(1, len(times)) if times[n] <= 180), key=lambda n: signal[n])
        change = 100 * (signal[-1] / signal[early] - 1)
        area = sum((pe[n] + pe[n + 1]) / 2 * (times[n + 1] - times[n]) / 60 for n in range(len(times) - 1))
        expected = 1 if change > 10 else 3 if change < -10 else 2
        assert p.time_to_peak_s[number] == times[best]
        assert p.peak_pe_percent[number] == pytest.approx(pe[best])
        assert p.wash_in_percent_per_min[number] == pytest.approx(pe[early] / times[early] * 60)
        assert p.auc_percent_min[number] == pytest.approx(area)
        assert p.curve_type[number] == (expected if pe[best] >= 50 else 0)


def test_percent_enhancement_is_not_a_number_without_a_positive_baseline():
    pe = percent_enhancement([[0.0, 5], [-2, 5], [2, 5]])
    assert np.isnan(pe[:2]).all()
    np.testing.assert_allclose(pe[2], [0, 150])
