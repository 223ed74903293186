"""Slice-wise synthesis of all phases from a pre-contrast volume of any size, spacing and orientation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..events import Events, InputError, Stage, VirtualContrastError
from ..io.masked import MaskedValues
from ..io.volumes import like, to_array
from ..networks.options import SliceOptions
from .geometry import AxialView
from .intensity import IntensityRecipe, foreground_threshold, make_recipe
from .network_grid import NetworkGrid, spacing_warning
from .slice_network import SliceNetwork
from .uncertainty import Perturbation, RunningSpread, background_noise_sd, draw_perturbations

if TYPE_CHECKING:
    from torch import nn

    from ..models.card import InPlane
    from ..models.package import ModelPackage
    from .device import DeviceChoice

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Synthesis:
    """Synthetic phases 1, 2, ... with exactly the geometry of the input, float32.

    Attributes:
        phases: In order.
        times_s: Seconds after injection.
        uncertainty: Standard deviation of each phase over perturbed passes: sensitivity to perturbations, not a
            calibrated error, unless the model predicts its own. None where it was not asked for.
        arbitrary_units: Whether the units are arbitrary and not those of the input.
        pre: The pre-contrast volume in the units of the phases, for subtraction and curves.
        bands: A lower and an upper change from `pre` to each phase, whose means over a lesion bound that of the real
            phase in as many patients as the model's calibration says; None where unknown.
        probability: How sure the model is that a voxel enhances early, 0 to 1; None where unknown.
        computed: A sentence on which way of computing the network was chosen, "" for the only one.
    """

    phases: list[sitk.Image]
    times_s: list[float]
    uncertainty: list[sitk.Image] | None
    arbitrary_units: bool
    pre: sitk.Image
    bands: list[tuple[MaskedValues, MaskedValues]] | None = None
    probability: MaskedValues | None = None
    computed: str = ""


class SliceWise:
    """What the models that read pre-contrast slices alone share: from a volume to its phases, slices in batches.

    Subclasses give the network and the times of its phases.
    """

    def __init__(self, package: ModelPackage) -> None:
        """Raises InputError where the package's network does not read slices."""
        card = package.card
        options = card.architecture.options
        if (
            not isinstance(options, SliceOptions)
            or card.outputs is None
            or card.intensity is None
            or card.in_plane is None
        ):
            raise InputError(
                f"The model '{card.id}' ({card.architecture.name}) does not make phases from slices of a pre-contrast "
                "volume alone; choose another model."
            )
        self.card = card
        self._base_width = options.base_width
        self._recipe: IntensityRecipe = make_recipe(card.intensity)
        self._in_plane = card.in_plane
        self._outputs = card.outputs

    def _synthesize(
        self,
        pre: sitk.Image,
        events: Events,
        network: SliceNetwork,
        times_s: Sequence[float],
        perturbations: int,
        seed: int,
    ) -> Synthesis:
        """The phases that `network` gives of `pre`, one for each of `times_s`; see `Synthesizer.synthesize`."""
        if perturbations == 1 or perturbations < 0:
            raise InputError("Uncertainty needs at least 2 perturbed passes (or 0 for none).")
        view = AxialView.of(pre)
        if view.as_stored:
            events.warn(
                "The volume is a thin stack that is not axial; the model was trained on axial slices, "
                "so its output is less reliable here."
            )
        if warning := spacing_warning(self._in_plane, view.spacing_mm[1:]):
            events.warn(warning)
        stored = to_array(pre)
        constants = self._recipe.fit(stored)
        work = _Work(view.from_stored(stored), view, constants, self._recipe, self._in_plane)
        phases, spread = self._predict(work, network, len(times_s), events, perturbations, seed)
        if not np.isfinite(phases).all():
            raise VirtualContrastError(
                f"The model '{self.card.id}' gave numbers that are not finite; its weights are unusable."
            )
        del work  # before as much is needed for the images
        return Synthesis(
            phases=[like(view.to_stored(phase), pre) for phase in phases],
            times_s=list(times_s),
            uncertainty=[like(view.to_stored(s), pre) for s in spread] if spread is not None else None,
            arbitrary_units=self._recipe.arbitrary_units,
            pre=like(self._recipe.to_output_units(stored, constants), pre),
            computed=network.chosen.description,
        )

    def _predict(
        self, work: _Work, network: SliceNetwork, count: int, events: Events, perturbations: int, seed: int
    ) -> tuple[Float32, Float32 | None]:
        """`count` phases [phase, k, j, i] in output units, and their spread over perturbed passes."""
        shape = (count, *work.volume.shape)
        phases = np.broadcast_to(work.base, shape).copy()
        spread = np.zeros(shape, np.float32) if perturbations else None
        todo = np.flatnonzero(~work.empty)
        if todo.size == 0:
            events.warn("No slice shows tissue; the synthetic phases are copies of the pre-contrast volume.")
            events.progress(Stage.SYNTHESIZE, 1, 1)
            return phases, spread
        noise_sd = background_noise_sd(work.network_input) if perturbations else 0.0
        drawn = draw_perturbations(perturbations, seed, noise_sd)
        total, done = todo.size * (1 + perturbations), 0
        events.progress(Stage.SYNTHESIZE, 0, total)
        network.settle(self._stack(work, todo[todo.size // 2, None])[0], total, self.card.weights_sha256)
        size = network.batch_size(work.network_input.shape[1:], self._base_width)
        for batch in (todo[start : start + size] for start in range(0, todo.size, size)):
            phases[:, batch] = self._run(work, network, batch, None, events)
            done += batch.size
            events.progress(Stage.SYNTHESIZE, done, total)
            if spread is None:
                continue
            running = RunningSpread()
            for perturbation in drawn:
                running.add(self._run(work, network, batch, perturbation, events))
                done += batch.size
                events.progress(Stage.SYNTHESIZE, done, total)
            spread[:, batch] = running.standard_deviation()
        return phases, spread

    def _run(
        self,
        work: _Work,
        network: SliceNetwork,
        batch: NDArray[np.intp],
        perturbation: Perturbation | None,
        events: Events,
    ) -> Float32:
        """One pass over the slices `batch`: [phase, n, row, column] in output units at native size."""
        stack, neighbors = self._stack(work, batch)
        if perturbation is None:
            prediction = network.run(stack, events)
        else:
            prediction = perturbation.undo(network.run(perturbation.apply(stack, neighbors), events))
        return np.stack([work.to_native(prediction[:, p], batch) for p in range(prediction.shape[1])])

    def _stack(self, work: _Work, batch: NDArray[np.intp]) -> tuple[Float32, NDArray[np.intp]]:
        """Network input of the slices `batch` [n, c, row, column], and the slices [n, c] that it shows."""
        neighbors = np.clip(batch[:, None] + np.asarray(self.card.inputs.channel_offsets), 0, len(work.volume) - 1)
        return work.network_input[neighbors], neighbors


class Synthesizer(SliceWise):
    """A model of fixed phases with its weights loaded; call `synthesize` for as many volumes as needed."""

    def __init__(
        self,
        package: ModelPackage,
        device_choice: DeviceChoice,
        as_generator: Callable[[Any], nn.Module] = lambda network: network,
    ) -> None:
        """Load the weights; raises InputError where the package is of another kind or they do not fit.

        Args:
            package: a model of fixed phases from slices.
            device_choice: where the network runs.
            as_generator: makes of the package's network one from slices to phases, both in -1..1.
        """
        super().__init__(package)
        generator = as_generator(package.load_network())
        self.network = SliceNetwork(generator, device_choice, self._in_plane, self._outputs.channel_phases)

    def synthesize(self, pre: sitk.Image, events: Events, *, perturbations: int = 0, seed: int = 0) -> Synthesis:
        """Make all phases of a volume. On one machine's CPU the same input gives the same bytes.

        Args:
            pre: Pre-contrast volume, a 3-D scalar image.
            events: Gets the progress, in slices times passes; asked between batches whether the user wants to stop.
            perturbations: Passes over changed input that give `uncertainty`: 0, or 2 and more.
            seed: Draws the changes.

        Returns:
            The phases on exactly the grid of `pre`.

        Raises:
            InputError: The volume is constant.
            CancelledError: The user asked to stop.
            VirtualContrastError: The network gives values that are not finite.
        """
        return self._synthesize(pre, events, self.network, self._outputs.times_s, perturbations, seed)


class _Work:
    """One volume in axial view [k, j, i] with what the passes over its slices share.

    `network_input` is in network range at the network's pixel size, `base` the volume in output units at its
    own. `empty` marks slices without tissue: constant ones and those nowhere above the foreground threshold.
    Instance normalization would blow their noise up to full range, so their output is the input.
    """

    def __init__(
        self,
        volume: Float32,
        view: AxialView,
        constants: dict[str, float],
        recipe: IntensityRecipe,
        in_plane: InPlane,
    ) -> None:
        self.volume = volume
        self._constants = constants
        self._recipe = recipe
        rows_columns = (volume.shape[1], volume.shape[2])
        self._grid = NetworkGrid.of(in_plane, rows_columns, view.spacing_mm[1:])
        self.network_input = recipe.forward(self._grid.to_network(volume), constants)
        self.base = recipe.to_output_units(volume, constants)
        brightest = volume.max(axis=(1, 2))
        self.empty = brightest <= foreground_threshold(volume)
        self.empty |= np.ptp(self.network_input, axis=(1, 2)) == 0

    def to_native(self, prediction: Float32, batch: NDArray[np.intp]) -> Float32:
        """A predicted phase of slices `batch` [n, row, column], network range to output units at native size.

        On its own pixels this is the prediction itself. On others it is the native volume plus
        the predicted change, enlarged to native pixels: detail that the coarser network never saw is kept.
        Nothing falls below the lowest value that the network can express.
        """
        values = self._recipe.inverse(prediction, self._constants)
        if not self._grid.changes:
            return values
        change = values - self._recipe.inverse(self.network_input[batch], self._constants)
        lowest = float(self._recipe.inverse(np.array([-1.0]), self._constants)[0])
        enlarged = self._grid.to_native(change)
        return np.maximum(self.base[batch] + enlarged, np.minimum(lowest, self.base[batch]))
