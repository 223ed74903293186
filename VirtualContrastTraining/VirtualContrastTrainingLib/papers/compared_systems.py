"""Several systems on the same cases (Tables 1 and 2 of Chung et al. 2025): image quality and enhancement curves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import SimpleITK as sitk
from VirtualContrastLib.events import InputError

from ..data.cases import case_folders
from ..metrics.evaluation import DEFINITIONS as METRIC_DEFINITIONS
from ..metrics.evaluation import Evaluation, Settings
from ..metrics.kinetics import DEFINITIONS as CURVE_DEFINITIONS
from ..metrics.kinetics import kinetic_report
from ..metrics.pairs import Pair, images_in
from .kinetic_cases import curves_of_volumes
from .reports import html_table, interval_figure, write_json, write_page, write_table
from .table_options import TableOptions

MEASURES = {
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "lesion_mae": "MAE in lesions",
    "enhancement_error": "enhancement error (points of PE)",
    "enhancement_error_squared": "squared enhancement error",
    "spearman": "SCC",
    "dtw": "DTW (points of PE)",
}
_FROM_CURVES = ("enhancement_error", "enhancement_error_squared", "spearman", "dtw")
NOTHING_DONE = "pre-contrast for every phase (baseline)"


def write_systems(name: str, title: str, real: Path, folder: Path, options: TableOptions) -> dict[str, Any]:
    """Write the table as CSV, JSON, PNG and HTML; a row for each of `options.systems`, and the baseline.

    `real` holds prepared cases, each system's folder a folder a case: a result folder, or phases/phase_N. Cases that
    cannot be used go to `options.failures`. Raises InputError where a system has no usable case.
    """
    results = {}
    with _with_baseline(real, options.systems) as systems:
        for label, place in systems.items():
            results[label] = measure_system(label, real, place, options)
    columns = ["system", *(f"{text}{part}" for text in MEASURES.values() for part in ("", " low", " high")), "cases"]
    rows = [_row(label, found) for label, found in results.items()]
    write_table(folder, name, columns, rows)
    definitions = {key: CURVE_DEFINITIONS[key] for key in _FROM_CURVES}
    definitions |= {key: METRIC_DEFINITIONS[key] for key in ("psnr", "ssim")}
    definitions["lesion_mae"] = f"inside lesions: {METRIC_DEFINITIONS['mae']}"
    result = {"table": name, "data": options.data, "systems": results, "definitions": definitions}
    write_json(folder / f"{name}.json", result)
    panels = {text: [found[key] for found in results.values()] for key, text in MEASURES.items()}
    interval_figure(list(results), panels, options.data or "").savefig(folder / f"{name}.png", dpi=150)
    notes = [f"Data: {options.data}.", "Intervals: 95 %, percentile bootstrap over patients."]
    notes += [f"{MEASURES[key]}: {text}." for key, text in definitions.items()]
    image = f'<img src="{name}.png" alt="measures with intervals by system">'
    write_page(folder / f"{name}.html", title, [_page_table(results), image], notes)
    return result


def measure_system(label: str, real: Path, made: Path, options: TableOptions) -> dict[str, Any]:
    """Statistics of one system over the cases below `real`, by key of MEASURES; None where nothing gave one."""
    evaluation = Evaluation(Settings(repeats=options.repeats, seed=options.seed))
    usable = [pair for pair in _pairs(label, real, made, options) if evaluation.try_add(pair)]
    options.failures += [f"{label}: {failure.sentence}" for failure in evaluation.failures]
    statistics = evaluation.report()["statistics"]
    found = {key: statistics["true"].get(key) for key in ("psnr", "ssim")}
    found["lesion_mae"] = statistics.get("true_in_lesion", {}).get("mae")
    curves = curves_of_volumes(real, made)
    options.failures += [f"{label}: {sentence}" for _, sentence in curves.failed]
    report = kinetic_report(curves.pairs, repeats=options.repeats, seed=options.seed) if curves.pairs else None
    found |= {key: None if report is None else report["statistics"][key] for key in _FROM_CURVES}
    return {**found, "cases": len({pair.patient for pair in usable})}


def _pairs(label: str, real: Path, made: Path, options: TableOptions) -> Iterator[Pair]:
    """Each phase that a system made with the real one of its number; a case that it lacks is a failure."""
    for case in case_folders(real):
        lesion = case / "lesions.nrrd"
        own = made / case.name
        phases = [path for path in images_in(own) if (case / f"{path.name.split('.')[0]}.nrrd").is_file()]
        if not phases:
            options.failures.append(f"{label}: {own} holds no phase that {case} has.")
        for path in phases:
            truth = case / f"{path.name.split('.')[0]}.nrrd"
            if path.name.startswith("phase_"):
                yield Pair(truth, path, case.name, lesion=lesion if lesion.is_file() else None)


@contextmanager
def _with_baseline(real: Path, systems: Mapping[str, Path]) -> Iterator[Mapping[str, Path]]:
    """The systems, and what doing nothing gives: the pre-contrast volume for every phase."""
    if not systems:
        raise InputError("Name what each system synthesized with --system NAME=FOLDER.")
    with tempfile.TemporaryDirectory(prefix="virtual-contrast-baseline-") as place:
        for case in case_folders(real):
            pre = sitk.ReadImage(str(case / "pre.nrrd"))
            for path in case.glob("phase_*.nrrd"):
                target = Path(place) / case.name / "phases" / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                sitk.WriteImage(pre, str(target))
        yield {**systems, NOTHING_DONE: Path(place)}


def _row(label: str, found: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"system": label, "cases": found["cases"]}
    for key, text in MEASURES.items():
        if found[key] is not None:
            low, high = found[key]["ci95"] or (None, None)
            row |= {text: found[key]["mean"], f"{text} low": low, f"{text} high": high}
    return row


def _page_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Mean and interval in one cell, as papers print it."""
    rows = []
    for label, found in results.items():
        row: dict[str, Any] = {"system": label, "cases": found["cases"]}
        for key, text in MEASURES.items():
            if found[key] is not None:
                interval = "" if found[key]["ci95"] is None else " ({:.3g} to {:.3g})".format(*found[key]["ci95"])
                row[text] = f"{found[key]['mean']:.3g}{interval}"
        rows.append(row)
    return html_table(["system", *MEASURES.values(), "cases"], rows)
