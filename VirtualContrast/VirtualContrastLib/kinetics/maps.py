"""Voxel maps of enhancement, for overlays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..io.masked import MaskedValues
from ..io.volumes import voxels_of
from ..study import Phase
from .curves import views
from .parameters import CurveRules, check_times, curve_parameters, percent_enhancement

_AT_ONCE = 2**16
"""Voxels worked on together: the arithmetic takes a dozen float64 temporaries per voxel."""


def kinetic_maps(phases: Sequence[Phase], mask: sitk.Image, rules: CurveRules | None = None) -> dict[str, MaskedValues]:
    """Voxel-wise kinetic parameters inside a mask.

    Args:
        phases: The pre-contrast phase and the post-contrast phases, all with known times.
        mask: Voxels that are not 0 are computed; its grid is the one of the maps.
        rules: Times and tolerances by which curves are classified; None for the defaults.

    Returns:
        Maps by name: `pe_phase_N` (percent enhancement), `ser`, `wash_in` and `wash_out` (% per minute), `time_to_peak`
        (s) as float32, and `curve_type` (the numbers of CurveType) as uint8. Where a value is not defined it is 0.

    Raises:
        InputError: Times are unknown or do not rise, or geometries differ.
    """
    phases = sorted(phases, key=lambda phase: phase.index)
    times = check_times([phase.time_s for phase in phases])
    inside = voxels_of(mask) != 0
    signals = [volume[inside] for volume in views([phase.image for phase in phases], mask)]
    names = [f"pe_{phase.name}" for phase in phases[1:]] + ["ser", "wash_in", "wash_out", "time_to_peak"]
    maps: dict[str, NDArray[Any]] = {name: np.empty(len(signals[0]), np.float32) for name in names}
    maps["curve_type"] = np.empty(len(signals[0]), np.uint8)
    for start in range(0, len(signals[0]), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        curves = np.stack([signal[some] for signal in signals], axis=-1).astype(np.float32)
        parameters = curve_parameters(curves, times, rules)
        values = dict(zip(names, percent_enhancement(curves).T[1:], strict=False))
        values["ser"] = parameters.ser
        values["wash_in"] = parameters.wash_in_percent_per_min
        values["wash_out"] = parameters.wash_out_percent_per_min
        values["time_to_peak"] = parameters.time_to_peak_s
        values["curve_type"] = parameters.curve_type
        for name, value in values.items():
            maps[name][some] = np.nan_to_num(value, nan=0.0, posinf=0.0, neginf=0.0)
    return {name: MaskedValues(inside, values) for name, values in maps.items()}


def peak_percent(signals: Sequence[np.ndarray], voxels: np.ndarray) -> np.ndarray:
    """Highest percent enhancement after injection at some voxels, float64 (n,); NaN where the baseline is not positive.

    `signals` are volumes [k, j, i] in order, the pre-contrast one first; `voxels` indices into their flat voxels (n,).
    """
    chosen = np.stack([volume.reshape(-1)[voxels] for volume in signals], axis=-1)
    return np.asarray(percent_enhancement(chosen)[:, 1:].max(axis=-1))
