"""Curves of lesions, voxel maps and agreement, on small volumes whose answer is known and on a real tumor."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import stats
from VirtualContrastLib.events import InputError
from VirtualContrastLib.kinetics.agreement import agreement, bland_altman, cohen_kappa
from VirtualContrastLib.kinetics.curves import lesion_curves
from VirtualContrastLib.kinetics.maps import kinetic_maps
from VirtualContrastLib.kinetics.parameters import CurveType
from VirtualContrastLib.study import Phase

TIMES = (0.0, 120.0, 240.0, 450.0)
SHAPES = {
    CurveType.PERSISTENT: (100, 180, 220, 260),
    CurveType.PLATEAU: (100, 250, 255, 245),
    CurveType.WASHOUT: (100, 300, 250, 200),
}


def image(array, spacing=(1.5, 1.5, 3.0), origin=(0.0, 0.0, 0.0)):
    out = sitk.GetImageFromArray(np.asarray(array))
    out.SetSpacing(spacing)
    out.SetOrigin(origin)
    return out


def phases_of(volumes, times=TIMES, synthetic=False):
    return [
        Phase(number, image(volume.astype(np.float32)), time, synthetic and number > 0)
        for number, (volume, time) in enumerate(zip(volumes, times, strict=True))
    ]


def three_lesions():
    """Signals [t, k, j, i] with a lesion of each type, and their labels 1, 2, 3."""
    labels = np.zeros((6, 20, 20), dtype=np.uint8)
    labels[1:4, 2:7, 2:7] = 1
    labels[1:4, 2:7, 10:15] = 2
    labels[2:5, 11:16, 5:10] = 3
    volumes = np.full((4, *labels.shape), 80.0)
    for label, kind in enumerate(SHAPES, start=1):
        volumes[:, labels == label] = np.array(SHAPES[kind], dtype=float)[:, None]
    return volumes, labels


def test_the_shares_of_curve_types_are_counted_and_the_worst_is_no_single_voxel():
    volumes, labels = three_lesions()
    voxels = np.argwhere(labels == 1)
    for voxel in voxels[:15]:
        volumes[(slice(None), *voxel)] = SHAPES[CurveType.PLATEAU]
    volumes[(slice(None), *voxels[20])] = SHAPES[CurveType.WASHOUT]  # 1 of 75 is less than 2 %
    volumes[:, labels == 2] = 100.0
    mixed, flat, washout = lesion_curves(phases_of(volumes), image(labels))
    np.testing.assert_allclose(mixed.type_percent, np.array([0, 59, 15, 1, 0]) / 0.75)
    assert mixed.worst_type == CurveType.PLATEAU
    np.testing.assert_allclose(flat.type_percent, [100, 0, 0, 0, 0])
    assert flat.worst_type == CurveType.NO_ENHANCEMENT
    assert washout.worst_type == CurveType.WASHOUT
    volumes[(slice(None), *voxels[21])] = SHAPES[CurveType.WASHOUT]
    assert lesion_curves(phases_of(volumes), image(labels))[0].worst_type == CurveType.WASHOUT
    early = [phase for phase in phases_of(volumes) if phase.time_s < 300][:2]
    assert lesion_curves(early, image(labels))[0].worst_type == CurveType.UNASSESSED


def test_each_lesion_gets_its_own_curve_and_type():
    volumes, labels = three_lesions()
    curves = lesion_curves(phases_of(volumes), image(labels))
    assert [curve.label for curve in curves] == [1, 2, 3]
    for curve, (kind, signal) in zip(curves, SHAPES.items(), strict=True):
        np.testing.assert_allclose(curve.signal_mean, signal)
        np.testing.assert_allclose(curve.hot_spot_signal, signal)
        np.testing.assert_allclose(curve.pe_percent, np.array(signal) - 100.0)
        assert curve.curve_type == curve.hot_spot_type == kind
        assert curve.voxel_count == 75 and not curve.synthetic
        assert (curve.signal_sd == 0).all() and (curve.uncertainty_sd == 0).all()


def test_phases_may_come_in_any_order_and_missing_labels_are_skipped():
    volumes, labels = three_lesions()
    labels[labels == 2] = 0
    phases = phases_of(volumes)
    curves = lesion_curves([phases[3], phases[0], phases[2], phases[1]], image(labels))
    assert [curve.label for curve in curves] == [1, 3]
    np.testing.assert_array_equal(curves[0].times_s, TIMES)


def test_mean_and_sd_count_every_voxel_once():
    volumes, labels = three_lesions()
    volumes += np.random.default_rng(1).normal(0, 5, volumes.shape)
    curve = lesion_curves(phases_of(volumes), image(labels))[1]
    stored = volumes.astype(np.float32).astype(float)
    np.testing.assert_allclose(curve.signal_mean, [v[labels == 2].mean() for v in stored], rtol=1e-9)
    np.testing.assert_allclose(curve.signal_sd, [v[labels == 2].std() for v in stored], rtol=1e-6)


def test_the_error_band_bounds_the_error_of_the_mean_and_is_reached_by_correlated_errors():
    volumes, labels = three_lesions()
    rng = np.random.default_rng(3)
    inside = labels == 2
    shared = rng.normal(0, 10, size=4000)
    own = rng.normal(0, 10, size=(4000, inside.sum()))
    maps = [image(np.full(labels.shape, 10.0, dtype=np.float32)) for _ in range(3)]
    curve = lesion_curves(phases_of(volumes, synthetic=True), image(labels), maps)[1]
    np.testing.assert_allclose(curve.uncertainty_sd, [0, 10, 10, 10])
    np.testing.assert_allclose(curve.pe_uncertainty_percent, [0, 10, 10, 10])  # the baseline is 100
    assert curve.synthetic
    assert shared.std() == pytest.approx(curve.uncertainty_sd[1], rel=0.05)
    assert own.mean(axis=1).std() < curve.uncertainty_sd[1] / 5


def test_the_hot_spot_is_the_brightest_three_by_three_region_of_one_slice():
    volumes, labels = three_lesions()
    volumes[1:, 2, 3:6, 11:14] += 200
    volumes[1:, 3, 6, 14] += 1500  # one bright voxel at the corner does not make a region
    curve = lesion_curves(phases_of(volumes), image(labels))[1]
    np.testing.assert_allclose(curve.hot_spot_signal, [100, 450, 455, 445])


def test_a_lesion_too_small_for_the_region_still_has_a_hot_spot():
    volumes, labels = three_lesions()
    labels[:] = 0
    labels[2, 4, 3:5] = 1
    curve = lesion_curves(phases_of(volumes), image(labels))[0]
    np.testing.assert_allclose(curve.hot_spot_signal, SHAPES[CurveType.PERSISTENT])


def test_unknown_times_and_foreign_geometry_are_refused():
    volumes, labels = three_lesions()
    with pytest.raises(InputError, match="time"):
        lesion_curves(phases_of(volumes, (0, 120, None, 450)), image(labels))
    with pytest.raises(InputError, match="grid"):
        lesion_curves(phases_of(volumes), image(labels, origin=(50.0, 0, 0)))
    with pytest.raises(ValueError, match="uncertainty"):
        lesion_curves(phases_of(volumes), image(labels), [image(volumes[0])])


def test_the_real_ring_tumor_enhances_by_235_percent_and_stays_on_a_plateau(shared_data):
    folder = shared_data / "breast-invivo-dce"
    series = sitk.ReadImage(folder / "derived_dce4d_assumed_spacing.nii.gz")
    ring = sitk.Cast(sitk.ReadImage(folder / "derived_ring_mask.nii.gz"), sitk.sitkUInt8)
    frames = [sitk.GetArrayFromImage(series[..., t]) for t in range(series.GetSize()[3])]
    published = np.genfromtxt(folder / "derived_ring_curve.csv", delimiter=",", names=True)
    # Four frames come before contrast; the injection is taken at the last of them.
    volumes = [np.mean(frames[:4], axis=0), *frames[4:]]
    times = np.array([0, *(published["t_s"][4:] - published["t_s"][3])])
    phases = []
    for number, volume in enumerate(volumes):
        out = sitk.GetImageFromArray(volume)
        out.CopyInformation(ring)
        phases.append(Phase(number, out, float(times[number]), False))
    (curve,) = lesion_curves(phases, ring)
    assert curve.voxel_count == 336
    np.testing.assert_allclose(curve.pe_percent[1:], published["enhancement_percent"][4:], rtol=1e-4)
    assert curve.parameters.peak_pe_percent == pytest.approx(235.27, abs=0.05)
    assert curve.parameters.time_to_peak_s == pytest.approx(147.87 - 49.29, abs=0.01)
    assert curve.curve_type == CurveType.PLATEAU
    assert 0.95 < float(curve.parameters.ser) < 1.15
    maps = kinetic_maps(phases, ring)
    inside = sitk.GetArrayFromImage(ring) > 0
    types = maps["curve_type"].volume()[inside]
    assert (types == CurveType.PLATEAU).sum() > 336 / 3
    peak = np.mean(maps["pe_phase_6"].volume()[inside])
    assert peak == pytest.approx(235, rel=0.15)  # a mean of ratios beside a ratio of means


def test_maps_hold_each_voxels_parameters_inside_the_mask_and_zero_outside():
    volumes, labels = three_lesions()
    mask = image(labels, origin=(-3.0, 4.0, 5.0))
    phases = [
        Phase(n, image(v.astype(np.float32), origin=(-3.0, 4.0, 5.0)), t, False)
        for n, (v, t) in enumerate(zip(volumes, TIMES, strict=True))
    ]
    maps = kinetic_maps(phases, mask)
    names = {
        "pe_phase_1",
        "pe_phase_2",
        "pe_phase_3",
        "ser",
        "wash_in",
        "wash_out",
        "time_to_peak",
        "curve_type",
    }
    assert set(maps) == names
    arrays = {name: values.volume() for name, values in maps.items()}
    assert all((array[labels == 0] == 0).all() for array in arrays.values())
    assert arrays["curve_type"].dtype == np.uint8
    np.testing.assert_array_equal(arrays["curve_type"], labels)  # types 1, 2, 3 in that order
    np.testing.assert_allclose(arrays["pe_phase_2"][labels == 3], 150)
    np.testing.assert_allclose(arrays["time_to_peak"][labels == 2], 240)
    np.testing.assert_allclose(arrays["ser"][labels == 3], 2.0)
    np.testing.assert_allclose(arrays["wash_out"][labels == 3], -100 / 5.5, rtol=1e-6)
    for value in (values.image(mask) for values in maps.values()):
        assert value.GetOrigin() == mask.GetOrigin() and value.GetSpacing() == mask.GetSpacing()


def test_maps_of_voxels_without_baseline_hold_zero_and_the_unassessed_type():
    volumes, labels = three_lesions()
    volumes[:, labels == 1] = 0
    maps = kinetic_maps(phases_of(volumes), image(labels))
    assert (maps["pe_phase_1"].volume()[labels == 1] == 0).all()
    assert (maps["curve_type"].volume()[labels == 1] == CurveType.UNASSESSED).all()


def test_equal_curves_agree_wholly():
    volumes, labels = three_lesions()
    real = lesion_curves(phases_of(volumes), image(labels))
    result = agreement(lesion_curves(phases_of(volumes, synthetic=True), image(labels)), real)
    assert result.type_agreement == result.kappa == result.order_agreement == 1
    assert result.mean_spearman == pytest.approx(1)
    assert [phase.bias for phase in result.pe_by_phase] == [0, 0, 0]
    assert result.ser.n == 3 and result.ser.bias == 0
    np.testing.assert_array_equal(result.type_counts, np.diag([0, 1, 1, 1]))
    assert np.isnan(result.type_agreement_interval[0])  # three lesions give no interval


def test_agreement_reports_how_much_a_synthetic_series_enhances_too_little():
    volumes, labels = three_lesions()
    faint = volumes[0] + 0.6 * (volumes - volumes[0])
    real = lesion_curves(phases_of(volumes), image(labels))
    result = agreement(lesion_curves(phases_of(faint, synthetic=True), image(labels)), real)
    truth = np.array(list(SHAPES.values()), dtype=float) - 100
    errors = -0.4 * truth[:, 1:]
    for phase, column in zip(result.pe_by_phase, errors.T, strict=True):
        assert phase.bias == pytest.approx(column.mean())
        assert phase.upper == pytest.approx(column.mean() + 1.96 * column.std(ddof=1))
    assert [lesion.peak_ratio for lesion in result.lesions] == pytest.approx([0.6] * 3)
    assert result.order_agreement == 1


def test_agreement_of_one_lesion_has_numbers_where_they_exist_and_nan_elsewhere():
    volumes, labels = three_lesions()
    labels[labels > 1] = 0
    swapped = volumes[[0, 3, 2, 1]]
    real = lesion_curves(phases_of(volumes), image(labels))
    result = agreement(lesion_curves(phases_of(swapped, synthetic=True), image(labels)), real)
    assert result.type_agreement == 0
    assert np.isfinite(result.pe_by_phase[0].bias) and np.isnan(result.pe_by_phase[0].sd)
    assert result.order_agreement == 0
    assert result.mean_spearman == pytest.approx(stats.spearmanr([0, 3, 2, 1], [0, 1, 2, 3]).statistic)
    assert np.isnan(result.kappa_interval[0])


def test_the_bootstrap_interval_holds_the_estimate_and_repeats_with_its_seed():
    volumes, labels = three_lesions()
    many = np.concatenate([labels + 3 * n * (labels > 0) for n in range(5)])  # 15 lesions
    series = np.concatenate([volumes] * 5, axis=1)
    series[1:] += np.random.default_rng(5).normal(0, 3, series[1:].shape)
    wrong = series.copy()
    wrong[3][(many == 1) | (many == 5)] = 500.0  # persistent stays so, a plateau becomes persistent
    real = lesion_curves(phases_of(series), image(many))
    synthetic = lesion_curves(phases_of(wrong, synthetic=True), image(many))
    result = agreement(synthetic, real, seed=7)
    assert result.types_compared == 15
    assert result.type_agreement == pytest.approx(14 / 15)
    low, high = result.type_agreement_interval
    assert low < 14 / 15 < high <= 1 and low >= 0.7
    # Exact binomial quantiles of 15 draws at 14/15 are what the bootstrap samples from.
    exact = stats.binom.ppf([0.025, 0.975], 15, 14 / 15) / 15
    np.testing.assert_allclose([low, high], exact, atol=0.07)
    assert agreement(synthetic, real, seed=7).kappa_interval == result.kappa_interval


def test_kappa_and_limits_equal_published_arithmetic():
    # Cohen's kappa of [[20, 5], [10, 15]]: observed .7, chance .5, kappa .4
    assert cohen_kappa([[20, 5], [10, 15]]) == pytest.approx(0.4)
    assert np.isnan(cohen_kappa(np.zeros((4, 4))))
    assert np.isnan(cohen_kappa([[7, 0], [0, 0]]))
    limits = bland_altman([1.0, np.nan, 3.0, 5.0])
    assert (limits.n, limits.bias, limits.sd) == (3, 3.0, 2.0)
    assert limits.lower == pytest.approx(3 - 3.92) and limits.upper == pytest.approx(6.92)
    assert np.isnan(bland_altman([]).bias)


def test_curves_of_different_lesions_or_lengths_are_not_compared():
    volumes, labels = three_lesions()
    real = lesion_curves(phases_of(volumes), image(labels))
    with pytest.raises(ValueError, match="same lesions"):
        agreement(real[:2], real)
    short = lesion_curves(phases_of(volumes[:3], TIMES[:3]), image(labels))
    with pytest.raises(ValueError, match="phases"):
        agreement(short, real)


def test_agreement_tells_how_far_the_times_are_apart():
    volumes, labels = three_lesions()
    real = lesion_curves(phases_of(volumes, (0, 128, 250, 440)), image(labels))
    synthetic = lesion_curves(phases_of(volumes), image(labels))
    assert agreement(synthetic, real).largest_time_difference_s == 10
