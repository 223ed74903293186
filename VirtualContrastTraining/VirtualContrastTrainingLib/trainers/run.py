"""Runs a pix2pixHD recipe: cases into memory, Lightning for the loop, a model package at the end."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import lightning as L

from ..data.cases import Case, case_folders, load_case
from ..data.mapped import mapped_case
from ..data.slices import RandomSlices, SliceStyle
from ..recipe import Pix2PixHDRecipe, SliceData, SubtractionUNetRecipe
from .base import Plan, RunOptions, check_output, fit
from .export import export_generator
from .pix2pixhd import Pix2PixHDTrainer
from .smoke import smoke_cases, smoke_pix2pixhd

_VALIDATION_SLICES = 96


def train(
    recipe: Pix2PixHDRecipe,
    output: Path,
    *,
    resume: bool = False,
    smoke: bool = False,
    devices: int = 1,
    num_nodes: int = 1,
    precision: str | None = None,
    max_minutes: float | None = None,
) -> Path:
    """Train `recipe` into `output` and return the exported model package `<output>/model`.

    `output` holds `checkpoints/last.ckpt` (weights, both optimizers, place in the data), `logs/version_N/metrics.csv`
    (one a start) and the package. With `resume` the run goes on from its last checkpoint and ends, on a CPU in float32,
    with the bits of an unbroken one. With `smoke` a small network trains a few steps on small phantoms instead. Raises
    InputError where the output exists without `resume`, or where there is nothing to resume.
    """
    check_output(output, resume)
    with tempfile.TemporaryDirectory() as folder:
        if smoke:
            recipe = smoke_pix2pixhd(recipe, smoke_cases(Path(folder)))
        L.seed_everything(recipe.seed, workers=True, verbose=False)
        train_set, validation_set = slice_sets(recipe, recipe.schedule.slices_per_epoch)
        module = Pix2PixHDTrainer(recipe)
        plan = Plan(
            recipe.seed,
            recipe.schedule.epochs,
            recipe.schedule.batch_size,
            recipe.precision,
            recipe.checkpoints,
            shuffle=recipe.schedule.slices_per_epoch is None,
            workers=recipe.data.workers,
        )
        options = RunOptions(resume, devices, num_nodes, precision, max_minutes)
        exports = fit(module, train_set, validation_set, output, plan, options)
    return export_generator(module, output / "model") if exports else output / "model"


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
