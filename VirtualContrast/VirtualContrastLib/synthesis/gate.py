"""Is a study like those that a model was trained on? Measured on windows of breast tissue, answered in one sentence.

Windows have one size in millimeters and one pixel size, so that a whole study and a crop of one give the same kind of
picture. A window becomes a few numbers that no scaling of the intensities changes; far from the training windows by
Mahalanobis distance is unlike them, and so is what lies far in the direction of a known wrong kind of input. Distance
and directions are brought to one scale, on which a training study is at 0 and the limit at 1, and add up as the sides
of a right angle do: the largest alone would let the scatter of one hide what another says. That needs no network and
says nothing about lesions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import minimize
from scipy.special import expit

from ..io.volumes import to_array
from ..models.card import GateKind, GateStatistics
from .breast_region import BreastRegion, find_breasts
from .geometry import resampled_size, resize_in_plane

Float32 = NDArray[np.float32]
Numbers = NDArray[np.float64]

WINDOW_MM = 80.0
PIXEL_MM = 0.714
SLICES = 9
"""Slices of a volume that are looked at, evenly among those with breast."""
LEAST_TISSUE = 0.15
"""Windows with less tissue than this are not informative."""
_FOLDS = 5
_RIDGE = 10.0
"""Weight of the squared direction, of numbers in standard deviations, beside the sum over studies."""
_PERCENTILES = (2, 10, 25, 50, 75, 98)
_SCALES_PX = (1.0, 2.0, 4.0)
FEATURES = (
    "air",
    *(f"brightness at {p} %" for p in _PERCENTILES),
    "darkest values alike",
    "values below zero",
    *(f"texture of {2 * s * PIXEL_MM:.1f} mm" for s in _SCALES_PX),
    "noise",
    "noise in air",
    "shading",
    "edges at one side",
    "spread of edges",
)


REFUSED_ABOVE = {"crop": 2.5}
REFUSED_ABOVE_WHOLE = 1.8
"""Scores above which a study is refused. The limits are those of training crops, and other scanners differ a little; a
crop has few windows, and so its score scatters more than that of a whole study."""


@dataclass(frozen=True)
class Verdict:
    """How unlike the training studies a study is.

    Attributes:
        score: Above 1, the study is unlike them.
        reason: In what it is unlike them.
        refused_above: Score above which it is refused.
    """

    score: float
    reason: str
    refused_above: float = REFUSED_ABOVE_WHOLE

    @property
    def unlike(self) -> bool:
        """More unlike than nearly every training study: a reason to warn."""
        return self.score > 1

    @property
    def refused(self) -> bool:
        """The model must not be trusted with this study."""
        return self.score > self.refused_above

    def sentence(self, name: str) -> str:
        """The verdict for a person; `name` is the model's."""
        return (
            f"This volume is unlike the images that the model '{name}' was trained on ({self.reason}; score "
            f"{self.score:.1f}, 1 is the limit): it must be a fat-suppressed T1-weighted breast MRI before contrast."
        )


