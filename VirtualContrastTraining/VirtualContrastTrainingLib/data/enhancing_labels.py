"""Lesion labels of patients that have boxes only: the enhancing part of each box, slice by slice.

A pixel counts where its early enhancement is at least 70 % (`metrics.patients.LESION_PE`), in the box and in tissue. Of
the connected parts of a slice, touching by edge or corner, the largest are taken until the tumor's area of the table is
reached; where the table gives none, the largest alone. Such a label follows from the post-contrast image: a network
that sees this image finds the rule again, one that sees the pre-contrast image does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import spearmanr
from VirtualContrastLib.metrics.patients import PatientTruth

from .crops import CropPatient
from .prepared import read_description

_TOUCHING = np.ones((3, 3), bool)


@dataclass(frozen=True)
class LabeledPatient:
    """Labels of one patient, and their areas beside those of the table.

    Attributes:
        labels: Labels [slice, row, column].
        areas_mm2: Areas of label and table in mm2, by slice that the table measures.
    """

    labels: NDArray[np.bool_]
    areas_mm2: tuple[tuple[float, float], ...]


def label_patient(patient: CropPatient) -> LabeledPatient:
    """Label the enhancing part of a patient's boxes."""
    lesion = PatientTruth.of(patient.pre, patient.phases[1], patient.box).lesion
    given = (read_description(patient.folder) or {}).get("tumor_area_mm2") or [None] * len(lesion)
    tables = [max(0.0, area or 0.0) for area in given]  # tables have -1 where there was no mask to measure
    pixel_mm2 = patient.spacing_mm[0] * patient.spacing_mm[1]
    labels = np.stack([_largest(part, area / pixel_mm2) for part, area in zip(lesion, tables, strict=True)])
    areas = zip(labels.sum(axis=(1, 2)) * pixel_mm2, tables, strict=True)
    return LabeledPatient(labels, tuple((float(own), area) for own, area in areas if area > 0))


@dataclass(frozen=True)
class AreaAgreement:
    """Areas of labels beside those of the table, over slices.

    Attributes:
        slices: Number of slices.
        spearman: Rank correlation.
        ratio_quartiles: Quartiles of label over table.
    """

    slices: int
    spearman: float
    ratio_quartiles: tuple[float, float, float]


def area_agreement(areas_mm2: list[tuple[float, float]]) -> AreaAgreement | None:
    """The agreement of pairs of label and table; None for less than three of them."""
    if len(areas_mm2) < 3:
        return None
    own, table = np.array(areas_mm2).T
    low, middle, high = (float(value) for value in np.percentile(own / table, [25, 50, 75]))
    return AreaAgreement(len(own), float(spearmanr(own, table).statistic), (low, middle, high))


def _largest(pixels: NDArray[np.bool_], area: float) -> NDArray[np.bool_]:
    """The largest connected parts of a slice until they hold `area` pixels, at least one part."""
    parts, count = ndimage.label(pixels, _TOUCHING)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")
    needed = int(np.searchsorted(np.cumsum(sizes[order]), area)) + 1
    return np.isin(parts, order[:needed] + 1)
