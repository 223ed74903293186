"""The subtraction U-Net behind a model card, and outputs that follow the inputs."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from VirtualContrastLib.events import Events
from VirtualContrastLib.models.package import ModelCard, load_package, save_package
from VirtualContrastLib.networks.subtraction_unet import build_subtraction_unet
from VirtualContrastLib.study import Phase, Source, Study
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.study_synthesizer import study_synthesizer

CONFIG = {"input_nc": 1, "output_nc": 2, "widths": [4, 8]}
VOLUMETRIC = {"network": {}, "window_kji": [16, 32, 32], "overlap": 0.5, "ti_norm_region": "volume"}


def made_by(network, config, folder):
    """A random volume [k, j, i], and the phases that a package of `network` makes of it through the engine."""
    card = ModelCard.model_validate(
        {
            "id": "unet",
            "version": "1",
            "title": "A test",
            "architecture": {"name": "subtraction_unet", "config": config},
            "inputs": {},
            "outputs": {"channel_phases": [1, 2], "times_s": [90, 220]},
            "intensity": {"recipe": "pre_percentile", "constants": {"max_ratio": 4.0}},
            "in_plane": {"pad_multiple": 2},
            "trained_on_phantoms": True,
            "license": "Apache-2.0",
        }
    )
    save_package(folder, card, network.state_dict(), model_card_md="test")
    volume = np.random.default_rng(0).uniform(0, 100, (3, 32, 32)).astype(np.float32)
    study = Study(Phase(0, sitk.GetImageFromArray(volume), 0.0, False), Source((), "memory", ""))
    made = study_synthesizer(load_package(folder), choose_device("cpu")).synthesize_study(
        study, Events(), times_s=None, perturbations=0, seed=0
    )
    assert [phase.GetSize() for phase in made.phases] == [(32, 32, 3)] * 2
    return volume, [sitk.GetArrayFromImage(phase) for phase in made.phases]


def test_a_subtraction_unet_package_adds_its_output_to_the_pre_contrast_slice(tmp_path):
    torch.manual_seed(0)
    volume, phases = made_by(build_subtraction_unet(CONFIG).eval(), CONFIG, tmp_path / "unet")
    for phase in phases:
        change = phase - volume
        assert change.min() > -1e-3  # the U-Net can only add
        assert change.std() > 0


@pytest.mark.parametrize("predicts", ["subtraction", "phase"])
def test_the_card_says_whether_the_output_is_a_subtraction_or_the_phase_itself(predicts, tmp_path):
    config = {**CONFIG, "predicts": predicts}
    network = build_subtraction_unet(config).eval()
    with torch.no_grad():  # the sigmoid gives 0.15 and 0.3 everywhere, whatever comes in
        network.head.weight.zero_()
        network.head.bias.copy_(torch.logit(torch.tensor([0.15, 0.3])))
    volume, phases = made_by(network, config, tmp_path / "unet")
    added = volume if predicts == "subtraction" else 0 * volume
    first, second = (phase - added for phase in phases)
    assert first.std() < 1e-3 < first.mean()
    assert np.allclose(second, 2 * first, rtol=1e-4)


def test_an_output_that_does_not_follow_the_inputs_is_refused():
    fields = {
        "id": "x",
        "version": "1",
        "title": "A test",
        "architecture": {"name": "iter_unet", "config": VOLUMETRIC},
        "inputs": {"phases": [0, 1]},
        "outputs": {"channel_phases": [2, 3], "times_s": [220, 350]},
        "trained_on_phantoms": True,
        "license": "Apache-2.0",
    }
    assert ModelCard.model_validate(fields).kind == "synthesis"
    with pytest.raises(ValueError, match="after the last"):
        ModelCard.model_validate({**fields, "outputs": {"channel_phases": [1, 2], "times_s": [90, 220]}})
