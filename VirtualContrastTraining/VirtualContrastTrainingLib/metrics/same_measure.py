"""SAMe, the scaled aggregate measure: one number per checkpoint from several metrics (Osuala et al., SPIE 2024).

Each metric is min-max scaled over the compared checkpoints, turned so that lower is better, and averaged without
weights. SAMe is relative: its values change when a checkpoint is added or left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from VirtualContrastLib.events import InputError

from .measures import EVERY

BETTER = {"auroc": "higher"} | {measure.name: measure.better for measure in EVERY if measure.better is not None}
"""Direction by name of a measure."""


@dataclass(frozen=True)
class Ranking:
    """SAMe of each checkpoint, and what it rests on.

    Attributes:
        same: SAMe by checkpoint, 0 best, 1 worst.
        scaled: The scaled metrics behind it, by checkpoint.
        winners: The checkpoints with the lowest SAMe; more than one where several share it.
        left_out: Metrics on which all checkpoints agree.
    """

    same: dict[str, float]
    scaled: dict[str, dict[str, float]]
    winners: tuple[str, ...]
    left_out: tuple[str, ...]


def lower_is_better(metric: str, *, lower: Sequence[str] = (), higher: Sequence[str] = ()) -> bool:
    """Direction of a metric.

    Args:
        metric: Its name; `lesion_ssim` is known as SSIM, `fid_rad` as FID.
        lower: Metrics of which low is better.
        higher: Metrics of which high is better.

    Returns:
        Whether low is better.

    Raises:
        InputError: The name is unknown.
    """
    if metric in lower or metric in higher:
        return metric in lower
    padded = f"_{metric.lower().replace('.', '_').replace('-', '_')}_"
    known = [name for name in BETTER if f"_{name}_" in padded]
    if known:
        return BETTER[max(known, key=len)] == "lower"
    raise InputError(f"It is not known whether a low or a high {metric} is better; name it with --lower or --higher.")


def rank(table: Mapping[str, Mapping[str, float]], *, lower: Sequence[str] = (), higher: Sequence[str] = ()) -> Ranking:
    """SAMe over a table of checkpoints.

    A metric on which all checkpoints agree distinguishes none: it is left out of the mean and named in `left_out`.

    Args:
        table: Value by checkpoint and metric.
        lower: Metrics of which low is better.
        higher: Metrics of which high is better.

    Returns:
        The ranking.

    Raises:
        InputError: There are fewer than two checkpoints, a value is missing or not finite, or all metrics tie.
    """
    if len(table) < 2:
        raise InputError(
            "SAMe compares checkpoints; at least two are needed. A run keeps them with "
            "--set checkpoints.keep_every_epochs=N."
        )
    metrics = list(next(iter(table.values())))
    for name, row in table.items():
        missing = [metric for metric in metrics if not _finite(row.get(metric))]
        if missing or len(row) != len(metrics):
            raise InputError(f"Checkpoint {name} has no finite value of {', '.join(missing) or 'some metric'}.")
    scaled: dict[str, dict[str, float]] = {name: {} for name in table}
    left_out = []
    for metric in metrics:
        values = [row[metric] for row in table.values()]
        low, high = min(values), max(values)
        if low == high:
            left_out.append(metric)
            continue
        down = lower_is_better(metric, lower=lower, higher=higher)
        for name, row in table.items():
            share = (row[metric] - low) / (high - low)
            scaled[name][metric] = share if down else 1 - share
    if len(left_out) == len(metrics):
        raise InputError("All checkpoints have equal metrics, so none can be chosen by them.")
    same = {name: math.fsum(row.values()) / len(row) for name, row in scaled.items()}
    best = min(same.values())
    winners = tuple(name for name, value in same.items() if math.isclose(value, best, abs_tol=1e-12))
    return Ranking(same, scaled, winners, tuple(left_out))


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
