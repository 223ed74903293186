"""What the slice-wise trainers share: Lightning set up for exact resume, and failures in one sentence."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from VirtualContrastLib.events import CancelledError, InputError, VirtualContrastError

from ..data.batches import EpochBatches
from .checkpoints import AtomicCheckpointIO, DivergedError, ExactCheckpoints, check_resumable
from .launch import is_launched
from .options import RunOptions
from .packaging import Packaging, export_state
from .progress import Watched
from .recipe import Checkpoints, DescribedRecipe, write_recipe
from .same_stop import SameStop
from .samples import SampleImages

Recipe = TypeVar("Recipe", bound=DescribedRecipe)


@dataclass(frozen=True)
class FitPlan:
    """The parts of a recipe that decide the loop.

    Attributes:
        seed: Seed of everything that is drawn at random.
        epochs: Epochs of the whole run.
        batch_size: Items of one step over all processes.
        precision: Lightning's name of the precision.
        checkpoints: When checkpoints are written.
        shuffle: Whether the loop takes items in random order; otherwise the data set draws.
        workers: Processes that make batches.
    """

    seed: int
    epochs: int
    batch_size: int
    precision: str
    checkpoints: Checkpoints
    shuffle: bool = False
    workers: int = 0


@dataclass(frozen=True)
class Training:
    """A recipe made ready.

    Attributes:
        module: What is trained.
        train_set: What it is trained on.
        validation_set: What it is measured on while it trains.
        plan: The loop.
        network: The network of the module that becomes the package.
    """

    module: L.LightningModule
    train_set: Dataset[Any]
    validation_set: Dataset[Any]
    plan: FitPlan
    network: nn.Module


def train_and_export(
    recipe: Recipe,
    output: Path,
    options: RunOptions,
    prepare: Callable[[Recipe], Training],
    packaging: Packaging,
) -> Path:
    """Train what a system makes of a recipe, and export it.

    A resumed run ends, on a CPU in float32, with the bits of an unbroken one.

    Args:
        recipe: The recipe.
        output: Folder of the run: what `fit` writes, and the package.
        options: Devices, time limit, precision, and whether to continue from the last checkpoint.
        prepare: Makes module and data of the recipe.
        packaging: Makes the model package.

    Returns:
        The exported model package `<output>/model`.

    Raises:
        InputError: The output exists without `resume`, or there is nothing to resume.
    """
    check_output(output, options.resume)
    L.seed_everything(recipe.seed, workers=True, verbose=False)
    training = prepare(recipe)
    if fit(training.module, training.train_set, training.validation_set, output, training.plan, options):
        export_state(packaging, recipe, training.network.state_dict(), output / "model")
    return output / "model"


def check_output(output: Path, resume: bool) -> Path:
    """The path of `output`'s last checkpoint; raises InputError where it is there, or missing, against `resume`."""
    last = output / "checkpoints" / "last.ckpt"
    if resume and not last.is_file():
        raise InputError(f"{output} has no checkpoint to resume from ({last} is missing).")
    if not resume and last.is_file():
        raise InputError(f"{output} already holds a run; give --resume to continue it, or another folder.")
    return last


