"""Negative gray values and padding: they neither move the synthesis nor pass for signal (files.md A1)."""

import numpy as np
import pydicom
import pytest
import run_samples
import SimpleITK as sitk
from io_samples import MrSeries
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.io.read import read_study
from VirtualContrastLib.io.volumes import like
from VirtualContrastLib.io.zero_level import zero_level
from VirtualContrastLib.run.pipeline import ModelCache, RunSettings, run
from VirtualContrastLib.synthesis.intensity import make_recipe

SPEC = {"recipe": "pre_percentile", "constants": {"percentile": 99.5, "max_ratio": 4.0}}


def breast(seed=0):
    """A magnitude image: Rician air at 0, fat at 120, tissue at 300; 20 x 60 x 50 voxels."""
    rng = np.random.default_rng(seed)
    signal = np.zeros((20, 60, 50))
    signal[:, 15:, 10:40] = 120
    signal[5:15, 25:50, 15:35] = 300
    return np.hypot(signal + rng.normal(0, 6, signal.shape), rng.normal(0, 6, signal.shape))


def one_voxel(value):
    def change(volume):
        volume[10, 30, 30] = value

    return change


def border(value):
    def change(volume):
        volume[:, -8:] = value

    return change


def two_paddings(volume):
    volume[:, -8:] = -1024
    volume[:, :6] = -2000
    volume[0, 0, 0] = -32768


def blended_border(volume):
    """A border of -1024 that linear resampling smeared over the next row."""
    volume[:, -8:] = -1024
    volume[:, -9] = 0.5 * volume[:, -9] - 512


def undershoot(volume):
    dark = np.random.default_rng(3).random(volume.shape) < 0.004
    volume[dark] = -34


KINDS = {
    **{f"one voxel of {v}": one_voxel(v) for v in (-5, -50, -500, -32768)},
    **{f"a border of {v}": border(v) for v in (-1, -10, -100, -1024)},
    "two paddings and a dead voxel": two_paddings,
    "a blended border": blended_border,
    "spline undershoot": undershoot,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_below_zero_by_padding_or_resampling_does_not_move_the_constants(kind):
    plain, changed = breast(), breast()
    KINDS[kind](changed)
    assert zero_level(changed) == 0
    recipe = make_recipe(SPEC)
    before, after = recipe.fit(np.maximum(plain, 0)), recipe.fit(changed)
    assert after["offset"] == before["offset"] == 0
    # Setting a border to padding takes tissue away, so the percentile itself may move a little.
    assert after["scale"] == pytest.approx(before["scale"], rel=0.01)


@pytest.mark.parametrize("padding", [-400.0, -1024.0, -3000.0])
@pytest.mark.parametrize("rows", [4, 10])
def test_padding_that_a_spline_smeared_is_no_shifted_air(padding, rows):
    """Resampling as registration does it: the border rings, and no longer has one value."""
    volume = breast()
    volume[:, :rows] = padding
    shift = sitk.TranslationTransform(3, (0.4, 0.3, 0.2))
    smeared = sitk.GetArrayFromImage(sitk.Resample(sitk.GetImageFromArray(volume), shift, sitk.sitkBSpline, padding))
    assert len(np.unique(smeared[smeared < padding / 2])) > 100
    assert zero_level(smeared) == 0


@pytest.mark.parametrize("shift", [-19595.0, -1024.0, -250.0])
def test_storage_shifted_as_a_whole_keeps_its_air_as_zero(shift):
    moved = breast() + shift
    assert zero_level(moved) == pytest.approx(shift, abs=0.1)
    moved[10, 30, 30] = -1e6
    assert zero_level(moved) == pytest.approx(shift, abs=0.1)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return run_samples.write_study(tmp_path_factory.mktemp("study"), phases=1)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    model = run_samples.write_model(tmp_path_factory.mktemp("model") / "tiny")
    return RunSettings(model=str(model), segmentation="none", device="cpu")


@pytest.mark.parametrize("kind", ["one voxel of -500", "a border of -1024", "spline undershoot"])
def test_synthesis_is_that_of_the_same_volume_clipped_at_zero_and_the_report_says_so(kind, study, settings, tmp_path):
    pre = sitk.ReadImage(str(study / "pre.nrrd"), sitk.sitkFloat32)
    values = sitk.GetArrayFromImage(pre)
    k, j, i = values.shape
    if "voxel" in kind:
        values[k // 2, j // 2, i // 2] = -500
    elif "border" in kind:
        values[:, -4:] = -1024
    else:
        values[np.random.default_rng(3).random(values.shape) < 0.004] = -34
    sitk.WriteImage(like(values, pre), str(tmp_path / "odd.nrrd"))
    sitk.WriteImage(like(np.maximum(values, 0), pre), str(tmp_path / "clipped.nrrd"))
    models, made = ModelCache(), {}
    for name in ("odd", "clipped"):
        events = Events()
        result = run(tmp_path / f"{name}.nrrd", tmp_path / name, settings, events=events, models=models)
        made[name] = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name / "phases/phase_1.nrrd")))
        assert any("below 0" in warning for warning in result.manifest.warnings) == (name == "odd")
    np.testing.assert_array_equal(made["odd"], made["clipped"])


