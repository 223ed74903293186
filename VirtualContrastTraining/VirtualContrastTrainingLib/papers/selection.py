"""Metrics of checkpoints as a table, and the table and figure of a selection by SAMe (Fig. 4 of the JMI paper)."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from VirtualContrastLib.events import InputError
from VirtualContrastLib.files import check_is_file
from VirtualContrastLib.io.tables import number_of, read_rows

from ..metrics.evaluation import METRICS
from ..metrics.same_measure import Ranking
from .named_table import NamedTable
from .outputs import OUTPUTS
from .reports import BASELINE, html_table, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Table = dict[str, dict[str, float]]
"""Checkpoint -> metric -> value."""


def write_selection(
    table: Mapping[str, Mapping[str, float]],
    ranking: Ranking,
    folder: Path,
    data: str,
    name: str | None = None,
    baseline: Mapping[str, float] | None = None,
) -> None:
    """Write same.csv, same.json, same.png and report.html, or all four under one name.

    Args:
        table: Value by checkpoint and metric.
        ranking: Their ranking.
        folder: Folder of the files.
        data: What was measured, in words.
        name: Name of all files.
        baseline: The same metrics of the image before contrast, where it was measured: the last row, without SAMe.
    """
    metrics = list(next(iter(table.values())))
    counted = list(next(iter(ranking.scaled.values())))
    columns = ("checkpoint", "SAMe", *metrics, *(f"scaled {metric}" for metric in counted))
    rows = [
        {
            "checkpoint": checkpoint,
            "SAMe": ranking.same[checkpoint],
            **values,
            **{f"scaled {metric}": value for metric, value in ranking.scaled[checkpoint].items()},
        }
        for checkpoint, values in table.items()
    ]
    if baseline:
        rows.append({"checkpoint": BASELINE, **{metric: baseline.get(metric) for metric in metrics}})
    stem = name or "same"
    parts = [f"<p>Chosen: <b>{html.escape(ranking.winners[0])}</b>.</p>", html_table(columns, rows)]
    notes = [
        f"Data: {data}.",
        f"SAMe: unweighted mean of {', '.join(counted)}, each min-max scaled over these checkpoints, 0 best; "
        "it changes with the set of checkpoints.",
    ]
    if baseline:
        notes.append("The image before contrast has no SAMe and does not enter the scaling.")
    if ranking.left_out:
        notes.append(f"Left out, equal for all checkpoints: {', '.join(ranking.left_out)}.")
    title = "Checkpoint selection" if name is None else f"{name}: {OUTPUTS[name].title}"
    NamedTable(
        stem,
        title,
        columns,
        rows,
        None,
        _figure(ranking, data),
        "SAMe and the scaled metrics over the checkpoints",
        notes,
        parts,
        page=name or "report",
    ).write(folder)


def read_table(path: Path) -> Table:
    """Checkpoint -> metric -> value from a table whose first column names the checkpoint; empty cells are missing."""
    check_is_file(path)
    (_, header), *rows = read_rows(path) or [(1, [])]
    if not rows:
        raise InputError(f"{path} needs a header and one row per checkpoint.")
    table: Table = {}
    for number, row in rows:
        if not row[0]:
            continue
        if row[0] in table:
            raise InputError(f"{path}, row {number}: checkpoint {row[0]} appears twice.")
        try:
            cells = zip(header[1:], row[1:], strict=False)
            table[row[0]] = {name: number_of(cell) for name, cell in cells if cell}
        except ValueError as error:
            raise InputError(f"{path}, row {number}: a metric is not a number ({error}).") from error
    return table


def table_of_evaluations(folder: Path, column: str) -> Table:
    """Checkpoint -> metric -> value from `<checkpoint>/metrics.json` as `evaluate -o` writes them, in name order.

    Besides the pairwise metrics of `column`, takes lesion-level true metrics, FID, KID and FRD where computed.
    """
    table = {}
    for path in sorted(folder.glob("*/metrics.json")):
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            row = {metric: report[column][metric] for metric in METRICS}
            row |= {f"lesion_{m}": s["mean"] for m, s in report["statistics"].get("true_in_lesion", {}).items()}
            for name, found in report.get("distances", {}).items():
                row |= {f"{kind}_{name}": found["synthetic_against_real"][kind] for kind in ("fid", "kid")}
            if report.get("radiomics"):
                row["frd"] = report["radiomics"]["frd_v0_as_published" if column == "as_published" else "frd_v0"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is not a result of `evaluate` ({type(error).__name__}).") from error
        table[path.parent.name] = {name: float(value) for name, value in row.items() if value is not None}
    return table


def chosen_metrics(table: Mapping[str, Mapping[str, float]], wanted: list[str] | None) -> Table:
    """The table with the wanted metrics, or with those that every checkpoint has."""
    common = [name for name in next(iter(table.values()), {}) if all(name in row for row in table.values())]
    unknown = [name for name in wanted or () if name not in common]
    if unknown:
        raise InputError(
            f"Not every checkpoint has {', '.join(unknown)}; all have {', '.join(common) or 'none in common'}."
        )
    return {checkpoint: {name: row[name] for name in wanted or common} for checkpoint, row in table.items()}


def _figure(ranking: Ranking, data: str) -> Figure:
    """Scaled metrics as thin lines and SAMe as a thick one over the checkpoints, the winner marked."""
    names = list(ranking.same)
    figure = new_figure(max(5.0, 0.5 * len(names) + 3), 4)
    axis = figure.subplots()
    for metric in next(iter(ranking.scaled.values())):
        axis.plot([ranking.scaled[name][metric] for name in names], lw=1, alpha=0.6, label=metric)
    axis.plot([ranking.same[name] for name in names], "k-o", lw=2.5, label="SAMe")
    best = names.index(ranking.winners[0])
    axis.plot(best, ranking.same[names[best]], "*", ms=16, color="C3", label=f"chosen: {names[best]}")
    axis.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axis.set(ylabel="scaled, 0 best", ylim=(-0.05, 1.05))
    axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(f"Data: {data}", fontsize=8, color="0.35")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure
