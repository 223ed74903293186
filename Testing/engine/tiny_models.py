"""Small model packages with random weights, for tests only."""

import copy

import torch
from VirtualContrastLib.models.package import ModelCard, save_package
from VirtualContrastLib.networks.pix2pixhd import build_generator, init_weights

CARD = {
    "id": "tiny",
    "version": "1",
    "title": "Tiny random network",
    "architecture": {
        "name": "pix2pixhd_generator",
        "config": {"input_nc": 3, "output_nc": 3, "ngf": 4, "n_downsample_global": 1, "n_blocks_global": 1},
    },
    "inputs": {"phases": [0], "channel_offsets": [-1, 0, 1]},
    "outputs": {"channel_phases": [1, 2, 3], "times_s": [90.0, 220.0, 350.0]},
    "intensity": {"recipe": "pre_percentile", "constants": {"max_ratio": 4.0}},
    "in_plane": {"policy": "native", "pad_multiple": 4},
    "trained_on_phantoms": True,
    "licence": "Apache-2.0",
}


def tiny_card(**changes):
    """CARD with some parts replaced; `config` changes single network options."""
    values = copy.deepcopy(CARD)
    values["architecture"]["config"] |= changes.pop("config", {})
    return ModelCard.model_validate(values | changes)


def tiny_state(card, seed=0):
    torch.manual_seed(seed)
    network = build_generator(card.architecture.config)
    init_weights(network)
    return network.state_dict()


def tiny_package(folder, seed=0, **changes):
    card = tiny_card(**changes)
    return save_package(folder, card, tiny_state(card, seed), model_card_md="# Tiny\n")
