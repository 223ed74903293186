"""Tables of the papers by name: the same rows for any data, with true and as-published columns side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VirtualContrastLib.events import InputError

from ..metrics.evaluation import AS_PUBLISHED_MEANING, METRICS, Evaluation, Settings, evaluate
from ..metrics.lpips import Lpips
from ..metrics.mamasynth import Case, protocol
from ..metrics.pairs import Pair, attach
from .reports import LABELS, html_table, new_figure, write_json, write_page, write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLES = {
    "osuala2025-table2": "Image quality of single-phase synthesis, and of the pre-contrast image as baseline",
    "osuala2025-table4": "Image quality of multi-phase synthesis, per phase, images and subtraction images",
    "mama-synth": "MAMA-SYNTH 2026 protocol",
}


@dataclass(frozen=True)
class Row:
    """One row of a table: what is compared with the real phases, and on which images."""

    label: str
    pairs: Sequence[Pair]
    subtraction: str | None = None


def write_named_table(
    name: str,
    pairs: Sequence[Pair],
    folder: Path,
    *,
    lpips: Lpips | None = None,
    lpips_missing: str = "",
    predicted_masks: Path | None = None,
    z_scored: bool = False,
) -> dict[str, Any]:
    """Compute a table by its name and write it as CSV, JSON, PNG and HTML into `folder`; returns what the JSON holds.

    Raises InputError where the pairs lack what the table needs.
    """
    title = f"{name}: {TABLES[name]}"
    data = "phantoms" if _on_phantoms(pairs) else "images given"
    if name == "mama-synth":
        return _mama_synth(title, pairs, folder, lpips, lpips_missing, predicted_masks, z_scored, data)
    rows = _table2(pairs) if name == "osuala2025-table2" else _table4(pairs)
    settings = Settings("spie2024" if name == "osuala2025-table2" else "jmi2025-table4")
    reports = {}
    for row in rows:
        evaluation = Evaluation(replace(settings, subtraction=row.subtraction), lpips, lpips_missing)
        reports[row.label] = evaluate(row.pairs, evaluation)
    return _write(name, title, reports, folder, data)


def _table2(pairs: Sequence[Pair]) -> list[Row]:
    rows = [Row("synthetic", pairs)]
    if all(pair.pre is not None for pair in pairs):
        rows.append(Row("pre-contrast (baseline)", [_baseline(pair) for pair in pairs]))
    return rows


def _table4(pairs: Sequence[Pair]) -> list[Row]:
    phases: dict[int, list[Pair]] = {}
    for pair in pairs:
        phases.setdefault(_phase_of(pair.real), []).append(pair)
    with_pre = all(pair.pre is not None for pair in pairs)
    rows = []
    for kind in (None, "clipped") if with_pre else (None,):
        images = "Subt" if kind else "DCE"
        for phase, own in sorted(phases.items()):
            rows.append(Row(f"{images} P{phase} synthetic", own, kind))
            if with_pre and kind is None:
                rows.append(Row(f"{images} P{phase} pre-contrast (baseline)", [_baseline(pair) for pair in own]))
    return rows


def _baseline(pair: Pair) -> Pair:
    assert pair.pre is not None
    return replace(pair, synthetic=pair.pre)


def _phase_of(path: Path) -> int:
    found = re.search(r"phase_(\d+)", path.name) or re.search(r"_000(\d)(?=_|\.)", path.name)
    if found is None:
        raise InputError(f"{path} names no phase; its name must hold phase_N or, as in the Duke files, _000N.")
    return int(found.group(1))


def _on_phantoms(pairs: Sequence[Pair]) -> bool:
    return all((pair.real.parent / "case.json").is_file() for pair in pairs)


def _write(name: str, title: str, reports: Mapping[str, Mapping[str, Any]], folder: Path, data: str) -> dict[str, Any]:
    columns = [
        "row",
        *(f"{LABELS[m]} {kind}" for m in METRICS for kind in ("true", "as published")),
        "slices",
        "patients",
    ]
    rows = []
    for label, report in reports.items():
        row: dict[str, Any] = {"row": label, "slices": report["slices"], "patients": report["patients"]}
        for metric in METRICS:
            row[f"{LABELS[metric]} true"] = report["true"][metric]
            row[f"{LABELS[metric]} as published"] = report["as_published"][metric]
        rows.append(row)
    write_table(folder, name, columns, rows)
    result = {"table": name, "data": data, "rows": dict(reports)}
    write_json(folder / f"{name}.json", result)
    _figure(reports).savefig(folder / f"{name}.png", dpi=150)
    notes = [f"Data: {data}.", f"As published: {AS_PUBLISHED_MEANING}."]
    notes += sorted({note for report in reports.values() for note in report["notes"].values()})
    image = f'<img src="{name}.png" alt="true metrics with intervals">'
    write_page(folder / f"{name}.html", title, [html_table(columns, rows), image], notes)
    return result


def _figure(reports: Mapping[str, Mapping[str, Any]]) -> Figure:
    """True metrics of each row with their interval by patient."""
    figure = new_figure(11, 1.5 + 0.5 * len(reports) * 2)
    names = list(reports)
    for axis, metric in zip(figure.subplots(2, 3, sharey=True).flat, METRICS, strict=True):
        for y, name in enumerate(names):
            found = reports[name]["statistics"]["true"].get(metric)
            if found is not None:
                axis.plot(found["mean"], y, "o", color="C0")
                if found["ci95"]:
                    axis.plot(found["ci95"], [y, y], color="C0")
        axis.set(title=LABELS[metric], yticks=range(len(names)), yticklabels=names)
        axis.set_ylim(len(names) - 0.5, -0.5)
    return figure


def _mama_synth(
    title: str,
    pairs: Sequence[Pair],
    folder: Path,
    lpips: Lpips | None,
    lpips_missing: str,
    predicted_masks: Path | None,
    z_scored: bool,
    data: str,
) -> dict[str, Any]:
    masks: list[Path | None] = [None] * len(pairs)
    if predicted_masks is not None:
        masks = [pair.breast for pair in attach([replace(p, breast=None) for p in pairs], "breast", predicted_masks)]
    cases = [Case(pair, mask) for pair, mask in zip(pairs, masks, strict=True)]
    found = protocol(cases, lpips=lpips, lpips_missing=lpips_missing, z_scored=z_scored)
    rows = [
        {"metric": metric, **(found[metric] or {})}
        for metric in found
        if metric not in ("notes", "cases", "without_prediction")
    ]
    columns = ("metric", "mean", "std", "n")
    write_table(folder, "mama-synth", columns, rows)
    result = {"table": "mama-synth", "data": data, **found}
    write_json(folder / "mama-synth.json", result)
    notes = [f"Data: {data}. {found['cases']} cases.", *(f"{name}: {note}" for name, note in found["notes"].items())]
    write_page(folder / "mama-synth.html", title, [html_table(columns, rows)], notes)
    return result
