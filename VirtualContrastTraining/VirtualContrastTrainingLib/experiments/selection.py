"""Table and figure of a checkpoint selection by SAMe (Fig. 4 of the JMI paper)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..metrics.same import Ranking
from .reports import html_table, new_figure, write_page, write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_selection(table: Mapping[str, Mapping[str, float]], ranking: Ranking, folder: Path) -> None:
    """Write same.csv, same.json, same.png and report.html."""
    metrics = list(next(iter(table.values())))
    columns = ("checkpoint", "SAMe", *metrics, *(f"scaled {m}" for m in metrics if m not in ranking.left_out))
    rows = [
        {
            "checkpoint": name,
            "SAMe": ranking.same[name],
            **values,
            **{f"scaled {metric}": value for metric, value in ranking.scaled[name].items()},
        }
        for name, values in table.items()
    ]
    write_table(folder, "same", columns, rows)
    _figure(ranking).savefig(folder / "same.png", dpi=150)
    parts = [f"<p>Chosen: <b>{_escaped(ranking.winners[0])}</b>.</p>", html_table(columns, rows)]
    notes = ["SAMe: unweighted mean of metrics min-max scaled over these checkpoints, 0 best; it changes with the set."]
    if ranking.left_out:
        notes.append(f"Left out, equal for all checkpoints: {', '.join(ranking.left_out)}.")
    write_page(folder / "report.html", "Checkpoint selection", [*parts, '<img src="same.png" alt="SAMe">'], notes)


def _escaped(text: str) -> str:
    import html

    return html.escape(text)


def _figure(ranking: Ranking) -> Figure:
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
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure
