"""Radiomics, and the agreement of single features, as the report shows them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...kinetics.feature_agreement import KINETICS, RADIOMICS, FeatureAgreement
from ...lesions.breast_tissue import SHARE_PE_PERCENT, BreastTissue
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
    "none for fewer than three lesions. Of radiomics the report shows the median and the worst of each class; "
    "feature_agreement.csv has each feature with bias and limits of agreement."
)


TISSUE_NOTE = (
    "An estimate by threshold, unchecked by a reader, and not a BI-RADS category. FGT: fibroglandular tissue, what is "
    "brighter before contrast than Otsu's threshold in the breasts, skin and lesions left out; where fat suppression "
    "fails, and near the coils, fat counts as tissue. BPE: percent enhancement of the mean signal of that tissue, and "
    f"the share of it that enhances by {SHARE_PE_PERCENT:.0f} % or more."
)


def tissue_table(tissue: Sequence[BreastTissue]) -> list[str]:
    """A row per breast and phase, synthetic beside real, and what the columns are."""
    sides = {kind: {(one.side, one.phase): one for one in tissue if one.synthetic is kind} for kind in (True, False)}
    rows = []
    for key in sorted({(one.side, one.phase) for one in tissue}):
        pair = [sides[kind].get(key) for kind in (True, False)]
        one = next(found for found in pair if found is not None)
        bpe = [None if found is None else found.bpe_percent for found in pair]
        share = [None if found is None else found.bpe_share_percent for found in pair]
        apart = None if None in bpe else bpe[0] - bpe[1]  # type: ignore[operator]
        values = (one.fgt_mm3 / 1000, one.fgt_percent, *bpe, apart, *share)
        rows.append((*key, *(style.rounded(value) for value in values)))
    header = (
        "Breast", "Phase", "FGT (cm³)", "FGT (% of the breast)", "BPE synthetic (%)", "BPE real (%)",
        "Difference (points)", "Enhancing share synthetic (%)", "Enhancing share real (%)",
    )  # fmt: skip
    return [style.table(header, rows), style.paragraph(TISSUE_NOTE, "note")]


def radiomics_table(rows: Sequence[LesionRadiomics]) -> list[str]:
    """A row per lesion and phase, and what the columns are."""
    ordered = sorted(rows, key=lambda row: (row.label, row.phase, not row.synthetic))
    cells = [
        (
            row.label,
            row.phase,
            "synthetic" if row.synthetic else "real",
            *(style.rounded(row.features.get(name), 2) for name in SHOWN),
        )
        for row in ordered
    ]
    return [
        style.table(("Lesion", "Phase", "Image", *SHOWN.values()), cells),
        style.paragraph(RADIOMICS_NOTE, "note"),
    ]


def agreement_table(features: Sequence[FeatureAgreement]) -> list[str]:
    """CCC of every kinetic parameter, and by class and phase of radiomics; nothing where no feature has one."""
    if not any(np.isfinite(one.ccc) for one in features):
        return []
    rows = [
        (one.feature.replace("_", " "), "whole curve", one.lesions, 1, one.ccc, one.ccc)
        for one in features
        if one.kind == KINETICS
    ]
    groups: dict[tuple[int, str], list[FeatureAgreement]] = {}
    for one in features:
        if one.kind == RADIOMICS and one.phase is not None:
            groups.setdefault((one.phase, one.feature.partition("_")[0]), []).append(one)
    for (phase, name), group in groups.items():
        values = np.array([one.ccc for one in group])
        known = values[np.isfinite(values)]
        median, worst = (float(np.median(known)), float(known.min())) if len(known) else (float("nan"),) * 2
        rows.append((f"radiomics, {name}", f"phase {phase}", group[0].lesions, len(known), median, worst))
    cells = [(*row[:4], *(style.rounded(value, 2) for value in row[4:])) for row in rows]
    return [
        style.table(("Feature", "Of", "Lesions", "Features with a CCC", "CCC (median)", "CCC (worst)"), cells),
        style.paragraph(AGREEMENT_NOTE, "note"),
    ]
