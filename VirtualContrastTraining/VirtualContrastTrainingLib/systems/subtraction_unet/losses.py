"""Targets and loss of the U-Net baseline: structural dissimilarity and ten times the mean absolute error."""

from __future__ import annotations

from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

_BORDER = 5  # pixels whose window of 11 leaves the image


def subtraction_targets(source: Tensor, target: Tensor) -> Tensor:
    """Phases less pre-contrast in 0..1, negative differences cut to 0, from network range -1..1.

    `source` [batch, 1, row, column] is the pre-contrast slice, `target` [batch, phase, row, column].
    """
    return ((target - source) / 2).clamp(min=0)


def phase_targets(target: Tensor) -> Tensor:
    """Phases in 0..1 from network range -1..1."""
    return (target + 1) / 2


def subtraction_losses(output: Tensor, target: Tensor, lambda_mae: float = 10.0) -> dict[str, Tensor]:
    """Named terms whose sum is the loss: `SSIM` = 1 - SSIM, and `MAE`.

    SSIM with Gaussian window 11, sigma 1.5, data range 1, where the window fits.

    Args:
        output: Generated images [batch, channel, row, column] in 0..1.
        target: Acquired images of the same shape.
        lambda_mae: Weight of MAE.

    Returns:
        The terms by name, with their graphs.
    """
    _, similarity = structural_similarity_index_measure(
        output.float(), target.float(), data_range=1.0, return_full_image=True
    )
    inside = similarity[..., _BORDER:-_BORDER, _BORDER:-_BORDER]
    return {"SSIM": 1 - inside.mean(), "MAE": lambda_mae * (output - target).abs().mean()}
