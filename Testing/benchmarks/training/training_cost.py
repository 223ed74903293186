"""What a training costs: time a step, peak memory and parameters, the same way for every system."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from VirtualContrastLib.models.package import load_package


@dataclass
class StepClock:
    """Times (s) of every optimizer step of this process, by optimizer in order of their first steps.

    It listens to torch's own optimizer hooks, so that any training loop can be timed from outside. The hooks run on the
    CPU: on a GPU single steps are those of the queue, and their median is right once the queue is full.
    """

    steps: dict[int, list[float]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Training steps. The discriminator's, between those of the generator, do not count again."""
        return sum(len(times) for times in self._leading())

    @property
    def step_ms(self) -> float:
        """Median time from one step to the next, with everything between them, in milliseconds."""
        gaps = [b - a for times in self._leading() for a, b in itertools.pairwise(times)]
        return 1000 * statistics.median(gaps)

    @property
    def span_s(self) -> float:
        """Seconds from the first step to the last, of all stages together."""
        return max(times[-1] for times in self.steps.values()) - min(times[0] for times in self.steps.values())

    def _leading(self) -> list[list[float]]:
        """Steps of the optimizers that begin after those before them have ended (stages), not beside them (GANs)."""
        leading: list[list[float]] = []
        for times in self.steps.values():
            if not leading or times[0] > leading[-1][-1]:
                leading.append(times)
        return leading


@contextmanager
def step_clock() -> Iterator[StepClock]:
    """Time all optimizer steps of the block."""
    from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

    clock = StepClock()
    seen: list[Optimizer] = []  # kept alive, as the id of a dead optimizer may be given again

    def note(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not any(optimizer is other for other in seen):
            seen.append(optimizer)
        number = next(n for n, other in enumerate(seen) if other is optimizer)
        clock.steps.setdefault(number, []).append(time.perf_counter())

    handle = register_optimizer_step_post_hook(note)
    try:
        yield clock
    finally:
        handle.remove()


def peak_memory_mib() -> float:
    """Peak resident memory of this process in MiB (Linux). ru_maxrss will not do: it starts with the parent's peak."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def peak_cuda_mib() -> float | None:
    """Peak memory of this process's tensors on the GPU in MiB; None without one."""
    import torch

    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None


def parameter_count(package: Path) -> int:
    """Numbers in the weights of a model package, of all its networks."""
    state = load_package(package).load_state()
    return sum(tensor.numel() for tensor in state.values() if tensor.is_floating_point())
