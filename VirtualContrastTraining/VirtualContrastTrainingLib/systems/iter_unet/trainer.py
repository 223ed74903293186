"""Trains the iterU-Net (Chung et al. 2025) and its single-time-point baseline: warm-up, then optimization."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor
from VirtualContrastLib.errors import on_stderr
from VirtualContrastLib.networks.iter_unet import IterUNet, build_series_network

from ...data.memmap import load_cases
from ...data.patches import PatchSettings, RandomPatches
from ...training.base import FitPlan, RunOptions, check_output, checked_losses, fit
from ...training.packaging import export_state
from ...training.run_files import WARM_UP
from ...training.samples import Sample
from .losses import enhancement_weight, series_losses
from .medicalnet import found_perceptual
from .packaging import PACKAGING
from .recipe import IterUNetRecipe

_LEAST_MINUTES = 0.01


PERCEPTUAL_IS_OFF = (
    "The perceptual term is off: it needs MedicalNet's ResNet-10 weights, which lie neither where torch keeps its own "
    "nor at a path that the recipe names; give one with --set losses.perceptual_weights=PATH."
)


class IterUNetTrainer(L.LightningModule):
    """One stage of the training; `stage` may be changed between two fits.

    A batch is what `data.patches.RandomPatches` gives: `series` [batch, pre and phases, k, j, i], `lesions`, `times_s`
    [batch, phase], `data_range` [batch].
    """

    def __init__(self, recipe: IterUNetRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.stage: Literal["warm_up", "optimization"] = "optimization"
        self.network = build_series_network(recipe.network_options)
        wanted = recipe.losses.perceptual_weights if recipe.losses.perceptual else None
        self.perceptual = found_perceptual(wanted)

    def configure_optimizers(self) -> Any:
        """AdamW over the network."""
        schedule = self.recipe.schedule
        return torch.optim.AdamW(
            self.network.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
        )

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Loss of one batch; raises DivergedError where it is not finite."""
        losses = self.batch_losses(batch)
        values = {f"{self.stage}_{name}": value for name, value in checked_losses(self, losses).items()}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(batch["series"]))
        return losses["TOTAL"]

    def batch_losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Named losses of the stage's outputs for a batch, in float32 whatever the precision; `TOTAL` is their sum."""
        output, target = self.outputs_and_targets(batch)
        wanted = self.recipe.losses
        with torch.autocast(output.device.type, enabled=False):
            output, target = output.float(), target.float()
            if wanted.enhancement_weighting:
                weight = enhancement_weight(batch["series"][:, 1:2], batch["series"][:, -1:])
                output, target = output * weight, target * weight
            return series_losses(
                output,
                target,
                data_range=batch["data_range"] if wanted.ssim_data_range == "case" else wanted.ssim_data_range,
                perceptual=self.perceptual,
                weights={"L1": wanted.l1, "SSIM": wanted.ssim, "PERCEPTUAL": wanted.perceptual, "GDL": wanted.gdl},
            )

    def outputs_and_targets(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What the network makes in this stage and what it should have made, [batch, output, k, j, i]."""
        pre, real, times = batch["series"][:, :1], batch["series"][:, 1:], batch["times_s"][:, 1:]
        targets = real[:, 1:]
        network, schedule = self.network, self.recipe.schedule
        if not isinstance(network, IterUNet):
            return network(pre, real[:, :1], times), targets
        if self.stage == "warm_up":
            return network.teacher_forced(pre, real, times)[0], targets
        if schedule.optimization == "recursive":
            return network(pre, real[:, :1], times), targets
        output = network.optimization(pre, real, times, carry_state=schedule.carry_state)
        return output, torch.cat([targets, targets[:, 1:]], dim=1)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Mean absolute error of inference on held-out patches in TI-norm units, whole and in lesions.

        `val_copy_mae` and `val_copy_lesion_mae` are what repeating the first phase would give.
        """
        pre, first, targets = batch["series"][:, :1], batch["series"][:, 1:2], batch["series"][:, 2:]
        inside = batch["lesions"][:, None].expand_as(targets)
        values = {}
        made = {"": self.network(pre, first, batch["times_s"][:, 1:]), "copy_": first.expand_as(targets)}
        in_lesions = {}
        for name, series in made.items():
            error = (series.float() - targets).abs()
            values[f"val_{name}mae"] = error.mean()
            in_lesions[f"val_{name}lesion_mae"] = (error * inside).sum() / inside.sum().clamp(min=1)
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(targets))
        if voxels := int(inside.sum()):  # a mean over all lesion voxels, not over batches
            self.log_dict(in_lesions, on_step=False, on_epoch=True, batch_size=voxels)

    def sample(self, batch: dict[str, Tensor]) -> Sample:
        """Pre-contrast and first phase, and each later phase as made and as it should be, where most lesion is."""
        series, times = batch["series"], batch["times_s"][:, 1:]
        k = int(batch["lesions"][0].sum(dim=(1, 2)).argmax())
        made = self.network(series[:, :1], series[:, 1:2], times)
        return Sample(series[0, :2, k], made[0, :, k], series[0, 2:, k], [f"{time_s:.0f} s" for time_s in times[0]])


