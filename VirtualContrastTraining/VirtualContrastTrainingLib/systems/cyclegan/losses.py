"""Losses of the mammography CycleGAN (Zormpas-Petridis et al., European Radiology Experimental 2026).

Images are [batch, 1, row, column] in -1..1; `low` is low-energy, `high` iodine-enhanced (recombined). Discriminators
give probabilities of patches being real.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

_RANGE = 2.0  # of images in -1..1
_REACH = 5  # pixels from the middle of the SSIM window to its edge


@dataclass(frozen=True)
class Networks:
    """Both generators, and the discriminators of their results.

    Attributes:
        to_high: Low-energy to recombined.
        to_low: Recombined to low-energy.
        judge_high: Discriminator of recombined images.
        judge_low: Discriminator of low-energy images.
    """

    to_high: nn.Module
    to_low: nn.Module
    judge_high: nn.Module
    judge_low: nn.Module


@dataclass(frozen=True)
class CycleTerms:
    """What one step gives.

    Attributes:
        fake_high: The generated recombined images.
        fake_low: The generated low-energy images.
        losses: The losses by name (scalars).
    """

    fake_high: Tensor
    fake_low: Tensor
    losses: dict[str, Tensor]


def least_squares(judged: Tensor, *, is_real: bool) -> Tensor:
    """Mean squared distance of a discriminator's patches to 1 (real) or 0 (fake)."""
    return F.mse_loss(judged, torch.full_like(judged, 1.0 if is_real else 0.0))


def cycle_loss(original: Tensor, returned: Tensor, ssim_share: float = 0.5) -> Tensor:
    """(1 - share) x mean absolute error + share x (1 - SSIM) between images and what comes back from the other side.

    SSIM over the whole batch where its window fits (Gaussian of 11 pixels, sigma 1.5), data range 2. (The code that the
    paper builds on takes the SSIM of the first image of the batch alone.)

    Args:
        original: Images [batch, channel, row, column] in -1..1.
        returned: The images after both generators, of the same shape.
        ssim_share: The share of the SSIM term, 0 to 1.

    Returns:
        The loss, a scalar with its graph.
    """
    error = (original - returned).abs().mean()
    if ssim_share == 0:
        return error
    _, similarities = structural_similarity_index_measure(
        returned.float(), original.float(), data_range=_RANGE, return_full_image=True
    )
    # torchmetrics lets the window reach beyond the border, over mirrored pixels.
    inside = similarities[..., _REACH:-_REACH, _REACH:-_REACH]
    return (1 - ssim_share) * error + ssim_share * (1 - inside.mean())


def step_terms(networks: Networks, low: Tensor, high: Tensor, *, ssim_share: float = 0.5) -> CycleTerms:
    """All unweighted losses of one step, before any weight changes; see `step_losses`.

    Args:
        networks: Both generators and both discriminators.
        low: Low-energy patches [batch, 1, row, column] in -1..1.
        high: Recombined patches of the same shape.
        ssim_share: Share of SSIM in the cycle loss.

    Returns:
        The losses and the generated images.
    """
    fake_high, fake_low = networks.to_high(low), networks.to_low(high)
    losses = {
        "G_GAN_high": least_squares(networks.judge_high(fake_high), is_real=True),
        "G_GAN_low": least_squares(networks.judge_low(fake_low), is_real=True),
        "G_cycle_low": cycle_loss(low, networks.to_low(fake_high), ssim_share),
        "G_cycle_high": cycle_loss(high, networks.to_high(fake_low), ssim_share),
        "G_identity_high": F.l1_loss(networks.to_high(high), high),
        "G_identity_low": F.l1_loss(networks.to_low(low), low),
        "G_paired": F.l1_loss(fake_high, high),
        "D_high": _judgement(networks.judge_high, high, fake_high),
        "D_low": _judgement(networks.judge_low, low, fake_low),
    }
    return CycleTerms(fake_high, fake_low, losses)


def step_losses(networks: Networks, low: Tensor, high: Tensor, *, ssim_share: float = 0.5) -> dict[str, Tensor]:
    """Named, unweighted losses of one step, with their graphs.

    G_GAN_*, G_cycle_*, G_identity_* and G_paired (mean absolute error to the partner image, not part of the published
    system) are the generators', weighted by `generator_loss`; D_high and D_low are halves of the sums of the real and
    the fake term, each discriminator's whole loss. No image pool.

    Args:
        networks: Both generators and both discriminators.
        low: Low-energy patches [batch, 1, row, column] in -1..1.
        high: Recombined patches of the same shape.
        ssim_share: Share of SSIM in the cycle loss.

    Returns:
        The losses by name.
    """
    return step_terms(networks, low, high, ssim_share=ssim_share).losses


def generator_loss(
    losses: dict[str, Tensor], *, lambda_cycle: float = 1.0, lambda_identity: float = 10.0, lambda_paired: float = 0.0
) -> Tensor:
    """The weighted sum of the generators' terms; a term of weight 0 adds nothing to the graph.

    Args:
        losses: From `step_losses`.
        lambda_cycle: Weight of the cycle terms.
        lambda_identity: Weight of the identity terms.
        lambda_paired: Weight of the paired term.

    Returns:
        The loss, a scalar with its graph.
    """
    total = losses["G_GAN_high"] + losses["G_GAN_low"]
    for name, weight in (("cycle", lambda_cycle), ("identity", lambda_identity)):
        if weight:
            total = total + weight * (losses[f"G_{name}_low"] + losses[f"G_{name}_high"])
    return total + lambda_paired * losses["G_paired"] if lambda_paired else total


def _judgement(judge: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    return (least_squares(judge(real), is_real=True) + least_squares(judge(fake.detach()), is_real=False)) / 2
