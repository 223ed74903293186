"""lesions.csv, curves.csv, comparison.csv and agreement.csv: RFC 4180, UTF-8, units in the column names.

Numbers have six significant digits; a value that is not defined is an empty cell. `synthetic` is `true` where
a number rests on synthetic images.
"""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..kinetics.agreement import Agreement, BlandAltman
from ..kinetics.curves import LesionCurve
from ..kinetics.parameters import CurveType
from ..lesions.confidence import LesionConfidence
from ..lesions.location import LesionPlace
from ..lesions.measurement import LesionMeasures
from ..lesions.radiomics import LesionRadiomics
from ..metrics.image_pairs import MEASURES, PairMetrics
from .content import TYPE_NAMES

CURVE_COLUMNS = (
    "lesion", "synthetic", "time_s", "signal_mean", "signal_sd", "signal_uncertainty_sd", "pe_percent",
    "pe_uncertainty_sd_percent", "hot_spot_signal_mean",
)  # fmt: skip
PAIR_COLUMNS = ("phase", "compared", "region", "voxels", "data_range")
"""Of comparison.csv, before the measures."""
AGREEMENT_COLUMNS = ("quantity", "unit", "lesions", "value", "sd", "lower", "upper")


CONFIDENCE_COLUMNS = (
    "lesion", "synthetic", "grade", "false_positive_rate", "probability", "time_s", "pe_low_percent", "pe_high_percent",
    "coverage",
)  # fmt: skip


RADIOMICS_COLUMNS = ("lesion", "synthetic", "phase", "time_s")
"""Of radiomics.csv, before the features."""

OF_CURVE = (
    "curve_peak_pe_percent", "curve_peak_pe_uncertainty_sd_percent", "time_to_peak_s",
    "wash_in_percent_per_min", "wash_out_percent_per_min", "late_change_percent", "curve_type",
    "hot_spot_curve_type", "worst_curve_type", "persistent_percent", "plateau_percent", "washout_percent",
)  # fmt: skip
"""Columns of lesions.csv that tell of the curve."""


def lesion_columns(unit: str) -> tuple[str, ...]:
    """Columns of lesions.csv where lengths are in `unit` ("mm" or "px")."""
    volume = "mm3" if unit == "mm" else "px"
    return (
        "lesion", "synthetic", "side", "voxels", f"volume_{volume}", f"diameter_left_right_{unit}",
        f"diameter_anterior_posterior_{unit}", f"diameter_superior_inferior_{unit}",
        f"longest_diameter_{unit}", f"longest_in_plane_diameter_{unit}", f"centroid_left_{unit}",
        f"centroid_posterior_{unit}",
        f"centroid_superior_{unit}", "early_pe_percent", "peak_voxel_pe_percent", "ser", f"ftv_{volume}",
        *OF_CURVE, "quadrant", f"distance_to_skin_{unit}", f"distance_to_nipple_{unit}",
        f"distance_to_chest_wall_{unit}", "axis_ratio", "solidity",
    )  # fmt: skip


def write_lesions_csv(
    path: Path,
    measures: Sequence[LesionMeasures],
    curves: Sequence[LesionCurve],
    *,
    places: Sequence[LesionPlace] = (),
    unit: str = "mm",
    synthetic: bool = True,
) -> None:
    """Write one row per lesion; no lesion gives the header alone.

    Args:
        path: The file.
        measures: Sizes of the lesions.
        curves: Their curves, matched by label; lesions may lack one.
        places: Where they lie in the breast, matched by label; lesions may lack one.
        unit: "mm", or "px" for pictures without geometry.
        synthetic: Whether the rows say that the values come from synthetic images.
    """
    curve_of = {curve.label: curve for curve in curves}
    place_of = {place.label: place for place in places}
    rows = []
    for one in measures:
        place = place_of.get(one.label, LesionPlace(one.label))
        rows.append(_lesion_row(one, curve_of.get(one.label), place, synthetic))
    _write(path, lesion_columns(unit), rows)


def write_curves_csv(path: Path, curves: Iterable[LesionCurve], *, inputs: int = 0) -> None:
    """Write one row per lesion and phase, pre-contrast (never synthetic) included. Signals in input units.

    Args:
        path: The file.
        curves: The curves.
        inputs: How many of the first post-contrast phases the model read; they are not synthetic either.
    """
    rows = []
    for curve in curves:
        columns = (
            curve.times_s,
            curve.signal_mean,
            curve.signal_sd,
            curve.uncertainty_sd,
            curve.pe_percent,
            curve.pe_uncertainty_percent,
            curve.hot_spot_signal,
        )
        for number, values in enumerate(zip(*columns, strict=True)):
            rows.append([curve.label, curve.synthetic and number > inputs, *values])
    _write(path, CURVE_COLUMNS, rows)


def write_confidence_csv(path: Path, lesions: Sequence[LesionConfidence]) -> None:
    """One row per lesion and synthetic phase: grade, and the band that bounds the real percent enhancement."""
    rows = []
    for lesion in lesions:
        certainty = [lesion.label, True, lesion.grade, lesion.false_positive_rate, lesion.probability]
        bands = zip(lesion.times_s, lesion.low_percent, lesion.high_percent, lesion.coverage, strict=True)
        rows += [[*certainty, *band] for band in bands]
    _write(path, CONFIDENCE_COLUMNS, rows)


def write_radiomics_csv(path: Path, rows: Sequence[LesionRadiomics]) -> None:
    """One row per lesion and phase, a column per feature of pyradiomics; an empty cell where a lesion has none."""
    names = list(dict.fromkeys(name for row in rows for name in row.features))
    cells = [
        [row.label, row.synthetic, row.phase, row.time_s, *(row.features.get(name) for name in names)] for row in rows
    ]
    _write(path, (*RADIOMICS_COLUMNS, *names), cells)


