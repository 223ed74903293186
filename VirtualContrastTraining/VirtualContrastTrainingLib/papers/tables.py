"""Image-quality tables of the papers: the same rows for any data, true and as-published columns side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VirtualContrastLib.events import InputError

from ..data.tumor_slices import PUBLISHED_MARGIN
from ..metrics.as_published import PROTOCOLS
from ..metrics.distributions import ImageDistances, KnownFeatures, Preparation, SetDistance, image_distances
from ..metrics.evaluation import AS_PUBLISHED_MEANING, Evaluation, EvaluationReport, Settings
from ..metrics.feature_networks import distance_names
from ..metrics.pairs import Pair, has_own_scale, phase_number
from ..metrics.radiomics_distance import RadiomicsReport, lesion_distance
from .evaluation_report import LABELS
from .lesion_views import write_lesion_views
from .mama_synth import write_mama_synth
from .mammography import write_mammography
from .named_table import NamedTable
from .outputs import OUTPUTS
from .phantom_cohort import data_given
from .reports import BASELINE, Report, html_table, interval_figure
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
SYNTHETIC_HALVES = "synthetic against real (patients in halves)"
SYNTHETIC = "synthetic"
SUBTRACTION_UNET = "U-Net"
"""Name of the system, given with --system, that the subtraction rows of Table 4 are compared with."""
NO_UNET = (
    f"The rows of the U-Net baseline need what it synthesized: --system {SUBTRACTION_UNET}=FOLDER "
    "(recipe osuala2025-subtraction-unet)."
)


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        label: What is compared with the real phases.
        pairs: The images.
        subtraction: None, or which subtraction images are compared.
    """

    label: str
    pairs: Sequence[Pair]
    subtraction: str | None = None


@dataclass(frozen=True)
class Design:
    """How a table measures.

    Attributes:
        protocol: the published protocol.
        slice_margin: share of the volume around the tumor whose slices count; None for all slices.
        fid_limit: how many slices count for FID at most; None for all.
        halves: whether there are rows of the distance between halves of the patients.
    """

    protocol: str
    slice_margin: float | None = None
    fid_limit: int | None = None
    halves: bool = False


SINGLE_PHASE = Design("spie2024", fid_limit=2000, halves=True)
"""All slices; FID on the first 2000 pairs of the test set, and of halves of the patients."""
ALL_PHASES = Design("jmi2025-table4", slice_margin=PUBLISHED_MARGIN)
"""Slices of the tumor with 5 % of the volume more on either side; FID on all of them."""


@dataclass(frozen=True)
class MeasuredRow:
    """What was measured of one row.

    Attributes:
        report: of the pairs.
        distances: between the sets of images by feature network.
        radiomics: distance of the lesions' radiomics; None where not asked for.
    """

    report: EvaluationReport
    distances: Mapping[str, ImageDistances]
    radiomics: RadiomicsReport | None

    def as_json(self) -> dict[str, Any]:
        """The report with the distances beside it."""
        return {**self.report.as_json(), "distances": self.distances, "radiomics": self.radiomics}


@dataclass(frozen=True)
class QualityReport:
    """What a table of image quality found.

    Attributes:
        table: its name.
        data: what was measured, in words.
        rows: what was measured, by row.
        notes: sentences below the table.
    """

    table: str
    data: str
    rows: Mapping[str, MeasuredRow]
    notes: Sequence[str]


