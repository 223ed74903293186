"""Which percent enhancement outlines lesions on the synthetic early phase, and how well that finds the boxed tumors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from VirtualContrastLib.io.volumes import like
from VirtualContrastLib.lesions.threshold import ThresholdSettings, segment_by_threshold
from VirtualContrastLib.models.calibration import Display
from VirtualContrastLib.models.card import LesionFinder
from VirtualContrastLib.synthesis.calibration import shown

from ...data.crops import CropPatient
from .heads import Heads

CANDIDATES = (15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0)
"""Percent enhancement of a lesion voxel on synthetic phases, which show less than real ones."""

MOST_FALSE = 0.015
"""False lesions a slice that the chosen threshold may give: about two in a whole study of 160 slices."""


@dataclass(frozen=True)
class FinderScore:
    """What a threshold finds.

    Attributes:
        settings: the threshold rule.
        sensitivity: share of the slices whose tumor was found: half of a part lies in its box.
        false_positives: other parts a slice.
    """

    settings: ThresholdSettings
    sensitivity: float
    false_positives: float


def measure_finder(patients: Sequence[CropPatient], heads: Heads, display: Display) -> LesionFinder:
    """The threshold that finds the most tumors on the synthetic early phase with at most MOST_FALSE others per slice.

    Where all give more, the one with the fewest. Each patient counts with the middle slice of the tumor.

    Args:
        patients: patients with boxes.
        heads: of each by a member that never saw it.
        display: how the early phase is shown.

    Returns:
        The rule with what it found, and beside it what the rule for real phases finds on the real ones.
    """
    cases = [(patient, _middle(patient.box)) for patient in patients if patient.box.any()]
    changes = [_change(patient, heads, k, display) for patient, k in cases]
    scores = [_score(cases, changes, ThresholdSettings(pe_percent=percent)) for percent in CANDIDATES]
    allowed = [score for score in scores if score.false_positives <= MOST_FALSE]
    best = (
        max(allowed, key=lambda score: (score.sensitivity, -score.false_positives))
        if allowed
        else min(scores, key=lambda score: score.false_positives)
    )
    real = _score(cases, [patient.phases[1][k] - patient.pre[k] for patient, k in cases], ThresholdSettings())
    settings = {name: value for name, value in asdict(best.settings).items() if name == "pe_percent"}
    return LesionFinder(
        finder="threshold",
        settings=settings,
        sensitivity=round(best.sensitivity, 3),
        false_positives=round(best.false_positives, 3),
        definition=(
            "a case is one slice of a crop around a tumor; found: half of a part lies in the tumor's box; the rule for "
            f"real phases finds {100 * real.sensitivity:.0f} % on them with {real.false_positives:.2f} false ones; "
            "whole studies have more false ones"
        ),
        data=f"{len(cases)} slices of as many patients, each by the network that was trained without the patient",
    )


def _middle(box: NDArray[np.bool_]) -> int:
    slices = np.flatnonzero(box.any(axis=(1, 2)))
    return int(slices[len(slices) // 2])


def _change(patient: CropPatient, heads: Heads, k: int, display: Display) -> NDArray[np.float32]:
    made = shown(heads[patient.name][k : k + 1].float(), 0, display).numpy()[0]
    return np.asarray(made * np.float32(patient.scale))


def _score(
    cases: Sequence[tuple[CropPatient, int]], changes: Sequence[NDArray[np.float32]], settings: ThresholdSettings
) -> FinderScore:
    found, false = 0, 0
    for (patient, k), change in zip(cases, changes, strict=True):
        pre = sitk.GetImageFromArray(patient.pre[k : k + 1])
        pre.SetSpacing(patient.spacing_mm)
        labels = sitk.GetArrayFromImage(segment_by_threshold(pre, like(patient.pre[k : k + 1] + change, pre), settings))
        parts = [labels[0] == label for label in range(1, int(labels.max()) + 1)]
        hits = [bool(patient.box[k][part].mean() >= 0.5) for part in parts]
        found += any(hits)
        false += hits.count(False)
    return FinderScore(settings, found / len(cases), false / len(cases))
