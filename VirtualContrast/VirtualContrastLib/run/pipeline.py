"""The main road: read, plan, synthesize, segment, kinetics, compare, export; nothing else."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..events import Events, InputError, Stage
from ..files import expanded
from ..free_memory import return_freed
from ..lesions.confidence import Evidence
from ..lesions.threshold import ThresholdSettings
from ..results.manifest import MAMMOGRAM, MANIFEST, SYNTHESIS, Manifest, Result, load_result, now_utc, verify_result
from ..results.staging import recover
from ..results.writer import ResultWriter, check_target
from ..study import Phase
from . import analysis, provenance
from .model_cache import ModelCache
from .motion import without_motion
from .parts import Analysis, Comparison, Kinetics, PhaseResult, Series
from .plan import NONE, Plan, check_likeness, make_plan, read_input, synthesis_package
from .preflight import check_room
from .settings import RunSettings
from .write_outputs import export, phase_entries

if TYPE_CHECKING:
    from ..synthesis.device import DeviceChoice
    from ..synthesis.study_synthesizer import StudySynthesizer
    from ..synthesis.synthesizer import Synthesis

logger = logging.getLogger(__name__)

__all__ = ["ModelCache", "RunSettings", "run"]


def run(
    source: str | Path,
    out: str | Path,
    settings: RunSettings,
    *,
    real: Sequence[str | Path] = (),
    lesions: str | Path | None = None,
    events: Events | None = None,
    models: ModelCache | None = None,
) -> Result:
    """Synthesize the post-contrast phases of one study into a result folder, or leave nothing behind.

    Args:
        source: pre-contrast volume, or a low-energy mammogram for a mammography model.
        out: the result folder to make.
        settings: what the user chose.
        real: real post-contrast phases 1, 2, ...: those that the model reads are its input, the others are compared
            with. For a mammogram its real recombined image.
        lesions: mask or label volume in which curves are measured, in place of lesions found on the phases.
        events: receives progress and warnings, and carries the request to cancel.
        models: keeps weights from run to run.

    Returns:
        The result folder with its manifest.

    Raises:
        InputError: input, model, settings or output place cannot be used.
        CancelledError: `events.cancel()` was called.
    """
    out = expanded(out).absolute()
    events = events or Events()
    models = models or ModelCache()
    clock = _Clock(events)
    recover(out)
    check_target(out, overwrite=settings.overwrite or settings.resume)
    with clock(Stage.READ):
        package = synthesis_package(settings, source)
        given = read_input(source, real, lesions, settings, package.card, events)
    with clock(Stage.MODEL):
        plan = make_plan(given, settings, package, events)
        if settings.resume and (kept := _keep(out, plan)):
            return kept
        check_likeness(plan, events)
        synthesizer = models.synthesizer(package, settings.device, settings.precision)
        check_room(
            out,
            plan.study.pre.image,
            len(plan.times_s),
            uncertainty=settings.uncertainty > 0,
            dicom=settings.dicom,
        )
    if settings.register:
        with clock(Stage.REGISTER):
            plan = without_motion(plan, events)
    with ResultWriter(out, overwrite=settings.overwrite) as writer:
        found, device = _compute(plan, synthesizer, models, clock)
        manifest = _manifest(plan, found, device, clock, writer.run_id)
        with clock(Stage.EXPORT):
            export(found, writer, manifest, settings, events)
        return writer.finish(dataclasses.replace(manifest, timing_s=clock.seconds, warnings=_warnings(plan, events)))


def _compute(
    plan: Plan, synthesizer: StudySynthesizer, models: ModelCache, clock: _Clock
) -> tuple[Analysis, dict[str, str]]:
    """What the run finds, and where and how it was computed. What the export does not need is let go of here."""
    settings = plan.settings
    with clock(Stage.SYNTHESIZE):
        synthesis = synthesizer.synthesize_study(
            plan.study,
            clock.events,
            times_s=[time_s for time_s in plan.times_s if time_s is not None],
            perturbations=settings.uncertainty,
            seed=settings.seed,
        )
    found = _analyze(plan, _series(plan, synthesis), _evidence(plan, synthesis), models, clock)
    return found, _device_entry(models.device(settings.device, settings.precision), synthesis)


class _Clock:
    """Seconds per stage; reports to `events` when a stage starts and ends."""

    def __init__(self, events: Events) -> None:
        self.events = events
        self._seconds: dict[str, float] = {}

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of the stages that have ended."""
        return dict(self._seconds)

    @contextmanager
    def __call__(self, stage: Stage) -> Iterator[None]:
        """Time one stage; raises CancelledError at its start and end when a stop was asked for."""
        self.events.progress(stage, 0, 1)
        start = time.perf_counter()
        yield
        return_freed()
        self._seconds[stage.value] = round(time.perf_counter() - start, 3)
        logger.info("%s: %.2f s", stage.value, self._seconds[stage.value])
        self.events.progress(stage, 1, 1)


