"""How to run a training, as opposed to what to train."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunOptions:
    """How to run, as opposed to what: nothing here but `precision` changes the result beyond rounding.

    Attributes:
        resume: Whether to continue from the last checkpoint.
        devices: Devices of each host, one process each.
        num_nodes: Hosts.
        precision: Lightning's name of a precision, instead of the recipe's.
        max_minutes: Minutes after which the run stops; it can be resumed.
    """

    resume: bool = False
    devices: int = 1
    num_nodes: int = 1
    precision: str | None = None
    max_minutes: float | None = None
