"""Phases at any seconds after injection from a pre-contrast volume alone, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import SimpleITK as sitk

from ..events import Events, InputError
from ..networks.time_conditioned import AtTimes, TimeConditionedGenerator
from .slice_network import SliceNetwork
from .synthesizer import SliceWise, Synthesis

if TYPE_CHECKING:
    from ..models.package import ModelPackage
    from .device import DeviceChoice


class TimeConditionedSynthesizer(SliceWise):
    """A time-conditioned model with its weights loaded; call `synthesize` for as many volumes as needed."""

    def __init__(self, package: ModelPackage, device_choice: DeviceChoice) -> None:
        """Raises InputError where the package is of another kind or its weights do not fit."""
        super().__init__(package)
        network = package.load_network()
        if not isinstance(network, TimeConditionedGenerator):
            raise InputError(f"The model '{self.card.id}' does not make phases at any time; choose another model.")
        self.network = network
        self._choice = device_choice

    def synthesize(
        self,
        pre: sitk.Image,
        events: Events,
        *,
        times_s: Sequence[float] | None = None,
        perturbations: int = 0,
        seed: int = 0,
    ) -> Synthesis:
        """Make phases at any times. All times together cost one pass over the slices.

        Times outside those of the training give a warning. Everything else is as in `Synthesizer.synthesize`.

        Args:
            pre: Pre-contrast volume, a 3-D scalar image.
            events: Gets progress and warnings; asked between batches whether the user wants to stop.
            times_s: Seconds after injection, above 0 and increasing; None for the card's.
            perturbations: Passes over changed input that give `uncertainty`: 0, or 2 and more.
            seed: Draws the changes.

        Returns:
            The phases on exactly the grid of `pre`.

        Raises:
            InputError: The volume is constant, or the times are not above 0 and increasing.
            CancelledError: The user asked to stop.
            VirtualContrastError: The network gives values that are not finite.
        """
        times = self._checked_times(times_s, events)
        phases = range(1, len(times) + 1)
        network = SliceNetwork(AtTimes(self.network, times), self._choice, self._in_plane, phases)
        return self._synthesize(pre, events, network, times, perturbations, seed)

    def _checked_times(self, times_s: Sequence[float] | None, events: Events) -> list[float]:
        times = [float(time) for time in (self._outputs.times_s if times_s is None else times_s)]
        if not times or not all(a < b for a, b in zip([0.0, *times], times, strict=False)):
            raise InputError("The times of the phases must be seconds after injection, above 0 and increasing.")
        low, high = self.network.time_range_s
        if times[0] < low or times[-1] > high:
            events.warn(f"The model was trained for {low:g} to {high:g} s after injection; other times are guesses.")
        return times
