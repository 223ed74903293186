"""Are two volumes phases of one sequence? Contrast agent brightens tissue; another sequence darkens much of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_DARKENED = 0.25
"""Share of the tissue that may lose two fifths of its signal from the pre-contrast image to a phase.

Measured on slices of 355 patients (I-SPY 1 and 2, Duke), early and late phase: 0.06 or less for 99.5 % of the 710
pairs, 0.245 at most; 0.17 where a whole phase was moved by 23 mm. Where a volume without fat suppression was simulated
before a real study, with fat two to three times as bright as glands: 0.30 to 0.82; with half
the receiver gain it is not told.
"""
SLICES = 9
WORDS = "of the tissue is much darker in"
_MOST_BRIGHTENED = 0.5
"""Share of the tissue that may have more than four times its signal: 0.31 at most in those pairs."""
_DARKER, _BRIGHTER, _SMOOTHING_PIXELS, _TISSUE = 0.6, 4.0, 1.5, 0.15


def changed_shares(pre: NDArray[np.generic], post: NDArray[np.generic]) -> tuple[float, float]:
    """Shares of the tissue of `pre` [k, j, i] whose signal in `post` is below 60 %, and above 400 %.

    Measured on nine slices of the middle, smoothed in plane so that noise does not count. Tissue is what has 15 % of
    the brightest signal of `pre`.
    """
    from scipy.ndimage import gaussian_filter  # who reads one volume does not wait for it

    middle = np.unique(np.linspace(0.15, 0.85, SLICES) * (len(pre) - 1)).astype(int)
    sigma = (0, _SMOOTHING_PIXELS, _SMOOTHING_PIXELS)
    before, after = (gaussian_filter(volume[middle].astype(np.float32), sigma) for volume in (pre, post))
    tissue = before > _TISSUE * np.percentile(before, 99)
    if not tissue.any():
        return 0.0, 0.0
    ratio = after[tissue] / before[tissue]
    return float((ratio < _DARKER).mean()), float((ratio > _BRIGHTER).mean())


def doubt(pre: NDArray[np.generic], post: NDArray[np.generic], first: str, second: str) -> str:
    """A sentence where `post` cannot be a phase after `pre` in one dynamic series, "" where it can.

    Args:
        pre: Gray values before contrast [k, j, i].
        post: Those of a phase on the same voxels.
        first: Name of the pre-contrast volume.
        second: Name of the phase.

    Returns:
        The sentence.
    """
    darkened, brightened = changed_shares(pre, post)
    if brightened > _MOST_BRIGHTENED:
        return (
            f"{brightened:.0%} of the tissue has more than four times its signal of {first} in {second}, far more than "
            "contrast agent does: make sure that both are on one scale of gray values and of one sequence."
        )
    if darkened <= MOST_DARKENED:
        return ""
    return (
        f"{darkened:.0%} {WORDS} {second} than in {first}, which contrast agent does not do: make sure that both are "
        "of one sequence (fat suppression, weighting) and on one scale of gray values."
    )
