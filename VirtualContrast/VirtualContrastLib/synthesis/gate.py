"""Is a study like those that a model was trained on? Measured on windows of breast tissue, answered in one sentence.

Windows have one size in millimeters and one pixel size, so that a whole study and a crop of one give the same kind of
picture. A window becomes a few numbers that no scaling of the intensities changes; far from the training windows by
Mahalanobis distance is unlike them, and so is what lies far in the direction of a known wrong kind of input. That needs
no network and says nothing about lesions.
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


REFUSED_ABOVE = {"crop": 1.5}
REFUSED_ABOVE_WHOLE = 1.15
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
    verdicts = [Verdict(float(np.median(distances)) / gate.limit, f"most in {most}", refused_above)]
    for kind in gate.kinds:
        projection = float(np.median(off @ np.asarray(kind.weights)))
        score = (projection - kind.middle) / (kind.limit - kind.middle)
        verdicts.append(Verdict(score, f"it looks like {kind.name}", refused_above))
    return max(verdicts, key=lambda verdict: verdict.score)


def fit(
    studies: Sequence[Numbers], *, kept: float, data: str, wrong: Mapping[str, Sequence[Numbers]] | None = None
) -> GateStatistics:
    """Statistics of the windows' numbers of each training study; every study weighs the same.

    Args:
        studies: Numbers [window, feature] of each training study.
        kept: Share of the training studies that each limit lets pass.
        data: What was measured, for the card.
        wrong: Numbers of studies of known wrong kinds, by what they are ("a post-contrast image"). The direction to
            each is Fisher's linear discriminant.

    Returns:
        The statistics with their limits.
    """
    mean, covariance = _moments(studies)
    precision = np.linalg.inv(covariance)
    distances = [np.median(np.sqrt(np.einsum("nf,fg,ng->n", s - mean, precision, s - mean))) for s in studies]
    kinds = []
    for name, others in (wrong or {}).items():
        there, spread = _moments(others)
        weights = np.linalg.solve((covariance + spread) / 2, there - mean)
        projections = [float(np.median((s - mean) @ weights)) for s in studies]
        middle, limit = float(np.median(projections)), float(np.quantile(projections, kept))
        kinds.append(GateKind(name=name, weights=_rounded(weights), middle=round(middle, 4), limit=round(limit, 4)))
    return GateStatistics(
        mean=_rounded(mean),
        precision=[_rounded(row) for row in precision],
        limit=round(float(np.quantile(distances, kept)), 4),
        kinds=kinds,
        data=data,
    )


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
