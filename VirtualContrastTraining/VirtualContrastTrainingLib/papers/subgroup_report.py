"""Scores by subgroup of patients on disk: by.csv, by.html, and a figure for each column."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..metrics.subgroups import DEFINITIONS, GroupScore, Scores
from .evaluation_report import GROUPS, LABELS
from .reports import html_table, interval_figure, write_page, write_table

COLUMNS = (
    "by", "group", "patients", "region", "metric", "mean", "ci95 low", "ci95 high", "n", "minus rest",
    "minus rest low", "minus rest high", "largest gap", "gap low", "gap high", "gap p",
)  # fmt: skip


def write_subgroups(by: Mapping[str, Scores], data: str, folder: Path) -> None:
    """Write by.csv, by.json, by_1.png ... and by.html; group names come from the user's table, patients do not appear.

    Args:
        by: Scores of the groups by column.
        data: What was measured, in words.
        folder: Folder of the files.
    """
    rows = subgroup_rows(by)
    write_table(folder, "by", COLUMNS, rows)
    parts = []
    for number, (column, scores) in enumerate(by.items(), start=1):
        names, panels = _panels(scores)
        interval_figure(names, panels, data).savefig(folder / f"by_{number}.png", dpi=150)
        parts.append(f'<img src="by_{number}.png" alt="means by subgroup">')
        parts.append(html_table(COLUMNS, [row for row in rows if row["by"] == column]))
    notes = [f"Data: {data}.", *(f"{name.replace('_', ' ')}: {text}." for name, text in DEFINITIONS.items())]
    write_page(folder / "by.html", "Subgroups of patients", parts, notes)


def subgroup_rows(by: Mapping[str, Scores]) -> list[dict[str, Any]]:
    """A row per column, subgroup, region and metric; the as-published metrics are left out, they are no quality."""
    rows = []
    for column, scores in by.items():
        for region, label in GROUPS.items():
            for metric, found in scores.get(region, {}).items() if region != "as_published" else ():
                gap_low, gap_high = found.gap_ci95 or (None, None)
                for name, one in found.groups.items():
                    low, high = one.ci95 or (None, None)
                    rest_low, rest_high = one.minus_rest_ci95 or (None, None)
                    cells = (
                        column, name, one.patients, label, LABELS[metric], one.mean, low, high, one.n,
                        one.minus_rest, rest_low, rest_high, found.gap, gap_low, gap_high, found.gap_p,
                    )  # fmt: skip
                    rows.append(dict(zip(COLUMNS, cells, strict=True)))
    return rows


def as_lines(by: Mapping[str, Scores]) -> list[str]:
    """MAE and SSIM of the whole slices by subgroup, for the terminal."""
    lines = []
    for column, scores in by.items():
        for metric in ("mae", "ssim"):
            found = scores.get("true", {}).get(metric)
            if found is None:
                continue
            means = [f"{name} ({one.patients}) {one.mean:.4f}" for name, one in found.groups.items()]
            gap = "" if found.gap is None else f"; largest gap {found.gap:.4f}, p {found.gap_p:.3f}"
            lines.append(f"{LABELS[metric]} by {column} (patients): {', '.join(means)}{gap}")
    return lines


def _panels(scores: Scores) -> tuple[list[str], dict[str, list[GroupScore | None]]]:
    """Names of the subgroups, and their means over whole slices by metric."""
    metrics = scores.get("true", {})
    names = sorted({name for found in metrics.values() for name in found.groups})
    return names, {LABELS[metric]: [found.groups.get(name) for name in names] for metric, found in metrics.items()}
