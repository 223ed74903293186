"""Checkpoints that a run resumes from bit by bit: whole files only, the place in the data, a seed for every step."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import nn
from VirtualContrastLib.events import InputError, VirtualContrastError
from VirtualContrastLib.files import atomic_file

from ..data.batches import EpochBatches

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_POSITION = "position"


class DivergedError(VirtualContrastError):
    """A loss or a weight is not finite."""


class DiskFullError(VirtualContrastError):
    """A file of the run could not be written."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the old file and renames: a checkpoint is always whole, and a failed write keeps the old one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint atomically.

        Args:
            checkpoint: Its content.
            path: Its file.
            storage_options: Not used.

        Raises:
            DiskFullError: The disk has no room.
        """
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(target) as partial, partial.open("wb") as stream:
                torch.save(checkpoint, stream)
        except (OSError, RuntimeError) as error:
            reason = _disk_full(error)
            if reason is None:
                raise
            kept = "the checkpoint before it is kept" if target.is_file() else "there is no earlier one"
            raise DiskFullError(
                f"No room on the disk for the checkpoint {target} ({reason}); {kept}. Free some space and go "
                "on with --resume."
            ) from error


def _disk_full(error: BaseException | None) -> str | None:
    """The system's words where there was no room; torch hides its error behind another when it closes the file."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            return str(error.strerror)
        error = error.__context__
    return None


class ExactCheckpoints(Checkpoint):
    """Keeps `<folder>/last.ckpt` such that a resumed run ends with the bits of an unbroken one.

    Written at the start, every `every_steps` steps and after each epoch; `epoch_NNNN.ckpt` is kept every
    `keep_every_epochs`. A checkpoint holds Lightning's state and the next batch of the data. Random numbers need no
    state: each step is seeded by (seed, epoch, batch, rank).
    """

    def __init__(
        self, folder: Path, batches: EpochBatches, *, seed: int, every_steps: int, keep_every_epochs: int
    ) -> None:
        self._folder = folder
        self._batches = batches
        self._seed = seed
        self._every_steps = every_steps
        self._keep_every_epochs = keep_every_epochs
        self._next = (0, 0)
        self._resumed = False

    @property
    def last(self) -> Path:
        """The file to resume from."""
        return self._folder / "last.ckpt"

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Open the data where the checkpoint was written; one without a place was written at the end of an epoch."""
        place = checkpoint.get(_POSITION, {"epoch": checkpoint["epoch"] + 1, "batch": 0})
        self._resumed = True
        self._next = (int(place["epoch"]), int(place["batch"]))
        self._batches.epoch, self._batches.first_batch = self._next

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the place in the data; raises DivergedError rather than replace good weights by broken ones."""
        for name, tensor in checkpoint["state_dict"].items():
            if not torch.isfinite(tensor).all():
                raise DivergedError(f"the weights {name} are not finite")
        checkpoint[_POSITION] = {"epoch": self._next[0], "batch": self._next[1]}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A new run can be resumed from its first moment on."""
        if not self._resumed:  # not a look at the file: saving needs all processes, and one may see another's file
            trainer.save_checkpoint(self.last)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed the step."""
        place = (self._seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write `last.ckpt` when it is due, or when the process was asked to end."""
        done = batch_idx + 1
        self._next = (trainer.current_epoch, done)
        # Saving needs all processes, which do not receive a signal in the same step.
        asked_to_end = trainer.received_sigterm and trainer.world_size == 1
        due = done % self._every_steps == 0 or asked_to_end
        if due and done < trainer.num_training_batches:  # the end of the epoch has its own
            trainer.save_checkpoint(self.last)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the epoch's checkpoints and open the next epoch."""
        epoch = trainer.current_epoch + 1
        self._next = (epoch, 0)
        self._batches.epoch, self._batches.first_batch = self._next
        trainer.save_checkpoint(self.last)
        if self._keep_every_epochs and epoch % self._keep_every_epochs == 0:
            trainer.save_checkpoint(self._folder / f"epoch_{epoch:04d}.ckpt")


def check_resumable(checkpoint: Path, module: nn.Module) -> None:
    """Raise InputError where `checkpoint` is damaged, of another program, or of another network than `module`'s."""
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        state = content["state_dict"]
        _ = content["pytorch-lightning_version"], content["epoch"], content["optimizer_states"]
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    except (OSError, EOFError, KeyError, TypeError, AttributeError, RuntimeError, pickle.UnpicklingError) as error:
        raise InputError(
            f"The checkpoint {checkpoint} is damaged or not of a training run ({type(error).__name__}); start again in "
            "another folder, or continue from a copy of it."
        ) from error
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    if shapes != wanted:
        differing = sorted(name for name in {*shapes, *wanted} if shapes.get(name) != wanted.get(name))
        raise InputError(
            f"The checkpoint {checkpoint} is of another network ({differing[0]} differs); continue with the recipe "
            "that started the run, recipe.yaml in its folder."
        )
