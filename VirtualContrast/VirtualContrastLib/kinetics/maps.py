"""Voxel maps of enhancement, for overlays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from VirtualContrastLib.io.volumes import like
from VirtualContrastLib.kinetics.curves import stack
from VirtualContrastLib.kinetics.parameters import (
    CurveRules,
    check_times,
    curve_parameters,
    percent_enhancement,
)
from VirtualContrastLib.study import Phase


def kinetic_maps(
    phases: Sequence[Phase], mask: sitk.Image, rules: CurveRules | None = None
) -> dict[str, sitk.Image]:
    """Maps on the grid of `mask`, worked out where `mask` is not zero.

    Keys: `pe_phase_N` (percent enhancement), `ser`, `wash_in` and `wash_out` (% per minute), `time_to_peak`
    (s) as float32, and `curve_type` (the numbers of CurveType) as uint8. Voxels outside the mask, and those
    where a value is not defined, hold 0. Raises InputError where times are unknown or do not rise, or where
    geometries differ.
    """
    phases = sorted(phases, key=lambda phase: phase.index)
    times = check_times([phase.time_s for phase in phases])
    inside = sitk.GetArrayFromImage(mask) != 0
    signals = stack([phase.image for phase in phases], mask)[:, inside].T
    parameters = curve_parameters(signals, times, rules)
    pe = percent_enhancement(signals)
    values = {f"pe_{phase.name}": pe[:, number] for number, phase in enumerate(phases) if number > 0}
    values["ser"] = parameters.ser
    values["wash_in"] = parameters.wash_in_percent_per_min
    values["wash_out"] = parameters.wash_out_percent_per_min
    values["time_to_peak"] = parameters.time_to_peak_s
    maps = {name: _spread(value, inside, np.float32, mask) for name, value in values.items()}
    maps["curve_type"] = _spread(parameters.curve_type, inside, np.uint8, mask)
    return maps


def _spread(values: np.ndarray, inside: np.ndarray, dtype: type, reference: sitk.Image) -> sitk.Image:
    """An image of `dtype` with `values` at the voxels of `inside` [k, j, i] and 0 elsewhere."""
    array: np.ndarray = np.zeros(inside.shape, dtype=dtype)
    array[inside] = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    return like(array, reference)
