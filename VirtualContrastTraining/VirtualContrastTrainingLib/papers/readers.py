"""Tables and figures of a reader study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from VirtualContrastLib.events import InputError

from ..metrics.plain import plain
from ..metrics.readers import Agreement, Detection, Mean, PairedTest, Proportion, ReaderReport
from ..metrics.same_readers import DEFINITIONS as SAME_DEFINITIONS
from ..metrics.same_readers import RankAgreement
from .outputs import OUTPUTS
from .reports import html_table, interval_cells, new_figure, write_json, write_page, write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MEASURES = ("accuracy", "sensitivity", "specificity")
MEAN = "mean of readers"
PAPERS_WEIGHTS = "quadratic"
"""Of kappa in the tables of Zormpas et al. 2026."""
_SHOWN_TABLES = 12
NOTES = ("Intervals: Wilson for proportions, bootstrap over cases for kappa; p adjusted by Benjamini-Hochberg.",)


@dataclass(frozen=True)
class StudyReport:
    """A reader study as its files hold it.

    Attributes:
        readers: the statistics.
        same: how far measures of the models rank them as the readers do; None where none were given.
    """

    readers: ReaderReport
    same: Sequence[RankAgreement] | None = None

    def as_json(self) -> dict[str, Any]:
        """The statistics; the ranks with their definitions only where measures of the models were given."""
        values: dict[str, Any] = dict(vars(self.readers))
        if self.same is not None:
            values |= {"same": self.same, "same_definitions": SAME_DEFINITIONS}
        return values


@dataclass(frozen=True)
class ReadsReport:
    """What a table of a reader study found.

    Attributes:
        table: its name.
        rows: detection or agreement.
        means: over readers.
        weights: of kappa.
        tests: of two conditions by case.
        definitions: definition by measure.
        data: what was measured, in words.
    """

    table: str
    rows: Sequence[Detection] | Sequence[Agreement]
    means: Sequence[Mean]
    weights: str
    tests: Sequence[PairedTest]
    definitions: Mapping[str, str]
    data: str = "reads given"


def detection_rows(report: ReaderReport) -> list[dict[str, Any]]:
    """A row per reader and condition: percentage with its count, as papers print it; last the mean over readers."""
    rows: list[dict[str, Any]] = [
        {"reader": row.reader, "condition": row.condition, **{name: _percent(getattr(row, name)) for name in _MEASURES}}
        for row in report.detection
    ]
    means: dict[str, dict[str, Any]] = {}
    for entry in report.means:
        if entry.measure in _MEASURES:
            mean = means.setdefault(entry.condition, {"reader": MEAN, "condition": entry.condition})
            mean[entry.measure] = f"{100 * entry.mean:.1f} %"
    return rows + list(means.values())


def agreement_rows(report: ReaderReport) -> list[dict[str, Any]]:
    """A row per pair of ratings with kappa, its weights and the dichotomized accuracy; last the means over readers."""
    rows: list[dict[str, Any]] = []
    for entry in report.agreement:
        found = entry.kappa
        values = {"kappa": found.kappa, "cases": found.cases, **interval_cells(found.ci95)}
        named = {"weights": report.weights, "dichotomized": _percent(entry.dichotomized)}
        rows.append({**_sides(entry), **values, **named})
    means: dict[str, dict[str, Any]] = {}
    for mean in report.means:
        if mean.measure not in _MEASURES:
            first, _, second = mean.condition.partition(" - ")
            named = {"first": f"{MEAN}, {first}", "second": f"{MEAN}, {second}", "weights": report.weights}
            row = means.setdefault(mean.condition, named)
            row[mean.measure] = mean.mean if mean.measure == "kappa" else f"{100 * mean.mean:.1f} %"
    return rows + list(means.values())


def hallucination_rows(report: ReaderReport) -> list[dict[str, Any]]:
    """A row per reader and condition: percentage with its count."""
    return [{**vars(row), "reported": _percent(row.reported)} for row in report.hallucinations]


def paired_test_rows(report: ReaderReport) -> list[dict[str, Any]]:
    """A row per test."""
    return [{**vars(test), **_sides(test)} for test in report.tests]


_PARTS: Mapping[str, tuple[Callable[[ReaderReport], list[dict[str, Any]]], Sequence[str]]] = {
    "detection": (detection_rows, ("reader", "condition", *_MEASURES)),
    "hallucinations": (hallucination_rows, ("reader", "condition", "reported")),
    "agreement": (
        agreement_rows,
        ("first", "second", "weights", "kappa", "ci95 low", "ci95 high", "dichotomized", "cases"),
    ),
    "means": (lambda report: plain(report.means), ("condition", "measure", "mean", "readers")),
    "tests": (paired_test_rows, ("endpoint", "first", "second", "cases", "median", "mean", "p", "p_adjusted")),
}
"""Rows and columns of each part of a report."""


def write_readers(study: StudyReport, folder: Path) -> None:
    """Write readers.json, each part of the report as CSV and JSON, the two figures and report.html."""
    report = study.readers
    write_json(folder / "readers.json", study)
    titles = {
        "detection": "Detection",
        "hallucinations": "Hallucinations reported",
        "agreement": f"Agreement on BPE ({report.weights} weights)",
        "means": "Means over readers",
        "tests": "Wilcoxon signed-rank tests by case",
    }
    parts = []
    for name, (rows_of, columns) in _PARTS.items():
        rows = rows_of(report)
        if rows:
            write_table(folder, name, columns, rows)
            parts += [f"<h2>{titles[name]}</h2>", html_table(columns, rows)]
            if name in _FIGURES:
                parts.append(_drawn(name, "readers" if name == "detection" else name, report, folder))
    write_page(folder / "report.html", "Reader study", parts, [*NOTES, *_definitions(report)])
    if study.same:
        ranks = plain(study.same)
        write_table(folder, "same_readers", list(ranks[0]), ranks)


def write_reads_table(name: str, report: ReaderReport, folder: Path) -> ReadsReport:
    """Write one named table of a reader study as CSV, JSON, PNG and HTML.

    Args:
        name: Name of the table, which the files get.
        report: The report of the study.
        folder: Folder of the files.

    Returns:
        What was found.

    Raises:
        InputError: The reads have no column to make it from.
    """
    part, needed = ("agreement", "bpe") if name == "zormpas2026-bpe" else ("detection", "truth and lesion")
    found = report.agreement if part == "agreement" else report.detection
    if not found:
        raise InputError(f"{name} needs reads with {needed}; add the columns to the table of reads.")
    rows_of, columns = _PARTS[part]
    rows = rows_of(report)
    write_table(folder, name, columns, rows)
    written = ReadsReport(name, found, report.means, report.weights, report.tests, report.definitions)
    write_json(folder / f"{name}.json", written)
    parts = [html_table(columns, rows), _drawn(part, name, report, folder)]
    if tests := paired_test_rows(report):
        parts += ["<h2>Wilcoxon signed-rank tests by case</h2>", html_table(_PARTS["tests"][1], tests)]
    write_page(folder / f"{name}.html", f"{name}: {OUTPUTS[name].title}", parts, [*NOTES, *_definitions(report)])
    return written


def _definitions(report: ReaderReport) -> list[str]:
    return [f"{name}: {text}." for name, text in report.definitions.items()]


def _sides(entry: Agreement | PairedTest) -> dict[str, str]:
    """The two readings of an entry as cells."""
    return {"first": ", ".join(entry.first), "second": ", ".join(entry.second)}


def _percent(proportion: Proportion) -> str:
    if proportion.value is None:
        return "-"
    return f"{100 * proportion.value:.1f} % ({proportion.count}/{proportion.total})"


def _drawn(part: str, stem: str, report: ReaderReport, folder: Path) -> str:
    """Draw the figure of a part into `stem`.png and return the HTML that shows it."""
    folder.mkdir(parents=True, exist_ok=True)
    _FIGURES[part](report).savefig(folder / f"{stem}.png", dpi=150)
    return f'<figure><img src="{stem}.png" alt="{part} by reader"></figure>'


def _detection_figure(report: ReaderReport) -> Figure:
    names = [f"{row.reader}, {row.condition}" for row in report.detection]
    figure = new_figure(9, 1.2 + 0.35 * len(names))
    conditions = list(dict.fromkeys(row.condition for row in report.detection))
    for axis, measure in zip(figure.subplots(1, 3, sharey=True), _MEASURES, strict=True):
        for y, row in enumerate(report.detection):
            found, color = getattr(row, measure), f"C{conditions.index(row.condition)}"
            if found.value is not None:
                axis.plot(found.ci95, [y, y], color=color)
                axis.plot(found.value, y, "o", color=color)
        axis.set(title=measure, xlim=(0, 1.02), yticks=range(len(names)), yticklabels=names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.grid(axis="x", color="0.9")
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _agreement_figure(report: ReaderReport) -> Figure:
    """Confusion matrices of the first pairs of ratings, kappa in their titles."""
    shown = report.agreement[:_SHOWN_TABLES]
    columns = min(4, len(shown))
    lines = -(-len(shown) // columns)
    figure = new_figure(max(2.6 * columns, 4), 2.9 * lines)
    labels = report.bpe_labels
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axis, entry in zip(axes, shown, strict=False):
        table = np.array(entry.kappa.confusion)
        axis.imshow(table, cmap="Blues", vmin=0)
        for (row, column), count in np.ndenumerate(table):
            color = "w" if 2 * count > table.max() else "0.2"
            axis.text(column, row, str(count), ha="center", va="center", color=color)
        kappa = "-" if entry.kappa.kappa is None else f"{entry.kappa.kappa:.2f}"
        axis.set_title(f"kappa {kappa}", fontsize=9)
        axis.set_xticks(range(len(labels)), labels)
        axis.set_yticks(range(len(labels)), labels)
        axis.set_xlabel(", ".join(entry.second), fontsize=8)
        axis.set_ylabel(", ".join(entry.first), fontsize=8)
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    return figure


_FIGURES = {"detection": _detection_figure, "agreement": _agreement_figure}
