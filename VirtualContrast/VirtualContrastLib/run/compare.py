"""Metrics and kinetic agreement of volumes that exist already: the road of `virtual-contrast compare`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..events import Events, InputError, Stage
from ..files import expanded
from ..io import one_sequence
from ..io.lesion_mask import read_lesions
from ..io.volumes import same_geometry
from ..kinetics.curves import lesion_curves
from ..metrics.image_pairs import MEASURES, PairMetrics, compare_images
from ..metrics.own_scale import image_on_own_scale, phases_on_own_scale
from ..results.manifest import (
    COMPARISON,
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
from .analysis import LESIONS, OWN_SCALE_WARNING, Comparison, PhaseResult, Series, compare_with_real
from .motion import with_motion


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
        times_s: Seconds after injection of the real phases; by default those of the synthetic ones.
        register: Whether the motion of the real phases against `pre` is corrected first, where that helps.
        overwrite: Whether a result that stands at `out` may be replaced.
        events: Receives progress and warnings, and carries the request to cancel.

    Returns:
        The result and its metrics, one row per phase and region.

    Raises:
        InputError: Something cannot be read, has another geometry, or times are missing for curves.
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
    from ..io.read import read_volume

    if times_s is not None and len(times_s) != len(real):
        raise InputError(f"{len(times_s)} times were given for {len(real)} real phases; give one for each.")
    sources: list[tuple[str, sitk.Image, Source]] = []

    def read(place: str | Path, role: str) -> sitk.Image:
        image, source = read_volume(place, events=None if role.startswith("synthetic") else events)
        if sources and (difference := same_geometry(image, sources[0][1])):
            raise InputError(f"{Path(place).name} does not lie on the grid of the synthetic phase: {difference}")
        sources.append((role, image, source))
        return image

    folder = expanded(synthetic)
    ours = load_result(folder) if (folder / MANIFEST).is_file() else None
    if ours is not None and ours.manifest.kind == MAMMOGRAM and (pre or lesions):
        raise InputError(
            f"{folder.name} is the result of a mammogram, which has no curves; leave --pre and --lesions out."
        )
    if ours is None:
        phases = [Phase(1, read(synthetic, "synthetic_1"), times_s[0] if times_s else None, synthetic=True)]
    else:
        phases = [
            Phase(
                entry["index"],
                read(ours.folder / entry["file"], f"synthetic_{entry['index']}"),
                entry["time_s"],
                True,
            )
            for entry in ours.manifest.phases
        ]
        if lesions is None and ours.manifest.summary.get("lesions"):
            lesions = ours.folder / "lesions.seg.nrrd"
    inputs = input_phase_times(ours.manifest.inputs) if ours is not None else {}
    nominal = {phase.index: phase.time_s for phase in phases} | inputs
    times = dict(enumerate(times_s, start=1)) if times_s else nominal
    truth = [Phase(n, read(place, f"real_{n}"), times.get(n), synthetic=False) for n, place in enumerate(real, start=1)]
    pre_image = read(pre, "pre") if pre else None
    if pre_image is not None:
        before = sitk.GetArrayViewFromImage(pre_image)
        for place, phase in zip(real, truth, strict=True):
            after = sitk.GetArrayViewFromImage(phase.image)
            if sentence := one_sequence.doubt(before, after, Path(str(pre)).name, Path(place).name):
                events.warn(sentence)
    mask = None
    if lesions:
        mask, source = read_lesions(lesions, phases[0].image, events)
        sources.append(("lesions", mask, source))
    own_scale = ours is not None and ours.manifest.arbitrary_units
    return _Given(phases, truth, pre_image, mask, [n for n in inputs if n <= len(truth)], own_scale, sources)


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
