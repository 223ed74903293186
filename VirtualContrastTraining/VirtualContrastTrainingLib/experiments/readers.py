"""Tables and figure of a reader study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .reports import html_table, new_figure, write_json, write_page, write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MEASURES = ("accuracy", "sensitivity", "specificity")


def detection_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per reader and condition: percentage with its count, as papers print it."""
    return [
        {"reader": row["reader"], "condition": row["condition"], **{name: _percent(row[name]) for name in _MEASURES}}
        for row in report["detection"]
    ]


def write_readers(report: Mapping[str, Any], folder: Path) -> None:
    """Write readers.json, detection, agreement and tests as CSV and JSON, readers.png and report.html."""
    write_json(folder / "readers.json", report)
    columns = {
        "detection": ("reader", "condition", *_MEASURES),
        "agreement": ("first", "second", "kappa", "ci95", "cases"),
        "tests": ("first", "second", "cases", "median", "p", "p_adjusted"),
    }
    titles = {
        "detection": "Detection",
        "agreement": f"Agreement on BPE ({report['weights']} weights)",
        "tests": "Scores, Wilcoxon signed-rank",
    }
    parts = []
    for name, wanted in columns.items():
        rows = detection_rows(report) if name == "detection" else [_plain(row) for row in report[name]]
        if rows:
            write_table(folder, name, wanted, rows)
            parts += [f"<h2>{titles[name]}</h2>", html_table(wanted, rows)]
    if report["detection"]:
        _figure(report).savefig(folder / "readers.png", dpi=150)
        parts.append('<img src="readers.png" alt="detection by reader">')
    notes = ["Intervals: Wilson for proportions, bootstrap over cases for kappa; p adjusted by Benjamini-Hochberg."]
    write_page(folder / "report.html", "Reader study", parts, notes)


def _percent(proportion: Mapping[str, Any]) -> str:
    if proportion["value"] is None:
        return "-"
    return f"{100 * proportion['value']:.1f} % ({proportion['count']}/{proportion['total']})"


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    def text(value: Any) -> Any:
        if isinstance(value, list):
            return " / ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in value)
        return value

    return {name: text(value) for name, value in row.items() if name != "confusion"}


def _figure(report: Mapping[str, Any]) -> Figure:
    figure = new_figure(9, 3.2)
    names = [f"{row['reader']}, {row['condition']}" for row in report["detection"]]
    for axis, measure in zip(figure.subplots(1, 3, sharey=True), _MEASURES, strict=True):
        for y, row in enumerate(report["detection"]):
            found = row[measure]
            if found["value"] is not None:
                axis.plot(found["ci95"], [y, y], color="C0")
                axis.plot(found["value"], y, "o", color="C0")
        axis.set(title=measure, xlim=(0, 1.02), yticks=range(len(names)), yticklabels=names)
        axis.set_ylim(len(names) - 0.5, -0.5)
    return figure
