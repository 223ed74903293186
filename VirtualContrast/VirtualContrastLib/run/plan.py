"""What a run will do: input and settings read and checked against each other before anything is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import SimpleITK as sitk

from ..events import Events, InputError
from ..export.dicom.mammogram import check_mammogram_exportable
from ..export.dicom.series import check_exportable
from ..io.lesion_mask import read_lesions
from ..io.marks import is_phantom
from ..io.read import read_study
from ..lesions.radiomics import check_radiomics
from ..models.against_copying import warning_of
from ..models.catalog import installed_models, load_catalog, resolve_model
from ..results.manifest import fingerprint
from ..study import Phase, Source, Study
from . import phase_times, provenance
from .settings import AUTO, NONE, THRESHOLD, RunSettings

if TYPE_CHECKING:
    from ..models.card import ModelCard
    from ..models.catalog import Kind
    from ..models.package import ModelPackage

GIVEN = "given"


class GivenLesions(NamedTuple):
    """The user's own lesions.

    Attributes:
        labels: Labels 1..n on the grid of the study.
        source: What they were read from.
    """

    labels: sitk.Image
    source: Source


@dataclass(frozen=True)
class RunInput:
    """What was read.

    Attributes:
        study: The pre-contrast volume and the real phases.
        lesions: The user's own, None where they are to be found.
        places: The paths as the user gave them, which no message of a result may repeat.
    """

    study: Study
    lesions: GivenLesions | None
    places: tuple[str | Path, ...]

    @property
    def sources(self) -> list[Source]:
        """Where every image came from."""
        return [self.study.source, *self.study.real_sources, *([self.lesions.source] if self.lesions else [])]


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before anything is computed; a run reads it and never asks again.

    Attributes:
        input: What was read; the phases that the model reads have times.
        settings: As the user gave them.
        synthesis: The package of the synthesis model.
        read: Indices of the real phases that the model reads.
        times_s: Seconds after injection of the images to make, None for one without time.
        real: The real phases with times filled in.
        segmentation: "given", "threshold", "none" or the id of the lesion model.
        lesion_package: The package of the lesion model, None where no network finds the lesions.
        inputs: Role, hash, format and geometry of every input, for the manifest.
        fingerprint: One hash over input bytes, weights and every setting that changes the result.
    """

    input: RunInput
    settings: RunSettings
    synthesis: ModelPackage
    read: tuple[int, ...]
    times_s: tuple[float | None, ...]
    real: tuple[Phase, ...]
    segmentation: str
    lesion_package: ModelPackage | None
    inputs: list[dict[str, Any]]
    fingerprint: str

    @property
    def card(self) -> ModelCard:
        """The card of the synthesis model."""
        return self.synthesis.card

    @property
    def study(self) -> Study:
        """The study that was read."""
        return self.input.study

    @property
    def first_phase(self) -> int:
        """Index of the first image to make."""
        return max((0, *self.read)) + 1

    @property
    def lesions(self) -> GivenLesions | None:
        """The user's own lesions."""
        return self.input.lesions

    @property
    def models(self) -> list[dict[str, Any]]:
        """Which weights are used, for the manifest."""
        models = [provenance.describe_model(self.synthesis, "synthesis")]
        if self.lesion_package is not None:
            models.append(provenance.describe_model(self.lesion_package, "segmentation"))
        return models

    @property
    def recorded_settings(self) -> dict[str, Any]:
        """The settings that made the result, for the manifest: models by their ids."""
        return self.settings.recorded() | {"model": self.card.id, "segmentation": self.segmentation}


def synthesis_package(settings: RunSettings, source: str | Path) -> ModelPackage:
    """The synthesis model of a run on `source`.

    Where none is named, the catalog's default; models of phantoms only for files that carry the phantoms' mark. Raises
    InputError where there is none.
    """
    if settings.model:
        return resolve_model(settings.model, "synthesis")
    phantom = is_phantom(source)
    model = default_model("synthesis", phantom=phantom)
    if not model and phantom:
        raise InputError("No synthesis model for phantoms is installed; name one with --model.")
    if not model:
        raise InputError(
            "No synthesis model for patients is installed; name one with --model. Models trained on phantoms are never "
            "taken unless they are named, or the file is a marked phantom."
        )
    return resolve_model(model, "synthesis")


def read_input(
    source: str | Path,
    real: Sequence[str | Path],
    lesions: str | Path | None,
    settings: RunSettings,
    card: ModelCard,
    events: Events,
) -> RunInput:
    """Read all input of a run, checked for what the model reads.

    Args:
        source: File, folder or DICOM series of the pre-contrast volume.
        real: Files, folders or series of real phases, in order.
        lesions: File of lesion labels, or None.
        settings: Settings of the run.
        card: Card of the synthesis model.
        events: Receives progress and warnings, and carries the request to cancel.

    Returns:
        The study, the lesions and the places they came from.

    Raises:
        InputError: Something cannot be read or is not what the model reads.
    """
    study = read_study(
        source,
        real,
        times_s=phase_times.times_for_reading(settings, card, len(real)),
        pixel_spacing_mm=settings.pixel_spacing_mm,
        expected=card.abilities.modality,
        force=settings.force,
        series=settings.series or (),
        events=events,
    )
    given = None
    if lesions is not None:
        given = GivenLesions(*read_lesions(lesions, study.pre.image, events))
    return RunInput(study, given, (source, *real, *([lesions] if lesions else [])))


def check_likeness(plan: Plan, events: Events) -> None:
    """Raise InputError where the study is too unlike the training images; warn with `force`, or if it is less so."""
    if plan.card.gate is None:
        return
    from ..synthesis.gate import judge  # needs torch, which takes a second to load: the input is read before

    verdict = judge(plan.study.pre.image, plan.card.gate)
    if not verdict.unlike:
        return
    sentence = verdict.sentence(plan.card.id)
    if verdict.refused and not plan.settings.force:
        raise InputError(f"{sentence} Synthesize it anyway with --force.")
    events.warn(sentence)


