"""Losses of the heads of `networks.residual_enhancement`, each a mean over the items of a batch.

`heads` is what the network gives. `pre` [batch, 1, row, column] and `change` [batch, phase, row, column] are over the
study's scale q; `tissue` [batch, 1, row, column] is 0 or 1.

Every item counts alike, whatever its enhancement: errors are taken relative to that of the identity. That is what keeps
patients of little enhancement from being sacrificed to those of much.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from VirtualContrastLib.metrics.patients import LEAST_SIGNAL, LESION_PE
from VirtualContrastLib.networks.residual_enhancement import (
    PHASES,
    QUANTILES,
    careful,
    enhancing_logit,
    quantile,
)

_FULL_PIXELS = 60
"""Lesion pixels from which on an item's lesion terms count in full."""
_LATE_SHARE = 0.6


def enhancement_losses(
    heads: Tensor, pre: Tensor, change: Tensor, tissue: Tensor, *, harm: float, lesion: float, ranking: float
) -> dict[str, Tensor]:
    """Named terms `QUANTILES`, `CAREFUL`, `LESION` and `RANKING`, whose sum is the loss; late counts 0.6 times early.

    Args:
        heads: [batch, HEADS, row, column].
        pre: the network's input.
        change: real enhancement of early and late.
        tissue: 1 where errors count.
        harm: weight of the share by which the careful head is worse than the identity.
        lesion: weight of the careful head's relative error over pixels of at least 70 % enhancement.
        ranking: weight of the class-balanced cross-entropy of enhancing pixels.

    Returns:
        The terms by name, with their graphs.
    """
    totals = {name: heads.new_zeros(()) for name in ("QUANTILES", "CAREFUL", "LESION", "RANKING")}
    mask, signal = tissue[:, 0], pre[:, 0]
    for phase in range(len(PHASES)):
        weight = 1.0 if phase == 0 else _LATE_SHARE
        real = change[:, phase]
        enhancing = (real > LESION_PE * signal).to(real) * mask
        shown = careful(heads, phase)
        relative = (_sum((shown - real).abs() * mask) + 0.02 * _count(mask)) / (
            _sum(real.abs() * mask) + 0.02 * _count(mask)
        )
        in_lesion = _sum((shown - real).abs() * enhancing) / (_sum(real.abs() * enhancing) + 1e-3)
        full = (_sum(enhancing) / _FULL_PIXELS).clamp(max=1)
        totals["QUANTILES"] = totals["QUANTILES"] + weight * _pinball(heads, phase, real, mask)
        totals["CAREFUL"] = totals["CAREFUL"] + weight * (relative + harm * functional.relu(relative - 1)).mean()
        totals["LESION"] = totals["LESION"] + weight * lesion * (in_lesion * full).mean()
        bright = enhancing * (signal > LEAST_SIGNAL).to(real)
        totals["RANKING"] = totals["RANKING"] + weight * ranking * _balanced(
            enhancing_logit(heads, phase), bright, mask
        )
    return totals


def _pinball(heads: Tensor, phase: int, real: Tensor, mask: Tensor) -> Tensor:
    """Quantile losses over tissue, relative to the size of the enhancement."""
    total = heads.new_zeros(())
    for level in QUANTILES:
        off = real - quantile(heads, phase, level)
        total = total + torch.maximum(level * off, (level - 1) * off)
    size = _sum(real.abs() * mask) / _count(mask)
    return (0.4 * _sum(total * mask) / _count(mask) / (0.5 * size + 0.1)).mean()


def _balanced(logit: Tensor, positive: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy in which enhancing pixels of an item weigh as much as all its others together.

    Where few enhance they weigh less; where none does, the others alone count: such an item is a negative.
    """
    others = mask - positive
    found = _sum(functional.softplus(-logit) * positive) / (_sum(positive) + 1)
    refused = _sum(functional.softplus(logit) * others) / (_sum(others) + 1)
    full = (_sum(positive) / _FULL_PIXELS).clamp(max=1)
    return (0.5 * (found * full + refused)).mean()


def _sum(values: Tensor) -> Tensor:
    return values.sum(dim=(1, 2))


def _count(mask: Tensor) -> Tensor:
    return _sum(mask) + 1
