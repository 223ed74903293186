"""Trains the U-Net baseline: subtraction images or phases from the pre-contrast slice, without an adversary."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor
from VirtualContrastLib.networks.subtraction_unet import build_subtraction_unet

from ...training.base import FitPlan, Training, checked_losses
from ...training.samples import Sample
from ...training.slice_sets import slice_sets
from .losses import phase_targets, subtraction_losses, subtraction_targets
from .recipe import SubtractionUNetRecipe


class SubtractionUNetTrainer(L.LightningModule):
    """Adam on SSIM and MAE of what the network predicts; the batch is that of `Pix2PixHDTrainer`."""

    def __init__(self, recipe: SubtractionUNetRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = build_subtraction_unet(recipe.network)

    def configure_optimizers(self) -> Any:
        """Adam with torch's defaults; `on_train_epoch_start` sets the rate."""
        return torch.optim.Adam(self.network.parameters(), lr=self.recipe.learning_rate)

    def on_train_epoch_start(self) -> None:
        """Set the epoch's learning rate."""
        for group in self.optimizers().optimizer.param_groups:  # type: ignore[union-attr]
            group["lr"] = self.recipe.learning_rate * self.recipe.gamma**self.current_epoch

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The loss of one batch."""
        losses = subtraction_losses(*self._images(batch), self.recipe.lambda_mae)
        self.log_dict(checked_losses(self, losses), on_step=False, on_epoch=True, batch_size=1)
        return torch.stack(list(losses.values())).sum()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Mean absolute error of the prediction on held-out slices, whole and in lesions, in the 0..1 range."""
        output, target = self._images(batch)
        error = (output - target).abs()
        inside = batch["lesions"].expand_as(error)
        values = {"val_mae": error.mean(), "val_lesion_mae": (error * inside).sum() / inside.sum().clamp(min=1)}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(error))

    def sample(self, batch: dict[str, Tensor]) -> Sample:
        """Pre-contrast slice, and each subtraction image or phase as made and as it should be."""
        source, (output, target) = batch["source"][0], self._images(batch)
        predicts = self.network.predicts
        phases = self.recipe.outputs.channel_phases
        order = sorted(range(len(phases)), key=lambda channel: phases[channel])
        names = [f"{predicts} {phases[channel]}" for channel in order]
        pre = phase_targets(source[len(source) // 2, None])
        return Sample(pre, output[0, order], target[0, order], names, same_scale=predicts == "phase")

    def _images(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Subtraction images or phases, predicted and true, 0..1."""
        source, target = batch["source"], batch["target"]
        made = self.network((source + 1) / 2)
        if self.network.predicts == "phase":
            return made, phase_targets(target)
        return made, subtraction_targets(source[:, source.shape[1] // 2, None], target)


def training_of(recipe: SubtractionUNetRecipe) -> Training:
    """The recipe made ready: cases read, network built from torch's current random state."""
    module = SubtractionUNetTrainer(recipe)
    plan = FitPlan(
        recipe.seed,
        recipe.epochs,
        recipe.batch_size,
        recipe.precision,
        recipe.checkpoints,
        shuffle=recipe.slices_per_epoch is None,
        workers=recipe.data.workers,
    )
    return Training(module, *slice_sets(recipe, recipe.slices_per_epoch), plan, module.network)
