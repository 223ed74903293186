"""Tables and figures of a reader study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from VirtualContrastLib.events import InputError

from .outputs import OUTPUTS
from .reports import html_table, new_figure, write_json, write_page, write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MEASURES = ("accuracy", "sensitivity", "specificity")
_COLUMNS = {
    "detection": ("reader", "condition", *_MEASURES),
    "hallucinations": ("reader", "condition", "reported"),
    "agreement": ("first", "second", "weights", "kappa", "ci95 low", "ci95 high", "dichotomized", "cases"),
    "means": ("condition", "measure", "mean", "readers"),
    "tests": ("endpoint", "first", "second", "cases", "median", "mean", "p", "p_adjusted"),
}
MEAN = "mean of readers"
PAPERS_WEIGHTS = "quadratic"
"""Of kappa in the tables of Zormpas et al. 2026."""
_SHOWN_TABLES = 12
NOTES = ("Intervals: Wilson for proportions, bootstrap over cases for kappa; p adjusted by Benjamini-Hochberg.",)


def detection_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per reader and condition: percentage with its count, as papers print it; last the mean over readers."""
    rows = [
        {"reader": row["reader"], "condition": row["condition"], **{name: _percent(row[name]) for name in _MEASURES}}
        for row in report["detection"]
    ]
    means: dict[str, dict[str, Any]] = {}
    for entry in report["means"]:
        if entry["measure"] in _MEASURES:
            mean = means.setdefault(entry["condition"], {"reader": MEAN, "condition": entry["condition"]})
            mean[entry["measure"]] = f"{100 * entry['mean']:.1f} %"
    return rows + list(means.values())


def agreement_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per pair of ratings with kappa, its weights and the dichotomized accuracy; last the means over readers."""
    rows = [
        _row(entry) | {"weights": report["weights"], "dichotomized": _percent(entry["dichotomized"])}
        for entry in report["agreement"]
    ]
    means: dict[str, dict[str, Any]] = {}
    for entry in report["means"]:
        if entry["measure"] not in _MEASURES:
            first, _, second = entry["condition"].partition(" - ")
            named = {"first": f"{MEAN}, {first}", "second": f"{MEAN}, {second}", "weights": report["weights"]}
            mean = means.setdefault(entry["condition"], named)
            value = entry["mean"]
            mean[entry["measure"]] = value if entry["measure"] == "kappa" else f"{100 * value:.1f} %"
    return rows + list(means.values())


def write_readers(report: Mapping[str, Any], folder: Path) -> None:
    """Write readers.json, each part of the report as CSV and JSON, the two figures and report.html."""
    write_json(folder / "readers.json", report)
    titles = {
        "detection": "Detection",
        "hallucinations": "Hallucinations reported",
        "agreement": f"Agreement on BPE ({report['weights']} weights)",
        "means": "Means over readers",
        "tests": "Wilcoxon signed-rank tests by case",
    }
    parts = []
    for name, columns in _COLUMNS.items():
        rows = _rows(name, report)
        if rows:
            write_table(folder, name, columns, rows)
            parts += [f"<h2>{titles[name]}</h2>", html_table(columns, rows)]
            if name in _FIGURES:
                parts.append(_drawn(name, "readers" if name == "detection" else name, report, folder))
    write_page(folder / "report.html", "Reader study", parts, [*NOTES, *_definitions(report)])


def write_reads_table(name: str, report: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write one named table of a reader study as CSV, JSON, PNG and HTML.

    Args:
        name: Name of the table, which the files get.
        report: The report of the study.
        folder: Folder of the files.

    Returns:
        What the JSON holds.

    Raises:
        InputError: The reads have no column to make it from.
    """
    part, needed = ("agreement", "bpe") if name == "zormpas2026-bpe" else ("detection", "truth and lesion")
    if not report[part]:
        raise InputError(f"{name} needs reads with {needed}; add the columns to the table of reads.")
    rows = _rows(part, report)
    write_table(folder, name, _COLUMNS[part], rows)
    result = {"table": name, "data": "reads given", "rows": report[part], "means": report["means"]}
    result |= {"weights": report["weights"], "tests": report["tests"], "definitions": report["definitions"]}
    write_json(folder / f"{name}.json", result)
    parts = [html_table(_COLUMNS[part], rows), _drawn(part, name, report, folder)]
    if tests := _rows("tests", report):
        parts += ["<h2>Wilcoxon signed-rank tests by case</h2>", html_table(_COLUMNS["tests"], tests)]
    write_page(folder / f"{name}.html", f"{name}: {OUTPUTS[name].title}", parts, [*NOTES, *_definitions(report)])
    return result


