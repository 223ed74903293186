"""Ends a run where SAMe of its held-out measures finds no better epoch any more, and goes back to the best one.

SAMe is relative: an epoch that is added can change which of the earlier ones is best. The best one is never worse than
another in every measure, so the checkpoints of all epochs that are not (the Pareto front) are kept, and no other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from VirtualContrastLib.events import InputError

from ..metrics.same_measure import lower_is_better, rank

PREFIX = "val_"
COPY = "copy"
"""Held-out measures begin with `val_`; those of copying the input say nothing of the epoch."""


class SameStop(L.Callback):
    """Keeps `<folder>/best_NNNN.ckpt` of the epochs that may be the best, and stops `patience` epochs after that one.

    It must come before `ExactCheckpoints` among the callbacks, so that a checkpoint holds the table of its own epoch.

    Args:
        folder: Place of the checkpoints.
        patience: Epochs without a better one after which the run ends.
    """

    def __init__(self, folder: Path, patience: int) -> None:
        self._folder, self._patience = folder, patience
        self.table: dict[str, dict[str, float]] = {}

    @property
    def best(self) -> int:
        """The epoch (from 1) with the lowest SAMe, the earliest of equal ones; 0 before the first."""
        if len(self.table) < 2:
            return len(self.table)
        try:
            return int(min(rank(self.table, lower=unknown_measures(self.table)).winners, key=int))
        except InputError:  # all epochs are equal
            return 1

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"table": self.table}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.table = dict(state_dict["table"])

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Judge the epoch; keep its checkpoint where it may be the best, and stop where none was for too long."""
        epoch = trainer.current_epoch + 1
        self.table[str(epoch)] = held_out(trainer.callback_metrics)
        front = pareto_front(self.table)
        if str(epoch) in front:
            trainer.save_checkpoint(self._place(epoch))
        if trainer.is_global_zero:
            for other in set(self.table) - front:
                self._place(int(other)).unlink(missing_ok=True)
            text = json.dumps({"best_epoch": self.best, "held_out": self.table}, indent=1)
            (self._folder / "same.json").write_text(text + "\n", encoding="utf-8")
        if epoch - self.best >= self._patience:
            trainer.should_stop = True

    def restore(self, module: L.LightningModule) -> None:
        """Give `module` the weights of the best epoch."""
        if self.best:
            content = torch.load(self._place(self.best), map_location="cpu", weights_only=True)
            module.load_state_dict(content["state_dict"])

    def _place(self, epoch: int) -> Path:
        return self._folder / f"best_{epoch:04d}.ckpt"


def held_out(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The held-out measures of an epoch; raises InputError where there is none."""
    found = {name: float(value) for name, value in metrics.items() if name.startswith(PREFIX) and COPY not in name}
    if not found:
        raise InputError("This system has no held-out measures to stop by; set checkpoints.patience_epochs to 0.")
    return found


def unknown_measures(table: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Measures whose name does not tell a direction: they are losses, and lower is better."""
    unknown = []
    for name in next(iter(table.values())):
        try:
            lower_is_better(name)
        except InputError:
            unknown.append(name)
    return unknown


def pareto_front(table: Mapping[str, Mapping[str, float]]) -> set[str]:
    """The epochs that no other epoch equals or beats in every measure; of equal ones the earliest."""
    lower = unknown_measures(table)
    signs = {name: 1 if lower_is_better(name, lower=lower) else -1 for name in next(iter(table.values()))}
    rows = {epoch: tuple(sign * row[name] for name, sign in signs.items()) for epoch, row in table.items()}

    def beaten(epoch: str, row: tuple[float, ...]) -> bool:
        return any(
            all(theirs <= ours for theirs, ours in zip(other, row, strict=True))
            and (other != row or int(number) < int(epoch))
            for number, other in rows.items()
            if number != epoch
        )

    return {epoch for epoch, row in rows.items() if not beaten(epoch, row)}
