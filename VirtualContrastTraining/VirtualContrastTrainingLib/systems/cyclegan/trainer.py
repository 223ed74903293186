"""Trains the mammography CycleGAN: paired low-energy and recombined patches, two generators, two discriminators."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from VirtualContrastLib.networks.cyclegan import build_discriminator, build_generator, init_weights
from VirtualContrastLib.synthesis.mammogram import MammogramSpec

from ...data.mammogram_patches import MammogramPatches, load_breasts
from ...data.mammogram_phantom import write_phantom_pair
from ...training.base import Plan, RunOptions, Training, checked_losses, train_and_export
from ...training.recipe import Checkpoints, DescribedRecipe
from ...training.samples import Sample
from .losses import Networks, generator_loss, step_terms

_VALIDATION_PATCHES = 32
_NOT_TRAINING = {"id", "title", "trained_on_phantoms", "license", "citation", "intended_use", "generator"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MammogramData(_Part):
    """Folders of prepared pairs and how patches are made of them; see `MammogramSpec`.

    `patch` pixels a side, a multiple of 4; `flip` is the probability of a left-right flip.
    """

    train: str
    validation: str
    source_window: tuple[float, float]
    target_window: tuple[float, float]
    spacing_mm: float | None = Field(default=1.0, gt=0)
    downsample: int = Field(default=4, ge=1)
    margin: int = Field(default=0, ge=0)
    patch: int = Field(default=128, ge=16, multiple_of=4)
    flip: float = Field(default=0.0, ge=0, le=1)
    workers: int = Field(default=0, ge=0)

    @property
    def spec(self) -> MammogramSpec:
        """The part of it that the engine needs too."""
        return MammogramSpec.of(self.model_dump())


class CycleLosses(_Part):
    """Weights of the generators' terms; the defaults are the published ones. `ssim_share` is that of the cycle loss."""

    cycle: float = 1.0
    ssim_share: float = Field(default=0.5, ge=0, le=1)
    identity: float = 10.0
    paired: float = 0.0


class CycleSchedule(_Part):
    """Adam of constant learning rate on all networks."""

    learning_rate: float = 2e-4
    beta1: float = 0.5
    batch_size: int = Field(default=20, ge=1)
    iterations_per_epoch: int = Field(default=100, ge=1)
    epochs: int = Field(default=60, ge=1)


class CycleGANRecipe(DescribedRecipe):
    """One training run of the mammography CycleGAN. `stride` is that of the sliding window in inference."""

    system: Literal["cyclegan"]
    generator: dict[str, Any]
    discriminator: dict[str, Any]
    data: MammogramData
    losses: CycleLosses = CycleLosses()
    schedule: CycleSchedule = CycleSchedule()
    stride: int = Field(default=16, ge=1)
    checkpoints: Checkpoints = Checkpoints()
    precision: Literal["32-true", "bf16-mixed"] = "32-true"


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


def train(recipe: CycleGANRecipe, output: Path, options: RunOptions = RunOptions(), *, smoke: bool = False) -> Path:
    """Train `recipe` into `output` and return its package; folder, smoke test and errors as `trainers.run.train`."""
    return train_and_export(recipe, output, options, _training, _shrunk if smoke else None)


def _training(recipe: CycleGANRecipe) -> Training:
    schedule, data = recipe.schedule, recipe.data

    def patches(root: str, length: int, flip: float, seed: int) -> MammogramPatches:
        breasts = load_breasts(Path(root), data.spec, data.patch)
        return MammogramPatches(breasts, patch=data.patch, length=length, flip=flip, seed=seed)

    train_set = patches(data.train, schedule.iterations_per_epoch * schedule.batch_size, data.flip, recipe.seed)
    validation_set = patches(data.validation, _VALIDATION_PATCHES, 0.0, recipe.seed + 1)
    module = CycleGANTrainer(recipe)
    plan = Plan(
        recipe.seed, schedule.epochs, schedule.batch_size, recipe.precision, recipe.checkpoints, workers=data.workers
    )
    return Training(module, train_set, validation_set, plan, module.to_high)


def _shrunk(recipe: CycleGANRecipe, folder: Path) -> CycleGANRecipe:
    """The recipe as a trial of seconds: small networks, a few steps, simulated pairs in `folder`."""
    for seed in range(3):
        write_phantom_pair(seed, folder / f"pair_{seed}", (128, 96))
    data = {"train": str(folder), "validation": str(folder), "spacing_mm": None, "downsample": 1, "patch": 32}
    return recipe.model_copy(
        update={
            "title": recipe.title + " (smoke test: a few steps on simulated pairs, of no use)",
            "trained_on_phantoms": True,
            "generator": {**recipe.generator, "ngf": 4, "n_blocks": 1},
            "discriminator": {**recipe.discriminator, "ndf": 4},
            "data": recipe.data.model_copy(update={**data, "source_window": (1000.0, 2900.0), "workers": 0}),
            "schedule": recipe.schedule.model_copy(update={"batch_size": 4, "iterations_per_epoch": 4, "epochs": 2}),
        }
    )
