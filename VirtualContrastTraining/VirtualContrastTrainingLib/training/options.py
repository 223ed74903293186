"""How to run a training, as opposed to what to train."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunOptions:
    """How to run, as opposed to what: nothing here changes the result beyond rounding, but `precision`."""

    resume: bool = False
    devices: int = 1
    num_nodes: int = 1
    precision: str | None = None
    max_minutes: float | None = None
