"""How far a run is, from the events of its stages, and how long it will take. Knows neither Qt nor Slicer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..events import Stage

STAGE_WEIGHTS = {
    Stage.READ: 0.01,
    Stage.MODEL: 0.10,
    Stage.REGISTER: 0.20,
    Stage.SYNTHESIZE: 0.55,
    Stage.SEGMENT: 0.14,
    Stage.KINETICS: 0.05,
    Stage.COMPARE: 0.05,
    Stage.EXPORT: 0.10,
}
"""Share of a run's time per stage, until a run has shown the real ones."""


@dataclass
class Estimate:
    """How far a run is, from the events of its stages; learns the share of each stage from the last run."""

    weights: dict[Stage, float] = field(default_factory=lambda: dict(STAGE_WEIGHTS))
    fraction: float = 0.0
    _start: float | None = None

    def begin(self, now: float, *, real: bool, register: bool = False) -> None:
        """A run starts.

        Args:
            now: Seconds of any clock.
            real: It compares with real phases.
            register: Their motion is corrected first.
        """
        self._start, self.fraction = now, 0.0
        left_out = ({Stage.COMPARE} if not real else set()) | ({Stage.REGISTER} if not (real and register) else set())
        self._in_run = [stage for stage in Stage if stage not in left_out]

    def update(self, stage: Stage, done: int, total: int) -> float:
        """Take the progress of a run.

        Args:
            stage: The stage of the run.
            done: Its finished steps.
            total: All its steps.

        Returns:
            The finished fraction of the run, 0 to 1, which never decreases.
        """
        weights = {known: self.weights.get(known, 0.0) for known in self._in_run}
        before = sum(weight for known, weight in weights.items() if _order(known) < _order(stage))
        within = weights.get(stage, 0.0) * (done / total if total > 0 else 0.0)
        self.fraction = max(self.fraction, min(1.0, (before + within) / (sum(weights.values()) or 1.0)))
        return self.fraction

    def seconds_left(self, now: float) -> float | None:
        """Seconds until the end at the present speed; None while it is too early to estimate."""
        if self._start is None or self.fraction < 0.05 or now - self._start < 1.0:
            return None
        return (now - self._start) * (1.0 - self.fraction) / self.fraction

    def learn(self, timing_s: Mapping[str, float]) -> None:
        """Take the seconds per stage of a finished run as the shares of the next."""
        self.weights.update({Stage(name): seconds for name, seconds in timing_s.items() if name in list(Stage)})


def duration_text(seconds: float) -> str:
    """`seconds` as people write it: "12 s", "3 min"."""
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


def _order(stage: Stage) -> int:
    return list(Stage).index(stage)