def test_dicom_padding_is_no_signal(tmp_path):
    image = sitk.GetImageFromArray(breast().astype(np.int16))
    MrSeries(image).write(tmp_path / "plain")
    padded = sitk.GetArrayFromImage(image)
    padded[:, -8:] = -2000
    MrSeries(like(padded, image), PixelPaddingValue=-2000).write(tmp_path / "padded")
    expected = sitk.GetArrayFromImage(image)
    expected[:, -8:] = 0
    study = read_study(tmp_path / "padded")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(study.pre.image), expected)


def test_padding_that_is_a_bright_stored_value_is_no_signal(tmp_path):
    """PixelPaddingValue 4095, with a rescale slope: the value is that of stored pixels, not of gray values."""
    image = sitk.GetImageFromArray(breast().astype(np.int16))
    padded = sitk.GetArrayFromImage(image)
    padded[:, -8:] = 4090
    padded[:, -3:] = 4095
    series = MrSeries(like(padded, image), slope=2.0, PixelPaddingValue=4095, PixelPaddingRangeLimit=4090)
    series.write(tmp_path / "padded")
    assert pydicom.dcmread(next((tmp_path / "padded").iterdir())).PixelPaddingValue == 4095
    values = sitk.GetArrayFromImage(read_study(tmp_path / "padded").pre.image)
    assert values[:, -8:].max() == 0
    np.testing.assert_array_equal(values[:, :-8], 2.0 * sitk.GetArrayFromImage(image)[:, :-8])


def warned(values, tmp_path, dtype=np.float32):
    sitk.WriteImage(sitk.GetImageFromArray(values.astype(dtype)), str(tmp_path / "v.nrrd"))
    events = Events()
    read_study(tmp_path / "v.nrrd", events=events)
    return " ".join(events.warnings)


def test_normalized_and_shifted_volumes_are_told_and_all_negative_ones_refused(tmp_path):
    volume = breast()
    z_score = (volume - volume.mean()) / volume.std()
    assert "normalized (mean 0, standard deviation 1)" in warned(z_score, tmp_path)
    tissue = volume > 60
    inside = np.where(tissue, (volume - volume[tissue].mean()) / volume[tissue].std(), 0)
    assert "normalized" in warned(inside, tmp_path)
    assert "-100 was taken as the level of air" in warned(np.rint(volume).clip(0) - 100, tmp_path, np.int16)
    with pytest.raises(InputError, match="no gray value above 0"):
        warned(volume - 2000, tmp_path)
    assert "negative" not in warned(volume, tmp_path)


def test_real_phases_are_cleaned_as_the_pre_contrast_one(study, tmp_path):
    post = sitk.ReadImage(str(study / "phase_1.nrrd"), sitk.sitkFloat32)
    values = sitk.GetArrayFromImage(post)
    values[:, -4:] = -1024
    sitk.WriteImage(like(values, post), str(tmp_path / "post.nrrd"))
    read = read_study(study / "pre.nrrd", [tmp_path / "post.nrrd"])
    assert sitk.GetArrayViewFromImage(read.real[0].image).min() == 0
