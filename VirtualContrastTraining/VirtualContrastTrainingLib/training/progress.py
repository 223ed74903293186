"""Lets a run be watched and stopped from outside, by files; see `run_files`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning as L
from VirtualContrastLib.events import CancelledError

from .run_files import STOP, Progress

_LOOK_EVERY_S = 0.5


class Watched(L.Callback):
    """Writes `<run>/progress.json` twice a second, and ends the run with a checkpoint when `<run>/stop` appears.

    It must come after `ExactCheckpoints` among the callbacks, which notes the place in the data first. All processes
    stop after the same step, whichever saw the file.
    """

    def __init__(self, run: Path, stage: str, checkpoint: Path) -> None:
        self._run, self._stage, self._checkpoint = run, stage, checkpoint
        self._asked_to_stop = False
        self._looked_s = 0.0
        self._steps_done, self._started_s = 0, 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A stop that was meant for an earlier start does not count."""
        self._started_s = time.monotonic()
        if trainer.is_global_zero:
            (self._run / STOP).unlink(missing_ok=True)
        trainer.strategy.barrier()
        self._tell(trainer, trainer.current_epoch, 0)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop between two epochs: the end of the one before has its checkpoint."""
        self._stop_if_asked(trainer, save=False)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell the step, and stop after it; the last step of an epoch is followed by the epoch's end first."""
        self._steps_done += 1
        done, steps = batch_idx + 1, int(trainer.num_training_batches)
        now = time.monotonic()
        if now - self._looked_s >= _LOOK_EVERY_S or done == steps:
            self._looked_s = now
            self._asked_to_stop = (self._run / STOP).exists()
            self._tell(trainer, trainer.current_epoch, done)
        if done < steps:
            self._stop_if_asked(trainer, save=True)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A stop that came with the last step ends the run before its next stage; after the last stage it is void."""
        self._asked_to_stop = (self._run / STOP).exists()
        if self._stage:
            self._stop_if_asked(trainer, save=False)
        elif trainer.is_global_zero:
            (self._run / STOP).unlink(missing_ok=True)

    def _stop_if_asked(self, trainer: L.Trainer, *, save: bool) -> None:
        if not trainer.strategy.reduce_boolean_decision(self._asked_to_stop, all=False):
            return
        if save:
            trainer.save_checkpoint(self._checkpoint)
        if trainer.is_global_zero:
            (self._run / STOP).unlink(missing_ok=True)
        raise CancelledError(f"Stopped; the checkpoint {self._checkpoint} is kept, continue from it with --resume.")

    def _tell(self, trainer: L.Trainer, epoch: int, step: int) -> None:
        if not trainer.is_global_zero:
            return
        epochs, steps = int(trainer.max_epochs or 0), int(trainer.num_training_batches)
        left = (epochs - epoch) * steps - step
        seconds = (time.monotonic() - self._started_s) * left / self._steps_done if self._steps_done > 1 else None
        device = str(trainer.strategy.root_device)
        Progress(self._stage, epoch + 1, epochs, step, steps, seconds, device).write(self._run)