def write_named_table(
    name: str, source: Sequence[Pair] | Path, folder: Path, options: TableOptions | None = None
) -> Report:
    """Compute a table by its name and write it as CSV, JSON, PNG and HTML.

    Args:
        name: Name of the table.
        source: Pairs of images; for segmentation the folder of true label maps, or of phantom cases.
        folder: Folder of the files.
        options: Options of the table; None for the defaults.

    Returns:
        What was found, which the JSON file holds.

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
    if kind == "views":
        return write_lesion_views(name, title, source, folder, options)
    if kind == "mammograms":
        return write_mammography(name, title, source, folder, options)
    design = SINGLE_PHASE if kind == "quality" else ALL_PHASES
    rows = _first_phase(source, name) if kind == "quality" else _every_phase(source, options.systems)
    known: dict[str, KnownFeatures] = {network: {} for network in options.networks}
    reports = {row.label: _measure(row, design, options, known) for row in rows}
    return _write(name, title, reports, design, folder, options)


def _measure(row: Row, design: Design, options: TableOptions, known: Mapping[str, KnownFeatures]) -> MeasuredRow:
    """What a row's pairs measure; `known` are the real images' features by network, which rows share."""
    settings = Settings(design.protocol, row.subtraction, options.repeats, options.seed, design.slice_margin)
    evaluation = Evaluation(settings, options.lpips, options.lpips_missing)
    usable = [pair for pair in row.pairs if evaluation.try_add(pair)]
    options.failures += [f"{row.label}: {failure.sentence}" for failure in evaluation.failures]
    own = PROTOCOLS[design.protocol]
    preparation = Preparation(size=224 if own.size == 224 else 299, normalize=own.normalize)
    distances = {
        name: image_distances(
            usable,
            network,
            preparation,
            seed=options.seed,
            subtract=row.subtraction is not None,
            slice_margin=design.slice_margin,
            limit=design.fid_limit,
            known=known[name],
        )
        for name, network in options.networks.items()
    }
    radiomics = lesion_distance(usable, subtraction=row.subtraction) if options.radiomics else None
    return MeasuredRow(evaluation.report(), distances, radiomics)


def _first_phase(pairs: Sequence[Pair], name: str) -> list[Row]:
    """Rows of the first phase; images that name no phase all count."""
    pairs = [pair for pair in pairs if phase_number(pair.real) in (None, 1)]
    if not pairs:
        raise InputError(f"{name} is about the first post-contrast phase, of which there is no image.")
    if not all(pair.pre is not None for pair in pairs):
        return [Row(SYNTHETIC, pairs)]
    baseline = Row(BASELINE, [_baseline(pair) for pair in pairs])
    return [baseline, Row(SYNTHETIC, pairs), Row(f"subtraction, {SYNTHETIC}", pairs, "clipped")]


def _every_phase(pairs: Sequence[Pair], systems: Mapping[str, Path]) -> list[Row]:
    """Rows of phases with what doing nothing gives, then of subtractions, with those of other systems."""
    phases = _by_phase(pairs)
    if not all(pair.pre is not None for pair in pairs):
        return [Row(f"DCE P{phase} {SYNTHETIC}", own) for phase, own in phases.items()]
    rows = []
    for phase, own in phases.items():
        rows.append(Row(f"DCE P{phase} {BASELINE}", [_baseline(pair) for pair in own]))
        rows.append(Row(f"DCE P{phase} {SYNTHETIC}", own))
    others = {name: _by_phase(pairs_of_system(pairs, folder)) for name, folder in systems.items()}
    for phase, own in phases.items():
        rows += [Row(f"Subt P{phase} {name}", made[phase], "clipped") for name, made in others.items() if phase in made]
        rows.append(Row(f"Subt P{phase} {SYNTHETIC}", own, "clipped"))
    return rows


def _by_phase(pairs: Sequence[Pair]) -> dict[int, list[Pair]]:
    phases: dict[int, list[Pair]] = {}
    for pair in pairs:
        phases.setdefault(_phase_of(pair.real), []).append(pair)
    return dict(sorted(phases.items()))


def pairs_of_system(pairs: Sequence[Pair], folder: Path) -> list[Pair]:
    """The pairs with what another system synthesized: `folder` has a folder per case, as that of the first system.

    Raises InputError where it has none of them.
    """
    found = []
    for pair in pairs:
        own = [
            folder / pair.real.parent.name / "phases" / pair.real.name,
            folder / pair.real.parent.name / pair.real.name,
        ]
        made = next((path for path in own if path.is_file()), None)
        if made is not None:
            found.append(replace(pair, synthetic=made, own_scale=has_own_scale(made)))
    if not found:
        raise InputError(f"{folder} has no phase of any case; it needs folders named like the real cases.")
    return found


def _baseline(pair: Pair) -> Pair:
    assert pair.pre is not None
    return pair.against(pair.pre)


def _phase_of(path: Path) -> int:
    number = phase_number(path)
    if number is None:
        raise InputError(f"{path} names no phase; its name must hold phase_N or, as in the Duke files, _000N.")
    return number


def _write(
    name: str,
    title: str,
    reports: Mapping[str, MeasuredRow],
    design: Design,
    folder: Path,
    options: TableOptions,
) -> QualityReport:
    rows = _rows(reports, design, options)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    shown = [column for column in columns if any(row.get(column) is not None for row in rows)]
    report = QualityReport(name, options.data or "", reports, _notes(reports, design, options))
    NamedTable(
        name,
        title,
        columns,
        rows,
        report,
        _figure(reports, report.data),
        "true metrics with intervals",
        [f"Data: {report.data}.", f"As published: {AS_PUBLISHED_MEANING}.", *report.notes],
        [html_table(shown, rows)],
    ).write(folder)
    return report


def _rows(reports: Mapping[str, MeasuredRow], design: Design, options: TableOptions) -> list[dict[str, Any]]:
    """A row each: both columns of every metric, FID and KID by network, FRD; None where not computed."""
    rows = []
    for label, measured in reports.items():
        report = measured.report
        row: dict[str, Any] = {"row": label}
        for metric, text in LABELS.items():
            row[text] = report.mean("true", metric)
            row[f"{text}, as published"] = report.mean("as_published", metric)
        for network in options.networks or PAPERS_NETWORKS:
            distances = measured.distances.get(network)
            found = None if distances is None else distances.synthetic_against_real
            row |= _distance_cells(network, found, options)
        row |= {f"FRD {kind[4:].replace('_', ' ')}": getattr(measured.radiomics, kind, None) for kind in FRD}
        rows.append(row | {"slices": report.slices, "patients": report.patients})
    return rows + _halves(reports[SYNTHETIC], options) if design.halves else rows


def _halves(measured: MeasuredRow, options: TableOptions) -> list[dict[str, Any]]:
    """Real and synthetic images of one half of the patients against real ones of the other; empty without networks."""
    rows = []
    for label, key in ((HALVES, "baseline"), (SYNTHETIC_HALVES, "halves")):
        row: dict[str, Any] = {"row": label, "patients": measured.report.patients}
        for network in options.networks or PAPERS_NETWORKS:
            row |= _distance_cells(network, getattr(measured.distances.get(network), key, None), options)
        rows.append(row)
    return rows


def _distance_cells(network: str, found: SetDistance | None, options: TableOptions) -> dict[str, float | None]:
    fid, kid = (None, None) if found is None else (found.fid, found.kid)
    return dict(zip(_distance_columns(network, options), (fid, kid), strict=True))


def _distance_columns(network: str, options: TableOptions) -> tuple[str, str]:
    """Names of the two columns of a feature network; FID where none is given, as in the papers."""
    known = options.networks.get(network)
    frechet, kernel = distance_names("inception" if known is None else known.kind)
    return f"{frechet} {network}", f"{kernel} {network}"


def _notes(reports: Mapping[str, MeasuredRow], design: Design, options: TableOptions) -> list[str]:
    notes = sorted({note for measured in reports.values() for note in measured.report.notes.values()})
    if design.slice_margin is not None:
        notes.append(
            f"Slices of the tumor and {100 * design.slice_margin:g} % of the volume on either side, as published; all "
            "slices of images without a lesion mask."
        )
        if SUBTRACTION_UNET not in options.systems:
            notes.append(NO_UNET)
    if design.fid_limit is not None and options.networks:
        notes.append(f"Distances of features on the first {design.fid_limit} slices at most, as published.")
    if not any(distance_names(network.kind)[0] == "FID" for network in options.networks.values()):
        notes.append(NO_NETWORKS)
    if not options.radiomics:
        notes.append(NO_RADIOMICS)
    of_rows: dict[str, list[str]] = {}
    for label, measured in reports.items():
        if measured.report.failed:
            of_rows.setdefault(f"{len(measured.report.failed)} pairs could not be measured.", []).append(label)
        for network, found in measured.distances.items():
            of_rows.setdefault(
                f"{_distance_columns(network, options)[0]}: {found.synthetic_against_real.note}", []
            ).append(label)
        if measured.radiomics is not None:
            of_rows.setdefault(f"FRD: {measured.radiomics.note}", []).append(label)
    return notes + [f"{', '.join(labels)}. {note}" for note, labels in of_rows.items() if not note.endswith(": ")]


def _figure(reports: Mapping[str, MeasuredRow], data: str) -> Figure:
    """True metrics of each row with their interval by patient."""
    found = {
        text: [measured.report.summary("true", metric) for measured in reports.values()]
        for metric, text in LABELS.items()
    }
    return interval_figure(list(reports), {text: row for text, row in found.items() if any(row)}, data)
