"""How long each stage of a run takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..events import Events, Stage


@dataclass
class Clock:
    """Seconds per stage; tells `events` when a stage starts and ends."""

    events: Events
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: Stage) -> Iterator[None]:
        """Time one stage; raises CancelledError at its start and end when a stop was asked for."""
        self.events.progress(stage, 0, 1)
        start = time.perf_counter()
        yield
        self.seconds[stage.value] = round(time.perf_counter() - start, 3)
        self.events.progress(stage, 1, 1)
