"""Lesion signal as the notebook of the JMI 2025 paper takes it, for comparison with its figures only.

Each phase is mapped to 8 bit by its own minimum and maximum, so that differences between phases are not physical. The
signal is the mean over slices of the mean of the lesion's pixels in a slice: small slices count as much as large ones.
The "standard deviation" is likewise a mean over slices of those in a slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .as_published import as_eight_bit


@dataclass(frozen=True)
class PublishedCurve:
    """A curve in gray levels of 0..255, pre-contrast first.

    Attributes:
        signal: Signal [phase].
        sd: Standard deviation [phase].
    """

    signal: np.ndarray
    sd: np.ndarray


@dataclass(frozen=True)
class PublishedPair:
    """The two curves of one lesion.

    Attributes:
        real: That of the real phases.
        synthetic: That of the synthetic phases.
    """

    real: PublishedCurve
    synthetic: PublishedCurve

    @property
    def same_order(self) -> bool:
        """Whether the phases, pre-contrast included, are ranked alike by signal."""
        from scipy.stats import rankdata

        return bool((rankdata(self.real.signal) == rankdata(self.synthetic.signal)).all())


def published_curve(phases: Sequence[np.ndarray], lesion: np.ndarray) -> PublishedCurve:
    """The curve of one lesion.

    Args:
        phases: volumes [k, j, i] in any units, pre-contrast first.
        lesion: bool mask [k, j, i] with at least one voxel.
    """
    slices = np.flatnonzero(lesion.any(axis=(1, 2)))
    signal, sd = [], []
    for volume in phases:
        gray, _ = as_eight_bit(volume)
        inside = [gray[k][lesion[k]].astype(float) for k in slices]
        signal.append(np.mean([pixels.mean() for pixels in inside]))
        sd.append(np.mean([pixels.std() for pixels in inside]))
    return PublishedCurve(np.array(signal), np.array(sd))
