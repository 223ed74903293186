"""The time curve of every lesion, with its error band, parameters and curve type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from ..events import InputError
from ..io.volumes import same_geometry, voxels_of
from ..study import Phase
from .parameters import (
    Array,
    CurveParameters,
    CurveRules,
    CurveType,
    check_times,
    curve_parameters,
    curve_type,
    early_and_late,
    percent_enhancement,
)

WORST_PERCENT = 2.0
"""A curve type counts as the worst of a lesion from this share of its voxels on: one noisy voxel does not decide."""


@dataclass(frozen=True)
class LesionCurve:
    """One lesion over time. Arrays are shaped (T,), pre-contrast first; signals are in the images' units.

    Attributes:
        label: Number of the lesion.
        synthetic: A phase of the curve was synthesized.
        voxel_count: Number of its voxels.
        times_s: Seconds after injection of each phase, 0 for the pre-contrast one.
        signal_mean: Over all voxels of the lesion, each counted once; parameters and type rest on it.
        signal_sd: Standard deviation of the same voxels (denominator N).
        uncertainty_sd: Error of the mean curve from the synthesis: the mean over voxels of their standard deviations.
            That is its upper bound, reached when the errors of all voxels rise and fall together. 0 for measured
            phases.
        pe_percent: Percent enhancement of the mean curve.
        pe_uncertainty_percent: `uncertainty_sd` carried through its formula.
        parameters: Parameters of the mean curve.
        hot_spot_signal: Mean of the most enhancing 3 x 3 x 1 voxels at the early phase, as radiologists place their
            region; a maximum over noisy places, so biased upward in small regions.
        hot_spot_parameters: Parameters of that curve.
        type_percent: Shares of the voxels by the number of their CurveType, shaped (5,), in percent; NaN for a curve
            that came without voxels.
    """

    label: int
    synthetic: bool
    voxel_count: int
    times_s: Array
    signal_mean: Array
    signal_sd: Array
    uncertainty_sd: Array
    pe_percent: Array
    pe_uncertainty_percent: Array
    parameters: CurveParameters
    hot_spot_signal: Array
    hot_spot_parameters: CurveParameters
    type_percent: Array = field(default_factory=lambda: np.full(len(CurveType), np.nan))

    @property
    def curve_type(self) -> CurveType:
        """Type of the mean curve."""
        return CurveType(int(self.parameters.curve_type))

    @property
    def hot_spot_type(self) -> CurveType:
        """Type of the hot spot's curve."""
        return CurveType(int(self.hot_spot_parameters.curve_type))

    @property
    def worst_type(self) -> CurveType:
        """The most suspicious type that at least `WORST_PERCENT` of the voxels have, washout before plateau.

        NO_ENHANCEMENT where no voxel enhances enough, UNASSESSED where none could be assessed.
        """
        for kind in (CurveType.WASHOUT, CurveType.PLATEAU, CurveType.PERSISTENT):
            if self.type_percent[kind] >= WORST_PERCENT:
                return kind
        assessed = self.type_percent[CurveType.UNASSESSED] < 100.0  # False for NaN
        return CurveType.NO_ENHANCEMENT if assessed else CurveType.UNASSESSED