def fit(
    module: L.LightningModule,
    train_set: Dataset[Any],
    validation_set: Dataset[Any],
    output: Path,
    plan: FitPlan,
    options: RunOptions,
    *,
    run: Path | None = None,
) -> bool:
    """Train a module.

    Args:
        module: The module, with its `recipe`.
        train_set: Data to train on, whose items are asked for by (epoch, index).
        validation_set: Held-out data.
        output: Gets `recipe.yaml`, `checkpoints/last.ckpt`, `logs/version_N/metrics.csv` (one per start) and pictures
            of held-out data.
        plan: Epochs, batch size and checkpoints.
        options: Devices, time limit, precision, and whether to resume.
        run: Folder of a run of several stages, of which `output` is one (default `output`): it gets the
            `progress.json`, and a file `stop` in it ends the run; see `run_files`.

    Returns:
        Whether this is the one process that exports the module.

    Raises:
        DivergedError: A loss or a weight is not finite.
        CancelledError: The run was stopped.
        VirtualContrastError: The disk is full or a process was lost. The last checkpoint stays whole in each case.
    """
    trainer = _trainer(output, plan, options)
    world_size = trainer.world_size
    rank = trainer.strategy.cluster_environment.global_rank() if world_size > 1 else 0  # type: ignore[attr-defined]
    batches = EpochBatches(
        len(train_set),  # type: ignore[arg-type]
        plan.batch_size,
        shuffle_seed=plan.seed if plan.shuffle else None,
        rank=rank,
        world_size=world_size,
    )
    keeper = ExactCheckpoints(
        output / "checkpoints",
        batches,
        seed=plan.seed,
        every_steps=plan.checkpoints.every_steps,
        keep_every_epochs=plan.checkpoints.keep_every_epochs,
    )
    stage = "" if run is None or run == output else output.name
    watched = Watched(run or output, stage, keeper.last)
    patience = plan.checkpoints.patience_epochs
    same_stop = SameStop(output / "checkpoints", patience) if patience else None
    trainer.callbacks += [*([same_stop] if same_stop else []), keeper, watched, SampleImages(output, validation_set)]  # type: ignore[attr-defined]
    loaders = (
        DataLoader(train_set, batch_sampler=batches, num_workers=plan.workers),
        DataLoader(validation_set, batch_size=plan.batch_size),
    )
    if options.resume:
        check_resumable(keeper.last, module)
    if rank == 0:
        write_recipe(module.recipe, output / "recipe.yaml")  # type: ignore[arg-type]
    try:
        with warnings.catch_warnings():
            # Cases are in memory, so that no workers is often best; the place in the data is kept by our own sampler.
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
            warnings.filterwarnings("ignore", ".*dataloader is not resumable.*")
            # Every process validates on all held-out slices, so that there is nothing to average.
            warnings.filterwarnings("ignore", ".*sync_dist=True.*")
            # Lightning marks the leaves of its loaders by a class that torch 2.13 deprecates; nobody here uses it.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            trainer.fit(module, *loaders, ckpt_path=keeper.last if options.resume else None, weights_only=True)
    except DivergedError as error:
        raise DivergedError(f"Training diverged: {error}; {_kept(keeper.last)} with a lower learning rate.") from error
    except SystemExit as error:
        raise CancelledError(f"Stopped; {_kept(keeper.last)}.") from error
    except RuntimeError as error:
        if world_size == 1 or not _is_lost_peer(error):
            raise
        raise VirtualContrastError(
            f"Process {rank} lost another one of the {world_size} training processes (it ended or its network failed); "
            f"{_kept(keeper.last)}."
        ) from error
    if same_stop is not None:
        same_stop.restore(module)
    return trainer.is_global_zero


def checked_losses(module: L.LightningModule, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Named losses (scalars) without their graphs, averaged over all processes; raises DivergedError in all of them.

    Averaged here and not by Lightning's sync_dist: its progress bar, in one process only, would wait for the others.
    """
    values = torch.stack([loss.detach().float() for loss in losses.values()])
    if module.trainer.world_size > 1:
        torch.distributed.all_reduce(values)
        values = values / module.trainer.world_size
    for name, value in zip(losses, values, strict=True):
        if not torch.isfinite(value):
            raise DivergedError(f"{name} is not finite at epoch {module.current_epoch + 1}")
    return dict(zip(losses, values, strict=True))


def _kept(last: Path) -> str:
    if not last.is_file():
        return "there is no checkpoint yet, start again"
    return f"the last good checkpoint {last} is kept, continue from it with --resume"


def _is_lost_peer(error: RuntimeError) -> bool:
    text = str(error).lower()
    return any(sign in text for sign in ("gloo", "nccl", "connection closed by peer", "connection reset", "timed out"))


def _trainer(output: Path, plan: FitPlan, options: RunOptions) -> L.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    processes = options.devices * options.num_nodes
    if processes > 1 and not is_launched():
        raise InputError(
            f"{processes} training processes need a launcher: use the train command, torchrun, or srun (see the README "
            "of VirtualContrastTraining)."
        )
    loggers: list[Any] = [CSVLogger(output, name="logs")]
    if importlib.util.find_spec("tensorboard") is not None:
        loggers.append(TensorBoardLogger(output, name="tensorboard"))
    return L.Trainer(
        max_epochs=plan.epochs,
        max_time=timedelta(minutes=options.max_minutes) if options.max_minutes else None,
        precision=options.precision or plan.precision,  # type: ignore[arg-type]
        devices=options.devices,
        num_nodes=options.num_nodes,
        strategy=_strategy(processes),
        use_distributed_sampler=False,
        sync_batchnorm=processes > 1 and torch.cuda.is_available(),  # torch has none for the CPU
        default_root_dir=output,
        logger=loggers,
        plugins=[AtomicCheckpointIO()],
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )


def _strategy(processes: int) -> Any:
    if processes == 1:
        return "auto"
    # A GAN's steps touch one network at a time, so that the other's parameters are unused in each backward pass.
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    return DDPStrategy(find_unused_parameters=True, process_group_backend=backend, timeout=timedelta(minutes=10))
