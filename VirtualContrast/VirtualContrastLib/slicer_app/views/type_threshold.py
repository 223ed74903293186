"""The map of curve types from a percent enhancement on that the reader chooses, with the count of what remains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from ...kinetics.maps import peak_percent
from ...kinetics.parameters import CurveRules, CurveType
from ..scene import nodes
from ..scene.loaded import LoadedResult

LOWEST_PERCENT = round(CurveRules().minimum_pe_percent)
"""Below it no type is given, so that the map has nothing to show there."""


class TypeThreshold:
    """Hides voxels of the type map whose peak enhancement is lower; the map of the run comes back at the end."""

    def __init__(self) -> None:
        self._volume: Any = None
        self._voxels: np.ndarray = np.zeros(0, np.intp)
        self._types: np.ndarray = np.zeros(0, np.uint8)
        self._peak: np.ndarray = np.zeros(0)

    def set(self, loaded: LoadedResult, minimum_pe_percent: int) -> str:
        """Show the types from `minimum_pe_percent` on; what remains of them in words, "" where there is no such map."""
        volume = nodes.node(loaded.maps.get("curve_type", ""))
        signals = [nodes.node(one) for one in (loaded.pre, *(p.volume for p in (*loaded.input_phases, *loaded.phases)))]
        if volume is None or None in signals:
            return ""
        if volume is not self._volume:
            self.restore()
            self._take(volume, [slicer.util.arrayFromVolume(one) for one in signals])
        shown = self._types
        if minimum_pe_percent > LOWEST_PERCENT:
            shown = np.where(self._peak >= minimum_pe_percent, self._types, np.uint8(CurveType.NO_ENHANCEMENT))
        self._write(shown)
        return self._told(shown, volume.GetSpacing())

    def restore(self) -> None:
        """Put the map of the run back."""
        if self._volume is not None and nodes.in_scene(self._volume):
            self._write(self._types)
        self._volume = None

    def _take(self, volume: Any, signals: list[np.ndarray]) -> None:
        flat = slicer.util.arrayFromVolume(volume).reshape(-1)
        self._volume, self._voxels = volume, np.flatnonzero(flat)
        self._types = flat[self._voxels].copy()
        self._peak = peak_percent(signals, self._voxels)

    def _write(self, types: np.ndarray) -> None:
        flat = slicer.util.arrayFromVolume(self._volume).reshape(-1)
        if not np.array_equal(flat[self._voxels], types):
            flat[self._voxels] = types
            slicer.util.arrayFromVolumeModified(self._volume)

    def _told(self, types: np.ndarray, spacing_mm: Sequence[float]) -> str:
        counts = np.bincount(types, minlength=len(CurveType))
        counts = counts[[CurveType.PERSISTENT, CurveType.PLATEAU, CurveType.WASHOUT]]
        shares = "/".join(f"{share:.0f}" for share in 100.0 * counts / max(1, counts.sum()))
        cm3 = counts.sum() * float(np.prod(spacing_mm)) / 1000.0
        return _("{volume:.2f} cm³, I/II/III {shares} %").format(volume=cm3, shares=shares)
