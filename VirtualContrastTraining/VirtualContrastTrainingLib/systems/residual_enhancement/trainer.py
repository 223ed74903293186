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
from VirtualContrastLib.events import InputError
from VirtualContrastLib.metrics.patients import LEAST_SIGNAL, LESION_PE, auroc
from VirtualContrastLib.models.catalog import resolve_model
from VirtualContrastLib.networks.options import ResidualEnhancementOptions
from VirtualContrastLib.networks.residual_enhancement import (
    PHASES,
    build_residual_enhancement,
    careful,
    enhancing_logit,
)

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
    """Windows of equally likely patients, new in every epoch and the same in every run: item = (epoch, index)."""

    def __init__(
        self, patients: Sequence[CropPatient], *, length: int, size: int, seed: int, negatives: float = 0.0
    ) -> None:
        self._patients = patients
        self._length, self._size, self._seed, self._negatives = length, size, seed, negatives

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, item: Item) -> dict[str, Tensor]:
        rng = np.random.default_rng((self._seed, *item))
        patient = self._patients[int(rng.integers(len(self._patients)))]
        pre, change, tissue = draw_item(patient, self._size, rng, self._negatives)
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
        if recipe.initial is not None:
            self.network.load_state_dict(initial_weights(recipe.initial, recipe))
        # A step takes 15 % less in bfloat16 and 10 % less in float32 than in the usual order, and loses nothing.
        self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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
        losses = self._losses(self.network(batch["source"]).float(), batch)
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
        """The average's terms on held-out slices, its error over that of the identity, and how it ranks pixels."""
        heads, tissue = self.average(batch["source"]).float(), batch["tissue"][:, 0]
        losses = self._losses(heads, batch)
        values = {f"val_{name}": value for name, value in losses.items()}
        for phase, name in enumerate(PHASES):
            real = batch["target"][:, phase]
            error, identity = ((careful(heads, phase) - real).abs() * tissue).sum(), (real.abs() * tissue).sum()
            values[f"val_{name}_relative_mae"] = error / identity.clamp(min=1e-6)
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(heads))
        if ranked := early_aurocs(heads, batch):
            self.log("val_early_auroc", float(np.mean(ranked)), on_step=False, on_epoch=True, batch_size=len(ranked))

    def sample(self, batch: dict[str, Tensor]) -> Sample:
        """Pre-contrast slice, and early and late as made and as acquired, in halves of the scale q."""
        source, heads = batch["source"][0], self.average(batch["source"]).float()
        made = torch.stack([source[0] + careful(heads, phase)[0] for phase in range(len(PHASES))])
        return Sample(source / 2 - 1, made / 2 - 1, (source + batch["target"][0]) / 2 - 1, list(PHASES))

    def _losses(self, heads: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        weights = self.recipe.losses.model_dump()
        return enhancement_losses(heads, batch["source"], batch["target"], batch["tissue"], **weights)


def initial_weights(package: str, recipe: ResidualEnhancementRecipe) -> dict[str, Tensor]:
    """Weights of the recipe's network from a package, of several members that of the recipe's fold.

    Raises InputError for a package of another network.
    """
    found = resolve_model(package, "synthesis")
    own = {name: value for name, value in found.card.architecture.config.items() if name != "members"}
    options = ResidualEnhancementOptions.of(recipe.network)
    members = int(found.card.architecture.config.get("members", 1))
    member = 0 if members == 1 else recipe.data.fold
    fits = found.card.architecture.name == recipe.system and ResidualEnhancementOptions.of(own) == options
    if not fits or member is None or member >= members:
        raise InputError(f"The model {package} has no member of this network and fold to start from.")
    prefix = f"members.{member}."
    state = found.load_state()
    return {name.replace(prefix, "members.0.", 1): w.float() for name, w in state.items() if name.startswith(prefix)}


def early_aurocs(heads: Tensor, batch: dict[str, Tensor]) -> list[float]:
    """How the logit of early enhancement ranks enhancing tissue, for each slice with enough pixels of both kinds."""
    source, tissue = batch["source"][:, 0], batch["tissue"][:, 0] > 0
    positive = (batch["target"][:, 0] > LESION_PE * source) & (source > LEAST_SIGNAL) & tissue
    logit = enhancing_logit(heads, 0)
    values = [
        auroc(score[mask].cpu().numpy(), wanted[mask].cpu().numpy())
        for score, wanted, mask in zip(logit, positive, tissue, strict=True)
    ]
    return [value for value in values if np.isfinite(value)]


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
    drawn = DrawnCrops(
        seen, length=schedule.steps * schedule.batch_size, size=data.size, seed=recipe.seed, negatives=data.negatives
    )
    plan = FitPlan(
        recipe.seed, schedule.epochs, schedule.batch_size, recipe.precision, recipe.checkpoints, workers=data.workers
    )
    return Training(module, drawn, WholeCrops(held_out), plan, module.average)
