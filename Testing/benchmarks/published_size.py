"""Networks of the published size to measure with: random weights, and weights after a short training on phantoms.

Random weights are the worst case for rounding. A few dozen steps that lower the mean absolute error on pieces of
phantom slices make them like those that users run, though nobody should look at the pictures. The 700 MB are not for a
repository, so each benchmark trains anew; seeds fix all that is drawn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from torch import nn
from torch.nn import functional
from VirtualContrastLib.models.package import ModelCard, save_package
from VirtualContrastLib.networks.pix2pixhd import build_generator, init_weights
from VirtualContrastTrainingLib.data.memmap import load_cases
from VirtualContrastTrainingLib.data.phantom import Phantom, PhantomSettings, make_phantom
from VirtualContrastTrainingLib.data.phantom.writing import write_phantom
from VirtualContrastTrainingLib.data.slices import RandomSlices, SliceStyle

SIZE = 512
OPERATIONS = 435.1e9
"""Multiplications and additions of direct convolutions for one slice of 512 x 512 pixels."""
STEPS = 60
_CONFIG = {"input_nc": 3, "output_nc": 3, "ngf": 64, "n_downsample_global": 4, "n_blocks_global": 9}
_PHANTOM = PhantomSettings(size_kji=(12, SIZE, SIZE), spacing_kji_mm=(10.0, 0.6, 0.6))
_CASES, _HELD_OUT = 2, 900003
_PIECE = 192  # pixels a side of what a step sees: at the network's narrowest 12 x 12
_RATE = 2e-4


def random_package(folder: Path) -> Any:
    """A package with the weights that a training starts with."""
    return _package(folder, _card("random weights of the published size", trained_on_phantoms=False), _generator())


def trained_package(folder: Path) -> Any:
    """The same with weights after `STEPS` steps; takes one to two minutes of two cores and 5 GB of memory."""
    card = _card(f"weights of the published size after {STEPS} steps on phantoms", trained_on_phantoms=True)
    generator = _generator()
    _train(generator, card, folder.parent / "phantoms")
    return _package(folder, card, generator)


def held_out_phantom() -> Phantom:
    """A study that the training does not see, with slices of 512 x 512 pixels."""
    return make_phantom(_HELD_OUT, _PHANTOM)


def middle_slices(image: sitk.Image, count: int) -> sitk.Image:
    """The `count` slices in the middle of a volume."""
    first = (image.GetSize()[2] - count) // 2
    return image[:, :, first : first + count]


def _generator() -> nn.Module:
    torch.manual_seed(0)
    generator = build_generator(_CONFIG)
    init_weights(generator)
    return generator


def _train(generator: nn.Module, card: ModelCard, folder: Path) -> None:
    """Adam at a rate that rises for five steps and falls in the second half."""
    slices = _slices(card, folder)
    optimizer = torch.optim.Adam(generator.parameters(), lr=_RATE, betas=(0.5, 0.999), fused=True)
    rng = np.random.default_rng(0)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = _RATE * min(1.0, (step + 1) / 5, 2 * (STEPS - step) / STEPS)
        row, column = rng.integers(SIZE - _PIECE + 1, size=2)
        item = slices[step]
        source, target = (
            item[name][None, :, row : row + _PIECE, column : column + _PIECE] for name in ("source", "target")
        )
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = generator(source.contiguous(memory_format=torch.channels_last))
        optimizer.zero_grad(set_to_none=True)
        functional.l1_loss(output.float(), target).backward()
        optimizer.step()


def _slices(card: ModelCard, folder: Path) -> RandomSlices:
    """Slices of phantoms, each phase scaled by itself as in the published experiments."""
    for seed in range(_CASES):
        write_phantom(make_phantom(seed, _PHANTOM), folder / f"case_{seed}")
    return RandomSlices(
        load_cases(folder),
        intensity=card.intensity,
        channel_offsets=card.inputs.channel_offsets,
        length=STEPS,
        lesion_share=0.5,
        seed=0,
        style=SliceStyle(channel_phases=tuple(card.outputs.channel_phases), own_target_scale=True),
    )


def _package(folder: Path, card: ModelCard, generator: nn.Module) -> Any:
    return save_package(folder, card, generator.state_dict(), model_card_md=card.title)


def _card(title: str, *, trained_on_phantoms: bool) -> ModelCard:
    return ModelCard.model_validate(
        {
            "id": "published-size",
            "version": "0",
            "title": title,
            "architecture": {"name": "pix2pixhd", "config": _CONFIG},
            "inputs": {"phases": [0], "channel_offsets": [0, 0, 0]},
            "outputs": {"channel_phases": [3, 2, 1], "times_s": [90, 220, 350]},
            "intensity": {"recipe": "minmax_8bit"},
            "in_plane": {"pad_multiple": 16},
            "trained_on_phantoms": trained_on_phantoms,
            "license": "none",
        }
    )