def _definitions(report: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {text}." for name, text in report["definitions"].items()]


def _rows(name: str, report: Mapping[str, Any]) -> list[dict[str, Any]]:
    if name == "detection":
        return detection_rows(report)
    if name == "agreement":
        return agreement_rows(report)
    if name == "hallucinations":
        return [entry | {"reported": _percent(entry["reported"])} for entry in report[name]]
    return list(report[name]) if name == "means" else [_row(entry) for entry in report[name]]


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry about a pair of readings as a row of a file."""
    row = {key: value for key, value in entry.items() if key not in ("confusion", "ci95")}
    low, high = entry.get("ci95") or (None, None)
    named = {side: ", ".join(entry[side]) for side in ("first", "second")}
    return row | named | {"ci95 low": low, "ci95 high": high}


def _percent(proportion: Mapping[str, Any]) -> str:
    if proportion["value"] is None:
        return "-"
    return f"{100 * proportion['value']:.1f} % ({proportion['count']}/{proportion['total']})"


def _drawn(part: str, stem: str, report: Mapping[str, Any], folder: Path) -> str:
    """Draw the figure of a part into `stem`.png and return the HTML that shows it."""
    folder.mkdir(parents=True, exist_ok=True)
    _FIGURES[part](report).savefig(folder / f"{stem}.png", dpi=150)
    return f'<figure><img src="{stem}.png" alt="{part} by reader"></figure>'


def _detection_figure(report: Mapping[str, Any]) -> Figure:
    names = [f"{row['reader']}, {row['condition']}" for row in report["detection"]]
    figure = new_figure(9, 1.2 + 0.35 * len(names))
    conditions = list(dict.fromkeys(row["condition"] for row in report["detection"]))
    for axis, measure in zip(figure.subplots(1, 3, sharey=True), _MEASURES, strict=True):
        for y, row in enumerate(report["detection"]):
            found, color = row[measure], f"C{conditions.index(row['condition'])}"
            if found["value"] is not None:
                axis.plot(found["ci95"], [y, y], color=color)
                axis.plot(found["value"], y, "o", color=color)
        axis.set(title=measure, xlim=(0, 1.02), yticks=range(len(names)), yticklabels=names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.grid(axis="x", color="0.9")
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _agreement_figure(report: Mapping[str, Any]) -> Figure:
    """Confusion matrices of the first pairs of ratings, kappa in their titles."""
    shown: Sequence[Mapping[str, Any]] = report["agreement"][:_SHOWN_TABLES]
    columns = min(4, len(shown))
    lines = -(-len(shown) // columns)
    figure = new_figure(max(2.6 * columns, 4), 2.9 * lines)
    labels = report["bpe_labels"]
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axis, entry in zip(axes, shown, strict=False):
        table = np.array(entry["confusion"])
        axis.imshow(table, cmap="Blues", vmin=0)
        for (row, column), count in np.ndenumerate(table):
            color = "w" if 2 * count > table.max() else "0.2"
            axis.text(column, row, str(count), ha="center", va="center", color=color)
        kappa = "-" if entry["kappa"] is None else f"{entry['kappa']:.2f}"
        axis.set_title(f"kappa {kappa}", fontsize=9)
        axis.set_xticks(range(len(labels)), labels)
        axis.set_yticks(range(len(labels)), labels)
        axis.set_xlabel(", ".join(entry["second"]), fontsize=8)
        axis.set_ylabel(", ".join(entry["first"]), fontsize=8)
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    return figure


_FIGURES = {"detection": _detection_figure, "agreement": _agreement_figure}
