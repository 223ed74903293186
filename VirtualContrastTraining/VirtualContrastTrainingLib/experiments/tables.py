"""Tables of the papers by name: the same rows for any data, with true and as-published columns side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VirtualContrastLib.events import InputError

from ..metrics.evaluation import AS_PUBLISHED_MEANING, METRICS, Evaluation, Settings, evaluate
from ..metrics.pairs import Pair
from .mama_synth import write_mama_synth
from .mammography import write_mammography
from .phantom_cohort import data_given
from .reports import LABELS, html_table, interval_figure, write_json, write_page, write_table
from .segmentation import write_segmentation
from .table_options import TableOptions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TABLES", "TableOptions", "write_named_table"]

TABLES = {
    "osuala2025-table2": "Image quality of single-phase synthesis, and of the pre-contrast image as baseline",
    "osuala2025-table3": "Tumor segmentation by scenario",
    "osuala2025-table4": "Image quality of multi-phase synthesis, per phase, images and subtraction images",
    "cem-change": "Contrast-enhanced mammography: contrast-to-noise ratio and change from the low-energy image",
    "mama-synth": "MAMA-SYNTH 2026 protocol",
}


@dataclass(frozen=True)
class Row:
    """One row of a table: what is compared with the real phases, and on which images."""

    label: str
    pairs: Sequence[Pair]
    subtraction: str | None = None


def write_named_table(
    name: str, source: Sequence[Pair] | Path, folder: Path, options: TableOptions | None = None
) -> dict[str, Any]:
    """Compute a table by its name and write it as CSV, JSON, PNG and HTML into `folder`; returns what the JSON holds.

    `source` are pairs of images; for osuala2025-table3 the folder of true label maps, or of phantom cases. Raises
    InputError where the source lacks what the table needs.
    """
    options = options or TableOptions()
    title = f"{name}: {TABLES[name]}"
    if isinstance(source, Path):
        return write_segmentation(name, title, source, folder, options)
    options.data = options.data or data_given(pair.real.parent for pair in source)
    if name == "mama-synth":
        return write_mama_synth(title, source, folder, options)
    if name == "cem-change":
        return write_mammography(name, title, source, folder, options)
    rows = _table2(source) if name == "osuala2025-table2" else _table4(source)
    protocol = "spie2024" if name == "osuala2025-table2" else "jmi2025-table4"
    reports = {}
    for row in rows:
        settings = Settings(protocol, row.subtraction, options.repeats, options.seed)
        evaluation = Evaluation(settings, options.lpips, options.lpips_missing)
        reports[row.label] = evaluate(row.pairs, evaluation)
        options.failures += [f"{row.label}: {failure.sentence}" for failure in evaluation.failures]
    return _write(name, title, reports, folder, options.data)


def _table2(pairs: Sequence[Pair]) -> list[Row]:
    """Rows of the first phase; images that name no phase all count."""
    pairs = [pair for pair in pairs if _phase_number(pair.real) in (None, 1)]
    if not pairs:
        raise InputError("osuala2025-table2 is about the first post-contrast phase, of which there is no image.")
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
    number = _phase_number(path)
    if number is None:
        raise InputError(f"{path} names no phase; its name must hold phase_N or, as in the Duke files, _000N.")
    return number


def _phase_number(path: Path) -> int | None:
    """The N of phase_N or, as in the Duke files, of _000N; None where the name has neither."""
    found = re.search(r"phase_(\d+)", path.name) or re.search(r"_000(\d)(?=_|\.)", path.name)
    return None if found is None else int(found.group(1))


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
    _figure(reports, data).savefig(folder / f"{name}.png", dpi=150)
    notes = [f"Data: {data}.", f"As published: {AS_PUBLISHED_MEANING}."]
    notes += sorted({note for report in reports.values() for note in report["notes"].values()})
    failed = {label: len(report["failed"]) for label, report in reports.items() if report["failed"]}
    notes += [f"{label}: {count} pairs could not be measured." for label, count in failed.items()]
    image = f'<img src="{name}.png" alt="true metrics with intervals">'
    write_page(folder / f"{name}.html", title, [_page_table(reports), image], notes)
    return result


def _page_table(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """The table as people read it: a metric that no row has is left out."""
    kinds = {"true": "", "as_published": ", as published"}
    columns = [(group, m) for m in METRICS for group in kinds if any(r[group][m] is not None for r in reports.values())]
    names = {key: f"{LABELS[key[1]]}{kinds[key[0]]}" for key in columns}
    rows = [
        {
            "row": label,
            **{names[key]: report[key[0]][key[1]] for key in columns},
            "slices": report["slices"],
            "patients": report["patients"],
        }
        for label, report in reports.items()
    ]
    return html_table(["row", *names.values(), "slices", "patients"], rows)


def _figure(reports: Mapping[str, Mapping[str, Any]], data: str) -> Figure:
    """True metrics of each row with their interval by patient."""
    panels = {
        LABELS[metric]: [report["statistics"]["true"].get(metric) for report in reports.values()]
        for metric in METRICS
        if any(metric in report["statistics"]["true"] for report in reports.values())
    }
    return interval_figure(list(reports), panels, data)
