"""Tables and figures on disk: CSV and JSON for machines, PNG and HTML for people."""

from __future__ import annotations

import csv
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {
    "mse": "MSE",
    "mae": "MAE",
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "lpips": "LPIPS",
}
GROUPS = {
    "true": "whole slice",
    "true_in_lesion": "inside lesions",
    "true_in_breast": "inside the breasts",
    "true_per_volume": "per volume (3-D SSIM)",
    "as_published": "as published (artefacts)",
}
_STYLE = (
    "body{font:15px/1.5 sans-serif;margin:2rem auto;max-width:60rem;color:#222}"
    "table{border-collapse:collapse;margin:1rem 0}"
    "td,th{padding:.25rem .8rem;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}thead th{border-bottom:2px solid #555}img{max-width:100%}"
    ".note{color:#555;font-size:.9em}"
)


def write_table(folder: Path, name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `name`.csv and `name`.json with the given columns; None becomes an empty cell and null."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    write_json(folder / f"{name}.json", [{column: row.get(column) for column in columns} for row in rows])


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file that other programs can read: no NaN, no infinity."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def html_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of mappings as HTML; numbers with four significant digits, None as a dash."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(shown(row.get(column)))}</td>" for column in columns) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def write_page(path: Path, title: str, parts: Sequence[str], notes: Sequence[str] = ()) -> None:
    """Write an HTML page of ready-made parts; `notes` are plain sentences and are escaped."""
    said = "".join(f'<p class="note">{html.escape(note)}</p>' for note in notes)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style>"
        f"<h1>{html.escape(title)}</h1>{''.join(parts)}{said}<p class='note'>Research only.</p></html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def new_figure(width: float, height: float) -> Figure:
    """A matplotlib figure in inches that needs no display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def shown(value: Any) -> str:
    """A cell as people read it."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_evaluation(report: Mapping[str, Any], folder: Path) -> None:
    """Write metrics.json, metrics.csv, metrics.png and report.html of one pairwise evaluation."""
    write_json(folder / "metrics.json", report)
    rows = evaluation_rows(report)
    columns = ("region", "metric", "mean", "std", "ci95 low", "ci95 high", "n", "patients")
    write_table(folder, "metrics", columns, rows)
    _metrics_figure(rows).savefig(folder / "metrics.png", dpi=150)
    notes = [
        *report["notes"].values(),
        *(f"{LABELS.get(n, n)}: {d}." for n, d in report["definitions"].items()),
    ]
    title = "Synthetic against real" + (f", {report['subtraction']} subtraction" if report["subtraction"] else "")
    counts = f"<p>{report['slices']} slices in {report['pairs']} pairs of {report['patients']} patients.</p>"
    parts = [
        counts,
        _side_by_side(report),
        '<img src="metrics.png" alt="means with intervals">',
        html_table(columns, rows),
    ]
    write_page(folder / "report.html", title, parts, [f"As published: {report['as_published_means']}.", *notes])


def evaluation_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The statistics of a report, a row per region and metric."""
    rows = []
    for group, label in GROUPS.items():
        for metric, name in LABELS.items():
            found = report["statistics"].get(group, {}).get(metric)
            if found is not None:
                low, high = found["ci95"] or (None, None)
                row = {"region": label, "metric": name, "ci95 low": low, "ci95 high": high}
                rows.append({**row, **{key: found[key] for key in ("mean", "std", "n", "patients")}})
    return rows


def _side_by_side(report: Mapping[str, Any]) -> str:
    rows = [
        {"metric": name, "true": report["true"][metric], "as published": report["as_published"][metric]}
        for metric, name in LABELS.items()
    ]
    return html_table(("metric", "true", "as published"), rows)


def _metrics_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """One panel a metric: mean and interval by region; the as-published one is gray, it is not image quality."""
    figure = new_figure(11, 6)
    regions = [label for label in GROUPS.values() if any(row["region"] == label for row in rows)]
    for axis, name in zip(figure.subplots(2, 3, sharey=True).flat, LABELS.values(), strict=True):
        own = [row for row in rows if row["metric"] == name]
        for row in own:
            y = regions.index(row["region"])
            color = "0.6" if row["region"] == GROUPS["as_published"] else "C0"
            axis.plot(row["mean"], y, "o", color=color)
            if row["ci95 low"] is not None:
                axis.plot([row["ci95 low"], row["ci95 high"]], [y, y], color=color)
        axis.set_yticks(range(len(regions)), regions)
        axis.set_ylim(len(regions) - 0.5, -0.5)
        axis.set_title(name if own else f"{name} (not computed)")
    return figure
