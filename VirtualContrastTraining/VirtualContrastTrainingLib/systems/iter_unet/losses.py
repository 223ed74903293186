"""Losses of the iterU-Net (Chung et al. 2025): 0.1 L1 + (1 - SSIM) + perceptual + 0.1 gradient difference.

Each term is computed for every synthesized phase and summed over the phases. Series are [batch, phase, k, j, i] in
units of TI-norm.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...training.ssim import volume_ssim

PUBLISHED_WEIGHTS = {"L1": 0.1, "SSIM": 1.0, "PERCEPTUAL": 1.0, "GDL": 0.1}


def series_losses(
    output: Tensor,
    target: Tensor,
    *,
    data_range: Tensor | float,
    perceptual: nn.Module | None = None,
    weights: Mapping[str, float] = PUBLISHED_WEIGHTS,
) -> dict[str, Tensor]:
    """Unweighted terms `L1`, `SSIM` (1 - SSIM), `GDL`, with a perceptual network also `PERCEPTUAL`, and their weighted
    `TOTAL`.

    Args:
        output: Synthetic series [batch, phase, k, j, i].
        target: Acquired series of the same shape.
        data_range: SSIM's width of the intensity scale, one number for all or one per item [batch].
        perceptual: Feature network of the perceptual term.
        weights: Weights by term; terms of weight 0 are left out.

    Returns:
        The terms by name, with their graphs.
    """
    phases = output.shape[1]
    volumes, targets = output.flatten(0, 1)[:, None], target.flatten(0, 1)[:, None]
    terms = {}
    if weights["L1"]:
        terms["L1"] = phases * functional.l1_loss(output, target)
    if weights["SSIM"]:
        widths = torch.as_tensor(data_range, dtype=output.dtype, device=output.device).reshape(-1, 1)
        widths = widths.expand(output.shape[:2]).reshape(-1)
        terms["SSIM"] = phases * (1 - volume_ssim(volumes, targets, widths)).mean()
    if weights["PERCEPTUAL"] and perceptual is not None:
        terms["PERCEPTUAL"] = phases * perceptual(volumes, targets)
    if weights["GDL"]:
        terms["GDL"] = phases * gradient_difference(output, target)
    total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    return {**terms, "TOTAL": total}


def gradient_difference(output: Tensor, target: Tensor) -> Tensor:
    """Mean over voxels of | |d output| - |d target| |, summed over the three axes; d is the step to the next voxel.

    The absolute difference, not its square (Mathieu et al. 2016 with alpha = 1). Tensors are [..., k, j, i].
    """
    axes = (-3, -2, -1)
    return torch.stack([functional.l1_loss(output.diff(dim=a).abs(), target.diff(dim=a).abs()) for a in axes]).sum()


def enhancement_weight(first: Tensor, last: Tensor) -> Tensor:
    """sqrt(|last - first|) of the first and last post-contrast phase, by which the published code weights both sides.

    Multiplying output and target by it puts the loss where the signal changes late; the paper does not mention it.
    """
    return (last - first).abs().sqrt()
