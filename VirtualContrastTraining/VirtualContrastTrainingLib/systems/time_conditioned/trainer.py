"""Trains the time-conditioned generator: phases at any second, from cases with any phases (beyond the published)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from VirtualContrastLib.errors import on_stderr
from VirtualContrastLib.networks.time_conditioned import build_time_conditioned

from ...data.memmap import load_cases
from ...data.timed_slices import TimedSlices, TimedSliceSettings
from ...training.base import FitPlan, Training, checked_losses
from ...training.samples import Sample
from .losses import series_losses
from .recipe import TimeConditionedRecipe

_VALIDATION_SLICES = 96


class TimeConditionedTrainer(L.LightningModule):
    """Adam on lesion-weighted L1 of phases and of their changes; a batch is what `data.timed_slices` gives."""

    def __init__(self, recipe: TimeConditionedRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = build_time_conditioned(recipe.network)

    def configure_optimizers(self) -> Any:
        """Adam; `on_train_epoch_start` sets the rate."""
        schedule = self.recipe.schedule
        return torch.optim.Adam(self.network.parameters(), lr=schedule.learning_rate, betas=(schedule.beta1, 0.999))

    def on_train_epoch_start(self) -> None:
        """Set the epoch's learning rate."""
        for group in self.optimizers().optimizer.param_groups:  # type: ignore[union-attr]
            group["lr"] = learning_rate(self.recipe, self.current_epoch)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The loss of one batch."""
        losses = self.batch_losses(batch)
        self.log_dict(checked_losses(self, losses), on_step=False, on_epoch=True, batch_size=1)
        return torch.stack(list(losses.values())).sum()

    def batch_losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Named, weighted losses (scalars) of a batch, whose sum is minimized."""
        output = self.network(batch["source"], batch["times_s"])
        return series_losses(output, batch, self.recipe.losses.model_dump())

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Mean absolute error on held-out slices, whole and in lesions, as shares of the network's 0..1 range.

        `val_copy_mae` and `val_copy_lesion_mae` are what repeating the pre-contrast slice would give.
        """
        target, valid = batch["target"], batch["valid"][:, :, None, None]
        own = batch["source"][:, batch["source"].shape[1] // 2, None]
        inside = valid * batch["lesions"]
        made = {"": self.network(batch["source"], batch["times_s"]), "copy_": own}
        values, in_lesions = {}, {}
        for name, phases in made.items():
            error = (phases - target).abs() / 2
            values[f"val_{name}mae"] = (error * valid).sum() / (valid.sum() * error[0, 0].numel())
            in_lesions[f"val_{name}lesion_mae"] = (error * inside).sum() / inside.sum().clamp(min=1)
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=int(valid.sum()))
        if pixels := int(inside.sum()):  # a mean over all lesion pixels, not over batches
            self.log_dict(in_lesions, on_step=False, on_epoch=True, batch_size=pixels)

    def sample(self, batch: dict[str, Tensor]) -> Sample:
        """Pre-contrast slice, and the phases of the item as made and as they were acquired."""
        source, there = batch["source"][0], batch["valid"][0] > 0
        phases = self.network(batch["source"], batch["times_s"])[0]
        names = [f"{time_s:g} s" for time_s in batch["times_s"][0][there].tolist()]
        return Sample(source[len(source) // 2, None], phases[there], batch["target"][0][there], names)


def learning_rate(recipe: TimeConditionedRecipe, epoch: int) -> float:
    """Rate of `epoch` (from 0): constant, then falling, so that the epoch after the last would have 0."""
    schedule = recipe.schedule
    left = (schedule.epochs - epoch) / (schedule.decay_epochs + 1)
    return schedule.learning_rate * schedule.share(left)


def training_of(recipe: TimeConditionedRecipe) -> Training:
    """The recipe made ready: cases read, network built from torch's current random state."""
    module = TimeConditionedTrainer(recipe)
    schedule = recipe.schedule
    plan = FitPlan(
        recipe.seed,
        schedule.epochs,
        schedule.batch_size,
        recipe.precision,
        recipe.checkpoints,
        workers=recipe.data.workers,
    )
    return Training(module, *timed_sets(recipe), plan, module.network)


def timed_sets(recipe: TimeConditionedRecipe) -> tuple[TimedSlices, TimedSlices]:
    """Training slices and held-out ones; the latter are the same in every epoch."""
    data = recipe.data
    settings = TimedSliceSettings(
        channel_offsets=tuple(recipe.inputs.channel_offsets),
        time_range_s=recipe.time_range_s,
        phases_per_slice=data.phases_per_slice,
        lesion_share=data.lesion_share,
        flip=data.flip,
        in_plane=recipe.in_plane,
        side=data.side,
    )

    def slices(folders: list[Path], length: int, seed: int) -> TimedSlices:
        cases = [case for folder in folders for case in load_cases(folder, data.copies)]
        made = TimedSlices(cases, settings, intensity=recipe.intensity, length=length, seed=seed)
        if made.left_out:
            on_stderr(
                f"{len(made.left_out)} of {len(cases)} cases have no phase of known time in network.time_range_s and "
                f"are left out: {', '.join(made.left_out)}."
            )
        return made

    train_set = slices(data.train_folders, recipe.schedule.slices_per_epoch or 1, recipe.seed)
    return train_set, slices([Path(data.validation)], _VALIDATION_SLICES, recipe.seed + 1)
