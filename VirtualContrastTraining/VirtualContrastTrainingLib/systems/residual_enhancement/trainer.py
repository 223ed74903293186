"""Trains one member of the residual network of relative enhancement on real patients."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from VirtualContrastLib.networks.residual_enhancement import PHASES, build_residual_enhancement, careful

from ...data.batches import Item
from ...data.crops import CropPatient, load_patients
from ...training.base import FitPlan, Training, checked_losses
from ...training.samples import Sample
from .augmentation import HIGHEST, LOWEST, draw_item
from .losses import enhancement_losses
from .recipe import ResidualEnhancementRecipe

_AVERAGE_START = 20
"""Steps over which the running average forgets the untrained network."""


class DrawnCrops(Dataset[dict[str, Tensor]]):
    """Windows of patients drawn alike, new in every epoch and the same in every run: item = (epoch, index)."""

    def __init__(self, patients: Sequence[CropPatient], *, length: int, size: int, seed: int) -> None:
        self._patients = patients
        self._length, self._size, self._seed = length, size, seed

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, item: Item) -> dict[str, Tensor]:
        rng = np.random.default_rng((self._seed, *item))
        patient = self._patients[int(rng.integers(len(self._patients)))]
        pre, change, tissue = draw_item(patient, self._size, rng)
        return {"source": pre, "target": change, "tissue": tissue}


class WholeCrops(Dataset[dict[str, Tensor]]):
    """Every slice of held-out patients unaugmented, cut at the center to sides that the network takes."""

    def __init__(self, patients: Sequence[CropPatient], multiple: int = 16) -> None:
        self._items = [(patient, k) for patient in patients for k in range(len(patient.pre))]
        rows, columns = patients[0].pre.shape[1:]
        smallest = [min(p.pre.shape[1 + axis] for p in patients) // multiple * multiple for axis in (0, 1)]
        self._rows, self._columns = smallest[0] or rows, smallest[1] or columns

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        patient, k = self._items[index]
        top = (patient.pre.shape[1] - self._rows) // 2
        left = (patient.pre.shape[2] - self._columns) // 2
        window = np.s_[top : top + self._rows, left : left + self._columns]
        phases = torch.from_numpy(patient.phases[:, k][:, window[0], window[1]] / np.float32(patient.scale))
        return {
            "source": phases[:1],
            "target": (phases[1:] - phases[:1]).clamp(LOWEST, HIGHEST),
            "tissue": torch.from_numpy(patient.tissue[k][window].astype(np.float32))[None],
            "lesions": torch.from_numpy(patient.box[k][window].astype(np.float32))[None],
        }


class ResidualEnhancementTrainer(L.LightningModule):
    """AdamW over `losses.enhancement_losses`; `average` is the running mean of the weights, which is exported."""

    def __init__(self, recipe: ResidualEnhancementRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = build_residual_enhancement(recipe.network)
        self.average = copy.deepcopy(self.network).requires_grad_(False)

    def configure_optimizers(self) -> Any:
        """AdamW; every step sets the rate."""
        schedule = self.recipe.schedule
        return torch.optim.AdamW(
            self.network.parameters(),
            lr=schedule.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=schedule.weight_decay,
        )

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Cut the gradient to length 1 and set the step's rate."""
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, self.global_step)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The loss of one batch."""
        losses = self._losses(self.network, batch)
        self.log_dict(checked_losses(self, losses), on_step=False, on_epoch=True, batch_size=1)
        return torch.stack(list(losses.values())).sum()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and let the average follow before any checkpoint of the step is written."""
        step = self.global_step + 1
        super().optimizer_step(*args, **kwargs)
        kept = min(self.recipe.schedule.average, step / (step + _AVERAGE_START))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(value, 1 - kept)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """The average's terms on held-out slices, and its error relative to that of the identity over tissue."""
        losses = self._losses(self.average, batch)
        heads, tissue = self.average(batch["source"]), batch["tissue"][:, 0]
        values = {f"val_{name}": value for name, value in losses.items()}
        for phase, name in enumerate(PHASES):
            real = batch["target"][:, phase]
            error, identity = ((careful(heads, phase) - real).abs() * tissue).sum(), (real.abs() * tissue).sum()
            values[f"val_{name}_relative_mae"] = error / identity.clamp(min=1e-6)
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(heads))

    def sample(self, batch: dict[str, Tensor]) -> Sample:
        """Pre-contrast slice, and early and late as made and as acquired, in halves of the scale q."""
        source, heads = batch["source"][0], self.average(batch["source"])
        made = torch.stack([source[0] + careful(heads, phase)[0] for phase in range(len(PHASES))])
        return Sample(source / 2 - 1, made / 2 - 1, (source + batch["target"][0]) / 2 - 1, list(PHASES))

    def _losses(self, network: torch.nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        weights = self.recipe.losses.model_dump()
        heads = network(batch["source"])
        return enhancement_losses(heads, batch["source"], batch["target"], batch["tissue"], **weights)


def learning_rate(recipe: ResidualEnhancementRecipe, step: int) -> float:
    """Rate of `step` (from 0): a linear rise times a half cosine that ends at zero."""
    schedule = recipe.schedule
    rise = min(1.0, (step + 1) / max(1, schedule.warm_up))
    return schedule.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / schedule.total))


def training_of(recipe: ResidualEnhancementRecipe) -> Training:
    """The recipe made ready: patients read, network built from torch's current random state."""
    data, schedule = recipe.data, recipe.schedule
    patients = load_patients(Path(data.prepared), folds=data.folds, cohorts=data.cohorts)
    held_out = [patient for patient in patients if data.fold is None or patient.fold == data.fold]
    seen = [patient for patient in patients if data.fold is None or patient.fold != data.fold]
    module = ResidualEnhancementTrainer(recipe)
    drawn = DrawnCrops(seen, length=schedule.steps * schedule.batch_size, size=data.size, seed=recipe.seed)
    plan = FitPlan(
        recipe.seed, schedule.epochs, schedule.batch_size, recipe.precision, recipe.checkpoints, workers=data.workers
    )
    return Training(module, drawn, WholeCrops(held_out), plan, module.average)