def judge(pre: sitk.Image, gate: GateStatistics, region: BreastRegion | None = None) -> Verdict:
    """The verdict on a pre-contrast volume: its median window against the training windows and each known wrong kind.

    Args:
        pre: Pre-contrast volume.
        gate: Statistics of the training windows.
        region: That of `find_breasts`; None computes it.

    Returns:
        The verdict; a volume without a window of tissue is infinitely unlike.
    """
    region = region or find_breasts(pre)
    refused_above = REFUSED_ABOVE.get(region.kind, REFUSED_ABOVE_WHOLE)
    found = study_features(pre, region)
    if not len(found):
        return Verdict(float("inf"), "no breast tissue was found")
    off = found - np.asarray(gate.mean)
    shares = off * (off @ np.asarray(gate.precision))  # what each number adds to the squared distance
    distances = np.sqrt(np.maximum(shares.sum(axis=1), 0))
    middle = int(np.argsort(distances)[len(distances) // 2])
    most = " and ".join(FEATURES[n] for n in np.argsort(-shares[middle])[:2])
    distance = _excess(float(np.median(distances)), gate.middle, gate.limit)
    kinds = {
        f"it looks like {kind.name}": _excess(float(off.mean(axis=0) @ kind.weights), kind.middle, kind.limit)
        for kind in gate.kinds
    }
    reason = max(kinds, key=lambda name: kinds[name], default="")
    if kinds.get(reason, 0) <= 1:  # where it looks like a known kind, that says more than in what it differs
        reason = f"most in {most}"
    return Verdict(float(np.linalg.norm([distance, *kinds.values()])), reason, refused_above)


def _excess(value: float, middle: float, limit: float) -> float:
    """How far above the `middle` of the training studies, of which the limit is 1 away; 0 below it."""
    return max(0.0, (value - middle) / (limit - middle))


def fit(
    studies: Sequence[Numbers],
    *,
    kept: float,
    data: str,
    wrong: Mapping[str, Sequence[Sequence[Numbers]]] | None = None,
) -> GateStatistics:
    """Statistics of the windows' numbers of each training study; every study weighs the same.

    The direction to a wrong kind is that of a logistic regression on the means of studies, with both kinds weighing
    alike; its middle and limit are those of training studies that the regression was fitted without.

    Args:
        studies: Numbers [window, feature] of each training study.
        kept: Share of the training studies that each limit lets pass.
        data: What was measured, for the card.
        wrong: By what they are ("a post-contrast image"), for each study the numbers of wrong inputs made of it.

    Returns:
        The statistics with their limits.
    """
    mean, covariance = _moments(studies)
    precision = np.linalg.inv(covariance)
    distances = [np.median(np.sqrt(np.einsum("nf,fg,ng->n", s - mean, precision, s - mean))) for s in studies]
    spread = np.sqrt(np.diag(covariance))
    right = np.array([study.mean(axis=0) - mean for study in studies]) / spread
    fold = np.arange(len(studies)) % _FOLDS
    kinds = []
    for name, made in (wrong or {}).items():
        others = np.array([one.mean(axis=0) - mean for of_study in made for one in of_study]) / spread
        of_fold = np.array([fold[k] for k, of_study in enumerate(made) for _ in of_study])
        left_out = np.zeros(len(studies))
        for k in range(_FOLDS):
            left_out[fold == k] = right[fold == k] @ _direction(right[fold != k], others[of_fold != k])
        middle, limit = float(np.median(left_out)), float(np.quantile(left_out, kept))
        weights = _rounded(_direction(right, others) / spread)
        kinds.append(GateKind(name=name, weights=weights, middle=round(middle, 4), limit=round(limit, 4)))
    return GateStatistics(
        mean=_rounded(mean),
        precision=[_rounded(row) for row in precision],
        middle=round(float(np.median(distances)), 4),
        limit=round(float(np.quantile(distances, kept)), 4),
        kinds=kinds,
        data=data,
    )


def _direction(right: Numbers, wrong: Numbers) -> Numbers:
    """Weights of the logistic regression that tells `wrong` from `right` [study, feature], with a ridge."""
    inputs = np.concatenate([right, wrong])
    signs = np.concatenate([np.ones(len(right)), -np.ones(len(wrong))])
    shares = np.concatenate([np.full(len(rows), len(inputs) / 2 / len(rows)) for rows in (right, wrong)])

    def loss(weights: Numbers) -> tuple[float, Numbers]:
        margin = signs * (inputs @ weights[:-1] + weights[-1])
        slope = shares * signs * expit(margin)
        ridge = np.append(weights[:-1], 0)
        value = (shares * np.logaddexp(0, margin)).sum() + _RIDGE / 2 * ridge @ ridge
        return float(value), _RIDGE * ridge + np.append(slope @ inputs, slope.sum())

    found: Numbers = minimize(loss, np.zeros(inputs.shape[1] + 1), jac=True, method="L-BFGS-B").x
    return found[:-1]


def _moments(studies: Sequence[Numbers]) -> tuple[Numbers, Numbers]:
    """Mean and covariance over all windows.

    A little is added to the diagonal, to keep what hardly varies from deciding everything.
    """
    everything = np.concatenate(studies)
    weights = np.concatenate([np.full(len(study), 1 / len(study)) for study in studies if len(study)])
    covariance = np.cov(everything, rowvar=False, aweights=weights)
    covariance = 0.95 * covariance + 0.05 * np.diag(np.diag(covariance)) + 1e-4 * np.eye(len(covariance))
    return np.average(everything, axis=0, weights=weights), covariance


def _rounded(values: NDArray[np.floating[Any]]) -> list[float]:
    return [round(float(value), 5) for value in values]


def study_features(pre: sitk.Image, region: BreastRegion | None = None) -> Numbers:
    """The numbers [window, feature] of the windows of a volume, in the order of FEATURES."""
    region = region or find_breasts(pre)
    found = [window_features(window) for window in _windows(pre, region)]
    return np.array([one for one in found if one is not None]).reshape(-1, len(FEATURES))


def window_features(window: Float32) -> Numbers | None:
    """The numbers of one window [row, column] in any intensity unit; None where it shows no tissue."""
    top = float(np.percentile(window, 99.5))
    if top <= 0:
        return None
    tissue = window > 0.08 * top
    if tissue.mean() < LEAST_TISSUE:
        return None
    scale = float(np.percentile(window[tissue], 90))
    x = window / scale
    inside = x[tissue]
    marks = np.log(np.maximum(np.percentile(inside, _PERCENTILES), 1e-3))
    smooth = {s: ndimage.gaussian_filter(x, s, mode="nearest") for s in (*_SCALES_PX, 2 * _SCALES_PX[-1], 16.0)}
    steps = [*_SCALES_PX, 2 * _SCALES_PX[-1]]
    bands = [np.log(np.std((smooth[a] - smooth[b])[tissue]) + 1e-3) for a, b in pairwise(steps)]
    detail = x - smooth[1.0]
    rows, columns = np.gradient(smooth[1.0])
    slope = np.hypot(rows, columns)[tissue]
    level = smooth[16.0][tissue]
    air = detail[~tissue]
    lowest = x.min()
    return np.array(
        [
            1 - tissue.mean(),
            *marks,
            (x <= lowest + 1e-6).mean(),
            (x < -0.02).mean(),
            *bands,
            np.log(np.median(np.abs(detail[tissue])) + 1e-3),
            np.log(np.median(np.abs(air)) + 1e-3) if len(air) > 0.02 * x.size else np.log(1e-3) / 2,
            np.log(level.std() / np.abs(level).mean() + 1e-2),
            np.log(np.percentile(slope, 98) + 1e-3),
            np.log(np.percentile(slope, 98) / (np.median(slope) + 1e-4) + 1e-3),
        ]
    )


def _windows(pre: sitk.Image, region: BreastRegion) -> Iterator[Float32]:
    """Windows of PIXEL_MM around the middle of the breast tissue of some slices, one for each side that shows it."""
    mask = region.mask()
    shown = np.flatnonzero(mask.any(axis=(1, 2)))
    volume = to_array(pre)
    columns_mm, rows_mm, _ = pre.GetSpacing()
    half = (max(1, round(WINDOW_MM / 2 / rows_mm)), max(1, round(WINDOW_MM / 2 / columns_mm)))
    for k in (
        shown[np.unique(np.linspace(0, len(shown) - 1, min(SLICES, len(shown))).astype(int))] if len(shown) else ()
    ):
        for row, column in _middles(mask[k]):
            window = volume[
                k, max(row - half[0], 0) : row + half[0] + 1, max(column - half[1], 0) : column + half[1] + 1
            ]
            size = resampled_size((window.shape[0], window.shape[1]), (rows_mm, columns_mm), PIXEL_MM)
            yield resize_in_plane(window[None], size)[0]


def _middles(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Middle of the tissue [row, column] of a slice, or of each of its two large parts."""
    if mask.all():
        return [(mask.shape[0] // 2, mask.shape[1] // 2)]
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    first = np.unravel_index(int(depth.argmax()), depth.shape)
    found = [(int(first[0]), int(first[1]))]
    away = np.abs(np.arange(mask.shape[1]) - found[0][1]) > 2 * depth.max()
    other = depth * away[None, :]
    if other.max() > 0.5 * depth.max():
        second = np.unravel_index(int(other.argmax()), other.shape)
        found.append((int(second[0]), int(second[1])))
    return found
