"""Small model packages with random weights, for tests only."""

import copy

import torch
from VirtualContrastLib.models.package import ModelCard, save_package
from VirtualContrastLib.networks import cyclegan
from VirtualContrastLib.networks.iter_unet import build_series_network
from VirtualContrastLib.networks.pix2pixhd import build_generator, init_weights
from VirtualContrastLib.networks.time_conditioned import build_time_conditioned

CARD = {
    "id": "tiny",
    "version": "1",
    "title": "Tiny random network",
    "architecture": {
        "name": "pix2pixhd",
        "config": {"input_nc": 3, "output_nc": 3, "ngf": 4, "n_downsample_global": 1, "n_blocks_global": 1},
    },
    "inputs": {"phases": [0], "channel_offsets": [-1, 0, 1]},
    "outputs": {"channel_phases": [1, 2, 3], "times_s": [90.0, 220.0, 350.0]},
    "intensity": {"recipe": "pre_percentile", "constants": {"max_ratio": 4.0}},
    "in_plane": {"policy": "native", "pad_multiple": 4},
    "trained_on_phantoms": True,
    "license": "Apache-2.0",
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


def tiny_iter_unet(folder, *, network=None, first_time_s=(90.0,), times_s=(220.0, 350.0), seed=0):
    """A random iterU-Net package: phases 2, 3, ... from pre-contrast and real phase 1."""
    options = {"features": [4, 4, 6, 6, 6, 4], "time": "seconds"} if network is None else network
    values = {
        "id": "tiny-iter-unet",
        "version": "1",
        "title": "Tiny random iterU-Net",
        "architecture": {
            "name": "iter_unet",
            "config": {"network": options, "window_kji": [16, 32, 32], "overlap": 0.5, "ti_norm_region": "volume"},
        },
        "inputs": {"phases": [0, 1], "times_s": list(first_time_s)},
        "outputs": {"channel_phases": list(range(2, 2 + len(times_s))), "times_s": list(times_s)},
        "trained_on_phantoms": True,
        "license": "Apache-2.0",
    }
    torch.manual_seed(seed)
    state = build_series_network(options).state_dict()
    return save_package(folder, ModelCard.model_validate(values), state, model_card_md="# Tiny\n")


def tiny_mammogram_model(folder, *, seed=0, **mammogram):
    """A random CycleGAN generator package: recombined from low-energy mammograms of about 8 bit."""
    generator = {"ngf": 4, "n_blocks": 1}
    spec = {"source_window": [0, 255], "target_window": [0, 255], "spacing_mm": None, "downsample": 1} | mammogram
    config = {"generator": generator, "mammogram": spec, "window": 32, "stride": 16}
    values = {
        "id": "tiny-mammogram",
        "version": "1",
        "title": "Tiny random CycleGAN",
        "architecture": {"name": "cyclegan", "config": config},
        "inputs": {},
        "trained_on_phantoms": True,
        "license": "Apache-2.0",
    }
    torch.manual_seed(seed)
    network = cyclegan.build_generator(generator)
    cyclegan.init_weights(network)
    return save_package(folder, ModelCard.model_validate(values), network.state_dict(), model_card_md="# Tiny\n")


def tiny_time_conditioned(folder, *, times_s=(90.0, 220.0, 350.0), seed=0):
    """A random time-conditioned package: any phase from the pre-contrast volume."""
    config = {"input_nc": 3, "ngf": 4, "n_downsample": 1, "n_blocks": 1, "bases": 2}
    values = copy.deepcopy(CARD) | {
        "id": "tiny-time",
        "architecture": {"name": "time_conditioned", "config": config},
        "outputs": {"channel_phases": list(range(1, 1 + len(times_s))), "times_s": list(times_s)},
    }
    torch.manual_seed(seed)
    state = build_time_conditioned(config).state_dict()
    return save_package(folder, ModelCard.model_validate(values), state, model_card_md="# Tiny\n")
