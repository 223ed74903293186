"""Several systems on the same cases (Tables 1 and 2 of Chung et al. 2025): image quality and enhancement by phase."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import SimpleITK as sitk
from VirtualContrastLib.events import InputError
from VirtualContrastLib.metrics.measure import Measure, definitions
from VirtualContrastLib.metrics.own_scale import image_on_own_scale
from VirtualContrastLib.results.manifest import SYNTHESIS
from VirtualContrastLib.results.writer import ResultWriter

from ..data.cases import case_folders
from ..metrics.bootstrap import Summary
from ..metrics.evaluation import Evaluation, EvaluationReport, Settings
from ..metrics.kinetics import kinetic_report
from ..metrics.measured_pair import measure
from ..metrics.measures import CURVES, IMAGE
from ..metrics.pairs import Pair, has_own_scale, images_in, phase_number
from .kinetic_cases import curves_of_volumes
from .named_table import INTERVALS, MeasuredRows, NamedTable, explained
from .normalized_curves import BY_PHASE as ENHANCEMENT_BY_PHASE
from .normalized_curves import NORMALIZED, normalized_cases, normalized_statistics
from .phantom_cohort import short_manifest
from .table_options import TableOptions

_IMAGE = tuple(measure for measure in IMAGE if measure.name in ("psnr", "ssim"))
_LESION_MAE = Measure(
    "lesion_mae",
    "MAE in lesions",
    "files",
    "lower",
    "inside lesions: mean absolute error, units of the files; 0 and up, 0 is equal",
)
_FROM_CURVES = tuple(measure for measure in CURVES if measure.name in ("enhancement_error", "spearman"))
MEASURES = (*_IMAGE, _LESION_MAE, *_FROM_CURVES, *NORMALIZED)
"""Over all phases; those of single phases are `measures_of_phase`."""
NOTHING_DONE = "pre-contrast for every phase (baseline)"
REPEATED = "phase 1 for every later phase (baseline)"
ON_OWN_SCALE = ", on 0..255"
SCALES = (
    "Systems in arbitrary units (as-published models) and the copies beside them are measured on 0..255, every volume "
    "by its own minimum and maximum; others in units of the files."
)
_ORDER = tuple(float(number) for number in range(1, 100))
"""In the place of seconds, which not every case knows: no measure of these tables depends on more than the order."""


def measures_of_phase(phase: int) -> tuple[Measure, ...]:
    """The columns of one time point: PSNR, SSIM and enhancement error."""
    of_phase = (*_IMAGE, ENHANCEMENT_BY_PHASE)
    return tuple(
        Measure(f"{m.name}_{phase}", f"{m.label}, phase {phase}", m.unit, m.better, m.definition) for m in of_phase
    )


@dataclass(frozen=True)
class SystemScores:
    """One system over all cases.

    Attributes:
        cases: number of cases.
        phases: time points that it made.
        summaries: summary by name of the measure, None where nothing gave one.
    """

    cases: int
    phases: Sequence[int]
    summaries: Mapping[str, Summary | None]

    def as_json(self) -> dict[str, object]:
        """The summaries beside the counts."""
        return {**self.summaries, "cases": self.cases, "phases": self.phases}


@dataclass(frozen=True)
class SystemsReport:
    """What a table of systems found.

    Attributes:
        table: its name.
        data: what was measured, in words.
        systems: scores by name.
        definitions: definition by measure.
    """

    table: str
    data: str
    systems: Mapping[str, SystemScores]
    definitions: Mapping[str, str]


def write_systems(name: str, title: str, real: Path, folder: Path, options: TableOptions) -> SystemsReport:
    """Write the table of systems as CSV, JSON, PNG and HTML: one row per system, and two baselines.

    Args:
        name: Name of the table, which the files get.
        title: Title of the table.
        real: Folder of prepared cases.
        folder: Folder of the files.
        options: Options of the table, with the systems' folders (one folder per case: a result folder, or
            phases/phase_N); cases that cannot be used go to its `failures`.

    Returns:
        What was found.

    Raises:
        InputError: A system has no usable case.
    """
    with _with_baselines(real, options.systems) as systems:
        results = {label: measure_system(label, real, place, options) for label, place in systems.items()}
    phases = sorted({phase for label in options.systems for phase in results[label].phases})
    by_phase = tuple(measure for phase in phases for measure in measures_of_phase(phase))
    absent: dict[str, Summary | None] = {measure.name: None for measure in by_phase}
    results = {label: replace(found, summaries=absent | dict(found.summaries)) for label, found in results.items()}
    rows = MeasuredRows("system", results, (*by_phase, *MEASURES))
    said = definitions(MEASURES) | {ENHANCEMENT_BY_PHASE.name: ENHANCEMENT_BY_PHASE.definition}
    report = SystemsReport(name, options.data or "", results, said)
    NamedTable(
        name,
        title,
        rows.columns,
        rows.rows,
        report,
        rows.figure(report.data),
        "measures with intervals by system",
        [f"Data: {report.data}.", INTERVALS, SCALES, *explained((*MEASURES, ENHANCEMENT_BY_PHASE), said)],
        [rows.page_table],
    ).write(folder)
    return report


def measure_system(label: str, real: Path, made: Path, options: TableOptions) -> SystemScores:
    """Statistics of one system over all cases.

    Args:
        label: Its name.
        real: Folder of prepared cases.
        made: Folder of what it synthesized.
        options: Options of the table.

    Returns:
        Its scores.
    """
    settings = Settings(repeats=options.repeats, seed=options.seed)
    whole = Evaluation(settings)
    by_phase: dict[int, Evaluation] = {}
    patients = set()
    for phase, pair in _pairs(label, real, made, options):
        try:
            measured = measure(pair, settings)
        except InputError as error:
            options.failures.append(f"{label}: {error}")
            continue
        patients.add(pair.patient)
        for evaluation in (whole, by_phase.setdefault(phase, Evaluation(settings))):
            evaluation.take(pair, measured)
    overall = whole.report()
    found = _of_images(overall, "")
    found["lesion_mae"] = overall.summary("true_in_lesion", "mae")
    for phase, evaluation in by_phase.items():
        found |= _of_images(evaluation.report(), f"_{phase}")
    return SystemScores(len(patients), sorted(by_phase), found | _of_curves(label, real, made, options))


def _of_images(report: EvaluationReport, suffix: str) -> dict[str, Summary | None]:
    return {f"{measure.name}{suffix}": report.summary("true", measure.name) for measure in _IMAGE}


def _of_curves(label: str, real: Path, made: Path, options: TableOptions) -> dict[str, Summary | None]:
    """What the lesions' curves give, as percent enhancement and in units of TI-norm."""
    curves = curves_of_volumes(real, made, times_s=_ORDER)
    options.failures += [f"{label}: {sentence}" for _, sentence in curves.failed]
    report = kinetic_report(curves.pairs, repeats=options.repeats, seed=options.seed) if curves.pairs else None
    statistics = {} if report is None else report.statistics
    found = {measure.name: statistics.get(measure.name) for measure in _FROM_CURVES}
    cases = normalized_cases(real, made, {pair.patient for pair in curves.pairs})
    return found | normalized_statistics(curves.pairs, cases, repeats=options.repeats, seed=options.seed)


