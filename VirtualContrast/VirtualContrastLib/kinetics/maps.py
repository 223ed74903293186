"""Voxel maps of enhancement, for overlays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from ..io.volumes import like
from ..study import Phase
from .curves import views
from .parameters import CurveRules, check_times, curve_parameters, percent_enhancement


def kinetic_maps(phases: Sequence[Phase], mask: sitk.Image, rules: CurveRules | None = None) -> dict[str, sitk.Image]:
    """Voxel-wise kinetic parameters inside a mask.

    Args:
        phases: The pre-contrast phase and the post-contrast phases, all with known times.
        mask: Voxels that are not 0 are computed; its grid is the one of the maps.
        rules: Times and tolerances by which curves are classified; None for the defaults.

    Returns:
        Maps by name: `pe_phase_N` (percent enhancement), `ser`, `wash_in` and `wash_out` (% per minute), `time_to_peak`
        (s) as float32, and `curve_type` (the numbers of CurveType) as uint8. Voxels outside the mask, and those where a
        value is not defined, hold 0.

    Raises:
        InputError: Times are unknown or do not rise, or geometries differ.
    """
    phases = sorted(phases, key=lambda phase: phase.index)
    times = check_times([phase.time_s for phase in phases])
    inside = sitk.GetArrayFromImage(mask) != 0
    volumes = views([phase.image for phase in phases], mask)
    names = [f"pe_{phase.name}" for phase in phases[1:]] + ["ser", "wash_in", "wash_out", "time_to_peak"]
    maps: dict[str, np.ndarray] = {name: np.zeros(inside.shape, dtype=np.float32) for name in names}
    maps["curve_type"] = np.zeros(inside.shape, dtype=np.uint8)
    # Slice by slice: the arithmetic takes a dozen float64 temporaries per voxel, too much for a whole volume.
    for k in np.flatnonzero(inside.any(axis=(1, 2))):
        signals = np.stack([volume[k][inside[k]] for volume in volumes], axis=-1).astype(np.float32)
        parameters = curve_parameters(signals, times, rules)
        values = dict(zip(names, percent_enhancement(signals).T[1:], strict=False))
        values["ser"] = parameters.ser
        values["wash_in"] = parameters.wash_in_percent_per_min
        values["wash_out"] = parameters.wash_out_percent_per_min
        values["time_to_peak"] = parameters.time_to_peak_s
        values["curve_type"] = parameters.curve_type
        for name, value in values.items():
            maps[name][k, inside[k]] = np.nan_to_num(value, nan=0.0, posinf=0.0, neginf=0.0)
    return {name: like(array, mask) for name, array in maps.items()}


def peak_percent(signals: Sequence[np.ndarray], voxels: np.ndarray) -> np.ndarray:
    """Highest percent enhancement after injection at some voxels, float64 (n,); NaN where the baseline is not positive.

    `signals` are volumes [k, j, i] in order, the pre-contrast one first; `voxels` indices into their flat voxels (n,).
    """
    chosen = np.stack([volume.reshape(-1)[voxels] for volume in signals], axis=-1)
    return np.asarray(percent_enhancement(chosen)[:, 1:].max(axis=-1))
