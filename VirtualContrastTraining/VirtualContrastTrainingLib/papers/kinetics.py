"""Tables and figures of kinetic agreement (Figs. 6 to 8 of the JMI paper, Fig. 3 of Chung et al., the iterU-Net)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..metrics.kinetics import CurvePair, KineticReport, TypeAgreement
from ..metrics.plain import plain
from .kinetic_report import CurveReport
from .kinetics_figures import (
    DRAWINGS,
    MEANS,
    PANEL_ROWS,
    drawn_at_random,
    mean_rows,
    panel_columns,
    shown_phases,
    stamp,
)
from .named_table import Panels, Row
from .outputs import OUTPUTS
from .reports import html_table, interval_cells, write_json, write_page, write_table

FIGURES = tuple(name for name, output in OUTPUTS.items() if output.kind == "kinetics")
_PUBLISHED = ("signal as published", "sd as published")
_CURVES = ("case", "lesion", "series", "phase", "time_s", "signal", "signal sd", "pe_percent", *_PUBLISHED)
_AGREEMENT = ("measure", "value", "ci95 low", "ci95 high", "n", "patients")
_BIASES = ("quantity", "unit", "n", "bias", "sd", "lower", "upper")
_PICTURED = ("osuala2025-figure6", "chung2025-figure3")
_NAMES = {
    "enhancement_error": "enhancement error (points of PE)",
    "enhancement_error_squared": "squared enhancement error",
    "spearman": "Spearman rank correlation",
    "dtw": "DTW (points of PE)",
    "same_order": "phases ranked alike (share)",
    "same_order_as_published": "phases ranked alike, as published (share)",
}

_CATEGORIES = {
    "curve type": "types",
    "worst curve type": "worst_types",
    "initial enhancement": "initial",
}
"""Kinetic categories by what they are called, as `KineticReport` names them."""


@dataclass(frozen=True)
class CurveFigure:
    """What one figure of curves shows.

    Attributes:
        table: name of the figure.
        report: of all curves.
        rows: numbers of the figure, by column of the CSV file.
        panels: labels of its pictures; None for a figure without.
    """

    table: str
    report: CurveReport
    rows: Sequence[Row]
    panels: Panels | None = None

    @property
    def data(self) -> str:
        """What the curves are, in words."""
        return self.report.data

    def as_json(self) -> dict[str, object]:
        """The report without its single lesions, and the figure's numbers."""
        report = {name: value for name, value in self.report.as_json().items() if name != "per_lesion"}
        pictures = {} if self.panels is None else {"panels": self.panels}
        return {"table": self.table, **report, "rows": self.rows, **pictures}


def write_kinetics(report: CurveReport, pairs: Sequence[CurvePair], folder: Path) -> None:
    """Write kinetics.json, lesions.csv, curves.csv, agreement.csv, bland_altman.csv, the figures and report.html.

    Args:
        report: The kinetic report.
        pairs: Real and synthetic curve of each lesion.
        folder: Folder of the files.
    """
    write_json(folder / "kinetics.json", report)
    lesions, biases = plain(report.agreement.per_lesion), plain(report.agreement.bland_altman)
    agreement = agreement_rows(report.agreement)
    write_table(folder, "lesions", list(lesions[0]), lesions)
    write_table(folder, "curves", _CURVES, _curves(pairs))
    write_table(folder, "agreement", _AGREEMENT, agreement)
    write_table(folder, "bland_altman", _BIASES, biases)
    images = [_drawn(name, report, pairs, folder) for name in FIGURES]
    parts = [
        f"<p>{_counted(report)}</p>",
        html_table(_AGREEMENT, agreement),
        "<h2>Bias and limits of agreement, synthetic minus real</h2>",
        html_table(_BIASES, biases),
        *images,
        "<h2>Lesions</h2>",
        html_table(list(lesions[0]), lesions),
    ]
    write_page(folder / "report.html", "Kinetic agreement, synthetic against real", parts, _said(report))


