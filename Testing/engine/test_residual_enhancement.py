"""The residual enhancement network and its synthesizer: untrained they change nothing, trained they add."""

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.models.package import ModelCard, save_package
from VirtualContrastLib.networks.options import ResidualEnhancementOptions
from VirtualContrastLib.networks.residual_enhancement import (
    HEADS,
    build_residual_enhancement,
    careful,
    enhancing_logit,
    quantile,
)
from VirtualContrastLib.study import Phase, Source, Study
from VirtualContrastLib.synthesis import backends
from VirtualContrastLib.synthesis.device import DeviceChoice
from VirtualContrastLib.synthesis.study_synthesizer import study_synthesizer

CPU = DeviceChoice("cpu", "fp32", "test")
CONFIG = {"widths": [4, 8], "encode": [1, 1], "decode": [1], "members": 2}
BASELINE = {"gain": 1.2, "signals": [0.0, 1.0], "enhancements": [0.1, 0.2]}
CALIBRATION = {
    "display": [{"background": 0.5, "hint": 0.2, "lesion": 1.0, "threshold": 0.0, "softness": 1.0}] * 2,
    "bands": [{"factor": 1.5, "coverage": 0.9}] * 2,
    "baselines": [BASELINE] * 2,
    "patients": 10,
    "data": "made up",
}
CARD = {
    "id": "tiny-enhancement",
    "version": "1",
    "title": "Tiny network",
    "architecture": {"name": "residual_enhancement", "config": CONFIG},
    "inputs": {"phases": [0]},
    "outputs": {"channel_phases": [1, 2], "times_s": [150.0, 450.0]},
    "intensity": {"recipe": "tissue_percentile"},
    "in_plane": {"policy": "resample", "spacing_mm": 0.714, "pad_multiple": 4},
    "calibration": CALIBRATION,
    "trained_on_phantoms": False,
    "license": "Apache-2.0",
}


def package(folder, last_bias=None, **changes):
    """A package whose heads are all zero, or `last_bias` where given: a tensor of HEADS values."""
    torch.manual_seed(0)
    network = build_residual_enhancement(CONFIG)
    if last_bias is not None:
        for member in network.members:
            member.last.bias.data = last_bias.repeat_interleave(4)
    card = ModelCard.model_validate({**CARD, **changes})
    state = {name: tensor.half() for name, tensor in network.state_dict().items()}
    return save_package(folder, card, state, model_card_md="# Tiny\n")


def breast(shape=(3, 40, 52), spacing=(0.714, 0.714, 3.0)):
    rng = np.random.default_rng(0)
    pixels = rng.integers(20, 60, shape).astype(np.uint8)
    pixels[:, :8] = 0
    image = sitk.GetImageFromArray(pixels)
    image.SetSpacing(spacing)
    image.SetOrigin((1.0, -2.0, 3.0))
    return image


def scale(image):
    """90th percentile of the tissue: what is above 8 % of the 99.5th percentile."""
    pixels = sitk.GetArrayFromImage(image).astype(np.float64)
    return np.percentile(pixels[pixels > 0.08 * np.percentile(pixels, 99.5)], 90)


def study_of(image):
    return Study(Phase(0, image, 0.0, synthetic=False), Source((), "memory", "0" * 64))


def synthesize(folder, image, *, perturbations=0, **package_options):
    synthesizer = study_synthesizer(package(folder, **package_options), CPU)
    return synthesizer.synthesize_study(study_of(image), Events(), times_s=None, perturbations=perturbations, seed=0)


def test_untrained_network_predicts_no_enhancement_whatever_the_input():
    network = build_residual_enhancement(CONFIG)
    heads = network(torch.rand(2, 1, 16, 24) * 5)
    assert heads.shape == (2, HEADS, 16, 24)
    assert (heads == 0).all()


def test_heads_do_not_overlap_and_cover_all_channels():
    heads = torch.arange(HEADS, dtype=torch.float32).reshape(1, HEADS, 1, 1)
    found = [quantile(heads, p, q) for p in (0, 1) for q in (0.1, 0.3, 0.5, 0.7, 0.9)]
    found += [careful(heads, p) for p in (0, 1)] + [enhancing_logit(heads, p) for p in (0, 1)]
    assert sorted(float(value) for value in found) == list(range(HEADS))


def test_members_are_averaged():
    torch.manual_seed(1)
    network = build_residual_enhancement(CONFIG)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x = torch.rand(1, 1, 16, 16)
    apart = [member(x) for member in network.members]
    assert torch.allclose(network(x), (apart[0] + apart[1]) / 2)
    assert not torch.allclose(apart[0], apart[1])


@pytest.mark.parametrize("config", [{"width": [4, 8]}, {"widths": [4], "encode": [1], "decode": []}, {"members": 0}])
def test_impossible_options_are_refused(config):
    with pytest.raises(ValueError, match="residual enhancement option"):
        build_residual_enhancement(config)


