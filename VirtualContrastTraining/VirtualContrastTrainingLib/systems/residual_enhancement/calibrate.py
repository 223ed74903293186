"""Calibrates the members of a cross-validation on the patients that each has not seen.

Every patient is judged by the one member whose training left it out. The shipped package averages all members, which
errs less than any of them, so what is measured here is on the safe side for new patients of the same kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from VirtualContrastLib.io.volumes import like
from VirtualContrastLib.lesions.threshold import segment_by_threshold
from VirtualContrastLib.metrics.baselines import fit_baselines
from VirtualContrastLib.metrics.patients import LESION_PE, PatientTruth
from VirtualContrastLib.models.calibration import Band, BaselineSpec, Calibration, Display, Grade
from VirtualContrastLib.networks.residual_enhancement import PHASES, quantile
from VirtualContrastLib.synthesis.calibration import (
    HIGH,
    LOW,
    MEDIAN,
    conformal_factor,
    lower_bound,
    needed_factor,
    shown,
)

from ...data.crops import CropPatient

COVERAGE = 0.9
MOST_WORSE, MOST_HARM = 0.03, 0.05
"""Share of patients whose error may be above that of the identity, and the 95th percentile of how much above it."""

STRESS = 0.5
"""MOST_WORSE and MOST_HARM have to hold even where all real enhancement is this much of what it is: another dose, an
earlier phase, another site. Predictions do not know of it and stay the same."""

MOST_FALSE = 0.1
"""Share of the lesions called likely to enhance that may not."""

_LEAST_GRADED = 20
_GRID = {
    "background": (0.4, 0.5, 0.6),
    "hint": (0.01, 0.02),
    "lesion": (1.0, 1.4, 1.8),
    "threshold": (2.0, 2.25, 2.5, 3.0),
    "softness": (0.3, 0.5),
}
_EVERY = 9
"""Of the tissue pixels, every ninth is looked at in the search."""

Heads = Mapping[str, Tensor]
"""The network's heads [slice, channel, row, column] by patient."""


@dataclass(frozen=True)
class DisplayScore:
    """What a display does to the calibration patients.

    `worse` and `harm_p95` under stress (see STRESS); `lesion_error` over the size of the real enhancement, and the
    share of it that is `recovered`, without stress.
    """

    display: Display
    worse: float
    harm_p95: float
    lesion_error: float
    recovered: float


def out_of_fold_heads(
    members: Sequence[nn.Module], patients: Sequence[CropPatient], multiple: int
) -> dict[str, Tensor]:
    """Heads of every patient by the member of its fold; sides are filled up to `multiple` by reflection."""
    found = {}
    with torch.inference_mode():
        for patient in patients:
            x = torch.from_numpy(patient.pre / np.float32(patient.scale))[:, None]
            rows, columns = x.shape[-2:]
            padded = functional.pad(x, (0, -columns % multiple, 0, -rows % multiple), mode="reflect")
            found[patient.name] = members[patient.fold](padded)[..., :rows, :columns].half()
    return found


def calibrate(patients: Sequence[CropPatient], heads: Heads, data: str) -> Calibration:
    """Display, bands, grade and baselines; `data` says in words which patients they rest on."""
    phases = range(len(PHASES))
    display = [choose_display(patients, heads, phase).display for phase in phases]
    bands = [fit_band(patients, heads, phase) for phase in phases]
    lesions = [found for p in patients for found in found_lesions(p, heads[p.name], display[0], bands[0])]
    return Calibration(
        display=display,
        bands=bands,
        grade=fit_grade(lesions),
        baselines=[_baselines(patients, phase) for phase in phases],
        patients=len(patients),
        data=data,
    )


def choose_display(patients: Sequence[CropPatient], heads: Heads, phase: int) -> DisplayScore:
    """The display of least lesion error among those that do no more harm than MOST_WORSE and MOST_HARM under stress.

    Where none is that careful, the one that makes the fewest worse.
    """
    scores = display_scores(patients, heads, phase)
    allowed = [score for score in scores if score.worse <= MOST_WORSE and score.harm_p95 <= MOST_HARM]
    if not allowed:
        return min(scores, key=lambda score: (score.worse, score.harm_p95))
    return min(allowed, key=lambda score: score.lesion_error)


def display_scores(patients: Sequence[CropPatient], heads: Heads, phase: int) -> list[DisplayScore]:
    """Scores of all displays of the grid."""
    pixels = [_Pixels.of(patient, heads[patient.name], phase) for patient in patients]
    displays = [Display(**dict(zip(_GRID, values, strict=True))) for values in product(*_GRID.values())]
    return [_score(display, pixels, phase) for display in displays]


def fit_band(patients: Sequence[CropPatient], heads: Heads, phase: int) -> Band:
    """The conformal band of the mean enhancement over a patient's lesion box, and its coverage on the other half.

    Coverage: the factor of either half of the patients (even and odd in name order), tried on the other one.
    """
    needed = np.array([_needed(patient, heads[patient.name], phase) for patient in patients if patient.box.any()])
    halves = needed[::2], needed[1::2]
    pairs = (halves, halves[::-1])
    covered = [float(np.mean(other <= conformal_factor(list(half), COVERAGE))) for half, other in pairs]
    return Band(factor=round(conformal_factor(list(needed), COVERAGE), 4), coverage=round(float(np.mean(covered)), 4))


