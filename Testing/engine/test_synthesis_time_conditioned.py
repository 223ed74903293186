"""Phases at any times from a pre-contrast volume: geometry, times, warnings, uncertainty, what is refused."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from tiny_models import tiny_package
from VirtualContrastLib.events import Events, InputError, Stage
from VirtualContrastLib.models.package import ModelCard, save_package
from VirtualContrastLib.networks.time_conditioned import build_time_conditioned
from VirtualContrastLib.synthesis.device import DeviceChoice
from VirtualContrastLib.synthesis.time_conditioned import TimeConditionedSynthesizer

CPU = DeviceChoice("cpu", "fp32", "test")
CONFIG = {"input_nc": 3, "ngf": 4, "n_downsample": 2, "n_blocks": 1, "bases": 4, "time_range_s": [60, 480]}
CARD = {
    "id": "tiny-time",
    "version": "1",
    "title": "Tiny random network",
    "architecture": {"name": "time_conditioned", "config": CONFIG},
    "inputs": {"phases": [0], "channel_offsets": [-1, 0, 1]},
    "outputs": {"channel_phases": [1, 2, 3], "times_s": [90.0, 220.0, 350.0]},
    "intensity": {"recipe": "pre_percentile", "constants": {"max_ratio": 4.0}},
    "in_plane": {"policy": "native", "pad_multiple": 4},
    "trained_on_phantoms": True,
    "license": "Apache-2.0",
}


class Log(Events):
    """Keeps warnings and progress."""

    def __init__(self):
        self.warnings, self.steps = [], []

    def warn(self, message):
        self.warnings.append(message)

    def progress(self, stage, done, total):
        self.steps.append((stage, done, total))


def package(folder, **changes):
    torch.manual_seed(0)
    network = build_time_conditioned(CONFIG)
    with torch.no_grad():
        network.head[1].weight.mul_(5)
    card = ModelCard.model_validate({**CARD, **changes})
    return save_package(folder, card, network.state_dict(), model_card_md="# Tiny\n")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    torch.set_num_threads(1)
    return package(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def synthesizer(tiny):
    return TimeConditionedSynthesizer(tiny, CPU)


def oblique_volume(shape=(5, 30, 44)):
    """Tissue with noise around it, in a turned and anisotropic grid."""
    rng = np.random.default_rng(0)
    array = rng.uniform(0, 20, shape)
    array[:, 6:26, 6:38] += rng.uniform(300, 900, (shape[0], 20, 32))
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing((0.8, 0.9, 3.5))
    image.SetOrigin((-31.0, 12.5, 7.0))
    image.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.2, -0.1, 0.3).GetMatrix())
    return image


def arrays(images):
    return np.stack([sitk.GetArrayFromImage(image) for image in images])


def test_each_time_gives_a_phase_with_exactly_the_geometry_of_the_input(synthesizer):
    pre, times = oblique_volume(), [61.5, 100, 180, 240, 479]
    result = synthesizer.synthesize(pre, Events(), times_s=times)
    assert result.times_s == times
    assert result.uncertainty is None
    assert not result.arbitrary_units
    for image in [*result.phases, result.pre]:
        assert image.GetSize() == pre.GetSize()
        for get in ("GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(image, get)() == getattr(pre, get)()
    assert len({image.tobytes() for image in arrays(result.phases)}) == 5


def test_without_times_the_card_s_are_made(synthesizer):
    result = synthesizer.synthesize(oblique_volume(), Events())
    asked = synthesizer.synthesize(oblique_volume(), Events(), times_s=[90, 220, 350])
    assert result.times_s == [90, 220, 350]
    assert np.array_equal(arrays(result.phases), arrays(asked.phases))


def test_a_phase_is_the_same_whatever_other_times_are_asked_for(synthesizer):
    pre = oblique_volume()
    alone = arrays(synthesizer.synthesize(pre, Events(), times_s=[200]).phases)[0]
    among = arrays(synthesizer.synthesize(pre, Events(), times_s=[70, 150, 200, 300]).phases)[2]
    assert np.allclose(alone, among, rtol=1e-5, atol=1e-3 * np.ptp(alone))


def test_soon_after_injection_the_phase_is_the_pre_contrast_volume(synthesizer):
    pre = oblique_volume()
    start, later = arrays(synthesizer.synthesize(pre, Events(), times_s=[0.001, 200]).phases)
    before = sitk.GetArrayFromImage(pre)
    assert np.abs(start - before).max() < 1e-3 * np.ptp(before)
    assert np.abs(later - before).max() > 0.05 * np.ptp(before)


def test_times_outside_those_of_the_training_are_warned_of_and_others_are_not(synthesizer):
    for times, warned in (([60, 480], False), ([59, 100], True), ([100, 481], True)):
        log = Log()
        synthesizer.synthesize(oblique_volume(), log, times_s=times)
        assert any("60 to 480 s" in message for message in log.warnings) == warned


@pytest.mark.parametrize("times", [[], [0, 90], [-5, 90], [90, 90], [220, 90], [float("nan")]])
def test_times_that_do_not_increase_from_above_0_are_refused(synthesizer, times):
    with pytest.raises(InputError, match="above 0 and increasing"):
        synthesizer.synthesize(oblique_volume(), Events(), times_s=times)


def test_uncertainty_is_made_for_each_time_and_depends_on_the_seed(synthesizer):
    pre, log = oblique_volume(), Log()
    result = synthesizer.synthesize(pre, log, times_s=[80, 300], perturbations=3, seed=1)
    other = synthesizer.synthesize(pre, Events(), times_s=[80, 300], perturbations=3, seed=2)
    assert len(result.uncertainty) == 2
    assert arrays(result.uncertainty).max() > 0
    assert not np.array_equal(arrays(result.uncertainty), arrays(other.uncertainty))
    assert np.array_equal(arrays(result.phases), arrays(other.phases))
    assert log.steps[-1] == (Stage.SYNTHESIZE, 5 * 4, 5 * 4)
    with pytest.raises(InputError, match="at least 2"):
        synthesizer.synthesize(pre, Events(), perturbations=1)


def test_the_same_input_gives_the_same_bytes_from_a_fresh_synthesizer(tiny, synthesizer):
    pre = oblique_volume()
    first, second = (s.synthesize(pre, Events()) for s in (synthesizer, TimeConditionedSynthesizer(tiny, CPU)))
    assert np.array_equal(arrays(first.phases), arrays(second.phases))


def test_a_model_of_fixed_times_does_not_make_phases_at_any_time(tmp_path):
    with pytest.raises(InputError, match="does not make phases at any time"):
        TimeConditionedSynthesizer(tiny_package(tmp_path / "fixed"), CPU)


def test_weights_of_another_width_are_refused(tmp_path, tiny):
    wider = {"name": "time_conditioned", "config": {**CONFIG, "ngf": 8}}
    card = ModelCard.model_validate({**CARD, "architecture": wider})
    wrong = save_package(tmp_path / "wrong", card, tiny.load_state(), model_card_md="# Wrong\n")
    with pytest.raises(InputError, match="does not fit the time_conditioned network of its card"):
        TimeConditionedSynthesizer(wrong, CPU)