def _pairs(label: str, real: Path, made: Path, options: TableOptions) -> Iterator[tuple[int, Pair]]:
    """Each phase that a system made with the real one of its number; a case that it lacks is a failure."""
    for case in case_folders(real):
        lesion = case / "lesions.nrrd"
        masked = lesion if lesion.is_file() else None
        phases = [(phase_number(path), path) for path in images_in(made / case.name)]
        numbered = [(n, path) for n, path in phases if n is not None and (case / f"phase_{n}.nrrd").is_file()]
        if not numbered:
            options.failures.append(f"{label}: {made / case.name} holds no phase that {case} has.")
        for number, path in numbered:
            truth = case / f"phase_{number}.nrrd"
            yield number, Pair(truth, path, case.name, lesion=masked, own_scale=has_own_scale(path))


@contextmanager
def _with_baselines(real: Path, systems: Mapping[str, Path]) -> Iterator[Mapping[str, Path]]:
    """The systems, and what copying gives: the pre-contrast volume for every phase, and phase 1 for the later ones.

    Copies have the units of the systems: as acquired, or 0..255 as those of as-published models; both where the systems
    differ in that.
    """
    if not systems:
        raise InputError("Name what each system synthesized with --system NAME=FOLDER.")
    scales = sorted({any(map(has_own_scale, images_in(folder))) for folder in systems.values()})
    with tempfile.TemporaryDirectory(prefix="virtual-contrast-baseline-") as place:
        copies = {NOTHING_DONE: ("pre.nrrd", 1), REPEATED: ("phase_1.nrrd", 2)}
        folders: dict[str, Path] = {}
        for own in scales:
            for label, (source, first) in copies.items():
                folder = Path(place) / str(len(folders))
                if _copied(real, source, first, folder, own_scale=own):
                    folders[label + ON_OWN_SCALE * (own and len(scales) > 1)] = folder
        yield {**folders, **systems}


def _copied(real: Path, source: str, first: int, folder: Path, *, own_scale: bool) -> bool:
    """Write `source` of each case as result folders for its phases from `first` on; False where no case has any."""
    written = False
    for case in case_folders(real):
        numbers = sorted(number for path in case.glob("phase_*.nrrd") if (number := phase_number(path)) is not None)
        phases = [{"index": n, "time_s": None, "file": f"phases/phase_{n}.nrrd"} for n in numbers if n >= first]
        if not phases or not (case / source).is_file():
            continue
        image = sitk.ReadImage(str(case / source))
        with ResultWriter(folder / case.name) as writer:
            for phase in phases:
                writer.image(image_on_own_scale(image) if own_scale else image, str(phase["file"]))
            writer.finish(short_manifest(SYNTHESIS, phases, arbitrary_units=own_scale))
        written = True
    return written