def write_comparison_csv(path: Path, metrics: Sequence[PairMetrics]) -> None:
    """Write one row per phase, compared image and region, a column per measure; no pair gives the header alone."""
    rows = [[getattr(one, name) for name in PAIR_COLUMNS] + [one.values[m.name] for m in MEASURES] for one in metrics]
    _write(path, (*PAIR_COLUMNS, *(measure.name for measure in MEASURES)), rows)


def write_records_csv(path: Path, records: Sequence[Any]) -> None:
    """Write one row per dataclass instance, of which there must be one, and one column per field."""
    names = [field.name for field in dataclasses.fields(records[0])]
    _write(path, names, [[getattr(record, name) for name in names] for record in records])


def write_agreement_csv(path: Path, agreement: Agreement, *, inputs: int = 0) -> None:
    """Write synthetic against real curves: `agreement_rows` with their columns.

    Args:
        path: The file.
        agreement: The agreement.
        inputs: How many of the first post-contrast phases the model read.
    """
    _write(path, AGREEMENT_COLUMNS, agreement_rows(agreement, inputs=inputs))


def agreement_rows(agreement: Agreement, *, inputs: int = 0) -> list[list[Any]]:
    """Rows of `AGREEMENT_COLUMNS`: bias, sd and limits of agreement, or a fraction with its interval.

    The first `inputs` phases, which the model read, are points of both curves, so they have no bias.
    """
    nan = math.nan
    rows = [
        _bland_altman_row(f"bias of PE, phase {number}", "percentage points", bias)
        for number, bias in enumerate(agreement.pe_by_phase, start=1)
        if number > inputs
    ]
    rows.append(_bland_altman_row("bias of peak PE", "percentage points", agreement.peak_pe))
    rows.append(_bland_altman_row("bias of SER", "ratio", agreement.ser))
    rows.append(_bland_altman_row("bias of wash-in", "% per min", agreement.wash_in))
    typed, count = agreement.types_compared, len(agreement.lesions)
    interval, kappa_interval = agreement.type_agreement_interval, agreement.kappa_interval
    rows.append(["equal curve type", "fraction", typed, agreement.type_agreement, nan, *interval])
    rows.append(["Cohen's kappa of curve type", "none", typed, agreement.kappa, nan, *kappa_interval])
    rows.append(["phases ranked alike", "fraction", count, agreement.order_agreement, nan, nan, nan])
    rows.append(["mean rank correlation of curves", "none", count, agreement.mean_spearman, nan, nan, nan])
    rows.append(["largest time difference", "s", count, agreement.largest_time_difference_s, nan, nan, nan])
    return rows


def _bland_altman_row(quantity: str, unit: str, bias: BlandAltman) -> list[Any]:
    return [quantity, unit, bias.n, bias.bias, bias.sd, bias.lower, bias.upper]


def _lesion_row(measure: LesionMeasures, curve: LesionCurve | None, place: LesionPlace, synthetic: bool) -> list[Any]:
    """Cells of one lesion in the order of `lesion_columns`."""
    return [
        measure.label,
        synthetic,
        place.side,
        measure.voxel_count,
        measure.volume,
        *measure.diameters,
        measure.longest_diameter,
        measure.in_plane_diameter,
        *measure.centroid,
        measure.early_pe_percent,
        measure.peak_pe_percent,
        measure.ser,
        measure.ftv,
        *curve_cells(curve).values(),
        *(place.quadrant, place.skin_mm, place.nipple_mm, place.chest_wall_mm),
        measure.axis_ratio,
        measure.solidity,
    ]


def curve_cells(curve: LesionCurve | None) -> Mapping[str, Any]:
    """What tables and the report say of a curve, by column name; None where there is no curve."""
    if curve is None:
        return dict.fromkeys(OF_CURVE)
    parameters = curve.parameters
    return {
        "curve_peak_pe_percent": float(parameters.peak_pe_percent),
        "curve_peak_pe_uncertainty_sd_percent": peak_uncertainty_percent(curve),
        "time_to_peak_s": float(parameters.time_to_peak_s),
        "wash_in_percent_per_min": float(parameters.wash_in_percent_per_min),
        "wash_out_percent_per_min": float(parameters.wash_out_percent_per_min),
        "late_change_percent": float(parameters.late_change_percent),
        "curve_type": TYPE_NAMES[curve.curve_type],
        "hot_spot_curve_type": TYPE_NAMES[curve.hot_spot_type],
        "worst_curve_type": TYPE_NAMES[curve.worst_type],
        "persistent_percent": float(curve.type_percent[CurveType.PERSISTENT]),
        "plateau_percent": float(curve.type_percent[CurveType.PLATEAU]),
        "washout_percent": float(curve.type_percent[CurveType.WASHOUT]),
    }


def peak_uncertainty_percent(curve: LesionCurve) -> float:
    """Standard deviation of PE (in percentage points) at the highest post-contrast point of a curve."""
    peak = 1 + int(np.nan_to_num(curve.pe_percent[1:], nan=-np.inf).argmax())
    return float(curve.pe_uncertainty_percent[peak])


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([_cell(value) for value in row] for row in rows)


def _cell(value: Any) -> str:
    """Text of one cell: six significant digits, true or false, empty for what is not defined."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, str)):
        return str(value)
    number = float(value)
    if math.isnan(number):
        return ""
    return "inf" if number == math.inf else "-inf" if number == -math.inf else f"{number:.6g}"
