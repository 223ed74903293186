"""The main road: read, load the model, synthesize, segment, kinetics, compare, export; nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..events import Events, InputError, Stage
from ..results.manifest import (
    MAMMOGRAM,
    MANIFEST,
    SYNTHESIS,
    Manifest,
    Result,
    fingerprint,
    load_result,
    now_utc,
    verify_result,
)
from ..results.staging import recover
from ..results.writer import ResultWriter, check_target
from ..study import Phase
from . import analysis, phase_times, provenance
from .analysis import Findings
from .model_cache import Engine
from .plan import GIVEN, Job, make_job, model_of, read_input, read_lesions
from .preflight import check_room
from .settings import NONE, THRESHOLD, RunSettings
from .timing import Clock
from .write_outputs import export, phase_entries

if TYPE_CHECKING:
    from ..synthesis.synthesizer import Synthesis

__all__ = ["Engine", "RunSettings", "run"]

_NOT_OF_THE_RESULT = ("resume", "overwrite", "real_times_s")  # the times of real phases are told with the inputs


def run(
    source: str | Path,
    out: str | Path,
    settings: RunSettings,
    *,
    real: Sequence[str | Path] = (),
    lesions: str | Path | None = None,
    events: Events | None = None,
    engine: Engine | None = None,
) -> Result:
    """Synthesize the post-contrast phases of the pre-contrast volume `source` into the result folder `out`.

    `real` are real post-contrast phases 1, 2, ...: those that the model reads are its input, the others are compared
    with. `lesions` is a mask or label volume in which curves are measured in place of lesions found on the phases.
    For a mammography model `source` is a low-energy mammogram and `real` its true recombined image. `engine` keeps
    weights from run to run. Whatever stops the run leaves nothing at `out` that was not there before.

    Raises:
        InputError: input, model, settings or output place cannot be used.
        CancelledError: `events.cancel()` was called.
    """
    out = Path(out).expanduser().absolute()
    events = events or Events()
    engine = engine or Engine()
    clock = Clock(events)
    recover(out)
    check_target(out, overwrite=settings.overwrite or settings.resume)
    with clock(Stage.READ):
        model = model_of(settings)
        card = engine.package(model, "synthesis").card
        study = read_input(source, real, settings, card, events)
        given = read_lesions(lesions, study, settings.pixel_spacing_mm)
    with clock(Stage.MODEL):
        job = make_job(study, given, settings, model, engine, events)
        mark = _fingerprint(job, engine)
        if settings.resume and (kept := _keep(out, mark, settings)):
            return kept
        synthesizer = engine.synthesizer(model, settings.device)
        phase_count = len(job.times_s)
        check_room(out, study.pre.image, phase_count, uncertainty=settings.uncertainty > 0, dicom=settings.dicom)
    with ResultWriter(out, overwrite=settings.overwrite) as writer:
        with clock(Stage.SYNTHESIZE):
            synthesis = synthesizer.synthesize_study(
                job.study,
                events,
                times_s=[time_s for time_s in job.times_s if time_s is not None],
                perturbations=settings.uncertainty,
                seed=settings.seed,
            )
            found = _findings(job, synthesis, events)
        _analyse(found, job, engine, clock)
        places = [source, *real, *([lesions] if lesions else [])]
        manifest = dataclasses.replace(
            _manifest(job, found, engine, events, places),
            run_id=writer.run_id,
            fingerprint=mark,
            timing_s=clock.seconds,  # the clock's own dictionary, which gets the export's time below
        )
        with clock(Stage.EXPORT):
            export(found, writer, manifest, settings, events)
        return writer.finish(manifest)


def _findings(job: Job, synthesis: Synthesis, events: Events) -> Findings:
    """What was made, with its times, and the real phases with times filled in from it."""
    made = [
        Phase(index, image, time_s, synthetic=True)
        for index, (image, time_s) in enumerate(
            zip(synthesis.phases, job.times_s, strict=True), start=job.card.first_phase
        )
    ]
    found = Findings(job.study, synthesis.pre, made, synthesis.uncertainty, synthesis.arbitrary_units)
    found.real = phase_times.real_with_times(job.study, made, job.card, events)
    found.acquired = [phase for phase in found.real if phase.index in job.card.inputs.acquired]
    found.dynamic = job.card.dynamic
    return found


def _analyse(found: Findings, job: Job, engine: Engine, clock: Clock) -> None:
    """Segment, kinetics, compare; for an image without time only the last."""
    events = clock.events
    if found.dynamic:
        _analyse_series(found, job, engine, clock)
    else:
        analysis.outline_breast(found)
    if found.compared:
        with clock(Stage.COMPARE):
            analysis.compare(found, events)


def _analyse_series(found: Findings, job: Job, engine: Engine, clock: Clock) -> None:
    events = clock.events
    with clock(Stage.SEGMENT):
        analysis.subtract_all(found)
        if job.given:
            found.labels = job.given[0]
        elif job.segmentation != NONE:
            named = job.segmentation != THRESHOLD
            net = engine.lesion_net(job.segmentation, job.settings.device) if named else None
            analysis.segment(found, net, events)
    with clock(Stage.KINETICS):
        analysis.kinetics(found, events)


def _fingerprint(job: Job, engine: Engine) -> str:
    """One hash over input bytes, weights and every setting that changes the result."""
    settings = dataclasses.asdict(job.settings)
    # The times of real phases are among the inputs.
    for name in ("model", "segmentation", "device", "resume", "overwrite", "real_times_s"):
        del settings[name]
    named = job.segmentation not in (GIVEN, THRESHOLD, NONE)
    lesions = engine.package(job.segmentation, "segmentation").card.weights_sha256 if named else job.segmentation
    return fingerprint(
        {
            "engine": provenance.__version__,
            "model": engine.package(job.model, "synthesis").card.weights_sha256,
            "segmentation": lesions,
            "inputs": provenance.describe_inputs(job.study, job.given, acquired=job.card.inputs.acquired),
            "settings": settings,
        }
    )


def _keep(out: Path, mark: str, settings: RunSettings) -> Result | None:
    """The result at `out` when it is whole and the same job; None when there is none or it may be replaced.

    Raises:
        InputError: it differs or was changed, and `overwrite` does not allow to replace it.
    """
    if not (out / MANIFEST).is_file():
        return None
    result = load_result(out)
    if result.manifest.fingerprint != mark:
        problem = "was made from another input, model, setting or version"
    elif problems := verify_result(out):
        problem = f"is not as it was made: {problems[0].rstrip('.')}"
    else:
        return dataclasses.replace(result, kept=True)
    if settings.overwrite:
        return None
    raise InputError(f"The result folder {out} {problem}; use --overwrite to make it anew.")


def _manifest(job: Job, found: Findings, engine: Engine, events: Events, places: Sequence[str | Path]) -> Manifest:
    """All that is known before the export; run id, hashes, phases and timing are added later."""
    models = [provenance.describe_model(engine.package(job.model, "synthesis"), "synthesis")]
    if job.segmentation not in (GIVEN, THRESHOLD, NONE):
        models.append(provenance.describe_model(engine.package(job.segmentation, "segmentation"), "segmentation"))
    settings = dataclasses.asdict(job.settings) | {
        "model": models[0]["id"],
        "segmentation": models[1]["id"] if len(models) > 1 else job.segmentation,
    }
    sources = [job.study.source, *job.study.real_sources, *([job.given[1]] if job.given else [])]
    device = engine.device(job.settings.device)
    return Manifest(
        kind=SYNTHESIS if found.dynamic else MAMMOGRAM,
        run_id="",
        created_utc=now_utc().isoformat(timespec="seconds"),
        fingerprint="",
        inputs=provenance.describe_inputs(job.study, job.given, acquired=job.card.inputs.acquired),
        models=models,
        settings={key: value for key, value in settings.items() if key not in _NOT_OF_THE_RESULT},
        device={"device": device.device, "precision": device.precision, "reason": device.reason},
        versions=provenance.versions(),
        phases=phase_entries(found, job.settings),
        arbitrary_units=found.arbitrary_units,
        timing_s={},
        warnings=provenance.without_names(events.warnings, sources, places),
        summary=found.summary(),
    )
