"""Runs a recipe: cases into memory, Lightning for the loop, a model package at the end."""

from __future__ import annotations

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader
from VirtualContrastLib.events import InputError

from ..data.cases import Case, case_folders, load_case
from ..data.slices import RandomSlices
from ..recipe import Pix2PixHDRecipe
from .export import export_generator
from .pix2pixhd import Pix2PixHDTrainer

_VALIDATION_SLICES = 96


def train(recipe: Pix2PixHDRecipe, output: Path, *, resume: bool = False, max_minutes: float | None = None) -> Path:
    """Train `recipe` into `output` and return the exported model package `<output>/model`.

    `output` holds `checkpoints/last.ckpt` (weights, both optimizers, epoch), `logs/version_N/metrics.csv` (one a start)
    and the package. With `resume` the run goes on from its last checkpoint. Raises InputError where the output exists
    without `resume`, or where there is nothing to resume.
    """
    checkpoints = output / "checkpoints"
    last = checkpoints / "last.ckpt"
    if resume and not last.is_file():
        raise InputError(f"{output} has no checkpoint to resume from ({last} is missing).")
    if not resume and last.is_file():
        raise InputError(f"{output} already holds a run; give --resume to go on with it, or another folder.")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    L.seed_everything(recipe.seed, workers=True, verbose=False)
    train_set, validation_set = _datasets(recipe)
    module = Pix2PixHDTrainer(recipe)
    trainer = L.Trainer(
        max_epochs=recipe.schedule.constant_epochs + recipe.schedule.decay_epochs,
        max_time=timedelta(minutes=max_minutes) if max_minutes else None,
        precision=recipe.precision,
        default_root_dir=output,
        logger=CSVLogger(output, name="logs"),
        callbacks=[_keep_last(checkpoints), _DrawNewSlices(train_set)],
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    with warnings.catch_warnings():
        # Cases are in memory: worker processes would copy them and gain nothing.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        trainer.fit(
            module,
            DataLoader(train_set, batch_size=recipe.schedule.batch_size),
            DataLoader(validation_set, batch_size=recipe.schedule.batch_size),
            ckpt_path=last if resume else None,
            weights_only=False,  # our own checkpoint, written by the line above
        )
    return export_generator(module, output / "model")


def _keep_last(folder: Path) -> ModelCheckpoint:
    """Writes `last.ckpt` after every epoch in place of the one before."""
    return ModelCheckpoint(
        folder, filename="last", save_top_k=1, enable_version_counter=False, save_on_train_epoch_end=True
    )


class _DrawNewSlices(Callback):
    """Tells the data set the epoch, so that a resumed run draws what an unbroken one would have drawn."""

    def __init__(self, dataset: RandomSlices) -> None:
        self._dataset = dataset

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._dataset.set_epoch(trainer.current_epoch)


def _datasets(recipe: Pix2PixHDRecipe) -> tuple[RandomSlices, RandomSlices]:
    def slices(root: str, length: int, seed: int) -> RandomSlices:
        return RandomSlices(
            load_cases(Path(root)),
            intensity=recipe.intensity,
            channel_offsets=recipe.inputs.channel_offsets,
            length=length,
            lesion_share=recipe.data.lesion_share,
            seed=seed,
        )

    train_set = slices(recipe.data.train, recipe.schedule.slices_per_epoch, recipe.seed)
    return train_set, slices(recipe.data.validation, _VALIDATION_SLICES, recipe.seed + 1)


def load_cases(root: Path) -> list[Case]:
    """All prepared cases below `root`, read by a few threads (the time goes into decompression)."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(load_case, case_folders(root)))
