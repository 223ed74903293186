"""Metrics and kinetic agreement of volumes that exist already: the road of `virtual-contrast compare`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..events import Events, InputError, Stage
from ..files import expanded
from ..io.lesion_mask import read_lesions
from ..io.volumes import same_geometry
from ..kinetics.curves import lesion_curves
from ..metrics.image_pairs import MEASURES, PairMetrics, compare_images
from ..metrics.own_scale import image_on_own_scale, phases_on_own_scale
from ..results.manifest import (
    COMPARISON,
    FILE_ROUNDING,
    MAMMOGRAM,
    MANIFEST,
    Manifest,
    Result,
    fingerprint,
    input_phase_times,
    load_result,
    now_utc,
)
from ..results.writer import ResultWriter, check_target
from ..study import Phase, Source, Study
from ..synthesis.breast_region import breast_region
from ..synthesis.registration import Motion, register_phases
from . import provenance
from .analysis import LESIONS, OWN_SCALE_WARNING, compare_with_real
from .motion import with_motion
from .parts import Comparison, PhaseResult, Series
from .settings import check_times


@dataclasses.dataclass(frozen=True)
class _Given:
    """What was read: `lesions` are labels on the phases' grid, `inputs` indices of the phases that the model read.

    `own_scale`: the synthetic phases have the 0..255 of an as-published model.
    """

    synthetic: list[Phase]
    real: list[Phase]
    pre: sitk.Image | None
    lesions: sitk.Image | None
    inputs: list[int]
    own_scale: bool
    sources: list[tuple[str, sitk.Image, Source]]
    motions: list[Motion] = dataclasses.field(default_factory=list)


def compare_existing(
    synthetic: str | Path,
    real: Sequence[str | Path],
    out: str | Path,
    *,
    pre: str | Path | None = None,
    lesions: str | Path | None = None,
    times_s: Sequence[float] | None = None,
    register: bool = False,
    overwrite: bool = False,
    events: Events | None = None,
) -> tuple[Result, list[PairMetrics]]:
    """Compare synthetic with real phases 1, 2, ... into comparison.csv; with a pre-contrast volume and lesions also
    curves.

    Args:
        synthetic: A result folder of this program, or one volume, which is then phase 1.
        real: Files, folders or series of the real phases, in order.
        out: Folder of the new result.
        pre: Pre-contrast volume.
        lesions: Lesion labels; by default those of the result folder.
        times_s: Seconds after injection of the real phases; by default those of their headers where `pre` is given, and
            those of the synthetic ones for the others.
        register: Whether the motion of the real phases against `pre` is corrected first, where that helps.
        overwrite: Whether a result that stands at `out` may be replaced.
        events: Receives progress and warnings, and carries the request to cancel.

    Returns:
        The result and its metrics, one row per phase and region.

    Raises:
        InputError: Something cannot be read, has another geometry, real phases are in another order than by their
            headers, or times are missing for curves.
    """
    out = expanded(out).absolute()
    events = events or Events()
    check_target(out, overwrite=overwrite)
    events.progress(Stage.READ, 0, 1)
    given = _read(synthetic, real, pre, lesions, times_s, events)
    if register:
        given = _without_motion(given, events)
    events.progress(Stage.COMPARE, 0, 1)
    comparison = _compare(given, events)
    events.progress(Stage.EXPORT, 0, 1)
    with ResultWriter(out, overwrite=overwrite) as writer:
        _write(given, comparison, writer)
        places = [synthetic, *real, *[place for place in (pre, lesions) if place]]
        result = writer.finish(_manifest(given, comparison, writer.run_id, events, places))
    return result, list(comparison.metrics)


def _without_motion(given: _Given, events: Events) -> _Given:
    if given.pre is None:
        raise InputError("Motion is corrected against the pre-contrast volume; give it with --pre.")
    moved, motions = register_phases(given.pre, given.real, events)
    return dataclasses.replace(given, real=moved, motions=motions)


def table(metrics: Sequence[PairMetrics]) -> str:
    """The metrics as lines of text with aligned columns."""
    labels = " ".join(f"{measure.label:>12}" for measure in MEASURES)
    lines = [f"{'phase':>5} {'image':<10} {'region':<12} {labels}"]
    for one in metrics:
        numbers = " ".join(f"{one.values[measure.name]:>12.5g}" for measure in MEASURES)
        lines.append(f"{one.phase:>5} {one.compared:<10} {one.region:<12} {numbers}")
    return "\n".join(lines)


def _read(
    synthetic: str | Path,
    real: Sequence[str | Path],
    pre: str | Path | None,
    lesions: str | Path | None,
    times_s: Sequence[float] | None,
    events: Events,
) -> _Given:
    from ..io.read import read_phases, read_study

    if times_s is not None:
        check_times(tuple(times_s))
    folder = expanded(synthetic)
    ours = load_result(folder) if (folder / MANIFEST).is_file() else None
    mammogram = ours is not None and ours.manifest.kind == MAMMOGRAM
    if mammogram and (pre or lesions):
        raise InputError(
            f"{folder.name} is the result of a mammogram, which has no curves; leave --pre and --lesions out."
        )
    phases, sources = _synthetic(synthetic, ours)
    if ours is not None and lesions is None and ours.manifest.summary.get("lesions"):
        lesions = ours.folder / "lesions.seg.nrrd"
    expected = None if ours is None else "MG" if mammogram else "MR"
    study = read_study(pre, real, times_s=times_s, expected=expected, events=events) if pre else None
    truth, real_sources = (
        (study.real, study.real_sources)
        if study is not None
        else read_phases(real, times_s=times_s, expected=expected, events=events)
    )
    sources += [(f"real_{one.index}", one.image, its) for one, its in zip(truth, real_sources, strict=True)]
    if study is not None:
        sources.append(("pre", study.pre.image, study.source))
    for role, image, source in sources:
        if difference := same_geometry(image, phases[0].image):
            name = source.files[0].name if source.files else role
            raise InputError(f"{name} does not lie on the grid of the synthetic phase: {difference}")
    if study is not None and ours is not None:
        _check_pre(ours, study, events)
    inputs = input_phase_times(ours.manifest.inputs) if ours is not None else {}
    mask = None
    if lesions:
        mask, source = read_lesions(lesions, phases[0].image, events)
        sources.append(("lesions", mask, source))
    own_scale = ours is not None and ours.manifest.arbitrary_units
    pre_image = study.pre.image if study is not None else None
    timed = _with_times(truth, times_s, inputs, phases)
    if ours is None:  # a single volume has the time of the phase that it is compared with
        phases = [dataclasses.replace(phases[0], time_s=timed[0].time_s)]
    return _Given(phases, timed, pre_image, mask, [n for n in inputs if n <= len(truth)], own_scale, sources)


def _synthetic(place: str | Path, ours: Result | None) -> tuple[list[Phase], list[tuple[str, sitk.Image, Source]]]:
    """The synthetic phases of a result, or of any other place its volume as phase 1, and where they came from."""
    from ..io.read import read_volume

    if ours is None:
        image, source = read_volume(place)
        return [Phase(1, image, None, synthetic=True)], [("synthetic_1", image, source)]
    phases, sources = [], []
    for entry in ours.manifest.phases:
        image, source = read_volume(ours.folder / entry["file"])
        phases.append(Phase(entry["index"], image, entry["time_s"], synthetic=True))
        sources.append((f"synthetic_{entry['index']}", image, source))
    return phases, sources


def _with_times(
    truth: Sequence[Phase],
    given: Sequence[float] | None,
    inputs: Mapping[int, float | None],
    synthetic: Sequence[Phase],
) -> list[Phase]:
    """The real phases at the times given; else at that told to the model, of their headers, or of the synthetic one."""
    if given is not None:
        return list(truth)
    nominal = {phase.index: phase.time_s for phase in synthetic}
    timed = []
    for phase in truth:
        known = (inputs.get(phase.index), phase.time_s, nominal.get(phase.index))
        timed.append(dataclasses.replace(phase, time_s=next((time for time in known if time is not None), None)))
    return timed


def _check_pre(ours: Result, study: Study, events: Events) -> None:
    """Warn where the result was made from another pre-contrast volume than is given, by their voxels."""
    hashes = {entry["role"]: entry["sha256"] for entry in ours.manifest.inputs}
    if study.source.sha256 == hashes.get("pre") or ours.manifest.arbitrary_units:
        return
    made_from, given = (sitk.GetArrayFromImage(image) for image in (ours.pre_contrast(), study.pre.image))
    if not np.allclose(made_from, given, rtol=0.0, atol=FILE_ROUNDING * float(np.abs(made_from).max())):
        events.warn(
            f"{study.source.files[0].name} is not the pre-contrast volume that {ours.folder.name} was made from; give "
            "the one of the same examination."
        )


def _compare(given: _Given, events: Events) -> Comparison:
    """Metrics; with curves and agreement where a pre-contrast volume and lesions are there."""
    if given.pre is None:
        return _metrics_only(given, events)
    return compare_with_real(_series(given), breast_region(given.pre, events), given.lesions, events)


def _series(given: _Given) -> Series:
    assert given.pre is not None
    sources = {role: source for role, _, source in given.sources}
    return Series(
        study=Study(Phase(0, given.pre, 0.0, synthetic=False), sources["pre"], tuple(given.real)),
        pre=image_on_own_scale(given.pre) if given.own_scale else given.pre,
        results=tuple(PhaseResult(phase) for phase in given.synthetic),
        real=tuple(given.real),
        inputs=tuple(given.inputs),
        arbitrary_units=given.own_scale,
    )


def _metrics_only(given: _Given, events: Events) -> Comparison:
    regions: dict[str, NDArray[np.bool_]] = {}
    if given.lesions is not None:
        regions[LESIONS] = sitk.GetArrayFromImage(given.lesions) > 0
    phases: Sequence[Phase] = given.real
    if given.own_scale:
        events.warn(OWN_SCALE_WARNING)
        phases = phases_on_own_scale(phases)
    real = {phase.index: phase.image for phase in phases}
    metrics: list[PairMetrics] = []
    for phase in given.synthetic:
        if phase.index in real:
            metrics += compare_images(phase.image, real[phase.index], regions, phase=phase.index)
    return Comparison(tuple(metrics))


def _write(given: _Given, comparison: Comparison, writer: ResultWriter) -> None:
    from ..export import tables

    for phase, motion in zip(given.real, given.motions, strict=False):
        if motion.kept:
            writer.image(phase.image, f"registered/{phase.name}.nrrd", synthetic=False)
    tables.write_comparison_csv(writer.path("comparison.csv"), comparison.metrics)
    if comparison.features:
        tables.write_records_csv(writer.path("feature_agreement.csv"), comparison.features)
    if comparison.agreement is not None and given.lesions is not None:
        curves = lesion_curves(_series(given).phases, given.lesions)
        tables.write_curves_csv(writer.path("curves.csv"), curves, inputs=len(given.inputs))
        tables.write_curves_csv(writer.path("curves_real.csv"), comparison.curves)
        tables.write_agreement_csv(writer.path("agreement.csv"), comparison.agreement, inputs=len(given.inputs))


def _manifest(
    given: _Given, comparison: Comparison, run_id: str, events: Events, places: Sequence[str | Path]
) -> Manifest:
    inputs = [provenance.describe(role, source, image, None) for role, image, source in given.sources]
    if given.motions:
        inputs = with_motion(inputs, [phase.index for phase in given.real], given.motions)
    return Manifest(
        kind=COMPARISON,
        run_id=run_id,
        created_utc=now_utc().isoformat(timespec="seconds"),
        fingerprint=fingerprint({"engine": provenance.__version__, "inputs": inputs}),
        inputs=inputs,
        models=[],
        settings={"times_s": [phase.time_s for phase in given.real]},
        device={},
        versions=provenance.versions(),
        phases=[],
        arbitrary_units=given.own_scale,
        timing_s={},
        warnings=provenance.without_names(events.warnings, [source for _, _, source in given.sources], places),
        summary={"pairs": len(comparison.metrics)},
    )
