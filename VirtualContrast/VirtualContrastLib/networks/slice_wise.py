"""The networks that make phases slice by slice, by the architecture name of a model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from .pix2pixhd import build_generator
from .subtraction_unet import PhasesFromSubtraction, build_subtraction_unet


def load_slice_network(architecture: str, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """The network of `config` with the weights `state`, from pre-contrast slices to phases, both in -1..1.

    `architecture` is pix2pixhd_generator or subtraction_unet. Loading is strict. Raises ValueError for an option that
    the network does not have and for keys or shapes that do not fit.
    """
    if architecture == "subtraction_unet":
        unet = build_subtraction_unet(config)
        _load(unet, state)
        return PhasesFromSubtraction(unet)
    generator = build_generator(config)
    _load(generator, state)
    return generator


def _load(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ValueError(str(error).splitlines()[0]) from error
