"""How well a synthetic phase fits the real one of a patient, by what doing nothing would have given.

Definitions (gray levels are those of the images; means over tissue are over all slices of the patient):
tissue and scale q: `metrics.tissue` of the pre-contrast slices. MAE: mean absolute error over tissue. Harm: MAE over
that of the identity (pre-contrast taken for the phase) - 1; a patient is made worse where it is above 0. SSIM: mean
over whole slices, Gaussian window of sigma 1.5, population covariance, data range 255. Lesion: pixels of the box whose
real enhancement is at least 70 %. Recovered: summed synthetic over summed real enhancement there. Brightening: mean
synthetic enhancement over mean pre-contrast signal of the tissue whose real enhancement is below 20 %. AUROC: how well
synthetic enhancement ranks tissue of more than 70 % real enhancement and more than 0.4 q pre-contrast signal before
all other tissue, a slice at a time, averaged over slices with at least 10 pixels of both.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .tissue import scale_of, tissue_of

LESION_PE, QUIET_PE, LEAST_SIGNAL = 0.7, 0.2, 0.4
_LEAST_PIXELS = 10
_DATA_RANGE = 255.0

Array = NDArray[Any]


@dataclass(frozen=True)
class PatientTruth:
    """Real slices [slice, row, column] of one patient at one phase, and where the lesion was boxed.

    Attributes:
        pre: Pre-contrast slices.
        post: Slices of the phase, in the same units.
        box: True in the lesion's box.
        tissue: True where errors count.
        scale: The study's scale, in the same units.
    """

    pre: Array
    post: Array
    box: NDArray[np.bool_]
    tissue: NDArray[np.bool_]
    scale: float

    @classmethod
    def of(cls, pre: Array, post: Array, box: NDArray[np.bool_]) -> PatientTruth:
        """What the metrics need to know of the acquired slices of a patient.

        Args:
            pre: Pre-contrast slice.
            post: Post-contrast slice of the same shape, in the same units.
            box: Pixels of the lesion's box, of the same shape.

        Returns:
            The slices in float64 with tissue mask and scale.

        Raises:
            InputError: `pre` shows no tissue.
        """
        return cls(np.asarray(pre, np.float64), np.asarray(post, np.float64), box, tissue_of(pre), scale_of(pre))

    @property
    def relative(self) -> NDArray[np.float64]:
        """Real enhancement over the pre-contrast signal."""
        return np.asarray((self.post - self.pre) / np.maximum(self.pre, 1e-3))

    @property
    def lesion(self) -> NDArray[np.bool_]:
        """Pixels that the lesion's measures are taken over."""
        return np.asarray(self.box & self.tissue & (self.relative >= LESION_PE))


@dataclass(frozen=True)
class PatientScores:
    """Measures of one synthetic phase of one patient; NaN where the patient has no pixels to measure.

    Attributes:
        mae: Mean absolute error over tissue, in units of the slices.
        harm: `mae` over that of no change, minus 1; above 0 the synthetic phase is worse than the pre-contrast one.
        ssim: Structural similarity.
        lesion_mae: Mean absolute error over the lesion, in units of the slices.
        recovered: Enhancement made in the lesion over the real one.
        brightening: Mean change of tissue that hardly enhances, over its pre-contrast mean.
        auroc: Area under the ROC curve of the change made, for pixels that really enhance; mean over slices.
    """

    mae: float
    harm: float
    ssim: float
    lesion_mae: float
    recovered: float
    brightening: float
    auroc: float

    def as_dict(self) -> dict[str, float]:
        """By name."""
        return asdict(self)


def score_patient(truth: PatientTruth, synthetic: Array) -> PatientScores:
    """Measures of `synthetic` slices, of the shape and in the units of `truth`."""
    synthetic = np.asarray(synthetic, np.float64)
    tissue, lesion = truth.tissue, truth.lesion
    error = np.abs(truth.post - synthetic)
    identity = np.abs(truth.post - truth.pre)[tissue].mean()
    mae = float(error[tissue].mean())
    made, real = synthetic - truth.pre, truth.post - truth.pre
    quiet = tissue & (truth.relative < QUIET_PE)
    has_lesion = lesion.sum() >= _LEAST_PIXELS
    return PatientScores(
        mae=mae,
        harm=float(mae / identity - 1) if identity > 0 else float(mae > 0),
        ssim=_ssim(synthetic, truth.post),
        lesion_mae=float(error[lesion].mean()) if has_lesion else float("nan"),
        recovered=float(made[lesion].sum() / real[lesion].sum()) if has_lesion else float("nan"),
        brightening=float(made[quiet].mean() / truth.pre[quiet].mean()) if quiet.any() else float("nan"),
        auroc=_mean_auroc(truth, made),
    )


def auroc(score: Array, positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve of `score` for `positive` (both flat), ties counted half; NaN below 10 of a kind."""
    from scipy.stats import rankdata

    found = int(positive.sum())
    others = positive.size - found
    if min(found, others) < _LEAST_PIXELS:
        return float("nan")
    ranks = float(rankdata(score)[positive].sum())
    return (ranks - found * (found + 1) / 2) / (found * others)


def _mean_auroc(truth: PatientTruth, made: Array) -> float:
    enhancing = (truth.relative > LESION_PE) & (truth.pre > LEAST_SIGNAL * truth.scale)
    slices = zip(made, enhancing, truth.tissue, strict=True)
    values = np.array([auroc(change[tissue], wanted[tissue]) for change, wanted, tissue in slices])
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else float("nan")


def _ssim(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    from scipy.ndimage import gaussian_filter

    def smooth(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(gaussian_filter(x, (0, 1.5, 1.5), truncate=3.5))

    c1, c2 = (0.01 * _DATA_RANGE) ** 2, (0.03 * _DATA_RANGE) ** 2
    mean_a, mean_b = smooth(a), smooth(b)
    variance_a, variance_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    covariance = smooth(a * b) - mean_a * mean_b
    above = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    below = (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    return float((above / below)[:, 5:-5, 5:-5].mean())
