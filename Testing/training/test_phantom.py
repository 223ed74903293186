"""The phantom: its physics against closed forms, its truth against itself, its files against other readers."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from VirtualContrastLib.kinetics.curves import lesion_curves
from VirtualContrastLib.study import Phase
from VirtualContrastTrainingLib.data.cases import case_folders, load_case
from VirtualContrastTrainingLib.data.phantom import PhantomSettings, make_phantom
from VirtualContrastTrainingLib.data.phantom.physics import (
    HEMATOCRIT,
    enhanced_t1_s,
    parker_blood_concentration,
    spgr_signal,
    tofts_concentration,
)
from VirtualContrastTrainingLib.data.phantom.writing import write_phantom

SMALL = PhantomSettings(size_kji=(16, 60, 96), spacing_kji_mm=(7.5, 3.2, 3.2), lesion_count_weights=(0.0, 0.0, 1.0))


@given(st.floats(0.2, 3.0), st.floats(0.002, 0.02))
def test_the_signal_at_90_degrees_is_the_saturation_recovery_curve(t1_s, tr_s):
    assert spgr_signal(t1_s, 1.0, tr_s=tr_s, flip_deg=90) == pytest.approx(1 - np.exp(-tr_s / t1_s))


@given(st.floats(0.3, 3.0), st.floats(0.0, 5.0))
def test_contrast_agent_adds_its_relaxation_rate(t10_s, concentration_mm):
    assert 1 / enhanced_t1_s(t10_s, concentration_mm) == pytest.approx(1 / t10_s + 4.5 * concentration_mm)


def test_the_population_input_function_equals_the_published_reference_values(shared_data):
    path = shared_data / "osipi-dce" / "PopulationAIF" / "ParkerAIF_ref.csv"
    with path.open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["label"] == "original_AIF"]
    minutes, expected = (np.array([float(row[key]) for row in rows]) for key in ("time", "Cb"))
    assert parker_blood_concentration(60 * minutes) == pytest.approx(expected, rel=1e-6)


def test_tofts_without_leakage_is_the_plasma_fraction():
    times = np.array([30.0, 90.0, 300.0])
    ours = tofts_concentration(times, ktrans_per_min=0.0, ve=0.3, vp=0.1, arrival_s=20)
    assert ours == pytest.approx(0.1 * parker_blood_concentration(times - 20) / (1 - HEMATOCRIT), rel=1e-3)


def test_tofts_agrees_with_numerical_integration_of_its_differential_equation():
    from scipy.integrate import solve_ivp

    ktrans, ve = 0.25 / 60, 0.3

    def change(t, c):
        return ktrans * parker_blood_concentration(t - 20) / (1 - HEMATOCRIT) - ktrans / ve * c

    times = np.array([90.0, 220.0, 350.0])
    solved = solve_ivp(change, (0, 351), [0.0], t_eval=times, max_step=0.25).y[0]
    ours = tofts_concentration(times, ktrans_per_min=0.25, ve=ve, vp=0.0, arrival_s=20)
    assert ours == pytest.approx(solved, rel=0.01)


def test_the_same_seed_gives_the_same_voxels_and_another_seed_others():
    a, b, c = make_phantom(3, SMALL), make_phantom(3, SMALL), make_phantom(4, SMALL)
    arrays = [sitk.GetArrayFromImage(p.images[1]) for p in (a, b, c)]
    assert np.array_equal(arrays[0], arrays[1])
    assert not np.array_equal(arrays[0], arrays[2])


@pytest.mark.parametrize("seed", [20, 21, *(pytest.param(n, marks=pytest.mark.slow) for n in range(22, 26))])
def test_each_lesion_is_one_piece_and_its_noise_free_curve_has_the_type_it_was_built_with(seed):
    phantom = make_phantom(seed)
    labels = sitk.GetArrayFromImage(phantom.labels)
    phases = [
        Phase(n, image, time, False)
        for n, (image, time) in enumerate(zip(phantom.noise_free, phantom.times_s, strict=True))
    ]
    curves = {curve.label: curve for curve in lesion_curves(phases, phantom.labels)}
    assert phantom.lesions
    for lesion in phantom.lesions:
        parts = sitk.ConnectedComponent(sitk.GetImageFromArray((labels == lesion.label).astype(np.uint8)), True)
        assert sitk.GetArrayViewFromImage(parts).max() == 1
        assert ("", "I", "II", "III")[int(curves[lesion.label].curve_type)] == lesion.curve_type
        voxel_mm3 = np.prod(phantom.labels.GetSpacing())
        assert lesion.volume_mm3 == pytest.approx((labels == lesion.label).sum() * voxel_mm3)


def test_noise_has_the_stated_level():
    quiet = make_phantom(7, PhantomSettings(motion_mm=0.0))
    tissue = sitk.GetArrayFromImage(quiet.tissue)
    difference = sitk.GetArrayFromImage(quiet.images[0]) - sitk.GetArrayFromImage(quiet.noise_free[0])
    gland = float(12000 * spgr_signal(1.25, 0.85, tr_s=0.005, flip_deg=12))
    # In muscle the signal is far above the noise, where Rician noise is Gaussian.
    assert difference[tissue == 5].std() == pytest.approx(gland / 30, rel=0.03)


@pytest.mark.parametrize("format", ["nrrd", "nifti"])
def test_files_hold_what_was_made(tmp_path, format):
    phantom = make_phantom(5, SMALL)
    folder = write_phantom(phantom, tmp_path / "case", format=format, noise_free=True)
    description = json.loads((folder / "case.json").read_text())
    assert len(description["lesions"]) == len(phantom.lesions)
    for image, name in zip(phantom.images, description["images"], strict=True):
        read = sitk.ReadImage(str(folder / name))
        assert np.array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(image))
        assert read.GetSpacing() == pytest.approx(image.GetSpacing(), rel=1e-6)
        assert read.GetOrigin() == pytest.approx(image.GetOrigin(), rel=1e-6)


def test_a_dicom_phantom_reads_back_in_another_library(tmp_path):
    phantom = make_phantom(5, SMALL)
    folder = write_phantom(phantom, tmp_path / "case", format="dicom")
    reader = sitk.ImageSeriesReader()
    assert phantom.images
    for image, name in zip(phantom.images, json.loads((folder / "case.json").read_text())["images"], strict=True):
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder / name)))
        read = reader.Execute()
        assert np.array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(image))
        assert read.GetSpacing() == pytest.approx(image.GetSpacing())
        assert read.GetOrigin() == pytest.approx(image.GetOrigin())


def test_a_written_phantom_loads_as_a_prepared_case(tmp_path):
    phantom = make_phantom(5, SMALL)
    write_phantom(phantom, tmp_path / "case_5")
    case = load_case(case_folders(tmp_path)[0])
    assert case.times_s == phantom.times_s
    assert case.lesion_types == {lesion.label: lesion.curve_type for lesion in phantom.lesions}
    assert case.spacing_kji_mm == SMALL.spacing_kji_mm
