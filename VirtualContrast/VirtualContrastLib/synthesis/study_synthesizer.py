"""One call for every kind of synthesis model: a study goes in, the images that the model makes come out.

The record of the package's architecture (`networks.architectures`) names the function here, or in another package, that
makes its synthesizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ..events import Events, InputError
from ..networks.architectures import architecture, part
from ..study import Study

if TYPE_CHECKING:
    from ..models.package import ModelPackage
    from .device import DeviceChoice
    from .mammogram import MammogramSynthesizer
    from .synthesizer import Synthesis, Synthesizer
    from .time_conditioned import TimeConditionedSynthesizer
    from .volumetric import VolumetricSynthesizer


class StudySynthesizer(Protocol):
    """A synthesis model with its weights loaded; serves any number of studies, one at a time."""

    def synthesize_study(
        self, study: Study, events: Events, *, times_s: Sequence[float] | None, perturbations: int, seed: int
    ) -> Synthesis:
        """Make the images that the study lacks, in order: the first follows the pre-contrast and acquired phases read.

        Args:
            study: The study.
            events: Receives progress and warnings, and carries the request to cancel.
            times_s: Seconds after injection at which a model of free times makes them, None for its own; other models
                do not read them.
            perturbations: Passes over changed input that give uncertainty where the model can be perturbed: 0, or 2 and
                more.
            seed: Draws the changes.

        Returns:
            The images on exactly the study's grid, float32.

        Raises:
            InputError: The study cannot be used.
            CancelledError: The user asked to stop.
            VirtualContrastError: The network gives values that are not finite.
        """


def study_synthesizer(package: ModelPackage, choice: DeviceChoice) -> StudySynthesizer:
    """The synthesizer of a package on a device.

    Raises:
        InputError: the package is for something else, or its weights do not fit.
    """
    record = architecture(package.card.architecture.name)
    if record.synthesizer is None:
        raise InputError(
            f"The model '{package.card.id}' ({record.id}) does not synthesize images; choose another model."
        )
    synthesizer: StudySynthesizer = part(record.synthesizer)(package, choice)
    return synthesizer


class _FromPre:
    """All phases at the model's own times from the pre-contrast volume."""

    def __init__(self, synthesizer: Synthesizer) -> None:
        self._synthesizer = synthesizer

    def synthesize_study(
        self, study: Study, events: Events, *, times_s: Sequence[float] | None, perturbations: int, seed: int
    ) -> Synthesis:
        return self._synthesizer.synthesize(study.pre.image, events, perturbations=perturbations, seed=seed)


class _FromPreAtTimes:
    """Phases at any times from the pre-contrast volume."""

    def __init__(self, synthesizer: TimeConditionedSynthesizer) -> None:
        self._synthesizer = synthesizer

    def synthesize_study(
        self, study: Study, events: Events, *, times_s: Sequence[float] | None, perturbations: int, seed: int
    ) -> Synthesis:
        return self._synthesizer.synthesize(
            study.pre.image, events, times_s=times_s, perturbations=perturbations, seed=seed
        )


class _FromPreAndAcquired:
    """Later phases at any times from the pre-contrast volume and the first real phases."""

    def __init__(self, synthesizer: VolumetricSynthesizer) -> None:
        self._synthesizer = synthesizer

    def synthesize_study(
        self, study: Study, events: Events, *, times_s: Sequence[float] | None, perturbations: int, seed: int
    ) -> Synthesis:
        acquired = [phase for phase in study.real if phase.index <= study.acquired]
        if not acquired:
            name = self._synthesizer.card.id
            raise InputError(f"The model '{name}' needs real phase 1; give it with --real.")
        return self._synthesizer.synthesize(study.pre.image, acquired, events, times_s=times_s)


class _FromMammogram:
    """The recombined image of a low-energy mammogram; it has no time."""

    def __init__(self, synthesizer: MammogramSynthesizer) -> None:
        self._synthesizer = synthesizer

    def synthesize_study(
        self, study: Study, events: Events, *, times_s: Sequence[float] | None, perturbations: int, seed: int
    ) -> Synthesis:
        from .synthesizer import Synthesis

        spacing_mm = self._synthesizer.spec.spacing_mm
        if spacing_mm is not None and not study.has_geometry:
            raise InputError(
                f"The model '{self._synthesizer.card.id}' works on pixels of {spacing_mm:g} mm, but this image does "
                "not state its pixel size; give --pixel-spacing."
            )
        low_energy = study.pre.image
        recombined = self._synthesizer.synthesize(low_energy, events)
        return Synthesis([recombined], times_s=[], uncertainty=None, arbitrary_units=False, pre=low_energy)


def slice_wise(package: ModelPackage, choice: DeviceChoice) -> StudySynthesizer:
    """Of a network from pre-contrast slices to the card's phases, both in -1..1."""
    from .synthesizer import Synthesizer

    return _FromPre(Synthesizer(package, choice))


def subtraction_unet(package: ModelPackage, choice: DeviceChoice) -> StudySynthesizer:
    """Of a U-Net from pre-contrast slices to subtraction images or phases, in 0..1."""
    from ..networks.subtraction_unet import PhasesFromUNet
    from .synthesizer import Synthesizer

    return _FromPre(Synthesizer(package, choice, PhasesFromUNet))


def time_conditioned(package: ModelPackage, choice: DeviceChoice) -> StudySynthesizer:
    """Of a `TimeConditionedGenerator`."""
    from .time_conditioned import TimeConditionedSynthesizer

    return _FromPreAtTimes(TimeConditionedSynthesizer(package, choice))


def enhancement(package: ModelPackage, choice: DeviceChoice) -> StudySynthesizer:
    """Of a network from pre-contrast slices to relative enhancement."""
    from .enhancement import EnhancementSynthesizer

    return EnhancementSynthesizer(package, choice)


def volumetric(package: ModelPackage, choice: DeviceChoice) -> StudySynthesizer:
    """Of a network from pre-contrast volume and acquired phases to later phases."""
    from .volumetric import VolumetricSynthesizer

    return _FromPreAndAcquired(VolumetricSynthesizer(package, choice))


def mammogram(package: ModelPackage, choice: DeviceChoice) -> StudySynthesizer:
    """Of a CycleGAN generator for mammograms."""
    from .mammogram import MammogramSynthesizer

    return _FromMammogram(MammogramSynthesizer(package, choice))
