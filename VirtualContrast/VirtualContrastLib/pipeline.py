"""The main road: read, load the model, synthesize, segment, kinetics, compare, export; nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import SimpleITK as sitk

from . import findings, provenance
from .events import Events, InputError, Stage
from .exporting import export, phase_entries
from .findings import Findings
from .preflight import check_room
from .resident import Engine
from .result import MANIFEST, Manifest, Result, fingerprint, load_result, now_utc, verify_result
from .result_writer import ResultWriter, check_target
from .settings import AUTO, NONE, THRESHOLD, RunSettings
from .study import Phase, Source, Study
from .timing import Clock

if TYPE_CHECKING:
    from .models.catalog import Kind
    from .synthesis.synthesizer import Synthesis

__all__ = ["Engine", "RunSettings", "run"]

GIVEN = "given"


@dataclass(frozen=True)
class _Job:
    """Everything that was asked for, read and checked, before anything is computed.

    `segmentation` is "given", "threshold", "none" or the name of a segmentation model. `given` is the
    user's lesions.
    """

    study: Study
    settings: RunSettings
    model: str
    segmentation: str
    given: tuple[sitk.Image, Source] | None


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

    `real` are real post-contrast phases 1, 2, ... to compare with; `lesions` a mask or label volume in
    which curves are measured in place of lesions found on the synthetic phases. `engine` keeps weights from
    run to run. Whatever stops the run leaves nothing at `out` that was not there before.

    Raises:
        InputError: input, model, settings or output place cannot be used.
        CancelledError: `events.cancel()` was called.
    """
    out = Path(out).expanduser().absolute()
    events = events or Events()
    engine = engine or Engine()
    clock = Clock(events)
    check_target(out, overwrite=settings.overwrite or settings.resume)
    with clock(Stage.READ):
        study = _read(source, real, settings, events)
        given = _read_lesions(lesions, study, settings.pixel_spacing_mm)
    with clock(Stage.MODEL):
        job = _job(study, given, settings, engine, events)
        mark = _fingerprint(job, engine)
        if settings.resume and (kept := _keep(out, mark, settings)):
            return kept
        synthesizer = engine.synthesizer(job.model, settings.device)
        phase_count = len(_model_times(job, engine))
        check_room(out, study.pre.image, phase_count, uncertainty=settings.uncertainty > 0, dicom=settings.dicom)
    with ResultWriter(out, overwrite=settings.overwrite) as writer:
        with clock(Stage.SYNTHESIZE):
            synthesis = synthesizer.synthesize(
                study.pre.image, events, perturbations=settings.uncertainty, seed=settings.seed
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


def _read(source: str | Path, real: Sequence[str | Path], settings: RunSettings, events: Events) -> Study:
    from .io.reading import read_study

    times = settings.times_s if settings.times_s and len(settings.times_s) == len(real) else None
    return read_study(source, real, times_s=times, pixel_spacing_mm=settings.pixel_spacing_mm, events=events)


def _read_lesions(path: str | Path | None, study: Study, spacing_mm: float | None) -> tuple[sitk.Image, Source] | None:
    if path is None:
        return None
    from .io.reading import read_volume

    image, source = read_volume(path, pixel_spacing_mm=spacing_mm)
    return findings.lesion_labels(image, study.pre.image, Path(path).name), source


def _job(
    study: Study,
    given: tuple[sitk.Image, Source] | None,
    settings: RunSettings,
    engine: Engine,
    events: Events,
) -> _Job:
    model = settings.model or _default("synthesis")
    if not model:
        raise InputError("No synthesis model is installed; name one with --model.")
    engine.package(model, "synthesis")
    if settings.dicom and not study.has_geometry:
        raise InputError("A picture has no millimetres and cannot become DICOM; give --pixel-spacing with --dicom.")
    segmentation = GIVEN if given else _segmentation(settings.segmentation, study, engine, events)
    job = _Job(study, settings, model, segmentation, given)
    times, phases = settings.times_s, len(_model_times(job, engine))
    if times and len(times) not in (phases, len(study.real)):
        raise InputError(f"{len(times)} times were given, but the model makes {phases} phases; give {phases}.")
    return job


def _segmentation(wanted: str, study: Study, engine: Engine, events: Events) -> str:
    """What finds the lesions: "threshold", "none" or a model's name that `engine` knows."""
    if wanted in (THRESHOLD, NONE):
        return wanted
    name = _default("segmentation") if wanted == AUTO else wanted
    if not name:
        return THRESHOLD
    card = engine.package(name, "segmentation").card
    if study.pre.image.GetSize()[2] == 1 and str(card.architecture.config.get("configuration", "3d")).startswith("3d"):
        events.warn(f"The lesion model {card.id} needs a volume; lesions of this slice were found by threshold.")
        return THRESHOLD
    return name


def _default(kind: Kind) -> str:
    """Id of the catalog's default model of `kind` where it is installed, else ""."""
    from .models.catalog import installed_models, load_catalog

    name = load_catalog().default_id(kind)
    return name if name in installed_models() else ""


def _model_times(job: _Job, engine: Engine) -> list[float]:
    outputs = engine.package(job.model, "synthesis").card.outputs
    return list(outputs.times_s) if outputs else []


def _findings(job: _Job, synthesis: Synthesis, events: Events) -> Findings:
    """Synthetic phases with the user's times or the model's, real phases with times filled in from them."""
    own = job.settings.times_s
    times = own if own and len(own) == len(synthesis.phases) else synthesis.times_s
    phases = [
        Phase(index, image, float(time_s), synthetic=True)
        for index, (image, time_s) in enumerate(zip(synthesis.phases, times, strict=True), start=1)
    ]
    found = Findings(job.study, synthesis.pre, phases, synthesis.uncertainty, synthesis.arbitrary_units)
    nominal = {phase.index: phase.time_s for phase in phases}
    if any(phase.time_s is None for phase in job.study.real):
        events.warn("The times of the real phases are unknown; those of the synthetic ones were taken.")
    for phase in job.study.real:
        time_s = phase.time_s if phase.time_s is not None else nominal.get(phase.index)
        found.real.append(dataclasses.replace(phase, time_s=time_s))
    return found


def _analyse(found: Findings, job: _Job, engine: Engine, clock: Clock) -> None:
    """Segment, kinetics, compare."""
    events = clock.events
    with clock(Stage.SEGMENT):
        findings.subtract_all(found)
        if job.given:
            found.labels = job.given[0]
        elif job.segmentation != NONE:
            named = job.segmentation != THRESHOLD
            net = engine.lesion_net(job.segmentation, job.settings.device) if named else None
            findings.segment(found, net, events)
    with clock(Stage.KINETICS):
        findings.kinetics(found, events)
    if found.real:
        with clock(Stage.COMPARE):
            findings.compare(found, events)


def _fingerprint(job: _Job, engine: Engine) -> str:
    """One hash over input bytes, weights and every setting that changes the result."""
    settings = dataclasses.asdict(job.settings)
    for name in ("model", "segmentation", "device", "resume", "overwrite"):
        del settings[name]
    named = job.segmentation not in (GIVEN, THRESHOLD, NONE)
    lesions = engine.package(job.segmentation, "segmentation").card.weights_sha256 if named else job.segmentation
    return fingerprint(
        {
            "engine": provenance.__version__,
            "model": engine.package(job.model, "synthesis").card.weights_sha256,
            "segmentation": lesions,
            "inputs": provenance.describe_inputs(job.study, job.given),
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


def _manifest(job: _Job, found: Findings, engine: Engine, events: Events, places: Sequence[str | Path]) -> Manifest:
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
        kind="synthesis",
        run_id="",
        created_utc=now_utc().isoformat(timespec="seconds"),
        fingerprint="",
        inputs=provenance.describe_inputs(job.study, job.given),
        models=models,
        settings={key: value for key, value in settings.items() if key not in ("resume", "overwrite")},
        device={"device": device.device, "precision": device.precision, "reason": device.reason},
        versions=provenance.versions(),
        phases=phase_entries(found, job.settings),
        arbitrary_units=found.arbitrary_units,
        timing_s={},
        warnings=provenance.without_names(events.warnings, sources, places),
        summary=found.summary(),
    )