def make_plan(given: RunInput, settings: RunSettings, synthesis: ModelPackage, events: Events) -> Plan:
    """Settle times and segmentation of a run before anything is computed.

    Args:
        given: What was read.
        settings: Settings of the run.
        synthesis: Package of the synthesis model.
        events: Where warnings go.

    Returns:
        The plan, with the fingerprint of the result.

    Raises:
        InputError: Something cannot be done as asked.
    """
    card = synthesis.card
    _check_possible(given, settings, card)
    if warning := warning_of(card.id, card.against_copying):
        events.warn(warning)
    read = phase_times.phases_read(card, settings)
    study = phase_times.with_input_times(given.study, card, read, events)
    study = dataclasses.replace(study, acquired=settings.acquired)
    times = phase_times.planned_times(study, card, read, settings)
    made = dict(enumerate(times, start=max((0, *read)) + 1))
    if not card.dynamic:
        segmentation, lesion_package = NONE, None
    elif given.lesions:
        segmentation, lesion_package = GIVEN, None
    else:
        segmentation, lesion_package = choose_segmentation(
            settings.segmentation, study, card, {0, *read, *made}, events
        )
    inputs = provenance.describe_inputs(study, given.lesions, read=read)
    return Plan(
        input=dataclasses.replace(given, study=study),
        settings=settings,
        synthesis=synthesis,
        read=read,
        times_s=tuple(times),
        real=phase_times.real_with_times(study, made, card, events),
        segmentation=segmentation,
        lesion_package=lesion_package,
        inputs=inputs,
        fingerprint=fingerprint(
            {
                "engine": provenance.__version__,
                "model": card.weights_sha256,
                "segmentation": lesion_package.card.weights_sha256 if lesion_package else segmentation,
                "inputs": inputs,
                "settings": settings.deciding(),
            }
        ),
    )


def _check_possible(given: RunInput, settings: RunSettings, card: ModelCard) -> None:
    """Raise InputError where something is asked for that this input or this model cannot give."""
    study = given.study
    if settings.radiomics:
        check_radiomics()
    if settings.uncertainty and not card.abilities.perturbs:
        raise InputError(f"The model '{card.id}' gives no uncertainty; leave it out (0).")
    if not card.dynamic:
        if settings.dicom:
            check_mammogram_exportable(study)
        if given.lesions:
            raise InputError(
                "Curves in lesions need phases in time, which a mammogram does not have; leave the lesions out."
            )
        if settings.register:
            raise InputError("A mammogram has no phases between which motion could be corrected; leave --register out.")
        if settings.radiomics:
            raise InputError("A mammogram has no lesions and phases to measure radiomics in; leave --radiomics out.")
        if len(study.real) > 1:
            raise InputError(f"{len(study.real)} real images were given; a mammogram has one real recombined image.")
    if settings.dicom and card.dynamic and not study.has_geometry:
        raise InputError("A picture has no millimeters and cannot become DICOM; give --pixel-spacing with --dicom.")
    if settings.dicom and card.dynamic:
        check_exportable(study)


def choose_segmentation(
    wanted: str, study: Study, model: ModelCard, phases: Collection[int], events: Events
) -> tuple[str, ModelPackage | None]:
    """Choose what finds the lesions.

    Args:
        wanted: "auto", "threshold", "none", or id or path of a lesion model.
        study: The pre-contrast volume decides whether a 3-D network can be used.
        model: Card of the synthesis model.
        phases: Indices of the phases that it reads and makes.
        events: Gets a warning where the threshold takes the place of a network.

    Returns:
        "threshold" or "none" without a package, or the id of a lesion model and its package.

    Raises:
        InputError: The model named is unknown, or reads a phase that the run does not have.
    """
    if wanted in (THRESHOLD, NONE):
        return wanted, None
    name = _finder_of(model, events) if wanted == AUTO else wanted
    if name in (THRESHOLD, NONE):
        return name, None
    package = resolve_model(name, "segmentation")
    card = package.card
    if study.pre.image.GetSize()[2] == 1 and str(card.architecture.config.get("configuration", "3d")).startswith("3d"):
        events.warn(f"The lesion model {card.id} needs a volume; lesions of this slice were found by threshold.")
        return THRESHOLD, None
    if lacking := sorted(set(card.inputs.channel_phases) - set(phases)):
        reads = f"The lesion model {card.id} reads phase {lacking[0]}, which this run does not have"
        if wanted != AUTO:
            raise InputError(f"{reads}; choose another one, or --segmentation threshold.")
        events.warn(f"{reads}; lesions were found by threshold.")
        return THRESHOLD, None
    return card.id, package


def _finder_of(model: ModelCard, events: Events) -> str:
    """What finds lesions where nothing is asked for: only what was measured on images as this model makes them."""
    if model.lesion_finder is not None:
        events.warn(model.lesion_finder.sentence())
        return model.lesion_finder.finder
    if model.trained_on_phantoms:
        return default_model("segmentation", phantom=True) or THRESHOLD
    if model.inputs.real:
        return THRESHOLD
    events.warn(
        f"No lesions were looked for: nothing that finds them was measured on phases of the model '{model.id}'. Ask "
        "with --segmentation threshold to look anyway."
    )
    return NONE


def default_model(kind: Kind, *, phantom: bool = False) -> str:
    """Id of the catalog's default model of `kind`, for real studies or a `phantom`, where it is installed, else ""."""
    name = load_catalog().default_id(kind, phantom=phantom)
    return name if name in installed_models() else ""
