"""What a run will do: input and settings read and checked against each other before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import SimpleITK as sitk

from ..events import Events, InputError
from ..study import Source, Study
from . import phase_times
from .analysis import lesion_labels
from .model_cache import Engine
from .settings import AUTO, NONE, THRESHOLD, RunSettings

if TYPE_CHECKING:
    from ..models.card import ModelCard
    from ..models.catalog import Kind

GIVEN = "given"


@dataclass(frozen=True)
class Job:
    """Everything that was asked for, read and checked, before anything is computed.

    `times_s` are the seconds after injection of the images to make, None where they have no time.
    `segmentation` is "given", "threshold", "none" or the name of a segmentation model. `given` is the
    user's lesions.
    """

    study: Study
    settings: RunSettings
    model: str
    card: ModelCard
    times_s: list[float | None]
    segmentation: str
    given: tuple[sitk.Image, Source] | None


def model_of(settings: RunSettings) -> str:
    """Id or path of the synthesis model of a run; raises InputError where none is named and none is installed."""
    model = settings.model or default_model("synthesis")
    if not model:
        raise InputError("No synthesis model is installed; name one with --model.")
    return model


def read_input(
    source: str | Path, real: Sequence[str | Path], settings: RunSettings, card: ModelCard, events: Events
) -> Study:
    """The study of a run, checked for what the model of `card` reads; raises InputError."""
    from ..io.read import read_study

    return read_study(
        source,
        real,
        times_s=phase_times.times_for_reading(settings, card, len(real)),
        pixel_spacing_mm=settings.pixel_spacing_mm,
        expected=card.abilities.modality,
        events=events,
    )


def read_lesions(path: str | Path | None, study: Study, spacing_mm: float | None) -> tuple[sitk.Image, Source] | None:
    """The user's lesions as labels 1..n on the grid of the study, None where there are none; raises InputError."""
    if path is None:
        return None
    from ..io.read import read_volume

    image, source = read_volume(path, pixel_spacing_mm=spacing_mm)
    return lesion_labels(image, study.pre.image, Path(path).name), source


def make_job(
    study: Study,
    given: tuple[sitk.Image, Source] | None,
    settings: RunSettings,
    model: str,
    engine: Engine,
    events: Events,
) -> Job:
    """Settle times and segmentation of a run; raises InputError where something cannot be done as asked."""
    card = engine.package(model, "synthesis").card
    _check_wishes(study, settings, card, lesions=given is not None)
    study = phase_times.with_acquired_times(study, card, events)
    times = phase_times.planned_times(study, card, settings)
    if not card.dynamic:
        segmentation = NONE
    elif given:
        segmentation = GIVEN
    else:
        segmentation = choose_segmentation(settings.segmentation, study, card, len(times), engine, events)
    return Job(study, settings, model, card, times, segmentation, given)


def _check_wishes(study: Study, settings: RunSettings, card: ModelCard, *, lesions: bool) -> None:
    """Raise InputError where something is asked for that this input or this model cannot give."""
    if settings.uncertainty and not card.abilities.perturbs:
        raise InputError(f"The model '{card.id}' gives no uncertainty; leave it out (0).")
    if not card.dynamic:
        if settings.dicom:
            raise InputError("DICOM export writes MR phases, and this model makes a mammogram; leave DICOM out.")
        if lesions:
            raise InputError("Curves in lesions need phases in time, which a mammogram has not; leave the lesions out.")
        if len(study.real) > 1:
            raise InputError(f"{len(study.real)} real images were given; a mammogram has one true recombined image.")
    if settings.dicom and not study.has_geometry:
        raise InputError("A picture has no millimeters and cannot become DICOM; give --pixel-spacing with --dicom.")


def choose_segmentation(
    wanted: str, study: Study, model: ModelCard, phase_count: int, engine: Engine, events: Events
) -> str:
    """What finds the lesions: "threshold", "none" or a model's name that `engine` knows."""
    if wanted in (THRESHOLD, NONE):
        return wanted
    name = default_model("segmentation") if wanted == AUTO else wanted
    if not name:
        return THRESHOLD
    card = engine.package(name, "segmentation").card
    if study.pre.image.GetSize()[2] == 1 and str(card.architecture.config.get("configuration", "3d")).startswith("3d"):
        events.warn(f"The lesion model {card.id} needs a volume; lesions of this slice were found by threshold.")
        return THRESHOLD
    there = {*model.inputs.phases, *range(model.first_phase, model.first_phase + phase_count)}
    if lacking := sorted(set(card.inputs.channel_phases) - there):
        reads = f"The lesion model {card.id} reads phase {lacking[0]}, which this run does not have"
        if wanted != AUTO:
            raise InputError(f"{reads}; choose another one, or --segmentation threshold.")
        events.warn(f"{reads}; lesions were found by threshold.")
        return THRESHOLD
    return name


def default_model(kind: Kind) -> str:
    """Id of the catalog's default model of `kind` where it is installed, else ""."""
    from ..models.catalog import installed_models, load_catalog

    name = load_catalog().default_id(kind)
    return name if name in installed_models() else ""
