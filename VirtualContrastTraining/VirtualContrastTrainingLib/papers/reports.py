"""Tables and figures on disk: CSV and JSON for machines, PNG and HTML for people."""

from __future__ import annotations

import csv
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from VirtualContrastLib.metrics.bootstrap import Interval

from ..metrics.plain import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BASELINE = "pre-contrast (baseline)"
_WIDE = 8
"""Tables of more columns are printed smaller."""
_STYLE = (
    "body{font:15px/1.5 sans-serif;margin:2rem auto;padding:0 1rem;max-width:72rem;color:#222}"
    "table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}figure{margin:1rem 0}"
    "table.wide{font-size:.85em}table.wide td:first-child{white-space:nowrap}"
    "td,th{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}thead th{border-bottom:2px solid #555}img{max-width:100%}"
    ".note{color:#555;font-size:.9em}"
)


class Estimate(Protocol):
    """What a figure shows of a measure."""

    @property
    def mean(self) -> float:
        """The value."""

    @property
    def ci95(self) -> Interval | None:
        """Its interval, None where there is none."""


class Report(Protocol):
    """What a table or figure found; `metrics.plain` writes it as JSON."""

    @property
    def data(self) -> str:
        """What it was measured on, in words."""


def write_table(folder: Path, name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table as CSV and JSON; None becomes an empty cell and null.

    Args:
        folder: Folder of the files.
        name: Their name without suffix.
        columns: Names of the columns.
        rows: Values by column.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    write_json(folder / f"{name}.json", [{column: row.get(column) for column in columns} for row in rows])


def write_json(path: Path, value: Any) -> None:
    """Write a report or plain values as a JSON file that other programs can read: no NaN, no infinity."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain(value), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def interval_cells(ci95: Interval | None) -> dict[str, float | None]:
    """The two cells of an interval, empty where there is none."""
    low, high = ci95 or (None, None)
    return {"ci95 low": low, "ci95 high": high}


def html_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of mappings as HTML; numbers with four significant digits, None as a dash."""
    head = "".join(f"<th>{html.escape(column.replace('_', ' '))}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(shown(row.get(column)))}</td>" for column in columns) + "</tr>"
        for row in rows
    )
    kind = ' class="wide"' if len(columns) > _WIDE else ""
    return f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def write_page(path: Path, title: str, parts: Sequence[str], notes: Sequence[str] = ()) -> None:
    """Write an HTML page.

    Args:
        path: The file.
        title: Title, as plain text.
        parts: Parts of the page, as HTML.
        notes: Plain sentences, which are escaped.
    """
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


def interval_figure(rows: Sequence[str], panels: Mapping[str, Sequence[Estimate | None]], data: str) -> Figure:
    """A figure of measures with intervals: one panel per measure, a dot per row at `mean` with a line over `ci95`.

    Args:
        rows: Names of the rows.
        panels: Statistics of each row by measure; None leaves a row empty.
        data: What was measured, printed below, so that a figure taken out of its report still says what it shows.

    Returns:
        The figure.
    """
    from matplotlib.ticker import MaxNLocator

    columns = 2 if len(panels) in (2, 4) else min(3, max(len(panels), 1))
    lines = -(-max(len(panels), 1) // columns)
    figure = new_figure(3.2 * columns + 2, (0.9 + 0.3 * len(rows)) * lines + 0.5)
    axes = list(figure.subplots(lines, columns, sharey=True, squeeze=False).flat)
    for axis, (name, values) in zip(axes, panels.items(), strict=False):
        for y, found in enumerate(values):
            if found is not None:
                axis.plot(found.mean, y, "o", color="C0")
                if found.ci95 is not None:
                    axis.plot(found.ci95, [y, y], color="C0")
        axis.set_title(name, fontsize=10)
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.set_yticks(range(len(rows)), rows)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.grid(axis="x", color="0.9")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    figure.supxlabel(f"Data: {data}", fontsize=8, color="0.35")
    return figure


def shown(value: Any) -> str:
    """A cell as people read it: four significant digits, large numbers whole."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
    return str(value)
