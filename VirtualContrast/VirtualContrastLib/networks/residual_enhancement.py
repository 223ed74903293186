"""Relative enhancement of an early and a late phase from a pre-contrast slice: residual U-Nets that keep the scale.

The input is the pre-contrast slice over the study's scale q (`synthesis.intensity`, recipe `tissue_percentile`); every
output is an enhancement over the same q, or a logit. There is no normalization, which would erase that scale, and the
last layer starts at zero: an untrained network predicts no enhancement. Several members that were trained on different
patients are averaged. The network computes on pixels unshuffled 2 x 2, which costs a quarter and loses nothing.
Tensors are [batch, channel, row, column], float.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .options import ResidualEnhancementOptions

PHASES = ("early", "late")
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Quantiles of the enhancement that the network is trained to give."""

_PER_PHASE = len(QUANTILES)
HEADS = len(PHASES) * (_PER_PHASE + 2)
"""Channels: the quantiles of early, those of late, careful early and late, logits early and late."""

_LOG_FLOOR = 0.05


def build_residual_enhancement(config: Mapping[str, Any] | ResidualEnhancementOptions) -> ResidualEnhancement:
    """Network of the options `config`, see `ResidualEnhancementOptions`.

    Raises ValueError for an unknown or impossible option.
    """
    options = ResidualEnhancementOptions.of(config)
    return ResidualEnhancement(
        ResidualUNet(options.widths, options.encode, options.decode) for _ in range(options.members)
    )


def quantile(heads: Tensor, phase: int, level: float) -> Tensor:
    """One quantile of the enhancement that the network predicts.

    Args:
        heads: Output of the network [batch, head, row, column].
        phase: 0 (early) or 1 (late).
        level: One of QUANTILES.

    Returns:
        Enhancement over q [batch, row, column].
    """
    return heads[:, phase * _PER_PHASE + QUANTILES.index(level)]


def careful(heads: Tensor, phase: int) -> Tensor:
    """Enhancement [batch, row, column] over q that was trained not to be worse than none in any patient."""
    return heads[:, len(PHASES) * _PER_PHASE + phase]


def enhancing_logit(heads: Tensor, phase: int) -> Tensor:
    """Logit [batch, row, column] of enhancement above 70 %, of classes weighted alike."""
    return heads[:, len(PHASES) * (_PER_PHASE + 1) + phase]


class ResidualEnhancement(nn.Module):
    """Mean of the heads of its `members`."""

    def __init__(self, members: Any) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """Map pre-contrast slices over q [batch, 1, row, column] to heads [batch, HEADS, row, column]."""
        total = self.members[0](x)
        for member in self.members[1:]:
            total = total + member(x)
        return total / len(self.members)


class ResidualUNet(nn.Module):
    """One member: a U-Net of residual blocks over the slice and its logarithm."""

    def __init__(self, widths: Sequence[int], encode: Sequence[int], decode: Sequence[int]) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.stem = nn.Conv2d(8, widths[0], 3, padding=1)
        self.encode = nn.ModuleList(_blocks(width, count) for width, count in zip(widths, encode, strict=True))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.up = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairs)
        self.mix = nn.ModuleList(nn.Conv2d(2 * fine, fine, 1) for fine, _ in pairs)
        self.decode = nn.ModuleList(_blocks(width, count) for width, count in zip(widths[:-1], decode, strict=True))
        self.last = _zero(nn.Conv2d(widths[0], 4 * HEADS, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, 1, row, column] to heads; rows and columns must be multiples of 2**levels."""
        logarithm = torch.log(x.clamp(min=0) + _LOG_FLOOR) + 1
        x = self.stem(functional.pixel_unshuffle(torch.cat([x, logarithm], dim=1), 2))
        skips = []
        for encode, down in zip(self.encode, self.down, strict=False):
            skips.append(encode(x))
            x = down(skips[-1])
        x = self.encode[-1](x)
        for up, mix, decode in zip(reversed(self.up), reversed(self.mix), reversed(self.decode), strict=True):
            x = functional.interpolate(up(x), scale_factor=2, mode="nearest")
            x = decode(mix(torch.cat([x, skips.pop()], dim=1)))
        return functional.pixel_shuffle(self.last(functional.relu(x)), 2)


class _Block(nn.Module):
    """x plus a correction that starts at zero, which takes the place of normalization."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(width, width, 3, padding=1)
        self.b = _zero(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(functional.relu(self.a(functional.relu(x))))


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_Block(width) for _ in range(count)))


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
