"""The last stage: everything that was found, written into the result folder."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..events import Events, Stage
from ..export import tables
from ..export.slicer_segmentation import with_segments
from ..metrics.image_pairs import PairMetrics
from ..results.manifest import Manifest
from ..results.writer import ResultWriter
from .analysis import Findings, early_phase
from .settings import RunSettings

PAIR_COLUMNS = tuple(field.name for field in dataclasses.fields(PairMetrics))
"""Columns of comparison.csv."""


@dataclass(frozen=True)
class _Export:
    """What every step needs."""

    found: Findings
    writer: ResultWriter
    manifest: Manifest
    settings: RunSettings

    @property
    def given(self) -> bool:
        """The lesions are the user's own."""
        return self.manifest.settings["segmentation"] == "given"


def export(found: Findings, writer: ResultWriter, manifest: Manifest, settings: RunSettings, events: Events) -> None:
    """Write volumes, tables, figures, report and, where asked for, DICOM; of a mammogram what it has of these."""
    task = _Export(found, writer, manifest, settings)
    steps = [_volumes, _lesions, _tables, _figures_and_report] if found.dynamic else [_recombined, _tables, _mammogram]
    if settings.dicom:
        steps.append(_dicom)
    for number, step in enumerate(steps):
        events.progress(Stage.EXPORT, number, len(steps))
        step(task)


def phase_entries(found: Findings, settings: RunSettings) -> list[dict[str, Any]]:
    """The manifest's list of synthetic phases, or of the one recombined image."""
    if not found.dynamic:
        return [{"index": phase.index, "time_s": None, "file": _recombined_name(settings)} for phase in found.phases]
    return [
        {"index": phase.index, "time_s": phase.time_s, "file": f"phases/{phase.name}{settings.suffix}"}
        for phase in found.phases
    ]


def _recombined_name(settings: RunSettings) -> str:
    return f"recombined{settings.suffix}"


def _recombined(task: _Export) -> None:
    task.writer.image(task.found.phases[0].image, _recombined_name(task.settings))


def _volumes(task: _Export) -> None:
    found, write, suffix = task.found, task.writer.image, task.settings.suffix
    for number, phase in enumerate(found.phases):
        write(phase.image, f"phases/{phase.name}{suffix}")
        write(found.subtractions[number], f"subtraction/{phase.name}{suffix}")
        if found.uncertainty is not None:
            write(found.uncertainty[number], f"uncertainty/{phase.name}{suffix}")
    for name, image in found.maps.items():
        write(image, f"maps/{name}{suffix}")


def _lesions(task: _Export) -> None:
    labels = task.found.labels
    if labels is None:
        return
    task.writer.image(with_segments(labels), "lesions.seg.nrrd", synthetic=not task.given)
    if task.settings.format == "nifti":
        task.writer.image(labels, f"lesions{task.settings.suffix}", synthetic=not task.given)


def _tables(task: _Export) -> None:
    found, path = task.found, task.writer.path
    if found.labels is not None:
        unit = "mm" if found.study.has_geometry else "px"
        tables.write_lesions_csv(path("lesions.csv"), found.measures, found.curves, found.study.pre.image, unit=unit)
        tables.write_curves_csv(path("curves.csv"), found.curves, acquired=len(found.acquired))
        if found.real_curves:
            tables.write_curves_csv(path("curves_real.csv"), found.real_curves)
    if found.metrics:
        tables.write_records_csv(path("comparison.csv"), found.metrics, PAIR_COLUMNS)
    if found.agreement is not None:
        tables.write_agreement_csv(path("agreement.csv"), found.agreement, acquired=len(found.acquired))


def _figures_and_report(task: _Export) -> None:
    from ..export.figures.run_figures import FigureInput, write_figures
    from ..export.report.report import ReportContent, write_report

    found = task.found
    figures = write_figures(
        task.writer.path("figures"),
        FigureInput(
            pre=found.series[0],
            phases=found.phases,
            labels=found.labels,
            curves=found.curves,
            real=found.real,
            real_curves=found.real_curves,
            uncertainty=found.uncertainty or (),
            region=found.region,
            has_geometry=found.study.has_geometry,
            acquired=found.acquired,
        ),
    )
    content = ReportContent(
        manifest=task.manifest,
        reference=found.study.pre.image,
        measures=found.measures,
        curves=found.curves,
        figures=figures,
        agreement=found.agreement,
        metrics=found.metrics,
        segmented=found.labels is not None,
    )
    write_report(task.writer.path("report.html"), content)


def _mammogram(task: _Export) -> None:
    """Figure and report of a recombined mammogram."""
    from ..export.figures.mammogram import write_mammogram_figure
    from ..export.report.report import ReportContent, write_report

    found = task.found
    truth = found.real[0].image if found.real else None
    figures = write_mammogram_figure(task.writer.path("figures"), found.pre, found.phases[0].image, truth, found.region)
    content = ReportContent(
        task.manifest, found.study.pre.image, figures=figures, metrics=found.metrics, segmented=False
    )
    write_report(task.writer.path("report.html"), content)


def _dicom(task: _Export) -> None:
    """A series per phase; with lesions also a segmentation and a measurement report."""
    from ..export.content import RunIdentity
    from ..export.dicom.seg_and_sr import write_measurements, write_segmentation
    from ..export.dicom.series import write_dicom_series

    found, source = task.found, task.found.study.source
    reference = [*source.files, *_acquired_files(found)] if source.format == "dicom" else None
    run = RunIdentity.of(task.manifest)
    folder = task.writer.path("dicom")
    series = write_dicom_series(found.phases, folder, run, reference=reference)
    if found.labels is None:
        return
    early = series[early_phase(found.phases).index]
    segments = write_segmentation(folder / "lesions_seg.dcm", found.labels, early, run)
    write_measurements(folder / "lesions_sr.dcm", found.measures, found.curves, found.labels, segments, series, run)


def _acquired_files(found: Findings) -> list[Path]:
    """DICOM files of the acquired phases that the model read."""
    read = {phase.index for phase in found.acquired}
    pairs = zip(found.study.real, found.study.real_sources, strict=True)
    return [
        file for phase, source in pairs if phase.index in read and source.format == "dicom" for file in source.files
    ]
