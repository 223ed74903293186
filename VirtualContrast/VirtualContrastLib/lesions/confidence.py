"""How sure one may be of a lesion on synthetic images: bands for its curve, and a plain grade with its error rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from ..io.masked import MaskedValues
from ..io.volumes import voxels_of

if TYPE_CHECKING:
    from ..models.calibration import Calibration

LIKELY = "likely enhancing"
UNCERTAIN = "uncertain: consider real contrast"


@dataclass(frozen=True)
class Evidence:
    """What a calibrated model gives beside its phases.

    Attributes:
        bands: A lower and an upper change from the pre-contrast volume to every synthetic phase, whose means over a
            lesion bound the real mean change.
        probability: How sure the model is that a voxel enhances, 0..1, at the early phase.
        calibration: That of the model's card.
    """

    bands: Sequence[tuple[MaskedValues, MaskedValues]]
    probability: MaskedValues
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
    instances, before = map(voxels_of, (labels, pre))
    inside = instances[evidence.probability.inside]
    bands = [[change.sums(inside) for change in band] for band in evidence.bands]
    probability = evidence.probability.sums(inside)
    grade = evidence.calibration.grade
    found = []
    for label, box in enumerate(ndimage.find_objects(instances), start=1):
        if box is None:
            continue
        lesion = instances[box] == label
        count = np.count_nonzero(lesion)
        base = max(float(before[box][lesion].mean(dtype=np.float64)), 1e-6)
        low, high = (tuple(100 * _of(band[end], label) / count / base for band in bands) for end in (0, 1))
        sure = _of(probability, label) / count
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


def _of(sums: NDArray[np.float64], label: int) -> float:
    """The sum of a label; 0 where none of its voxels has a value."""
    return float(sums[label]) if label < len(sums) else 0.0
