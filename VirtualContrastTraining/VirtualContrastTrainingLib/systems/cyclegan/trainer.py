"""Trains the mammography CycleGAN: paired low-energy and recombined patches, two generators, two discriminators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from VirtualContrastLib.networks.cyclegan import build_discriminator, build_generator, init_weights

from ...data.mammogram_patches import MammogramPatches, load_breasts
from ...training.base import FitPlan, Training, checked_losses
from ...training.samples import Sample
from .losses import Networks, generator_loss, step_terms
from .recipe import CycleGANRecipe

_VALIDATION_PATCHES = 32


class CycleGANTrainer(L.LightningModule):
    """One step trains the generators, then the discriminators, from the same forward pass.

    A batch holds `low` and `high` [batch, 1, row, column] in -1..1, of the same places.
    """

    def __init__(self, recipe: CycleGANRecipe) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.recipe = recipe
        self.to_high, self.to_low = build_generator(recipe.generator), build_generator(recipe.generator)
        self.judge_high = build_discriminator(recipe.discriminator)
        self.judge_low = build_discriminator(recipe.discriminator)
        init_weights(self)

    def configure_optimizers(self) -> Any:
        """One Adam for both generators, one for both discriminators: the same as one for each network."""
        schedule = self.recipe.schedule
        pairs = ((self.to_high, self.to_low), (self.judge_high, self.judge_low))
        return [
            torch.optim.Adam(
                [p for network in pair for p in network.parameters()],
                lr=schedule.learning_rate,
                betas=(schedule.beta1, 0.999),
            )
            for pair in pairs
        ]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """One step of all four networks."""
        generators, discriminators = self._both_optimizers()
        weights = self.recipe.losses
        networks = Networks(self.to_high, self.to_low, self.judge_high, self.judge_low)
        losses = step_terms(networks, batch["low"], batch["high"], ssim_share=weights.ssim_share).losses
        self._log(losses)
        total = generator_loss(
            losses, lambda_cycle=weights.cycle, lambda_identity=weights.identity, lambda_paired=weights.paired
        )
        generators.zero_grad()
        self.manual_backward(total)
        generators.step()
        # The generators' backward pass left gradients in the discriminators; they must not reach their step.
        discriminators.zero_grad()
        self.manual_backward(losses["D_high"] + losses["D_low"])
        discriminators.step()

    def _both_optimizers(self) -> list[Any]:
        """The generators' optimizer and the discriminators'; Lightning's own signature also allows a single one."""
        return list(self.optimizers())

    def _log(self, losses: dict[str, Tensor]) -> None:
        self.log_dict(checked_losses(self, losses), on_step=False, on_epoch=True, batch_size=1)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Mean absolute error of the synthetic recombined patches, as a share of the target window."""
        error = (self.to_high(batch["low"]) - batch["high"]).abs() / 2
        self.log("val_mae", error.mean(), on_step=False, on_epoch=True, batch_size=len(error))

    def sample(self, batch: dict[str, Tensor]) -> Sample:
        """Low-energy patch, and the recombined one as made and as it should be."""
        made = self.to_high(batch["low"])
        return Sample(batch["low"][0], made[0], batch["high"][0], ["recombined"], same_scale=False)


def training_of(recipe: CycleGANRecipe) -> Training:
    """The recipe made ready: pairs read, networks built from torch's current random state."""
    schedule, data = recipe.schedule, recipe.data

    def patches(root: str, length: int, flip: float, seed: int) -> MammogramPatches:
        breasts = load_breasts(Path(root), data.spec, data.patch)
        return MammogramPatches(breasts, patch=data.patch, length=length, flip=flip, seed=seed)

    train_set = patches(data.train, schedule.iterations_per_epoch * schedule.batch_size, data.flip, recipe.seed)
    validation_set = patches(data.validation, _VALIDATION_PATCHES, 0.0, recipe.seed + 1)
    module = CycleGANTrainer(recipe)
    plan = FitPlan(
        recipe.seed, schedule.epochs, schedule.batch_size, recipe.precision, recipe.checkpoints, workers=data.workers
    )
    return Training(module, train_set, validation_set, plan, module.to_high)
