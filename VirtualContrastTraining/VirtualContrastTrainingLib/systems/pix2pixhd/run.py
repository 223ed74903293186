"""Runs a pix2pixHD recipe: cases into memory, Lightning for the loop, a model package at the end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ...data.cases import Case, case_folders, load_case
from ...data.memmap import mapped_case
from ...data.slices import RandomSlices, SliceStyle
from ...training.base import Plan, RunOptions, Training, train_and_export
from ...training.recipe import Pix2PixHDRecipe, SliceData, SubtractionUNetRecipe
from ..smoke import smoke_pix2pixhd
from .trainer import Pix2PixHDTrainer

_VALIDATION_SLICES = 96


def train(recipe: Pix2PixHDRecipe, output: Path, options: RunOptions = RunOptions(), *, smoke: bool = False) -> Path:
    """Train `recipe` into `output` and return its package; folder and errors as `base.train_and_export`.

    With `smoke` a small network trains a few steps on small phantoms instead.
    """
    return train_and_export(recipe, output, options, _training, smoke_pix2pixhd if smoke else None)


def _training(recipe: Pix2PixHDRecipe) -> Training:
    schedule = recipe.schedule
    module = Pix2PixHDTrainer(recipe)
    plan = Plan(
        recipe.seed,
        schedule.epochs,
        schedule.batch_size,
        recipe.precision,
        recipe.checkpoints,
        shuffle=schedule.slices_per_epoch is None,
        workers=recipe.data.workers,
    )
    return Training(module, *slice_sets(recipe, schedule.slices_per_epoch), plan, module.generator)


def slice_sets(
    recipe: Pix2PixHDRecipe | SubtractionUNetRecipe, slices_per_epoch: int | None
) -> tuple[RandomSlices, RandomSlices]:
    """Training slices and held-out ones; the latter are drawn once, half of them or so with lesions."""
    style = slice_style(recipe.data, recipe.outputs.channel_phases)

    def slices(root: str, length: int | None, seed: int) -> RandomSlices:
        return RandomSlices(
            load_cases(Path(root), recipe.data.copies),
            intensity=recipe.intensity,
            channel_offsets=recipe.inputs.channel_offsets,
            length=length,
            lesion_share=recipe.data.lesion_share,
            seed=seed,
            style=style,
        )

    train_set = slices(recipe.data.train, slices_per_epoch, recipe.seed)
    return train_set, slices(recipe.data.validation, _VALIDATION_SLICES, recipe.seed + 1)


def slice_style(data: SliceData, channel_phases: list[int]) -> SliceStyle:
    """The recipe's wishes as the data set wants them."""
    return SliceStyle(
        channel_phases=tuple(channel_phases),
        flip=data.flip,
        rotation_90=data.rotation_90,
        own_target_scale=data.target_scale == "own",
        pixel_mm=data.pixel_mm,
        size=data.size,
    )


def load_cases(root: Path, copies: str | None = None) -> list[Case]:
    """All prepared cases below `root`, read by a few threads (the time goes into decompression).

    In memory, or with `copies` mapped from uncompressed copies in that folder.
    """
    load = load_case if copies is None else partial(mapped_case, copies=Path(copies))
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(load, case_folders(root)))