def lesion_curves(
    phases: Sequence[Phase],
    labels: sitk.Image,
    uncertainty: Sequence[sitk.Image] | None = None,
    rules: CurveRules | None = None,
) -> list[LesionCurve]:
    """Signal and enhancement curves of every lesion, with their parameters.

    Args:
        phases: The pre-contrast phase and the post-contrast phases, all with known times.
        labels: Lesion labels on the grid of the phases; 0 is background.
        uncertainty: One map of standard deviations per post-contrast phase, in the phases' units, or none.
        rules: Times and tolerances by which curves are classified; None for the defaults.

    Returns:
        One curve per positive label, in ascending order of the labels.

    Raises:
        InputError: Times are unknown or do not rise, or geometries differ.
        ValueError: There are not as many uncertainty maps as post-contrast phases.
    """
    phases = sorted(phases, key=lambda phase: phase.index)
    times = check_times([phase.time_s for phase in phases])
    volumes = views([phase.image for phase in phases], labels)
    spreads = views(list(uncertainty or ()), labels)
    if uncertainty is not None and len(uncertainty) != len(phases) - 1:
        raise ValueError(f"{len(uncertainty)} uncertainty maps for {len(phases) - 1} post-contrast phases")
    label_array = voxels_of(labels)
    synthetic = any(phase.synthetic for phase in phases)
    curves = []
    for label, box in enumerate(ndimage.find_objects(label_array), start=1):
        if box is not None:
            mask = label_array[box] == label
            signals = np.stack([volume[box].astype(np.float32) for volume in volumes])
            deviations = np.zeros_like(signals)
            for deviation, spread in zip(deviations[1:], spreads, strict=False):
                deviation[:] = spread[box]
            curves.append(_curve(label, synthetic, times, signals, deviations, mask, rules))
    return curves


def early_phase(phases: Sequence[Phase]) -> Phase:
    """The early phase of a series by `early_and_late`; raises InputError where times are unknown or do not rise.

    `phases` holds the pre-contrast phase and the post-contrast phases in order.
    """
    return phases[early_and_late(check_times([phase.time_s for phase in phases]))[0]]


def views(images: Sequence[sitk.Image], reference: sitk.Image) -> list[NDArray[Any]]:
    """The voxels [k, j, i] of each image, not copied; raises InputError where one does not lie on `reference`."""
    for image in images:
        difference = same_geometry(image, reference)
        if difference:
            raise InputError(f"A phase does not lie on the lesions' grid: {difference}")
    return [voxels_of(image) for image in images]


def _curve(
    label: int,
    synthetic: bool,
    times: Array,
    signals: NDArray[np.float32],
    deviations: NDArray[np.float32],
    mask: NDArray[np.bool_],
    rules: CurveRules | None,
) -> LesionCurve:
    """The curve of one lesion; signals and deviations are [t, k, j, i], mask is [k, j, i]."""
    inside = signals[:, mask].astype(np.float64)
    mean = inside.mean(axis=1)
    uncertainty = deviations[:, mask].mean(axis=1, dtype=np.float64)
    baseline = mean[0] if mean[0] > 0 else np.nan
    hot = _hot_spot(signals.astype(np.float64), mask, early_and_late(times, rules)[0])
    return LesionCurve(
        label=label,
        synthetic=synthetic,
        voxel_count=int(mask.sum()),
        times_s=times,
        signal_mean=mean,
        signal_sd=inside.std(axis=1),
        uncertainty_sd=uncertainty,
        pe_percent=percent_enhancement(mean),
        pe_uncertainty_percent=100.0 * uncertainty / baseline,
        parameters=curve_parameters(mean, times, rules),
        hot_spot_signal=hot,
        hot_spot_parameters=curve_parameters(hot, times, rules),
        type_percent=100.0 * np.bincount(curve_type(inside.T, times, rules), minlength=len(CurveType)) / mask.sum(),
    )


def _hot_spot(signals: Array, mask: NDArray[np.bool_], early: int) -> Array:
    """Mean signals (T,) of the 3 x 3 x 1 region whose subtraction at phase `early` is highest.

    Only regions wholly inside the lesion compete; where none fits, those with the most lesion voxels do, and
    only their lesion voxels count.
    """
    weight = mask.astype(np.float64)
    counts = np.rint(9 * ndimage.uniform_filter(weight, (1, 3, 3), mode="constant")) * mask
    sums = 9 * ndimage.uniform_filter((signals[early] - signals[0]) * weight, (1, 3, 3), mode="constant")
    candidates = counts == counts.max()
    means = np.where(candidates, sums / np.maximum(counts, 1), -np.inf)
    k, j, i = np.unravel_index(int(means.argmax()), means.shape)
    window = (int(k), slice(max(j - 1, 0), j + 2), slice(max(i - 1, 0), i + 2))
    return signals[(slice(None), *window)][:, mask[window]].mean(axis=1)
