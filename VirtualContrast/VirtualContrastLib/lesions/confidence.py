"""How sure one may be of a lesion on synthetic images: bands for its curve, and a plain grade with its error rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

if TYPE_CHECKING:
    from ..models.calibration import Calibration

LIKELY = "likely enhancing"
UNCERTAIN = "uncertain: consider real contrast"


@dataclass(frozen=True)
class Evidence:
    """What a calibrated model gives beside its phases.

    Attributes:
        bands: A lower and an upper image of every synthetic phase, whose means over a lesion bound its real mean.
        probability: How sure the model is that a voxel enhances, 0..1, at the early phase.
        calibration: That of the model's card.
    """

    bands: Sequence[tuple[sitk.Image, sitk.Image]]
    probability: sitk.Image
    calibration: Calibration


@dataclass(frozen=True)
class LesionConfidence:
    """How sure a calibrated model is of one lesion. Tuples hold one value per synthetic phase, in order.

    Attributes:
        label: Label of the lesion.
        times_s: Seconds after injection.
        low_percent: Lower bound of the real percent enhancement.
        high_percent: Upper bound of the real percent enhancement.
        coverage: Share of held-out patients in which the bounds held.
        probability: That the lesion enhances, 0 to 1.
        grade: Name of the grade.
        false_positive_rate: Share of the lesions so graded on held-out patients that did not enhance; None where
            unknown.
    """

    label: int
    times_s: tuple[float, ...]
    low_percent: tuple[float, ...]
    high_percent: tuple[float, ...]
    coverage: tuple[float, ...]
    probability: float
    grade: str
    false_positive_rate: float | None

    @property
    def sentence(self) -> str:
        """The grade and what it was worth on patients that the model had not seen."""
        return grade_sentence(self.grade, self.false_positive_rate)


def grade_sentence(grade: str, false_positive_rate: float | None) -> str:
    """A grade with its error rate on patients that the model had not seen, where it is known."""
    if grade != LIKELY or false_positive_rate is None:
        return grade
    return f"{grade} ({100 * false_positive_rate:.0f} % of lesions so graded on unseen patients did not)"


def lesion_confidence(
    labels: sitk.Image, pre: sitk.Image, times_s: Sequence[float], evidence: Evidence
) -> list[LesionConfidence]:
    """Confidence of every lesion, in order of the labels.

    Args:
        labels: instances 1..n on the grid of `pre`, 0 elsewhere.
        pre: the pre-contrast volume, in the units of the bands.
        times_s: seconds after injection of the synthetic phases.
        evidence: of the model that made them.

    Returns:
        One grade with its bands and probability per lesion.
    """
    instances, before = (sitk.GetArrayViewFromImage(image) for image in (labels, pre))
    bands = [[sitk.GetArrayViewFromImage(end) for end in band] for band in evidence.bands]
    probability = sitk.GetArrayViewFromImage(evidence.probability)
    grade = evidence.calibration.grade
    found = []
    for label, box in enumerate(ndimage.find_objects(instances.astype(np.int32)), start=1):
        if box is None:
            continue
        inside = instances[box] == label
        base = max(_mean(before, box, inside), 1e-6)
        low, high = (tuple(100 * (_mean(band[end], box, inside) / base - 1) for band in bands) for end in (0, 1))
        sure = _mean(probability, box, inside)
        likely = grade is not None and low[0] >= grade.threshold
        found.append(
            LesionConfidence(
                label=label,
                times_s=tuple(times_s),
                low_percent=low,
                high_percent=high,
                coverage=tuple(band.coverage for band in evidence.calibration.bands),
                probability=sure,
                grade=LIKELY if likely else UNCERTAIN,
                false_positive_rate=grade.false_positive_rate if grade is not None and likely else None,
            )
        )
    return found


def _mean(values: NDArray[Any], box: tuple[slice, ...], inside: NDArray[np.bool_]) -> float:
    """Mean of `values` [k, j, i] over the voxels `inside` of a box."""
    return float(values[box][inside].mean(dtype=np.float64))
