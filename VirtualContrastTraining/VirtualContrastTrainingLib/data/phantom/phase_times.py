"""Uneven phase times: each case has its own number of phases at its own seconds after injection, as in cohorts."""

from __future__ import annotations

import dataclasses

import numpy as np

from .phantom import PhantomSettings

PHASES = (3, 11)
"""Fewest and most phases of a case."""
FIRST_S, LAST_S = (60.0, 130.0), (300.0, 480.0)
"""When the first and the last phase are acquired."""
LEAST_GAP_S = 15.0
_STREAM = 3041  # its own random numbers: the patient of a seed stays the same


def uneven_settings(settings: PhantomSettings, seed: int) -> PhantomSettings:
    """`settings` with the phase times of `draw_phase_times`, and curve types defined between the times it had.

    The phantom of these settings is the same patient as that of `settings`, seen at other times.
    """
    between = settings.curve_type_times_s or (settings.phase_times_s[0], settings.phase_times_s[-1])
    return dataclasses.replace(settings, phase_times_s=draw_phase_times(seed), curve_type_times_s=between)


def draw_phase_times(seed: int) -> tuple[float, ...]:
    """Whole seconds after injection of 3 to 11 phases, increasing by about LEAST_GAP_S or more."""
    rng = np.random.default_rng((_STREAM, seed))
    count = int(rng.integers(PHASES[0], PHASES[1], endpoint=True))
    first, last = rng.uniform(*FIRST_S), rng.uniform(*LAST_S)
    free = last - first - (count - 1) * LEAST_GAP_S
    between = first + np.sort(rng.uniform(0, free, count - 2)) + LEAST_GAP_S * np.arange(1, count - 1)
    return tuple(float(time) for time in np.rint([first, *between, last]))
