"""report.html: one self-contained page for a reader who was not there; images included, nothing loaded from
outside.

It holds no patient name, id or path: it takes the manifest, which has none, and figures without patient text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...kinetics.agreement import Agreement
from ...kinetics.curves import LesionCurve
from ...kinetics.feature_agreement import FeatureAgreement
from ...lesions.breast_tissue import BreastTissue
from ...lesions.confidence import LesionConfidence
from ...lesions.location import LesionPlace
from ...lesions.measurement import LesionMeasures
from ...lesions.radiomics import LesionRadiomics
from ...metrics.image_pairs import MEASURES, PairMetrics
from ...results.manifest import MAMMOGRAM, MOTION, Manifest, input_phase_times
from ...synthesis.breast_region import UNKNOWN
from ...synthesis.registration import Motion
from ..content import DISCLAIMER, NO_LESIONS, TYPE_NAMES, ModelIdentity, RunIdentity, named_phases
from ..figures.run_figures import FigureFile
from ..tables import agreement_rows, peak_uncertainty_percent
from . import html as style
from . import text as words
from .features import agreement_table, radiomics_table, tissue_table


@dataclass(frozen=True)
class ReportContent:
    """What the report says.

    Attributes:
        manifest: The run, with its id filled in.
        measures: Sizes of the lesions.
        curves: Their curves, matched by label.
        places: Where they lie in the breast, matched by label.
        figures: Pictures in order.
        agreement: Of the curves; None without real phases.
        metrics: Of the images; empty without real phases.
        segmented: False where no lesions were looked for.
        confidence: How sure a calibrated model is of each lesion.
        viewer: The viewer as HTML; a page without it has figures alone.
        radiomics: Of every lesion in every phase.
        features: Agreement of single features.
        tissue: Of every breast in every phase.
        run: Who made it, from the manifest.
    """

    manifest: Manifest
    measures: Sequence[LesionMeasures] = ()
    curves: Sequence[LesionCurve] = ()
    places: Sequence[LesionPlace] = ()
    figures: Sequence[FigureFile] = ()
    agreement: Agreement | None = None
    metrics: Sequence[PairMetrics] = ()
    segmented: bool = True
    confidence: Sequence[LesionConfidence] = ()
    viewer: str = ""
    radiomics: Sequence[LesionRadiomics] = ()
    features: Sequence[FeatureAgreement] = ()
    tissue: Sequence[BreastTissue] = ()
    run: RunIdentity = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "run", RunIdentity.of(self.manifest))


def write_report(path: Path, content: ReportContent) -> None:
    """Write the report as one HTML file: UTF-8, no outside resource, all text escaped, the viewer's script inside.

    On paper it is one page: alerts, warnings, lesions and the first figure.
    """
    dynamic = content.manifest.kind != MAMMOGRAM
    sections = [
        _alerts(content),
        _viewer(content),
        _lesions(content) if dynamic else "",
        _warnings(content.manifest),
        style.section("Breast tissue", *tissue_table(content.tissue)) if content.tissue else "",
        _radiomics(content.radiomics),
        _figures(content.figures),
        _agreement(content) if dynamic else _mammogram_agreement(content),
        _models(content.run),
        _inputs(content.manifest),
        _methods(content),
        _timing(content.manifest),
        _provenance(content.manifest),
    ]
    title = "Synthetic contrast-enhanced breast MRI" if dynamic else "Synthetic recombined mammogram"
    path.write_text(style.page(title, DISCLAIMER, [s for s in sections if s]), encoding="utf-8")


def _alerts(content: ReportContent) -> str:
    """What readers must not misinterpret: phantom training, arbitrary units."""
    parts = []
    phantom = [model.id for model in _used(content.run) if model.trained_on_phantoms]
    if phantom:
        parts.append(style.paragraph(words.PHANTOM.format(models=" and ".join(phantom)), "alert"))
    if content.manifest.arbitrary_units:
        parts.append(style.paragraph(words.ARBITRARY_UNITS, "alert"))
    return "\n".join(parts)


def _viewer(content: ReportContent) -> str:
    return style.section("Images", content.viewer) if content.viewer else ""


def _used(run: RunIdentity) -> list[ModelIdentity]:
    return [run.synthesis, *([run.segmentation] if run.segmentation else [])]


def _models(run: RunIdentity) -> str:
    rows = []
    for role, model in zip(("Synthesis", "Lesions"), _used(run), strict=False):
        trained = "simulated phantoms only" if model.trained_on_phantoms else words.trained_on(model)
        rows.append((role, model.id, model.version, model.short_sha256 or "no weights", trained))
    return style.section(
        "Models", style.table(("Role", "Model", "Version", "Weights SHA-256 (first 12)", "Trained on"), rows)
    )


def _inputs(manifest: Manifest) -> str:
    """Role, format and geometry of each input; the manifest has no names."""
    rows = []
    for entry in manifest.inputs:
        geometry = entry["geometry"]
        size = " × ".join(str(n) for n in geometry["size"])
        spacing = " × ".join(f"{value:.3g}" for value in geometry["spacing_mm"])
        time = "–" if entry["time_s"] is None else f"{entry['time_s']:.0f}"
        modality = entry["modality"] or "not stated"
        read = ", read by the model" if entry.get("model_input") else ""
        motion = Motion(**entry[MOTION]).sentence if MOTION in entry else "–"
        rows.append((entry["role"].replace("_", " ") + read, modality, entry["format"], size, spacing, time, motion))
    header = ("Image", "Modality", "Format", "Size (voxels)", "Spacing (mm)", "Time (s)", "Motion correction")
    shown = len(header) if any(MOTION in entry for entry in manifest.inputs) else len(header) - 1
    return style.section("Input", style.table(header[:shown], [row[:shown] for row in rows]))


def _warnings(manifest: Manifest) -> str:
    if not manifest.warnings:
        return style.printed_section("Warnings", style.paragraph("No warnings."))
    return style.printed_section("Warnings", style.bullets(manifest.warnings, "warnings"))


def _lesions(content: ReportContent) -> str:
    """The table of lesions, or the sentence that none was outlined."""
    if not content.segmented:
        return style.printed_section("Lesions", style.paragraph(words.NOT_SEGMENTED))
    if not content.measures:
        return style.printed_section("Lesions", style.paragraph(words.NO_LESION))
    curves = {curve.label: curve for curve in content.curves}
    unit = content.measures[0].unit
    sides = {place.label: place.side for place in content.places}
    rows = [_lesion_row(one, curves.get(one.label), sides.get(one.label, UNKNOWN)) for one in content.measures]
    return style.printed_section(
        "Lesions",
        style.table(words.lesion_header(unit), rows),
        style.paragraph(words.LESION_NOTE, "note"),
        *_confidence(content.confidence),
    )


def _confidence(lesions: Sequence[LesionConfidence]) -> list[str]:
    """Grade and bands of each lesion; nothing for a model that is not calibrated."""
    if not lesions:
        return []
    rows = []
    for lesion in lesions:
        bands = zip(lesion.low_percent, lesion.high_percent, strict=True)
        rows.append((lesion.label, lesion.sentence, *(f"{low:.0f} to {high:.0f}" for low, high in bands)))
    times = [f"Real PE at {time_s:.0f} s (%)" for time_s in lesions[0].times_s]
    note = words.CONFIDENCE_NOTE.format(coverage=100 * min(lesions[0].coverage))
    return [style.table(("Lesion", "Certainty", *times), rows), style.paragraph(note, "note")]


def _lesion_row(measure: LesionMeasures, curve: LesionCurve | None, side: str) -> list[Any]:
    """Cells in the order of `report_text.lesion_header`."""
    millimeters = measure.unit == "mm"
    volume = [style.rounded(measure.volume, 0)]
    if millimeters:
        volume.append(style.rounded(measure.volume / 1000.0, 2))
    peak, band, kinds = "–", "–", ("–", "–")
    if curve is not None:
        peak = style.rounded(float(curve.parameters.peak_pe_percent), 0)
        uncertainty = peak_uncertainty_percent(curve)
        band = f"± {uncertainty:.0f}" if uncertainty > 0 else "not estimated"
        kinds = TYPE_NAMES[curve.curve_type], TYPE_NAMES[curve.hot_spot_type]
    return [
        measure.label,
        side,
        *volume,
        " × ".join(style.rounded(value) for value in measure.diameters),
        style.rounded(measure.longest_diameter),
        style.rounded(measure.early_pe_percent, 0),
        peak,
        band,
        style.rounded(measure.ser, 2),
        *kinds,
        style.rounded(measure.ftv, 0),
    ]


def _radiomics(rows: Sequence[LesionRadiomics]) -> str:
    """A choice of the features, one row per lesion and phase; nothing where they were not asked for."""
    return style.section("Radiomics", *radiomics_table(rows)) if rows else ""


def _figures(figures: Sequence[FigureFile]) -> str:
    if not figures:
        return ""
    return style.printed_section("Figures", *(style.picture(figure.path, figure.caption) for figure in figures))


def _agreement(content: ReportContent) -> str:
    """Synthetic against real phases, with the definition of every number; empty without real phases."""
    parts = []
    if content.metrics:
        rows = [(f"{one.phase}", one.compared, one.region, *_measured(one)) for one in content.metrics]
        header = ("Phase", "Compared", "Region", *_MEASURE_LABELS)
        parts += [style.table(header, rows), style.paragraph(words.METRICS_NOTE, "note")]
    if content.agreement is not None:
        rows = [
            (name, unit, f"{count}", *(style.rounded(value, 2) for value in values))
            for name, unit, count, *values in agreement_rows(content.agreement, inputs=len(content.run.input_phases))
        ]
        parts += [style.table(words.AGREEMENT_HEADER, rows), style.paragraph(words.AGREEMENT_NOTE, "note")]
    parts += agreement_table(content.features)
    if parts and content.run.input_phases:
        note = words.INPUT_PHASES_NOTE.format(read=named_phases(content.run.input_phases))
        parts.append(style.paragraph(note, "note"))
    return style.section("Agreement with the real phases", *parts) if parts else ""


_MEASURE_LABELS = tuple(measure.label for measure in MEASURES)
_PLACES = {"files": 3, "files squared": 2, "dB": 2}
"""Decimals by unit of a measure; 4 of a pure number."""


def _measured(one: PairMetrics) -> list[str]:
    """The cells of all measures of a pair."""
    return [style.rounded(one.values[measure.name], _PLACES.get(measure.unit, 4)) for measure in MEASURES]


def _mammogram_agreement(content: ReportContent) -> str:
    """The synthetic against the true recombined image; empty without the latter."""
    if not content.metrics:
        return ""
    rows = [(one.region, *_measured(one)) for one in content.metrics]
    return style.section(
        "Agreement with the real image",
        style.table(("Region", *_MEASURE_LABELS), rows),
        style.paragraph(words.MAMMOGRAM_METRICS_NOTE, "note"),
    )


def _methods(content: ReportContent) -> str:
    if content.manifest.kind == MAMMOGRAM:
        return style.section("Methods", *map(style.paragraph, words.mammogram_methods()))
    method = content.run.segmentation.id if content.run.segmentation else NO_LESIONS
    synthetic = {phase["index"]: phase["time_s"] for phase in content.manifest.phases}
    read = {index: time_s or 0.0 for index, time_s in input_phase_times(content.manifest.inputs).items()}
    parts = [style.paragraph(text) for text in words.methods(method, synthetic, read)]
    return style.section("Methods", *parts)


def _timing(manifest: Manifest) -> str:
    rows = [(stage, style.rounded(seconds, 2)) for stage, seconds in manifest.timing_s.items()]
    if not rows:
        return ""
    rows.append(("total of these", style.rounded(sum(manifest.timing_s.values()), 2)))
    return style.section("Time taken", style.table(("Stage", "Seconds"), rows))


def _provenance(manifest: Manifest) -> str:
    """Run id, hashes, device, settings and versions."""
    rows = [("Run", manifest.run_id), ("Made (UTC)", manifest.created_utc), ("Use", manifest.use)]
    rows.append(("Fingerprint of the run", manifest.fingerprint))
    rows += [(f"Input SHA-256, {entry['role']}", entry["sha256"]) for entry in manifest.inputs]
    rows += [(f"Weights SHA-256, {model['id']}", model["weights_sha256"]) for model in manifest.models]
    rows += [(f"Device: {name}", value) for name, value in manifest.device.items()]
    rows += [(f"Setting: {name}", value) for name, value in manifest.settings.items()]
    rows += [(f"Version: {name}", value) for name, value in manifest.versions.items()]
    return style.section("Provenance", style.facts(rows))