def write_figure(name: str, report: CurveReport, pairs: Sequence[CurvePair], folder: Path) -> CurveFigure:
    """Write one of FIGURES as .png and .html with its numbers as .csv and .json.

    Args:
        name: Its name, which the files get.
        report: The kinetic report.
        pairs: Real and synthetic curve of each lesion.
        folder: Folder of the files.

    Returns:
        What the figure shows.
    """
    if name == "osuala2025-figure8":
        pairs = drawn_at_random(pairs)
    columns: Sequence[str]
    if name == "bland-altman":
        columns, rows = _BIASES, plain(report.agreement.bland_altman)
    elif name == "osuala2025-figure7":
        columns, rows = MEANS, mean_rows(pairs)
    else:
        columns, rows = _CURVES, _curves(pairs)
    write_table(folder, name, columns, rows)
    pictured = next((pair.picture for pair in pairs if pair.picture), None) if name in _PICTURED else None
    panels = None if pictured is None else Panels(PANEL_ROWS, panel_columns(shown_phases(len(pictured.real))))
    figure = CurveFigure(name, report, rows, panels)
    write_json(folder / f"{name}.json", figure)
    parts = [_drawn(name, report, pairs, folder), f"<p>{_counted(report)}</p>", html_table(columns, rows)]
    write_page(folder / f"{name}.html", f"{name}: {OUTPUTS[name].title}", parts, _said(report))
    return figure


def _drawn(name: str, report: CurveReport, pairs: Sequence[CurvePair], folder: Path) -> str:
    """Draw a figure into `name`.png and return the HTML that shows it."""
    folder.mkdir(parents=True, exist_ok=True)
    figure = DRAWINGS[name](pairs, report.agreement)
    stamp(figure, report.data)
    figure.savefig(folder / f"{name}.png", dpi=150)
    caption = OUTPUTS[name].title
    return f'<figure><img src="{name}.png" alt="{caption}"><figcaption>{caption}.</figcaption></figure>'


def _counted(report: CurveReport) -> str:
    found = report.agreement
    return f"{found.lesions} lesions of {found.cases} cases and {found.patients} patients."


def _said(report: CurveReport) -> list[str]:
    notes = [f"Data: {report.data}.", *report.notes]
    return notes + [f"{_NAMES.get(name, name)}: {text}." for name, text in report.agreement.definitions.items()]


def agreement_rows(report: KineticReport) -> list[dict[str, Any]]:
    """Means, shares and kappa with their intervals by patient, a row each."""
    rows: list[dict[str, Any]] = []
    for name, label in _NAMES.items():
        found = report.statistics[name]
        mean, ci95, n, patients = (
            (None, None, 0, 0) if found is None else (found.mean, found.ci95, found.n, found.patients)
        )
        rows.append({"measure": label, "value": mean, **interval_cells(ci95), "n": n, "patients": patients})
    for what, attribute in _CATEGORIES.items():
        types: TypeAgreement = getattr(report, attribute)
        for label, value, ci95 in (
            (f"equal {what} (share)", types.same_type, types.same_type_ci95),
            (f"Cohen's kappa of {what}", types.kappa, types.kappa_ci95),
        ):
            counts = {"n": types.compared, "patients": report.patients}
            rows.append({"measure": label, "value": value, **interval_cells(ci95), **counts})
    return rows


def _curves(pairs: Sequence[CurvePair]) -> list[dict[str, Any]]:
    rows = []
    for pair in pairs:
        for series, curve in (("real", pair.real), ("synthetic", pair.synthetic)):
            published = None if pair.published is None else getattr(pair.published, series)
            for phase, time in enumerate(curve.times_s):
                own = {"case": pair.case, "lesion": pair.real.label, "series": series, "phase": phase}
                values = (curve.signal_mean[phase], curve.signal_sd[phase], curve.pe_percent[phase])
                named = dict(zip(("signal", "signal sd", "pe_percent"), map(_number, values), strict=True))
                if published is not None:
                    named |= {"signal as published": float(published.signal[phase])}
                    named |= {"sd as published": float(published.sd[phase])}
                rows.append({**own, "time_s": float(time), **named})
    return rows


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