def test_the_side_of_the_options_is_the_smallest_side_that_works():
    side = 2 ** ResidualEnhancementOptions.of(CONFIG).halvings
    network = build_residual_enhancement(CONFIG)
    assert network(torch.rand(1, 1, side, side)).shape[-1] == side
    with pytest.raises(RuntimeError):
        network(torch.rand(1, 1, side, side // 2 * 3))


def test_untrained_package_is_the_identity_on_the_same_grid(tmp_path):
    image = breast()
    result = synthesize(tmp_path / "m", image)
    assert result.times_s == [150.0, 450.0]
    assert not result.arbitrary_units and result.uncertainty is None
    for phase in result.phases:
        assert phase.GetOrigin() == image.GetOrigin() and phase.GetSpacing() == image.GetSpacing()
        np.testing.assert_array_equal(sitk.GetArrayFromImage(phase), sitk.GetArrayFromImage(image))


def test_enhancement_is_added_in_units_of_the_studys_scale(tmp_path):
    """Early median 0.4, q10 0.2, q30 0.2, q70 0.6, q90 1.0, logit 0: quiet 0.1 + 0.1, shown 0.2 + 0.5 0.2."""
    bias = torch.zeros(HEADS)
    bias[0], bias[1], bias[2], bias[3], bias[4] = 0.2, 0.2, 0.4, 0.6, 1.0
    image = breast()
    pixels, q = sitk.GetArrayFromImage(image).astype(np.float64), scale(image)
    result = synthesize(tmp_path / "m", image, last_bias=bias, perturbations=2)
    shown = sitk.GetArrayFromImage(result.phases[0]) - pixels
    np.testing.assert_allclose(shown, 0.3 * q, rtol=2e-3)
    lower, upper = (part.volume() for part in result.bands[0])
    assert lower.mean() == pytest.approx((0.4 - 1.5 * 0.2) * q, rel=2e-3)
    assert upper.mean() == pytest.approx((0.4 + 1.5 * 0.6) * q, rel=2e-3)
    spread = sitk.GetArrayFromImage(result.uncertainty[0])
    assert spread.mean() == pytest.approx(1.2 * q / (2 * 1.645), rel=1e-2)


def test_coarse_pixels_keep_the_studys_own_detail(tmp_path):
    bias = torch.zeros(HEADS)
    bias[1] = 0.4
    image = breast(shape=(2, 30, 30), spacing=(1.5, 1.5, 3.0))
    result = synthesize(tmp_path / "m", image, last_bias=bias)
    change = sitk.GetArrayFromImage(result.phases[0]) - sitk.GetArrayFromImage(image)
    assert np.ptp(change) < 0.01 * change.mean()


def test_output_does_not_depend_on_the_units(tmp_path):
    torch.manual_seed(3)
    bias = torch.rand(HEADS)
    image = breast()
    larger = sitk.Cast(image, sitk.sitkFloat32) * 37.0
    small = synthesize(tmp_path / "a", image, last_bias=bias).phases[1]
    large = synthesize(tmp_path / "b", larger, last_bias=bias).phases[1]
    np.testing.assert_allclose(sitk.GetArrayFromImage(large), 37 * sitk.GetArrayFromImage(small), rtol=1e-4, atol=1e-2)


def test_empty_slices_stay_empty(tmp_path):
    pixels = sitk.GetArrayFromImage(breast())
    pixels[1] = 0
    result = synthesize(tmp_path / "m", sitk.GetImageFromArray(pixels), last_bias=torch.ones(HEADS))
    assert (sitk.GetArrayFromImage(result.phases[0])[1] == 0).all()


def test_a_model_that_was_not_calibrated_shows_its_careful_prediction_and_tells_no_bands(tmp_path):
    bias = torch.zeros(HEADS)
    bias[2], bias[10], bias[12] = 0.6, 0.3, 5.0
    image = breast()
    result = synthesize(tmp_path / "m", image, last_bias=bias, calibration=None)
    change = sitk.GetArrayFromImage(result.phases[0]) - sitk.GetArrayFromImage(image)
    np.testing.assert_allclose(change, 0.3 * scale(image), rtol=2e-3)
    assert result.bands is None and result.probability is None


def test_weights_of_another_network_are_refused(tmp_path):
    made = package(tmp_path / "m")
    card = made.card.model_copy(
        update={"architecture": made.card.architecture.model_copy(update={"config": {**CONFIG, "widths": [4, 12]}})}
    )
    with pytest.raises(InputError, match="does not fit the residual_enhancement network"):
        study_synthesizer(dataclasses.replace(made, card=card), CPU)


def test_a_whole_study_is_computed_by_the_fastest_way_and_says_so(tmp_path, monkeypatch):
    """A way that differs in what is shown by less than the bounds is taken where the study has slices enough."""

    def other(network, choice):
        return lambda x: network(x).detach() + 0.001

    monkeypatch.setattr(backends, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(backends, "_WAYS", (backends._Way("another way", other, lambda *_: True),))
    monkeypatch.setattr(backends, "_LEAST_GAIN", 0.0)
    bias = torch.zeros(HEADS)
    bias[2] = 0.4
    synthesizer = study_synthesizer(package(tmp_path / "m", last_bias=bias), DeviceChoice("cpu", "auto", "test"))
    told = [
        synthesizer.synthesize_study(
            study_of(breast(shape=(slices, 40, 52))), Events(), times_s=None, perturbations=0, seed=0
        ).computed
        for slices in (3, 30)
    ]
    assert told[0] == "Computed in float32, layer by layer."
    assert told[1].startswith("Computed by another way") and "differs from the reference by 0.1" in told[1]
