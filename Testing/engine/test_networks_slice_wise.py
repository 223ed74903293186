"""The slice-wise networks behind a model card: both architectures load strictly and run in the Synthesizer."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from VirtualContrastLib.events import Events
from VirtualContrastLib.models.package import ModelCard, load_package, save_package
from VirtualContrastLib.networks.slice_wise import load_slice_network
from VirtualContrastLib.networks.subtraction_unet import build_subtraction_unet
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.synthesizer import Synthesizer

CONFIG = {"input_nc": 1, "output_nc": 2, "widths": [4, 8]}


def test_weights_of_another_network_are_refused():
    state = build_subtraction_unet(CONFIG).state_dict()
    with pytest.raises(ValueError, match="Error"):
        load_slice_network("pix2pixhd_generator", {"input_nc": 1, "output_nc": 1, "ngf": 4}, state)
    with pytest.raises(ValueError, match="Error"):
        load_slice_network("subtraction_unet", {**CONFIG, "widths": [4, 6]}, state)


def test_a_subtraction_unet_package_adds_its_output_to_the_pre_contrast_slice(tmp_path):
    torch.manual_seed(0)
    network = build_subtraction_unet(CONFIG).eval()
    card = ModelCard.model_validate(
        {
            "id": "unet",
            "version": "1",
            "title": "A test",
            "architecture": {"name": "subtraction_unet", "config": CONFIG},
            "inputs": {},
            "outputs": {"channel_phases": [1, 2], "times_s": [90, 220]},
            "intensity": {"recipe": "pre_percentile", "constants": {"max_ratio": 2.0}},
            "in_plane": {"pad_multiple": 2},
            "trained_on_phantoms": True,
            "license": "Apache-2.0",
        }
    )
    save_package(tmp_path / "unet", card, network.state_dict(), model_card_md="test")
    volume = np.random.default_rng(0).uniform(0, 100, (3, 32, 32)).astype(np.float32)
    made = Synthesizer(load_package(tmp_path / "unet"), choose_device("cpu")).synthesize(
        sitk.GetImageFromArray(volume), Events()
    )
    for phase in made.phases:
        change = sitk.GetArrayFromImage(phase) - volume
        assert change.min() > -1e-3  # the U-Net can only add
        assert change.std() > 0
        assert phase.GetSize() == (32, 32, 3)


def test_an_output_that_does_not_follow_the_inputs_is_refused():
    fields = {
        "id": "x",
        "version": "1",
        "title": "A test",
        "architecture": {"name": "iter_unet", "config": {}},
        "inputs": {"phases": [0, 1]},
        "outputs": {"channel_phases": [2, 3], "times_s": [220, 350]},
        "trained_on_phantoms": True,
        "license": "Apache-2.0",
    }
    assert ModelCard.model_validate(fields).kind == "synthesis"
    with pytest.raises(ValueError, match="after the last"):
        ModelCard.model_validate({**fields, "outputs": {"channel_phases": [1, 2], "times_s": [90, 220]}})
