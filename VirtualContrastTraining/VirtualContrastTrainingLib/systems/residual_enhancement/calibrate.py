"""Calibrates the members of a cross-validation on the patients that each was trained without.

Every patient is judged by the one member whose training left it out. The shipped package averages all members, which
errs less than any of them, so what is measured here is on the safe side for new patients of the same kind. Other sites
are another matter: tissue enhances less at one than at the next, which no pre-contrast image tells. How much is shown
may therefore be held against patients of sites that no member was trained on as well; everything else is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from torch import Tensor
from VirtualContrastLib.io.volumes import like
from VirtualContrastLib.lesions.threshold import ThresholdSettings, segment_by_threshold
from VirtualContrastLib.metrics.baselines import fit_baselines
from VirtualContrastLib.metrics.patients import LEAST_SIGNAL, LESION_PE, PatientTruth, auroc
from VirtualContrastLib.models.calibration import Band, BaselineSpec, Calibration, Display, Grade
from VirtualContrastLib.models.card import LesionFinder
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
from .finder import measure_finder
from .heads import Heads

COVERAGE = 0.9
MOST_WORSE, MOST_HARM = 0.035, 0.05
"""Share of patients whose error may be above that of the identity, all sites counting alike, and the 95th percentile
of how much above it, at each of the sites. Room is left below the 5 % that are wanted of new patients, who may be of
the worse site more often."""

MOST_FALSE = 0.1
"""Share of the lesions called likely to enhance that may not."""

ENHANCES_PE = 0.5
"""A lesion enhances where the mean over its outline rises by half: from there on BI-RADS speaks of medium uptake."""

_LEAST_GRADED = 20
_LEAST_PIXELS = 10
_GRID = {
    "background": (0.35, 0.45, 0.55, 0.6),
    "hint": (0.05, 0.08, 0.11),
    "lesion": (1.0, 1.2, 1.4),
    "threshold": (2.25, 2.5, 2.75, 3.0, 3.25),
    "softness": (0.3, 0.7, 1.0),
}
_EVERY = 15
"""Of the tissue pixels, every fifteenth is looked at in the search."""

Site = tuple[Sequence[CropPatient], Heads]
"""Patients of one site and what the networks make of them without having seen them."""


@dataclass(frozen=True)
class DisplayScore:
    """What a display does to the calibration patients.

    Attributes:
        display: the display.
        worse: share of patients whose error is above that of the identity, mean of the sites.
        harm_p95: 95th percentile of the error over that of the identity - 1, at the site where it is largest.
        lesion_error: error in lesions over the size of their real enhancement, mean of the sites that have lesions.
        auroc: how well what is shown ranks enhancing pixels of a patient, mean of the sites that have some.
    """

    display: Display
    worse: float
    harm_p95: float
    lesion_error: float
    auroc: float

    @property
    def value(self) -> float:
        """What a display is chosen by: little error in lesions, and lesions before all else in the eye.

        Both count alike from doing nothing (error 1, AUROC 0.5) to perfection.
        """
        return float(np.nan_to_num(2 * self.auroc - self.lesion_error))


def calibrate(
    patients: Sequence[CropPatient], heads: Heads, data: str, unseen: Sequence[Site] = ()
) -> tuple[Calibration, LesionFinder]:
    """Display, bands, grade and baselines, and the rule that finds lesions on what is shown.

    Args:
        patients: the patients of the training.
        heads: of each by a member that never saw it (`out_of_fold_heads`).
        data: which patients it rests on, in words.
        unseen: other sites, which the display may not harm either (`unseen_heads`).

    Returns:
        What the card of a package says of its calibration, and of its lesion finder.
    """
    phases = range(len(PHASES))
    sites = [(patients, heads), *unseen]
    display = [choose_display(sites, phase).display for phase in phases]
    bands = [fit_band(patients, heads, phase) for phase in phases]
    finder = measure_finder(patients, heads, display[0])
    rule = ThresholdSettings(pe_percent=finder.settings["pe_percent"])
    lesions = [found for p in patients for found in found_lesions(p, heads[p.name], display[0], bands[0], rule)]
    calibration = Calibration(
        display=display,
        bands=bands,
        grade=fit_grade(lesions),
        baselines=[_baselines(patients, phase) for phase in phases],
        patients=len(patients),
        data=data,
    )
    return calibration, finder


def choose_display(sites: Sequence[Site], phase: int) -> DisplayScore:
    """The display of the highest value among those that do no more harm than MOST_WORSE and MOST_HARM.

    Where none is that careful, the one that makes the fewest worse.
    """
    scores = display_scores(sites, phase)
    allowed = [score for score in scores if score.worse <= MOST_WORSE and score.harm_p95 <= MOST_HARM]
    if not allowed:
        return min(scores, key=lambda score: (score.worse, score.harm_p95))
    return max(allowed, key=lambda score: score.value)


def display_scores(sites: Sequence[Site], phase: int) -> list[DisplayScore]:
    """Scores of all displays of the grid."""
    pixels = [[_Pixels.of(patient, heads[patient.name], phase) for patient in patients] for patients, heads in sites]
    displays = [Display(**dict(zip(_GRID, values, strict=True))) for values in product(*_GRID.values())]
    return [_score(display, pixels, phase) for display in displays]


def fit_band(patients: Sequence[CropPatient], heads: Heads, phase: int) -> Band:
    """The conformal band of the mean enhancement over a patient's lesion box, and its coverage on the other half.

    Coverage: the factor of either half of the patients (even and odd in name order), tried on the other one.

    Args:
        patients: The patients to calibrate on.
        heads: Heads of the network by patient.
        phase: 0 (early) or 1 (late).

    Returns:
        Factor and coverage.
    """
    needed = np.array([_needed(patient, heads[patient.name], phase) for patient in patients if patient.box.any()])
    halves = needed[::2], needed[1::2]
    pairs = (halves, halves[::-1])
    covered = [float(np.mean(other <= conformal_factor(list(half), COVERAGE))) for half, other in pairs]
    return Band(factor=round(conformal_factor(list(needed), COVERAGE), 4), coverage=round(float(np.mean(covered)), 4))


@dataclass(frozen=True)
class _Pixels:
    """Some tissue pixels of one patient: heads as [pixel, channel, 1, 1], real enhancement over q, which are lesion.

    `enhancing`: all of more than 70 % enhancement that are not dark before contrast, in a lesion or not.
    """

    heads: Tensor
    real: NDArray[np.float32]
    lesion: NDArray[np.bool_]
    enhancing: NDArray[np.bool_]

    @classmethod
    def of(cls, patient: CropPatient, heads: Tensor, phase: int) -> _Pixels:
        chosen = np.flatnonzero(patient.tissue)[::_EVERY]
        flat = heads.movedim(1, -1).reshape(-1, heads.shape[1])[torch.from_numpy(chosen)].float()
        post = patient.phases[1 + phase]
        truth = PatientTruth.of(patient.pre, post, patient.box)
        real = ((post - patient.pre) / np.float32(patient.scale)).ravel()[chosen]
        enhancing = (truth.relative > LESION_PE) & (truth.pre > LEAST_SIGNAL * truth.scale)
        return cls(flat[..., None, None], real, truth.lesion.ravel()[chosen], enhancing.ravel()[chosen])


def _score(display: Display, sites: Sequence[Sequence[_Pixels]], phase: int) -> DisplayScore:
    harm: list[NDArray[np.float64]] = []
    lesion_error: list[float] = []
    ranked: list[float] = []
    for patients in sites:
        made = [shown(patient.heads, phase, display).numpy().ravel() for patient in patients]
        pairs = list(zip(made, patients, strict=True))
        harm.append(np.array([_harm(one, patient.real) for one, patient in pairs]))
        lesion_error.append(_mean([_lesion_error(one, patient) for one, patient in pairs]))
        ranked.append(_mean([auroc(one, patient.enhancing) for one, patient in pairs]))
    return DisplayScore(
        display=display,
        worse=float(np.mean([np.mean(values > 0) for values in harm])),
        harm_p95=float(max(np.percentile(values, 95) for values in harm)),
        lesion_error=_mean(lesion_error),
        auroc=_mean(ranked),
    )


def _harm(made: NDArray[np.float32], real: NDArray[np.float32]) -> float:
    return float(np.abs(made - real).mean() / max(float(np.abs(real).mean()), 1e-6) - 1)


def _lesion_error(made: NDArray[np.float32], patient: _Pixels) -> float:
    if patient.lesion.sum() < _LEAST_PIXELS:
        return float("nan")
    real = patient.real[patient.lesion]
    return float(np.abs(made[patient.lesion] - real).mean() / np.abs(real).mean())


def _mean(values: Sequence[float]) -> float:
    """Mean of what could be measured, NaN where nothing could."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def lesion_region(patient: CropPatient, heads: Tensor) -> NDArray[np.bool_]:
    """Pixels of the box that the median of the early phase puts at 70 % enhancement or more, or all its tissue."""
    inside = patient.box & patient.tissue
    median = quantile(heads.float(), 0, MEDIAN).numpy()
    bright = inside & (median >= LESION_PE * patient.pre / patient.scale)
    return bright if bright.sum() >= _LEAST_PIXELS else inside


