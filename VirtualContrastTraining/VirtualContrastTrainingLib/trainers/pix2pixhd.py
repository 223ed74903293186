"""Trains a pix2pixHD generator against its multi-scale discriminator (manual optimization under Lightning)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from VirtualContrastLib.events import VirtualContrastError
from VirtualContrastLib.networks.pix2pixhd import build_discriminator, build_generator, init_weights

from ..losses.pix2pixhd import lesion_weighted_l1, step_terms
from ..losses.vgg import VGGPerceptual
from ..recipe import Pix2PixHDRecipe


class Pix2PixHDTrainer(L.LightningModule):
    """One step trains both networks from the same forward pass: first the generator, then the discriminator.

    A batch holds `source`, `target` [batch, channel, row, column] in -1..1 and `lesions` [batch, 1, row, column].
    """

    def __init__(self, recipe: Pix2PixHDRecipe) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.recipe = recipe
        self.generator = build_generator(recipe.generator)
        self.discriminator = build_discriminator(recipe.discriminator)
        init_weights(self.generator)
        init_weights(self.discriminator)
        weights = recipe.losses.vgg_weights
        self.perceptual = VGGPerceptual(Path(weights)) if weights else None

    def configure_optimizers(self) -> Any:
        """Two Adams; see `learning_rate` for the schedule, which is applied at the start of each epoch."""
        schedule = self.recipe.schedule
        betas = (schedule.beta1, 0.999)
        return [
            torch.optim.Adam(network.parameters(), lr=schedule.learning_rate, betas=betas)
            for network in (self.generator, self.discriminator)
        ]

    def on_train_epoch_start(self) -> None:
        """Set the epoch's learning rate on both optimizers."""
        rate = learning_rate(self.recipe, self.current_epoch + 1)
        for optimizer in self._both_optimizers():
            for group in optimizer.param_groups:
                group["lr"] = rate

    def _both_optimizers(self) -> list[Any]:
        """The generator's optimizer and the discriminator's; Lightning's own signature also allows a single one."""
        return list(self.optimizers())

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """One step of both networks, or of the generator alone during the L1-only epochs."""
        if self.current_epoch < self.recipe.losses.l1_only_epochs:
            self._reconstruction_step(batch)
        else:
            self._adversarial_step(batch)

    def _reconstruction_step(self, batch: dict[str, Tensor]) -> None:
        generator_optimizer, _ = self._both_optimizers()
        loss = self._l1(self.generator(batch["source"]), batch)
        generator_optimizer.zero_grad()
        self.manual_backward(loss)
        generator_optimizer.step()
        self._log({"G_L1": loss})

    def _adversarial_step(self, batch: dict[str, Tensor]) -> None:
        generator_optimizer, discriminator_optimizer = self._both_optimizers()
        weights = self.recipe.losses
        terms = step_terms(
            self.generator,
            self.discriminator,
            batch["source"],
            batch["target"],
            lambda_feat=weights.lambda_feat,
            perceptual=self.perceptual,
        )
        losses = dict(terms.losses)
        generator_loss = weights.lambda_gan * losses["G_GAN"] + losses["G_GAN_Feat"]
        if "G_VGG" in losses:
            generator_loss = generator_loss + losses["G_VGG"]
        if weights.lambda_l1 > 0:
            losses["G_L1"] = self._l1(terms.fake, batch)
            generator_loss = generator_loss + losses["G_L1"]
        generator_optimizer.zero_grad()
        self.manual_backward(generator_loss)
        generator_optimizer.step()
        # The generator's backward pass left gradients in the discriminator; they must not reach its step.
        discriminator_optimizer.zero_grad()
        self.manual_backward((losses["D_fake"] + losses["D_real"]) / 2)
        discriminator_optimizer.step()
        self._log(losses)

    def _l1(self, fake: Tensor, batch: dict[str, Tensor]) -> Tensor:
        weights = self.recipe.losses
        return weights.lambda_l1 * lesion_weighted_l1(fake, batch["target"], batch["lesions"], weights.lesion_weight)

    def _log(self, losses: dict[str, Tensor]) -> None:
        values = {name: loss.detach() for name, loss in losses.items()}
        broken = [name for name, value in values.items() if not torch.isfinite(value)]
        if broken:
            raise VirtualContrastError(
                f"Training diverged: {broken[0]} is not finite at epoch {self.current_epoch + 1}; the last checkpoint "
                "is kept, resume from it with a lower learning rate."
            )
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=1)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Mean absolute error on held-out slices, whole and in lesions, as shares of the network's 0..1 range."""
        error = (self.generator(batch["source"]) - batch["target"]).abs() / 2
        inside = batch["lesions"].expand_as(error)
        values = {
            "val_mae": error.mean(),
            "val_lesion_mae": (error * inside).sum() / inside.sum().clamp(min=1),
        }
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(error))


def learning_rate(recipe: Pix2PixHDRecipe, epoch: int) -> float:
    """Learning rate of `epoch` (from 1): constant, then falling linearly, as the original counts.

    The original subtracts learning_rate / decay_epochs at the END of every epoch beyond constant_epochs, so that the
    first lower rate is used in epoch constant_epochs + 2.
    """
    schedule = recipe.schedule
    falls = max(0, epoch - 1 - schedule.constant_epochs)
    return schedule.learning_rate * max(0.0, 1 - falls / schedule.decay_epochs)
