"""The last stage: everything that was found, written into the result folder."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import SEE_LOG, explain
from ..events import CancelledError, Events, Stage
from ..export import tables
from ..export.slicer_segmentation import with_segments
from ..free_memory import return_freed
from ..io.masked import MaskedValues
from ..kinetics.curves import early_phase
from ..lesions.subtraction import subtract
from ..results.manifest import INCOMPLETE, Manifest, corrected_phases
from ..results.writer import ResultWriter
from ..side_work import share
from .parts import Analysis, PhaseResult, Series
from .settings import RunSettings

if TYPE_CHECKING:
    from ..export.figures.run_figures import FigureFile, FigureInput

logger = logging.getLogger(__name__)
T = TypeVar("T")
Job = Callable[[], object]


@dataclass(frozen=True)
class _Export:
    """What every step needs."""

    found: Analysis
    writer: ResultWriter
    manifest: Manifest
    settings: RunSettings
    events: Events

    @property
    def given(self) -> bool:
        """The lesions are the user's own."""
        return self.manifest.settings["segmentation"] == "given"


@dataclass
class _Drawn:
    """What the report shows, once it is there."""

    figures: list[FigureFile] = field(default_factory=list)
    viewer: str = ""


def export(found: Analysis, writer: ResultWriter, manifest: Manifest, settings: RunSettings, events: Events) -> None:
    """Write volumes, tables, figures, report and, where asked for, DICOM; of a mammogram what it has of these.

    By two threads, as compression takes most of the time; more of them would hold more copies. First the phases and
    nothing else: a volume cannot be written by one thread while another takes a view of its voxels. Then one thread
    begins with the report's viewer and the figures, the other one with the maps. Subtractions and maps become volumes
    only when they are written, so that few are held at once.

    Args:
        found: What the run computed.
        writer: Writer of the result folder.
        manifest: The manifest, for the report.
        settings: Settings of the run.
        events: Receives progress and warnings, and carries the request to cancel.
    """
    task = _Export(found, writer, manifest, settings, events)
    rounds: list[list[Job]] = [[partial(_tables, task)]]
    if found.series.dynamic:
        pictures, report = _pages(task)
        rounds += [[*_volumes(task), *_lesions(task)], [*pictures, *_maps(task)], report]
    else:
        rounds += [[_recombined(task)], [partial(_mammogram, task)]]
    if settings.dicom:
        rounds.append([partial(_dicom, task)])
    done, total = 0, sum(map(len, rounds))
    for jobs in rounds:
        share(jobs, partial(_tell, events, done, total))
        done += len(jobs)
        return_freed()


def _tell(events: Events, before: int, total: int, begun: int) -> None:
    events.progress(Stage.EXPORT, before + begun, total)


def _without_losing_the_rest(what: str, write: Callable[[], T], place: Path, events: Events) -> T | None:
    """What `write` gives; None where it fails: what it began at `place` is removed, the rest of the result stays.

    A warning says so, and by `INCOMPLETE` in it the command ends with another exit code.
    """
    try:
        return write()
    except CancelledError:
        raise
    except Exception as error:
        logger.exception("%s could not be written", what)
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        events.warn(f"{INCOMPLETE}: {what} could not be written: {explain(error, advice=SEE_LOG)[0]}")
        return None


def phase_entries(series: Series, settings: RunSettings) -> list[dict[str, Any]]:
    """The manifest's list of synthetic phases, or of the one recombined image."""
    if not series.dynamic:
        name = _recombined_name(settings)
        return [{"index": phase.index, "time_s": None, "file": name} for phase in series.synthetic]
    return [
        {"index": phase.index, "time_s": phase.time_s, "file": f"phases/{phase.name}{settings.suffix}"}
        for phase in series.synthetic
    ]


def _recombined_name(settings: RunSettings) -> str:
    return f"recombined{settings.suffix}"


def _recombined(task: _Export) -> Job:
    return partial(task.writer.image, task.found.series.synthetic[0].image, _recombined_name(task.settings))


def _volumes(task: _Export) -> list[Job]:
    """What writes the phases with their subtractions and uncertainties."""
    series, write, suffix = task.found.series, task.writer.image, task.settings.suffix
    jobs: list[Job] = [partial(_phase, task, result) for result in series.results]
    corrected = corrected_phases(task.manifest.inputs)
    for phase in series.real:
        if phase.index in corrected:
            jobs.append(partial(write, phase.image, f"registered/{phase.name}{suffix}", synthetic=False))
    return jobs


def _maps(task: _Export) -> list[Job]:
    maps = task.found.kinetics.maps if task.found.kinetics else {}
    return [partial(_map, task, f"maps/{name}{task.settings.suffix}", values) for name, values in maps.items()]


def _phase(task: _Export, result: PhaseResult) -> None:
    """Write all of one phase, one volume after the other: no thread may look at a volume that another writes."""
    image, name = result.phase.image, f"{result.phase.name}{task.settings.suffix}"
    task.writer.image(image, f"phases/{name}")
    task.writer.image(subtract(image, task.found.series.pre), f"subtraction/{name}")
    if result.uncertainty is not None:
        task.writer.image(result.uncertainty, f"uncertainty/{name}")


def _map(task: _Export, name: str, values: MaskedValues) -> None:
    task.writer.image(values.image(task.found.series.pre), name)


def _lesions(task: _Export) -> list[Job]:
    labels, write = task.found.labels, partial(task.writer.image, synthetic=not task.given)
    if labels is None:
        return []
    jobs: list[Job] = [partial(write, with_segments(labels), "lesions.seg.nrrd")]
    if task.settings.format == "nifti":
        jobs.append(partial(write, labels, f"lesions{task.settings.suffix}"))
    return jobs