@dataclass(frozen=True)
class FoundLesion:
    """A lesion that the threshold rule finds on the synthetic early phase.

    `lower_percent`: lower bound of its percent enhancement; `enhances`: whether the real one is ENHANCES_PE or more.
    """

    lower_percent: float
    enhances: bool


def found_lesions(
    patient: CropPatient, heads: Tensor, display: Display, band: Band, rule: ThresholdSettings
) -> list[FoundLesion]:
    """Lesions on the synthetic early phase of a patient, with the truth of the real one.

    Args:
        patient: the patient.
        heads: [slice, channel, row, column] by a network that never saw the patient.
        display: how the early phase is shown.
        band: of its enhancement.
        rule: what outlines lesions.

    Returns:
        One entry a lesion.
    """
    pre = sitk.GetImageFromArray(patient.pre)
    pre.SetSpacing(patient.spacing_mm)
    made = patient.pre + np.float32(patient.scale) * shown(heads.float(), 0, display).numpy()
    labels = sitk.GetArrayFromImage(segment_by_threshold(pre, like(made, pre), rule))
    lower = lower_bound(heads.float(), 0, band.factor).numpy()
    found = []
    for label in range(1, int(labels.max()) + 1):
        inside = labels == label
        real, before = patient.phases[1][inside].mean(), patient.pre[inside].mean()
        bound = 100 * float(lower[inside].mean()) * patient.scale / float(before)
        found.append(FoundLesion(bound, bool(real >= (1 + ENHANCES_PE) * before)))
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
