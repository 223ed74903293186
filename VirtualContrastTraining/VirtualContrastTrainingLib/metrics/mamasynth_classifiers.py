"""The two AUROCs of MAMA-SYNTH 2026: what its classifiers read, and the area under the curve of what they say.

The organizers' classifiers (XGBoost or random forests on 93 PyRadiomics features) are published as pickled programs.
They are not loaded here, as a pickle runs code. Their input is written as a table instead; scored in an environment of
one's own, the scores come back as a table. `contrast`: the whole synthetic image (label 1) against the pre-contrast
image (label 0). `tumor_roi`: the tumor in the synthetic image (1) against its mirror image in the other breast (0).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.tables import number_of
from VirtualContrastLib.lesions.radiomics import quiet_radiomics

from ..data.duke_tables import table_records

if TYPE_CHECKING:
    from radiomics.featureextractor import RadiomicsFeatureExtractor

TASKS = ("contrast", "tumor_roi")
GROUPS = ("firstorder", "glcm", "glrlm", "gldm", "glszm", "ngtdm")
BIN_WIDTH = 25
FEWEST_ROWS = 4
MIDLINE_SHARE = 0.4
"""The midline is looked for in this central share of the columns."""
AIR_BELOW = -1.5
"""z-score under which a pixel is no tissue."""
TISSUE_PERCENTILE = 10
LEAST_TISSUE = 0.3
"""A mirrored region counts where at least this share of it is tissue."""


@dataclass(frozen=True)
class Row:
    """One input of a classifier.

    Attributes:
        case: Number of the case.
        label: The true label.
        features: Features of one region of the case by name.
    """

    case: int
    label: int
    features: Mapping[str, float]


def classifier_extractor() -> RadiomicsFeatureExtractor:
    """PyRadiomics as the classifiers' features are made: original image, in plane, bin width 25, no resampling."""
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    quiet_radiomics()
    extractor = RadiomicsFeatureExtractor(
        binWidth=BIN_WIDTH, minimumROIDimensions=1, minimumROISize=1, force2D=True, force2Ddimension=0
    )
    extractor.disableAllFeatures()
    for group in GROUPS:
        extractor.enableFeatureClassByName(group)
    return extractor


def rows_of_case(
    extractor: RadiomicsFeatureExtractor,
    case: int,
    synthetic: np.ndarray,
    pre: np.ndarray | None,
    tumor: np.ndarray | None,
) -> dict[str, list[Row]]:
    """Rows of features of one case for the challenge's classifiers.

    Args:
        extractor: PyRadiomics' extractor.
        case: Number of the case.
        synthetic: Z-scored synthetic slice [j, i].
        pre: Z-scored pre-contrast slice, for the task "contrast".
        tumor: Tumor mask, for the task "tumor_roi".

    Returns:
        Rows by task; a task without its input has none.
    """
    rows: dict[str, list[Row]] = {task: [] for task in TASKS}
    if pre is not None:
        whole = np.ones(synthetic.shape, bool)
        rows["contrast"] = [
            Row(case, label, _features(extractor, image, whole)) for label, image in ((1, synthetic), (0, pre))
        ]
    other = None if tumor is None else mirrored(synthetic, tumor)
    if tumor is not None and other is not None:
        rows["tumor_roi"] = [
            Row(case, label, _features(extractor, synthetic, region)) for label, region in ((1, tumor), (0, other))
        ]
    return rows


def _features(extractor: RadiomicsFeatureExtractor, image: np.ndarray, region: np.ndarray) -> dict[str, float]:
    """The 93 features in alphabetical order; what is not finite is 0, as the challenge has it."""
    volumes = [sitk.GetImageFromArray(x[None]) for x in (image.astype(np.float64), region.astype(np.uint8))]
    found = extractor.execute(*volumes, label=1)
    names = sorted(name for name in found if not name.startswith("diagnostics"))
    return {name: value if math.isfinite(value := float(found[name])) else 0.0 for name in names}


def mirrored(image: np.ndarray, tumor: np.ndarray) -> np.ndarray | None:
    """The tumor mask [j, i] mirrored at the darkest of the central columns; None where that is not mostly tissue."""
    columns = image.shape[1]
    half = int(columns * MIDLINE_SHARE / 2)
    first = max(0, columns // 2 - half)
    midline = first + int(np.argmin(image.mean(axis=0)[first : min(columns, columns // 2 + half)]))
    j, i = np.nonzero(tumor)
    inside = (2 * midline - i >= 0) & (2 * midline - i < columns)
    region = np.zeros(tumor.shape, bool)
    region[j[inside], 2 * midline - i[inside]] = True
    if not region.any() or np.array_equal(region, tumor):
        return None
    tissue = image[image > AIR_BELOW]
    threshold = float(np.percentile(tissue, TISSUE_PERCENTILE)) if tissue.size else AIR_BELOW
    return region if (image[region] > threshold).mean() >= LEAST_TISSUE else None


def auroc(labels: Sequence[int], scores: Sequence[float]) -> float:
    """Area under the ROC curve, ties counted half; raises ValueError where one label is missing."""
    from scipy.stats import rankdata

    positive = np.asarray(labels) == 1
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        raise ValueError("both labels are needed")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write a task's rows as CSV: case, label, and the features."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "label", *rows[0].features])
        writer.writerows([row.case, row.label, *row.features.values()] for row in rows)


def auroc_of_scores(path: Path, rows: Sequence[Row]) -> float | None:
    """AUROC of a table with columns case, label and score against the task's rows; None below four rows.

    Raises InputError where the table cannot be read or does not score exactly these rows.
    """
    try:
        found = {(int(row["case"]), int(row["label"])): number_of(row["score"]) for _, row in table_records(path)}
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} is no table of scores with columns case, label and score ({error}).") from error
    wanted = [(row.case, row.label) for row in rows]
    if set(found) != set(wanted) or not all(map(math.isfinite, found.values())):
        raise InputError(f"{path} must give a score to each of the {len(wanted)} rows of the features, and no others.")
    if len(wanted) < FEWEST_ROWS:
        return None
    return auroc([label for _, label in wanted], [found[key] for key in wanted])
