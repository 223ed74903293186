"""Image-quality tables of the papers: the same rows for any data, true and as-published columns side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VirtualContrastLib.events import InputError

from ..metrics.as_published import PROTOCOLS
from ..metrics.distributions import Preparation, image_distances
from ..metrics.evaluation import AS_PUBLISHED_MEANING, Evaluation, EvaluationReport, Settings
from ..metrics.pairs import Pair
from ..metrics.radiomics_distance import lesion_distance
from .mama_synth import write_mama_synth
from .mammography import write_mammography
from .named_table import NamedTable
from .outputs import OUTPUTS
from .phantom_cohort import data_given
from .reports import LABELS, html_table, interval_figure
from .segmentation import write_segmentation
from .table_options import TableOptions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TableOptions", "write_named_table"]

NO_NETWORKS = (
    "FID and KID need weights of a feature network: --fid imagenet=FILE (or imagenet=download) and --fid "
    "radimagenet=FILE."
)
NO_RADIOMICS = "The radiomics distance (FRD) of the lesions is computed with --radiomics."
PAPERS_NETWORKS = ("imagenet", "radimagenet")
FRD = ("frd_v0", "frd_v0_as_published", "frd_v1")
HALVES = "real against real (patients in halves)"


@dataclass(frozen=True)
class Row:
    """One row of a table: what is compared with the real phases, and on which images."""

    label: str
    pairs: Sequence[Pair]
    subtraction: str | None = None


@dataclass(frozen=True)
class Measured:
    """One row's report; `distances` by feature network, `radiomics` None where not asked for."""

    report: EvaluationReport
    distances: Mapping[str, Mapping[str, Any]]
    radiomics: Mapping[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        """Plain values for the JSON file."""
        return {**self.report.as_json(), "distances": self.distances, "radiomics": self.radiomics}


def write_named_table(
    name: str, source: Sequence[Pair] | Path, folder: Path, options: TableOptions | None = None
) -> dict[str, Any]:
    """Compute a table by its name and write it as CSV, JSON, PNG and HTML.

    Args:
        name: Name of the table.
        source: Pairs of images; for segmentation the folder of true label maps, or of phantom cases.
        folder: Folder of the files.
        options: Options of the table; None for the defaults.

    Returns:
        What the JSON holds.

    Raises:
        InputError: The source lacks what the table needs.
    """
    options = options or TableOptions()
    kind = OUTPUTS[name].kind
    title = f"{name}: {OUTPUTS[name].title}"
    if isinstance(source, Path):
        return write_segmentation(name, title, source, folder, options)
    options.data = options.data or data_given(pair.real.parent for pair in source)
    if kind == "mama_synth":
        return write_mama_synth(title, source, folder, options)
    if kind == "mammograms":
        return write_mammography(name, title, source, folder, options)
    rows = _first_phase(source, name) if kind == "quality" else _every_phase(source)
    protocol = "spie2024" if kind == "quality" else "jmi2025-table4"
    reports = {row.label: _measure(row, protocol, options) for row in rows}
    return _write(name, title, reports, folder, options)


def _measure(row: Row, protocol: str, options: TableOptions) -> Measured:
    """What a row's pairs measure."""
    evaluation = Evaluation(
        Settings(protocol, row.subtraction, options.repeats, options.seed), options.lpips, options.lpips_missing
    )
    usable = [pair for pair in row.pairs if evaluation.try_add(pair)]
    options.failures += [f"{row.label}: {failure.sentence}" for failure in evaluation.failures]
    own = PROTOCOLS[protocol]
    preparation = Preparation(size=224 if own.size == 224 else 299, normalize=own.normalize)
    distances = {
        name: image_distances(usable, network, preparation, seed=options.seed, subtract=row.subtraction is not None)
        for name, network in options.networks.items()
    }
    radiomics = lesion_distance(usable) if options.radiomics and row.subtraction is None else None
    return Measured(evaluation.report(), distances, radiomics)


def _first_phase(pairs: Sequence[Pair], name: str) -> list[Row]:
    """Rows of the first phase; images that name no phase all count."""
    pairs = [pair for pair in pairs if _phase_number(pair.real) in (None, 1)]
    if not pairs:
        raise InputError(f"{name} is about the first post-contrast phase, of which there is no image.")
    rows = [Row("synthetic", pairs)]
    if all(pair.pre is not None for pair in pairs):
        rows.append(Row("pre-contrast (baseline)", [_baseline(pair) for pair in pairs]))
    return rows


def _every_phase(pairs: Sequence[Pair]) -> list[Row]:
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
    return pair.against(pair.pre)


def _phase_of(path: Path) -> int:
    number = _phase_number(path)
    if number is None:
        raise InputError(f"{path} names no phase; its name must hold phase_N or, as in the Duke files, _000N.")
    return number


def _phase_number(path: Path) -> int | None:
    """The N of phase_N or, as in the Duke files, of _000N; None where the name has neither."""
    found = re.search(r"phase_(\d+)", path.name) or re.search(r"_000(\d)(?=_|\.)", path.name)
    return None if found is None else int(found.group(1))


def _write(
    name: str, title: str, reports: Mapping[str, Measured], folder: Path, options: TableOptions
) -> dict[str, Any]:
    rows = _rows(reports, options)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    notes = _notes(reports, options)
    shown = [column for column in columns if any(row.get(column) is not None for row in rows)]
    found = {label: measured.as_json() for label, measured in reports.items()}
    return NamedTable(
        name,
        title,
        columns,
        rows,
        {"table": name, "data": options.data, "rows": found, "notes": notes},
        _figure(reports, options.data or ""),
        "true metrics with intervals",
        [f"Data: {options.data}.", f"As published: {AS_PUBLISHED_MEANING}.", *notes],
        [html_table(shown, rows)],
    ).write(folder)


def _rows(reports: Mapping[str, Measured], options: TableOptions) -> list[dict[str, Any]]:
    """A row each: both columns of every metric, FID and KID by network, FRD; None where not computed."""
    rows = []
    for label, measured in reports.items():
        report, distances = measured.report, measured.distances
        row: dict[str, Any] = {"row": label}
        for metric, text in LABELS.items():
            row[text] = report.mean("true", metric)
            row[f"{text}, as published"] = report.mean("as_published", metric)
        for network in options.networks or PAPERS_NETWORKS:
            found = distances.get(network, {}).get("synthetic_against_real", {})
            row |= {f"FID {network}": found.get("fid"), f"KID {network}": found.get("kid")}
        row |= {f"FRD {kind[4:].replace('_', ' ')}": (measured.radiomics or {}).get(kind) for kind in FRD}
        rows.append(row | {"slices": report.slices, "patients": report.patients})
        halves = {network: found["baseline"] for network, found in distances.items() if found["baseline"]}
        if halves and "baseline" not in label:
            row = {"row": f"{label.removesuffix('synthetic')}{HALVES}"}
            for network, found in halves.items():
                row |= {f"FID {network}": found["fid"], f"KID {network}": found["kid"]}
            rows.append(row | {"slices": report.slices, "patients": report.patients})
    return rows


def _notes(reports: Mapping[str, Measured], options: TableOptions) -> list[str]:
    notes = sorted({note for measured in reports.values() for note in measured.report.notes.values()})
    if not options.networks:
        notes.append(NO_NETWORKS)
    if not options.radiomics:
        notes.append(NO_RADIOMICS)
    of_rows: dict[str, list[str]] = {}
    for label, measured in reports.items():
        if measured.report.failed:
            of_rows.setdefault(f"{len(measured.report.failed)} pairs could not be measured.", []).append(label)
        for network, found in measured.distances.items():
            of_rows.setdefault(f"FID {network}: {found['synthetic_against_real']['note']}", []).append(label)
        if measured.radiomics:
            of_rows.setdefault(f"FRD: {measured.radiomics['note']}", []).append(label)
    return notes + [f"{', '.join(labels)}. {note}" for note, labels in of_rows.items() if not note.endswith(": ")]


def _figure(reports: Mapping[str, Measured], data: str) -> Figure:
    """True metrics of each row with their interval by patient."""
    found = {
        text: [measured.report.summary("true", metric) for measured in reports.values()]
        for metric, text in LABELS.items()
    }
    panels = {
        text: [None if summary is None else summary.as_dict() for summary in summaries]
        for text, summaries in found.items()
        if any(summaries)
    }
    return interval_figure(list(reports), panels, data)
