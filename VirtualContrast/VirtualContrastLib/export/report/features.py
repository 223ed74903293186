"""Radiomics, and the agreement of single features, as the report tells them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...kinetics.feature_agreement import KINETICS, FeatureAgreement
from ...lesions.radiomics import BIN_WIDTH_PERCENT, LesionRadiomics
from . import html as style

SHOWN = {
    "firstorder_Mean": "Mean (%)",
    "firstorder_Skewness": "Skewness",
    "firstorder_Entropy": "Entropy (bit)",
    "glcm_Contrast": "GLCM contrast",
    "glcm_Correlation": "GLCM correlation",
    "glszm_ZoneEntropy": "GLSZM zone entropy",
}
"""Those that the report shows, by their names in radiomics.csv."""
RADIOMICS_NOTE = (
    "By pyradiomics, in the outlines of the lesions: a choice; radiomics.csv has all features. Gray values are percent "
    "of the study's bright tissue before contrast (90th percentile of all that is not air), gray levels "
    f"{BIN_WIDTH_PERCENT:g} % wide, the same for real and synthetic phases; nothing was resampled or filtered."
)
AGREEMENT_NOTE = (
    "CCC: Lin's concordance correlation coefficient over lesions, 1 where synthetic and real give the same numbers; "
    "none for fewer than three lesions. Of radiomics the report tells the median and the worst of each class; "
    "feature_agreement.csv has each feature with bias and limits of agreement."
)


def radiomics_table(rows: Sequence[LesionRadiomics]) -> list[str]:
    """A row per lesion and phase, and what the columns are."""
    ordered = sorted(rows, key=lambda row: (row.label, row.phase, not row.synthetic))
    told = [
        (
            row.label,
            row.phase,
            "synthetic" if row.synthetic else "real",
            *(style.rounded(row.features.get(name), 2) for name in SHOWN),
        )
        for row in ordered
    ]
    return [
        style.table(("Lesion", "Phase", "Image", *SHOWN.values()), told),
        style.paragraph(RADIOMICS_NOTE, "note"),
    ]


def agreement_table(features: Sequence[FeatureAgreement]) -> list[str]:
    """CCC of every kinetic parameter, and by class and phase of radiomics; nothing where no feature has one."""
    if not any(np.isfinite(one.ccc) for one in features):
        return []
    rows = [(one.feature.replace("_", " "), "whole curve", one.lesions, 1, one.ccc, one.ccc) for one in features
            if one.kind == KINETICS]  # fmt: skip
    groups: dict[tuple[int, str], list[FeatureAgreement]] = {}
    for one in features:
        if one.phase is not None:
            groups.setdefault((one.phase, one.feature.partition("_")[0]), []).append(one)
    for (phase, name), group in groups.items():
        values = np.array([one.ccc for one in group])
        known = values[np.isfinite(values)]
        median, worst = (float(np.median(known)), float(known.min())) if len(known) else (float("nan"),) * 2
        rows.append((f"radiomics, {name}", f"phase {phase}", group[0].lesions, len(known), median, worst))
    told = [(*row[:4], *(style.rounded(value, 2) for value in row[4:])) for row in rows]
    return [
        style.table(("Feature", "Of", "Lesions", "Features with a CCC", "CCC (median)", "CCC (worst)"), told),
        style.paragraph(AGREEMENT_NOTE, "note"),
    ]
