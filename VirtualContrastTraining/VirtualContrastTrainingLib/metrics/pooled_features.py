"""Agreement of single features over the lesions of a whole cohort: one run rarely has enough of them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from VirtualContrastLib.events import InputError
from VirtualContrastLib.kinetics.feature_agreement import (
    BACKGROUND,
    KINETICS,
    RADIOMICS,
    FeatureAgreement,
    agreement_by_phase,
    curve_features,
    feature_agreement,
)

from .kinetics import CurvePair

_TABLES = {
    RADIOMICS: ("radiomics.csv", "lesion", ("lesion", "synthetic", "phase", "time_s")),
    BACKGROUND: (
        "breast_tissue.csv", "side",
        ("side", "synthetic", "phase", "time_s", "breast_mm3", "fgt_mm3", "fgt_percent"),
    ),
}  # fmt: skip
"""Of each kind: table of a result folder, the column that names lesion or breast, and columns that are no feature."""


def pooled_features(pairs: Sequence[CurvePair], folders: Sequence[Path]) -> list[FeatureAgreement]:
    """Kinetics of the curves, and radiomics and background enhancement of result folders, over all lesions or breasts.

    Raises InputError where a table is damaged.
    """
    made, real = [curve_features(pair.synthetic) for pair in pairs], [curve_features(pair.real) for pair in pairs]
    found = feature_agreement(KINETICS, made, real)
    for kind in _TABLES:
        found += agreement_by_phase(kind, _rows(kind, folders))
    return found


def _rows(kind: str, folders: Sequence[Path]) -> Iterator[tuple[bool, int, tuple[str, str], dict[str, float]]]:
    name, key, others = _TABLES[kind]
    for folder in folders:
        path = folder / name
        if not path.is_file():
            continue
        try:
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    features = {column: float(cell or "nan") for column, cell in row.items() if column not in others}
                    features = {column: value for column, value in features.items() if not column.startswith("shape")}
                    yield row["synthetic"] == "true", int(row["phase"]), (folder.name, row[key]), features
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is not a readable table of features ({type(error).__name__}).") from error
