"""Which phases a run makes and when they are: from the model's card, the user's settings and the real phases."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..events import Events, InputError
from ..study import Phase, Study
from .settings import RunSettings

if TYPE_CHECKING:
    from ..models.card import ModelCard


def times_for_reading(settings: RunSettings, card: ModelCard, real_count: int) -> tuple[float, ...] | None:
    """Times that the user gave for the real phases; a model of fixed times shares its `times_s` with as many real
    phases.

    Args:
        settings: Settings of the run.
        card: Card of the synthesis model.
        real_count: The number of real phases.

    Returns:
        Seconds after injection; None for the times in the files.
    """
    if settings.real_times_s is not None:
        return settings.real_times_s
    shared = not card.abilities.free_times and settings.times_s and len(settings.times_s) == real_count
    return settings.times_s if shared else None


def phases_read(card: ModelCard, settings: RunSettings) -> tuple[int, ...]:
    """Indices of the real phases that the model reads: those of its card, or as many as the user has it read.

    Raises:
        InputError: The model does not read as many.
    """
    if settings.acquired == 1:
        return tuple(card.inputs.real)
    if not card.abilities.many_acquired:
        raise InputError(f"The model '{card.id}' does not read several acquired phases; leave --acquired out.")
    return tuple(range(1, settings.acquired + 1))


def with_input_times(study: Study, card: ModelCard, read: Sequence[int], events: Events) -> Study:
    """The study with a known time for every real phase that the model reads.

    Args:
        study: The study as read.
        card: Card of the synthesis model.
        read: Indices of those phases.
        events: Gets a warning where the model's own time stands in for an unknown one.

    Returns:
        The study; a time that its files do not give is the one of the model's training.

    Raises:
        InputError: Such a phase is missing, or its time is unknown.
    """
    present = {phase.index: phase for phase in study.real}
    own = dict(zip(card.inputs.real, card.inputs.times_s, strict=False))
    for index in read:
        if index not in present:
            raise InputError(
                f"The model '{card.id}' makes phase {max(read) + 1} and later from the pre-contrast volume and the "
                f"real phase {index}; give that phase with --real."
            )
        if (time_s := present[index].time_s) is not None:
            if index in own and card.outputs is not None and time_s >= card.outputs.times_s[0]:
                events.warn(
                    f"The model '{card.id}' was trained to begin at {own[index]:g} s and begins at {time_s:g} s here: "
                    "it knows that phase only as a step on its way."
                )
            continue
        if index not in own:
            raise InputError(f"The time of the real phase {index} is unknown; give it with --real-times.")
        events.warn(
            f"The time of the real phase {index} is unknown; {own[index]:g} s was used, as in the model's "
            "training. Give it with --real-times."
        )
        present[index] = dataclasses.replace(present[index], time_s=own[index])
    return dataclasses.replace(study, real=tuple(present[phase.index] for phase in study.real))


def planned_times(study: Study, card: ModelCard, read: Sequence[int], settings: RunSettings) -> list[float | None]:
    """Times of the images that the model will make.

    The user's times; without them, for a model of free times that reads no real phase, those of the real phases where
    all are known; otherwise the model's own, of a model that reads several phases those after the last of them.

    Args:
        study: The study with its real phases.
        card: Card of the synthesis model.
        read: Indices of the real phases that the model reads.
        settings: Settings of the run.

    Returns:
        Seconds after injection, in order; [None] for an image without time, such as a mammogram.

    Raises:
        InputError: The user's times do not fit the model or its real phases.
    """
    if card.outputs is None:
        if settings.times_s or settings.real_times_s:
            raise InputError("A mammogram has no time after injection; leave the times out.")
        return [None]
    own: list[float | None] = list(card.outputs.times_s)
    if not card.abilities.free_times:
        return _fixed_times(own, study, settings)
    real = [phase.time_s for phase in study.real]
    if settings.times_s is not None:
        times: list[float | None] = list(settings.times_s)
    elif real and None not in real and not read:
        times = real
    elif len(read) > 1:
        last = max(phase.time_s or 0.0 for phase in study.real if phase.index in read)
        times = [time_s for time_s in card.outputs.times_s if time_s > last]
        if not times:
            raise InputError(
                f"The model '{card.id}' makes no phase after {last:g} s unless it is told when; give later --times."
            )
    else:
        times = own
    _check_after_inputs(times, study, read)
    return times


def _fixed_times(own: list[float | None], study: Study, settings: RunSettings) -> list[float | None]:
    wanted = settings.times_s
    if wanted and len(wanted) not in (len(own), len(study.real)):
        raise InputError(f"{len(wanted)} times were given, but the model makes {len(own)} phases; give {len(own)}.")
    return list(wanted) if wanted and len(wanted) == len(own) else own


def _check_after_inputs(times: list[float | None], study: Study, read: Sequence[int]) -> None:
    for phase in study.real:
        first = times[0]
        if phase.index in read and first is not None and not first > (phase.time_s or 0.0):
            raise InputError(
                f"Phase {max(read) + 1} was requested at {first:g} s, but the real phase {phase.index} was "
                f"acquired at {phase.time_s:g} s; give later --times."
            )


def real_with_times(
    study: Study, planned: Mapping[int, float | None], card: ModelCard, events: Events
) -> tuple[Phase, ...]:
    """The real phases. One of unknown time has none: a model's time is no measurement, and a curve needs true ones.

    Warns of unknown times, and where a model of free times makes a phase for another time than the real one's.

    Args:
        study: as read.
        planned: seconds after injection of the images to make, by index.
        card: of the synthesis model.
        events: receives the warnings.

    Returns:
        The real phases in order.
    """
    if any(phase.time_s is None for phase in study.real) and card.dynamic:
        events.warn(
            "The times of the real phases are unknown: they are compared image by image, and have no curves and no "
            "agreement. Give their times with --real-times."
        )
    timed = []
    for phase in study.real:
        time_s, made_for = phase.time_s, planned.get(phase.index)
        if card.abilities.free_times and time_s is not None and made_for is not None and time_s != made_for:
            events.warn(
                f"Phase {phase.index} was made for {made_for:g} s and is compared with the real one at {time_s:g} s."
            )
        timed.append(phase)
    return tuple(timed)