@dataclass(frozen=True)
class _Pixels:
    """Some tissue pixels of one patient: heads as [pixel, channel, 1, 1], real enhancement over q, which are lesion."""

    heads: Tensor
    real: NDArray[np.float32]
    lesion: NDArray[np.bool_]

    @classmethod
    def of(cls, patient: CropPatient, heads: Tensor, phase: int) -> _Pixels:
        chosen = np.flatnonzero(patient.tissue)[::_EVERY]
        flat = heads.movedim(1, -1).reshape(-1, heads.shape[1])[torch.from_numpy(chosen)].float()
        post = patient.phases[1 + phase]
        truth = PatientTruth.of(patient.pre, post, patient.box)
        real = ((post - patient.pre) / np.float32(patient.scale)).ravel()[chosen]
        return cls(flat[..., None, None], real, truth.lesion.ravel()[chosen])


def _score(display: Display, patients: Sequence[_Pixels], phase: int) -> DisplayScore:
    harm, lesion_error, recovered = [], [], []
    for patient in patients:
        made = shown(patient.heads, phase, display).numpy().ravel()
        weaker = STRESS * patient.real
        harm.append(float(np.abs(made - weaker).mean() / max(np.abs(weaker).mean(), 1e-6) - 1))
        error = np.abs(made - patient.real)
        if patient.lesion.sum() >= 10:
            lesion_error.append(float(error[patient.lesion].mean() / np.abs(patient.real[patient.lesion]).mean()))
            recovered.append(float(made[patient.lesion].sum() / patient.real[patient.lesion].sum()))
    return DisplayScore(
        display=display,
        worse=float(np.mean(np.array(harm) > 0)),
        harm_p95=float(np.percentile(harm, 95)),
        lesion_error=float(np.mean(lesion_error)),
        recovered=float(np.mean(recovered)),
    )


def lesion_region(patient: CropPatient, heads: Tensor) -> NDArray[np.bool_]:
    """Pixels of the box that the median of the early phase puts at 70 % enhancement or more, or all its tissue."""
    inside = patient.box & patient.tissue
    median = quantile(heads.float(), 0, MEDIAN).numpy()
    bright = inside & (median >= LESION_PE * patient.pre / patient.scale)
    return bright if bright.sum() >= 10 else inside


@dataclass(frozen=True)
class FoundLesion:
    """A lesion that the threshold rule finds on the synthetic early phase.

    `lower_percent`: lower bound of its percent enhancement; `enhances`: whether the real one is 70 % or more.
    """

    lower_percent: float
    enhances: bool


def found_lesions(patient: CropPatient, heads: Tensor, display: Display, band: Band) -> list[FoundLesion]:
    """Lesions on the synthetic early phase of a patient, with the truth of the real one."""
    pre = sitk.GetImageFromArray(patient.pre)
    pre.SetSpacing(patient.spacing_mm)
    made = patient.pre + np.float32(patient.scale) * shown(heads.float(), 0, display).numpy()
    labels = sitk.GetArrayFromImage(segment_by_threshold(pre, like(made, pre)))
    lower = lower_bound(heads.float(), 0, band.factor).numpy()
    found = []
    for label in range(1, int(labels.max()) + 1):
        inside = labels == label
        real, before = patient.phases[1][inside].mean(), patient.pre[inside].mean()
        bound = 100 * float(lower[inside].mean()) * patient.scale / float(before)
        found.append(FoundLesion(bound, bool(real >= (1 + LESION_PE) * before)))
    return found


def fit_grade(lesions: Sequence[FoundLesion]) -> Grade | None:
    """The lowest threshold at which at most MOST_FALSE of the lesions so graded do not enhance; None without one.

    At least 20 lesions have to be so graded.
    """
    for threshold in range(100):
        graded = [lesion for lesion in lesions if lesion.lower_percent >= threshold]
        if len(graded) < _LEAST_GRADED:
            return None
        false = 1 - float(np.mean([lesion.enhances for lesion in graded]))
        if false <= MOST_FALSE:
            return Grade(
                threshold=threshold,
                false_positive_rate=round(false, 4),
                share=round(len(graded) / len(lesions), 4),
            )
    return None


def _needed(patient: CropPatient, heads: Tensor, phase: int) -> float:
    region = lesion_region(patient, heads)
    real = float((patient.phases[1 + phase] - patient.pre)[region].mean() / patient.scale)
    median, low, high = (
        float(quantile(heads.float(), phase, level).numpy()[region].mean()) for level in (MEDIAN, LOW, HIGH)
    )
    return needed_factor(real, low, median, high)


def _baselines(patients: Sequence[CropPatient], phase: int) -> BaselineSpec:
    fitted = fit_baselines([(patient.pre, patient.phases[1 + phase]) for patient in patients])
    return BaselineSpec(gain=fitted.gain, signals=list(fitted.signals), enhancements=list(fitted.enhancements))