def _tables(task: _Export) -> None:
    found, path = task.found, task.writer.path
    series, comparison, read = found.series, found.comparison, len(found.series.input_phases)
    if found.labels is not None:
        unit = "mm" if series.study.has_geometry else "px"
        tables.write_lesions_csv(path("lesions.csv"), found.measures, found.curves, places=found.places, unit=unit)
        tables.write_curves_csv(path("curves.csv"), found.curves, inputs=read)
        if found.confidence:
            tables.write_confidence_csv(path("confidence.csv"), found.confidence)
        if task.settings.radiomics:
            tables.write_radiomics_csv(path("radiomics.csv"), found.radiomics)
        if comparison.curves:
            tables.write_curves_csv(path("curves_real.csv"), comparison.curves)
    if found.kinetics and found.kinetics.tissue:
        tables.write_records_csv(path("breast_tissue.csv"), found.kinetics.tissue)
    if comparison.metrics:
        tables.write_comparison_csv(path("comparison.csv"), comparison.metrics)
    if comparison.agreement is not None:
        tables.write_agreement_csv(path("agreement.csv"), comparison.agreement, inputs=read)
    if comparison.features:
        tables.write_records_csv(path("feature_agreement.csv"), comparison.features)


def _pages(task: _Export) -> tuple[list[Job], list[Job]]:
    """What draws viewer and figures, and what writes the report that shows them, to be done after it."""
    shown, drawn = _shown(task), _Drawn()
    return [partial(_viewer, shown, drawn), partial(_figures, task, shown, drawn)], [partial(_report, task, drawn)]


def _shown(task: _Export) -> FigureInput:
    from ..export.figures.run_figures import FigureInput

    found, series = task.found, task.found.series
    return FigureInput(
        pre=series.phases[0],
        phases=series.synthetic,
        labels=found.labels,
        curves=found.curves,
        real=series.real,
        real_curves=found.comparison.curves,
        uncertainty=series.uncertainty,
        region=found.region,
        has_geometry=series.study.has_geometry,
        input_phases=series.input_phases,
        confidence=found.confidence,
    )


def _viewer(shown: FigureInput, drawn: _Drawn) -> None:
    from ..export.report.viewer import viewer_html

    drawn.viewer = viewer_html(shown)


def _figures(task: _Export, shown: FigureInput, drawn: _Drawn) -> None:
    from ..export.figures.run_figures import write_figures

    drawn.figures = write_figures(task.writer.path("figures"), shown)


def _report(task: _Export, drawn: _Drawn) -> None:
    from ..export.report.report import ReportContent, write_report

    found = task.found
    content = ReportContent(
        manifest=task.manifest,
        measures=found.measures,
        places=found.places,
        curves=found.curves,
        figures=drawn.figures,
        viewer=drawn.viewer,
        agreement=found.comparison.agreement,
        metrics=found.comparison.metrics,
        segmented=found.labels is not None,
        confidence=found.confidence,
        radiomics=found.radiomics,
        tissue=found.kinetics.tissue if found.kinetics else (),
        features=found.comparison.features,
    )
    write_report(task.writer.path("report.html"), content)


def _mammogram(task: _Export) -> None:
    """Figure and report of a recombined mammogram."""
    from ..export.figures.mammogram import write_mammogram_figure
    from ..export.report.report import ReportContent, write_report

    series = task.found.series
    real = series.real[0].image if series.real else None
    folder = task.writer.path("figures")
    figures = write_mammogram_figure(folder, series.pre, series.synthetic[0].image, real, task.found.region)
    content = ReportContent(
        task.manifest,
        figures=figures,
        metrics=task.found.comparison.metrics,
        segmented=False,
    )
    write_report(task.writer.path("report.html"), content)


def _dicom(task: _Export) -> None:
    """A series per phase, with lesions also a segmentation and a measurement report; or the one recombined image."""
    from ..export.content import RunIdentity
    from ..export.dicom.deidentify import deidentified
    from ..export.dicom.mammogram import write_mammogram
    from ..export.dicom.seg_and_sr import write_measurements, write_segmentation
    from ..export.dicom.series import write_dicom_series

    found, source = task.found, task.found.series.study.source
    reference = [*source.headers, *_input_phase_headers(found.series)] if source.headers else []
    run = RunIdentity.of(task.manifest)
    if task.settings.deidentify and reference:
        reference = deidentified(reference, run, keep_dates=task.settings.keep_dates)
    folder = task.writer.path("dicom")
    if not found.series.dynamic:
        image, place = found.series.synthetic[0].image, folder / "recombined.dcm"
        _without_losing_the_rest(
            "the DICOM mammogram",
            lambda: write_mammogram(image, place, run, source=reference[0]),
            place,
            task.events,
        )
        return
    series = _without_losing_the_rest(
        "the DICOM series",
        lambda: write_dicom_series(found.series.synthetic, folder, run, reference=reference),
        folder,
        task.events,
    )
    if found.labels is None or series is None:
        return
    early = series[early_phase([found.series.phases[0], *found.series.synthetic]).index]
    labels, seg, sr = found.labels, folder / "lesions_seg.dcm", folder / "lesions_sr.dcm"
    segments = _without_losing_the_rest(
        "the DICOM segmentation",
        lambda: write_segmentation(seg, labels, early, run, places=found.places),
        seg,
        task.events,
    )
    _without_losing_the_rest(
        "the DICOM report",
        lambda: write_measurements(sr, found.measures, found.curves, segments, series, run, places=found.places),
        sr,
        task.events,
    )


def _input_phase_headers(series: Series) -> list[Any]:
    """DICOM headers of the real phases that the model read."""
    pairs = zip(series.study.real, series.study.real_sources, strict=True)
    return [header for phase, source in pairs if phase.index in series.inputs for header in source.headers]
