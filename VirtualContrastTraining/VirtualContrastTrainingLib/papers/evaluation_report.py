"""The report of one pairwise evaluation: as JSON and CSV for machines, as PNG and HTML for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VirtualContrastLib.metrics.measure import labels

from ..metrics import subgroups
from ..metrics.distributions import ImageDistances
from ..metrics.evaluation import AS_PUBLISHED_MEANING, DEFINITIONS, EvaluationReport
from ..metrics.measures import IMAGE
from ..metrics.neighbors import DEFINITIONS as SET_DEFINITIONS
from ..metrics.neighbors import SetReport
from ..metrics.radiomics_distance import RadiomicsReport
from ..metrics.subgroups import Scores
from .reports import html_table, interval_cells, interval_figure, write_json, write_page, write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = labels(IMAGE)
GROUPS = {
    "true": "whole slice",
    "true_in_lesion": "inside lesions",
    "true_in_breast": "inside the breasts",
    "true_per_volume": "per volume (3-D SSIM)",
    "as_published": "as published (artifacts)",
}
_COLUMNS = ("region", "metric", "mean", "std", "ci95 low", "ci95 high", "n", "patients")
_NEARNESS = {"median": "median distance", "p5": "5th percentile", "least": "least distance", "copies": "copies"}


@dataclass(frozen=True)
class EvaluationResult:
    """Everything that an evaluation found.

    Attributes:
        data: what was compared, in words.
        report: of the pairs.
        distances: between the sets of images by feature network; empty where not asked for.
        radiomics: distance of the lesions' radiomics; None where not asked for.
        sets: diversity and memorization; None where not asked for.
        by: scores of the groups of patients by column; empty where not asked for.
    """

    data: str
    report: EvaluationReport
    distances: Mapping[str, ImageDistances] = field(default_factory=dict)
    radiomics: RadiomicsReport | None = None
    sets: SetReport | None = None
    by: Mapping[str, Scores] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The report of the pairs, and what else was asked for."""
        values: dict[str, Any] = {"data": self.data, **self.report.as_json()}
        if self.distances:
            values["distances"] = self.distances
        if self.radiomics is not None:
            values["radiomics"] = self.radiomics
        if self.sets is not None:
            values |= self.sets.as_json()
        if self.by:
            values |= {"by": self.by, "by_definitions": subgroups.DEFINITIONS}
        return values


def write_evaluation(result: EvaluationResult, folder: Path) -> None:
    """Write metrics.json, metrics.csv, metrics.png and report.html."""
    report = result.report
    rows = evaluation_rows(report)
    write_table(folder, "metrics", _COLUMNS, rows)
    write_json(folder / "metrics.json", result)  # in the place of the table's own: it holds more
    _metrics_figure(report, result.data).savefig(folder / "metrics.png", dpi=150)
    notes = [
        f"Data: {result.data}.",
        *([f"{len(report.failed)} pairs could not be measured."] if report.failed else []),
        *report.notes.values(),
        *(f"{LABELS.get(name, name)}: {text}." for name, text in DEFINITIONS.items()),
    ]
    subtraction = report.settings.subtraction
    title = "Synthetic against real" + (f", {subtraction} subtraction" if subtraction else "")
    parts = [
        f"<p>{report.slices} slices in {report.pairs} pairs of {report.patients} patients.</p>",
        _side_by_side(report),
        '<img src="metrics.png" alt="means with intervals">',
        html_table(_COLUMNS, rows),
    ]
    if result.sets is not None:
        parts.append(html_table(("what", "images", "value"), set_rows(result.sets)))
        notes += [f"{name}: {text}." for name, text in SET_DEFINITIONS.items()]
        if result.sets.memorization is not None and result.sets.memorization.patients_in_training:
            notes.append("Patients compared are among those of the training images: these numbers are no check.")
    write_page(folder / "report.html", title, parts, [f"As published: {AS_PUBLISHED_MEANING}.", *notes])


def evaluation_rows(report: EvaluationReport) -> list[dict[str, Any]]:
    """The statistics of a report, a row per region and metric."""
    rows = []
    for group, label in GROUPS.items():
        for metric, name in LABELS.items():
            found = report.summary(group, metric)
            if found is not None:
                cells = {"mean": found.mean, "std": found.std, **interval_cells(found.ci95)}
                rows.append({"region": label, "metric": name, **cells, "n": found.n, "patients": found.patients})
    return rows


def set_rows(sets: SetReport | None) -> list[dict[str, Any]]:
    """Diversity and memorization as rows of what, images, value; none where they were not asked for."""
    if sets is None:
        return []
    values = (("diversity", sets.diversity.diversity), ("coverage", sets.diversity.coverage))
    rows: list[dict[str, Any]] = [{"what": name, "images": "", "value": value} for name, value in values]
    if sets.memorization is not None:
        for side, nearness in (("synthetic", sets.memorization.synthetic), ("real", sets.memorization.real)):
            rows += [
                {"what": f"memorization: {text}", "images": side, "value": getattr(nearness, name)}
                for name, text in _NEARNESS.items()
            ]
    return rows


def _side_by_side(report: EvaluationReport) -> str:
    rows = [
        {"metric": name, "true": report.mean("true", metric), "as published": report.mean("as_published", metric)}
        for metric, name in LABELS.items()
    ]
    return html_table(("metric", "true", "as published"), rows)


def _metrics_figure(report: EvaluationReport, data: str) -> Figure:
    """One panel per metric: mean and interval by region; the as-published column, no image quality, is left out."""
    groups = [group for group in GROUPS if group != "as_published" and report.statistics.get(group)]
    panels = {
        label: [report.summary(group, metric) for group in groups]
        for metric, label in LABELS.items()
        if any(report.summary(group, metric) is not None for group in GROUPS)
    }
    return interval_figure([GROUPS[group] for group in groups], panels, data)