def train(recipe: IterUNetRecipe, output: Path, options: RunOptions) -> Path:
    """Train a recipe: warm-up, then the optimization stage.

    Args:
        recipe: The recipe.
        output: Folder of the run: `output/warm_up` holds checkpoints and logs of the warm-up, `output` those of the
            optimization stage.
        options: Devices, time limit, and whether to resume from the last checkpoint of the stage the run was in.

    Returns:
        The exported model package `<output>/model`.

    Raises:
        InputError: The output exists without `resume`, or holds nothing to resume.
    """
    module, exports = train_module(recipe, output, options)
    if exports:
        export_state(PACKAGING, recipe, module.network.state_dict(), output / "model")
    return output / "model"


def train_module(recipe: IterUNetRecipe, output: Path, options: RunOptions) -> tuple[IterUNetTrainer, bool]:
    """Both stages of `train` without the export.

    Args:
        recipe: The recipe.
        output: Folder of the run.
        options: Devices, time limit, and whether to resume.

    Returns:
        The trained module, and whether this is the one process that exports it.
    """
    warm_up = output / WARM_UP
    in_second = (output / "checkpoints" / "last.ckpt").is_file()
    has_warm_up = recipe.schedule.warm_up_epochs > 0
    check_output(warm_up if has_warm_up and not in_second else output, options.resume)
    started = time.monotonic()
    L.seed_everything(recipe.seed, workers=True, verbose=False)
    train_set, held_out = patch_sets(recipe)
    module = IterUNetTrainer(recipe)
    if recipe.losses.perceptual and module.perceptual is None:
        on_stderr(PERCEPTUAL_IS_OFF)
    if has_warm_up and not in_second:
        module.stage = "warm_up"
        plan = _plan(recipe, recipe.schedule.warm_up_epochs, recipe.schedule.warm_up_batch_size, recipe.seed)
        exports = fit(module, train_set, held_out, warm_up, plan, options, run=output)
        if module.trainer.current_epoch < plan.epochs:  # the time was up
            return module, exports
        options = _rest_of_the_time(options, started)
    module.stage = "optimization"
    # Another seed: the second stage must not see the warm-up's patches again.
    seed = recipe.seed + 1
    plan = _plan(recipe, recipe.schedule.epochs, recipe.schedule.batch_size, seed)
    return module, fit(module, train_set.with_seed(seed), held_out, output, plan, replace(options, resume=in_second))


def patch_sets(recipe: IterUNetRecipe) -> tuple[RandomPatches, RandomPatches]:
    """Training patches and held-out ones; the latter are drawn once and not augmented."""
    data = recipe.data
    settings = PatchSettings(
        size_kji=data.patch_kji,
        phases=len(recipe.times_s),
        patches_per_case=data.patches_per_case,
        label=data.label,
        region=data.ti_norm_region,
        augmentation=data.augmentation,
    )
    held_out = replace(settings, label="lesion", augmentation="none", patches_per_case=2)
    train_set = RandomPatches(load_cases(Path(data.train)), settings, seed=recipe.seed)
    return train_set, RandomPatches(load_cases(Path(data.validation)), held_out, seed=recipe.seed + 2)


def _plan(recipe: IterUNetRecipe, epochs: int, batch_size: int, seed: int) -> FitPlan:
    return FitPlan(seed, epochs, batch_size, recipe.precision, recipe.checkpoints, workers=recipe.data.workers)


def _rest_of_the_time(options: RunOptions, started: float) -> RunOptions:
    if options.max_minutes is None:
        return options
    rest = options.max_minutes - (time.monotonic() - started) / 60
    return replace(options, max_minutes=max(rest, _LEAST_MINUTES))
