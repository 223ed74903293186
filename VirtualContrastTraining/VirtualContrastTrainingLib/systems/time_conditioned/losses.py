"""Losses of the time-conditioned generator: phases at any times, some of them missing in an item of the batch.

Outputs and targets are [batch, phase, row, column]; `valid` [batch, phase] is 1 for phases that are there and 0 for
those that fill the batch up; `lesions` [batch, 1, row, column] is 1 inside lesions.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def weighted_l1(output: Tensor, target: Tensor, lesions: Tensor, valid: Tensor, lesion_weight: float) -> Tensor:
    """Mean absolute error over valid phases, in which lesion pixels count more.

    With every phase valid it is `lesion_weighted_l1` of pix2pixHD.

    Args:
        output: Generated images [batch, phase, row, column].
        target: Acquired images of the same shape.
        lesions: 1 inside lesions [batch, 1, row, column].
        valid: 1 for phases that an item has [batch, phase].
        lesion_weight: How many times lesion pixels count.

    Returns:
        The loss, a scalar with its graph; 0 without any valid phase.
    """
    weight = (1.0 + (lesion_weight - 1.0) * lesions) * valid[:, :, None, None]
    return (weight * (output - target).abs()).sum() / weight.sum().clamp(min=1.0)


def temporal_l1(output: Tensor, target: Tensor, lesions: Tensor, valid: Tensor, lesion_weight: float) -> Tensor:
    """`weighted_l1` of the change between every two phases of an item.

    Every two and not only neighbors: wash-out shows between early and late, while close phases differ by noise.

    Args:
        output: Generated images [batch, phase, row, column].
        target: Acquired images of the same shape.
        lesions: 1 inside lesions [batch, 1, row, column].
        valid: 1 for phases that an item has [batch, phase].
        lesion_weight: How many times lesion pixels count.

    Returns:
        The loss, a scalar with its graph.
    """
    earlier, later = torch.triu_indices(output.shape[1], output.shape[1], offset=1, device=output.device)
    return weighted_l1(
        output[:, later] - output[:, earlier],
        target[:, later] - target[:, earlier],
        lesions,
        valid[:, later] * valid[:, earlier],
        lesion_weight,
    )


def series_losses(output: Tensor, batch: Mapping[str, Tensor], weights: Mapping[str, float]) -> dict[str, Tensor]:
    """Weighted terms `L1` and `TEMPORAL` of a batch; their sum is the loss.

    Args:
        output: Generated images [batch, phase, row, column].
        batch: From `data.timed_slices`: target, lesions and valid.
        weights: `l1`, `temporal` and `lesion_weight`; a term of weight 0 is left out.

    Returns:
        The terms by name, with their graphs.
    """
    arguments = output, batch["target"], batch["lesions"], batch["valid"], weights["lesion_weight"]
    terms = {}
    if weights["l1"]:
        terms["L1"] = weights["l1"] * weighted_l1(*arguments)
    if weights["temporal"]:
        terms["TEMPORAL"] = weights["temporal"] * temporal_l1(*arguments)
    return terms
