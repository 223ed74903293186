"""A prepared case as the study that a model gets, and what the model makes of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import SimpleITK as sitk
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.models.package import ModelCard
from VirtualContrastLib.study import Phase, Source, Study
from VirtualContrastLib.synthesis.study_synthesizer import StudySynthesizer
from VirtualContrastLib.synthesis.synthesizer import Synthesis


def study_of(case: Path) -> Study:
    """A prepared case as the study that a model gets: the first image, and the later ones as acquired phases.

    Raises InputError where the case cannot be read.
    """
    try:
        description = json.loads((case / "case.json").read_text(encoding="utf-8"))
        images = [sitk.ReadImage(str(case / name)) for name in description["images"]]
        given_s = [None if time is None else float(time) for time in description.get("times_s", [])]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(f"The prepared case {case} cannot be read: {str(error).splitlines()[0]}") from error
    if not images or len(given_s) not in (0, len(images)):
        raise InputError(f"The case.json of {case} names {len(images)} images and {len(given_s)} times.")
    times: Sequence[float | None] = given_s or [None] * len(images)
    pre, *real = (
        Phase(n, image, time, synthetic=False) for n, (image, time) in enumerate(zip(images, times, strict=True))
    )
    return Study(pre, Source((case / description["images"][0],), "nrrd", ""), tuple(real))


def synthesize_case(synthesizer: StudySynthesizer, card: ModelCard, study: Study) -> Synthesis:
    """What a model makes of a prepared case; one of free times makes the phases at the times of the case's own.

    Args:
        synthesizer: The model.
        card: Its card.
        study: The case, as `study_of` reads it.

    Returns:
        The synthesis.

    Raises:
        InputError: The case cannot be used.
    """
    times = None
    if card.abilities.free_times:
        times = [phase.time_s for phase in study.real if phase.index >= card.first_phase and phase.time_s is not None]
    return synthesizer.synthesize_study(study, Events(), times_s=times or None, perturbations=0, seed=0)
