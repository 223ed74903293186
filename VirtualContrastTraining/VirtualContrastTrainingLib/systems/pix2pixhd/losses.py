"""Losses of pix2pixHD (Wang et al., CVPR 2018, section 3.3) as its original implementation computes them.

Images are [batch, channel, row, column] in -1..1. Discriminator outputs are lists over scales of lists of feature maps,
the last map of each list being the patch logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FeatureMaps = list[list[Tensor]]
Perceptual = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class StepTerms:
    """What one step gives.

    Attributes:
        fake: The generated image [batch, channel, row, column].
        losses: Its losses by name (scalars).
    """

    fake: Tensor
    losses: dict[str, Tensor]


def lsgan_loss(maps: FeatureMaps, *, is_real: bool) -> Tensor:
    """Least-squares GAN loss: squared distance of the logits to 1 (real) or 0 (fake), SUMMED over scales."""
    goal = 1.0 if is_real else 0.0
    return torch.stack([F.mse_loss(scale[-1], torch.full_like(scale[-1], goal)) for scale in maps]).sum()


def feature_matching_loss(fake: FeatureMaps, real: FeatureMaps, lambda_feat: float = 10.0) -> Tensor:
    """L1 between the discriminator's feature maps of the fake and the (detached) real image.

    Every map but the logits counts, with weight lambda_feat * (1 / scales) * (4 / (layers + 1)), where layers is the
    discriminator's n_layers_D (its maps less two).

    Args:
        fake: Feature maps of the fake image, by scale and layer.
        real: Feature maps of the real image.
        lambda_feat: Weight of the loss.

    Returns:
        The loss, a scalar with its graph.
    """
    terms = []
    for fake_scale, real_scale in zip(fake, real, strict=True):
        weight = 4.0 / (len(fake_scale) - 1) / len(fake)
        terms += [weight * F.l1_loss(a, b.detach()) for a, b in zip(fake_scale[:-1], real_scale[:-1], strict=True)]
    return lambda_feat * torch.stack(terms).sum()


def step_terms(
    generator: nn.Module,
    discriminator: nn.Module,
    source: Tensor,
    target: Tensor,
    *,
    lambda_feat: float = 10.0,
    perceptual: Perceptual | None = None,
    pool: Callable[[Tensor], Tensor] | None = None,
) -> StepTerms:
    """All losses of one optimization step, before any weight changes; see `step_losses`.

    Args:
        generator: The generator.
        discriminator: The discriminator.
        source: Input images [batch, channel, row, column] in -1..1.
        target: Acquired images in -1..1.
        lambda_feat: Weight of the feature matching loss.
        perceptual: The perceptual loss; None leaves it out.
        pool: May exchange images (source and fake together) for earlier ones before the discriminator learns from them.

    Returns:
        The losses and the generated image.
    """
    fake = generator(source)
    shown = torch.cat((source, fake.detach()), dim=1)
    seen_fake = discriminator(shown if pool is None else pool(shown))
    seen_real = discriminator(torch.cat((source, target), dim=1))
    judged = discriminator(torch.cat((source, fake), dim=1))
    losses = {
        "G_GAN": lsgan_loss(judged, is_real=True),
        "G_GAN_Feat": feature_matching_loss(judged, seen_real, lambda_feat),
        "D_real": lsgan_loss(seen_real, is_real=True),
        "D_fake": lsgan_loss(seen_fake, is_real=False),
    }
    if perceptual is not None:
        losses["G_VGG"] = lambda_feat * perceptual(fake, target)
    return StepTerms(fake, losses)


def step_losses(
    generator: nn.Module,
    discriminator: nn.Module,
    source: Tensor,
    target: Tensor,
    *,
    lambda_feat: float = 10.0,
    perceptual: Perceptual | None = None,
) -> dict[str, Tensor]:
    """Named losses of one step of the original implementation, with their graphs.

    The generator's loss is the sum of the G terms; the discriminator's is (D_real + D_fake) / 2. No image pool, as the
    original's default.

    Args:
        generator: The generator.
        discriminator: The discriminator, which sees source and image concatenated.
        source: Input images [batch, channel, row, column] in -1..1.
        target: Acquired images in -1..1.
        lambda_feat: Weight of the feature matching loss.
        perceptual: The perceptual loss; None leaves it out.

    Returns:
        The losses G_GAN, G_GAN_Feat, D_real, D_fake, and G_VGG where `perceptual` is given.
    """
    return step_terms(generator, discriminator, source, target, lambda_feat=lambda_feat, perceptual=perceptual).losses


def temporal_l1(fake: Tensor, target: Tensor, lesions: Tensor, lesion_weight: float) -> Tensor:
    """`lesion_weighted_l1` of the changes from each phase to the next; not part of the published system.

    The plain L1 weighs a wrong wash-out no more than a wrong brightness, although the curve type depends on it alone.

    Args:
        fake: Generated images [batch, phase, row, column], phases in order.
        target: Acquired images of the same shape.
        lesions: 1 inside lesions [batch, 1, row, column].
        lesion_weight: How many times lesion pixels count.

    Returns:
        The loss, a scalar with its graph.
    """
    return lesion_weighted_l1(fake.diff(dim=1), target.diff(dim=1), lesions, lesion_weight)


def lesion_weighted_l1(fake: Tensor, target: Tensor, lesions: Tensor, lesion_weight: float) -> Tensor:
    """Mean absolute error in which lesion pixels count more; not part of the published system.

    The GAN losses alone leave lesions, a thousandth of the pixels, under-enhanced.

    Args:
        fake: Generated images [batch, channel, row, column].
        target: Acquired images of the same shape.
        lesions: 1 inside lesions [batch, 1, row, column].
        lesion_weight: How many times lesion pixels count.

    Returns:
        The loss, a scalar with its graph.
    """
    weight = 1.0 + (lesion_weight - 1.0) * lesions
    return (weight * (fake - target).abs()).mean() / weight.mean()