def _series(plan: Plan, synthesis: Synthesis) -> Series:
    """What was made, at the times planned, beside what was read."""
    card = plan.card
    numbered = enumerate(zip(synthesis.phases, plan.times_s, strict=True), start=plan.first_phase)
    made = [Phase(index, image, time_s, synthetic=True) for index, (image, time_s) in numbered]
    if card.dynamic:
        results = analysis.phase_results(made, synthesis.uncertainty)
    else:
        results = tuple(PhaseResult(phase) for phase in made)
    return Series(
        study=plan.study,
        pre=synthesis.pre,
        results=results,
        real=plan.real,
        inputs=plan.read,
        arbitrary_units=synthesis.arbitrary_units,
        dynamic=card.dynamic,
    )


def _evidence(plan: Plan, synthesis: Synthesis) -> Evidence | None:
    """What a calibrated model says of its certainty, None for others."""
    calibration = plan.card.calibration
    if calibration is None or synthesis.bands is None or synthesis.probability is None:
        return None
    return Evidence(synthesis.bands, synthesis.probability, calibration)


def _measured_rule(plan: Plan) -> ThresholdSettings | None:
    """The threshold's settings that the card states for its phases; None where it states none."""
    finder = plan.card.lesion_finder
    return (
        ThresholdSettings(**cast(dict[str, Any], finder.settings)) if finder is not None and finder.settings else None
    )


def _analyze(plan: Plan, series: Series, evidence: Evidence | None, models: ModelCache, clock: _Clock) -> Analysis:
    """Segment, kinetics, compare; for an image without time only the last."""
    kinetics = _analyze_series(plan, series, evidence, models, clock) if series.dynamic else None
    region = kinetics.region if kinetics else analysis.outline_breast(series)
    comparison = Comparison()
    if series.compared:
        with clock(Stage.COMPARE):
            labels = kinetics.labels if kinetics else None
            comparison = analysis.compare_with_real(series, region, labels, clock.events)
    if kinetics:
        features = (*comparison.features, *analysis.compare_features(kinetics))
        comparison = dataclasses.replace(comparison, features=features)
    return Analysis(series, region, kinetics, comparison)


def _analyze_series(
    plan: Plan, series: Series, evidence: Evidence | None, models: ModelCache, clock: _Clock
) -> Kinetics:
    events = clock.events
    with clock(Stage.SEGMENT):
        if plan.lesions:
            labels = plan.lesions.labels
        elif plan.segmentation == NONE:
            labels = None
        else:
            package = plan.lesion_package
            net = models.lesion_net(package, plan.settings.device) if package else None
            labels = analysis.find_lesions(series, net, events, _measured_rule(plan))
    with clock(Stage.KINETICS):
        kinetics = analysis.analyze_kinetics(series, labels, events, evidence)
        if plan.settings.radiomics and labels is not None:
            return dataclasses.replace(kinetics, radiomics=analysis.measure_radiomics(series, labels, events))
        return kinetics


def _keep(out: Path, plan: Plan) -> Result | None:
    """The result at `out` when it is whole and the same job; None when there is none or it may be replaced.

    Raises:
        InputError: it differs or was changed, and `overwrite` does not allow to replace it.
    """
    if not (out / MANIFEST).is_file():
        return None
    result = load_result(out)
    if result.manifest.fingerprint != plan.fingerprint:
        problem = "was made from another input, model, setting or version"
    elif problems := verify_result(out):
        problem = f"was changed since it was made: {problems[0].rstrip('.')}"
    else:
        return dataclasses.replace(result, kept=True)
    if plan.settings.overwrite:
        return None
    raise InputError(f"The result folder {out} {problem}; use --overwrite to replace it.")


def _device_entry(choice: DeviceChoice, synthesis: Synthesis) -> dict[str, str]:
    """Where and how the networks were computed, for the manifest."""
    entry = {"device": choice.device, "precision": choice.precision, "reason": choice.reason}
    return entry | ({"computed": synthesis.computed} if synthesis.computed else {})


def _manifest(plan: Plan, found: Analysis, device: dict[str, str], clock: _Clock, run_id: str) -> Manifest:
    """What is known before anything is written, as the report shows it; the writer adds the files' hashes."""
    return Manifest(
        kind=SYNTHESIS if found.series.dynamic else MAMMOGRAM,
        run_id=run_id,
        created_utc=now_utc().isoformat(timespec="seconds"),
        fingerprint=plan.fingerprint,
        inputs=plan.inputs,
        models=plan.models,
        settings=plan.recorded_settings,
        device=device,
        versions=provenance.versions(),
        phases=phase_entries(found.series, plan.settings),
        arbitrary_units=found.series.arbitrary_units,
        timing_s=clock.seconds,
        warnings=_warnings(plan, clock.events),
        summary=found.summary(),
    )


def _warnings(plan: Plan, events: Events) -> list[str]:
    """The warnings of the run without a name or path of the user's."""
    return provenance.without_names(events.warnings, plan.input.sources, plan.input.places)
