"""Several systems on the same cases (Tables 1 and 2 of Chung et al. 2025): image quality and enhancement curves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import SimpleITK as sitk
from VirtualContrastLib.events import InputError
from VirtualContrastLib.metrics.measure import Measure, definitions

from ..data.cases import case_folders
from ..metrics.evaluation import Evaluation, Settings
from ..metrics.kinetics import kinetic_report
from ..metrics.measures import CURVES, IMAGE
from ..metrics.pairs import Pair, has_own_scale, images_in
from .kinetic_cases import curves_of_volumes
from .named_table import INTERVALS, MeasuredRows, NamedTable, explained
from .table_options import TableOptions

_IMAGE = tuple(measure for measure in IMAGE if measure.name in ("psnr", "ssim"))
_LESION_MAE = Measure(
    "lesion_mae",
    "MAE in lesions",
    "files",
    "lower",
    "inside lesions: mean absolute error, units of the files; 0 and up, 0 is equal",
)
_FROM_CURVES = tuple(measure for measure in CURVES if not measure.name.startswith(("same_", "kappa")))
MEASURES = (*_IMAGE, _LESION_MAE, *_FROM_CURVES)
NOTHING_DONE = "pre-contrast for every phase (baseline)"


def write_systems(name: str, title: str, real: Path, folder: Path, options: TableOptions) -> dict[str, Any]:
    """Write the table of systems as CSV, JSON, PNG and HTML: one row per system, and the baseline.

    Args:
        name: Name of the table, which the files get.
        title: Title of the table.
        real: Folder of prepared cases.
        folder: Folder of the files.
        options: Options of the table, with the systems' folders (one folder per case: a result folder, or
            phases/phase_N); cases that cannot be used go to its `failures`.

    Returns:
        What the JSON holds.

    Raises:
        InputError: A system has no usable case.
    """
    results = {}
    with _with_baseline(real, options.systems) as systems:
        for label, place in systems.items():
            results[label] = measure_system(label, real, place, options)
    rows = MeasuredRows("system", results, MEASURES)
    said = definitions(MEASURES)
    return NamedTable(
        name,
        title,
        rows.columns,
        rows.rows,
        {"table": name, "data": options.data, "systems": results, "definitions": said},
        rows.figure(options.data or ""),
        "measures with intervals by system",
        [f"Data: {options.data}.", INTERVALS, *explained(MEASURES, said)],
        [rows.page_table],
    ).write(folder)


def measure_system(label: str, real: Path, made: Path, options: TableOptions) -> dict[str, Any]:
    """Statistics of one system over all cases.

    Args:
        label: Its name.
        real: Folder of prepared cases.
        made: Folder of what it synthesized.
        options: Options of the table.

    Returns:
        Statistics by key of MEASURES; None where nothing gave one.
    """
    evaluation = Evaluation(Settings(repeats=options.repeats, seed=options.seed))
    usable = [pair for pair in _pairs(label, real, made, options) if evaluation.try_add(pair)]
    options.failures += [f"{label}: {failure.sentence}" for failure in evaluation.failures]
    report = evaluation.report()
    inside = report.summary("true_in_lesion", "mae")
    measured = {measure.name: report.summary("true", measure.name) for measure in _IMAGE} | {"lesion_mae": inside}
    found = {name: None if summary is None else summary.as_dict() for name, summary in measured.items()}
    curves = curves_of_volumes(real, made)
    options.failures += [f"{label}: {sentence}" for _, sentence in curves.failed]
    kinetic = kinetic_report(curves.pairs, repeats=options.repeats, seed=options.seed) if curves.pairs else None
    of_curves = {} if kinetic is None else kinetic["statistics"]
    found |= {measure.name: of_curves.get(measure.name) for measure in _FROM_CURVES}
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
                masked = lesion if lesion.is_file() else None
                yield Pair(truth, path, case.name, lesion=masked, own_scale=has_own_scale(path))


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
