"""From a pre-contrast study to its early and late phase by predicted relative enhancement (`residual_enhancement`).

Slices are taken as they are stored: the network was trained on axial and sagittal crops in every orientation, and the
stored plane is the one with the finest pixels. What is predicted is the change; the study's own image stays under it
in every detail, and outside the breasts nothing is changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..events import Events, InputError, Stage, VirtualContrastError
from ..io.volumes import like, to_array
from ..networks.options import ResidualEnhancementOptions
from ..networks.residual_enhancement import HEADS, PHASES
from .breast_region import BreastRegion, find_breasts
from .calibration import enhancement
from .intensity import make_recipe
from .local_scale import local_scale
from .network_grid import NetworkGrid, spacing_warning
from .slice_network import SliceNetwork
from .synthesizer import Synthesis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..models.package import ModelPackage
    from ..study import Study
    from .device import DeviceChoice

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class _Work:
    """The volume [k, j, i] over its scale, at the network's pixel size, and the slices that show breast tissue."""

    stack: Float32
    todo: NDArray[np.intp]
    grid: NetworkGrid


class EnhancementSynthesizer:
    """A package with its weights loaded; serves any number of studies, one at a time."""

    def __init__(
        self, package: ModelPackage, device_choice: DeviceChoice, members: Sequence[int] | None = None
    ) -> None:
        """`members` are those to average, all where None: who evaluates leaves out those that know a patient.

        Raises InputError where the package lacks a part or its weights do not fit.
        """
        card = package.card
        if card.outputs is None or card.intensity is None or card.in_plane is None:
            raise InputError(f"The card of the model '{card.id}' lacks outputs, intensity or in_plane.")
        if len(card.outputs.times_s) != len(PHASES):
            raise InputError(f"The model '{card.id}' must make the phases {' and '.join(PHASES)}.")
        options = card.architecture.options
        if not isinstance(options, ResidualEnhancementOptions):
            raise InputError(f"The model '{card.id}' does not predict enhancement; choose another model.")
        network = package.load_network()
        if members is not None:
            trained = cast(nn.ModuleList, network.members)
            network.members = nn.ModuleList(trained[member] for member in members)
        self.card = card
        self._base_width = options.base_width
        self._calibration = card.calibration
        self._times_s = card.outputs.times_s
        self._recipe = make_recipe(card.intensity)
        self._in_plane = card.in_plane
        self._network = SliceNetwork(network, device_choice, card.in_plane, range(HEADS))

    def synthesize_study(
        self, study: Study, events: Events, *, times_s: Sequence[float] | None, perturbations: int, seed: int
    ) -> Synthesis:
        """As `StudySynthesizer`; the network predicts its own uncertainty, so that nothing is perturbed or drawn.

        Args:
            study: The study, of which the pre-contrast volume is read.
            events: Where progress and warnings go, and what says that the user wants to stop.
            times_s: Not used; the times are those of the model.
            perturbations: Above 0 adds uncertainty maps.
            seed: Not used.

        Returns:
            Early and late phase.
        """
        return self.synthesize(study.pre.image, events, uncertainty=perturbations > 0)

    def synthesize(self, pre: sitk.Image, events: Events, *, uncertainty: bool = False) -> Synthesis:
        """Early and late phase with the bands of their lesions' means.

        A model that was not calibrated shows its careful prediction as it is, and has no bands.

        Args:
            pre: Pre-contrast volume, a 3-D scalar image.
            events: Where progress and warnings go, and what says that the user wants to stop.
            uncertainty: Adds maps of the standard deviation that a normal error of those bands would have.

        Returns:
            The phases in the units and on the grid of `pre`.

        Raises:
            InputError: The volume is constant.
            CancelledError: The user asked to stop.
            VirtualContrastError: The network gives values that are not finite.
        """
        columns_mm, rows_mm, _ = pre.GetSpacing()
        if warning := spacing_warning(self._in_plane, (rows_mm, columns_mm)):
            events.warn(warning)
        stored = to_array(pre)
        breasts = find_breasts(pre, events)
        shown_in = breasts.weight()
        scale = self._scale(pre, stored, breasts)
        work = self._work(np.asarray(stored / scale, np.float32), pre, shown_in)
        change = np.zeros((4, len(PHASES), *stored.shape), np.float32)
        if work.todo.size == 0:
            events.warn("No slice shows breast tissue; the synthetic phases are copies of the pre-contrast volume.")
        self._predict(work, change, events)
        change *= shown_in
        if not np.isfinite(change).all():
            raise VirtualContrastError(
                f"The model '{self.card.id}' gave numbers that are not finite; its weights are unusable."
            )
        shown, lower, upper = (
            [like(_added(stored, phase * scale), pre) for phase in enhancements] for enhancements in change[:3]
        )
        spread = [
            like((high - low) * (scale / _NORMAL_90), pre) for low, high in zip(change[1], change[2], strict=True)
        ]
        return Synthesis(
            phases=shown,
            times_s=list(self._times_s),
            uncertainty=spread if uncertainty else None,
            arbitrary_units=False,
            pre=like(stored, pre),
            bands=list(zip(lower, upper, strict=True)) if self._calibration else None,
            probability=like(change[3, 0], pre) if self._calibration else None,
            computed=self._network.chosen.description,
        )

    def _scale(self, pre: sitk.Image, stored: Float32, breasts: BreastRegion) -> Float32:
        """What the volume is divided by, one number or one a voxel [k, j, i].

        It is that of the breasts alone, as in training: heart, liver and arms have other intensities. Whole studies are
        scaled place by place, each as the crop about it would be.
        """
        inside = breasts.mask()
        chosen = stored[inside]
        whole = np.float32(self._recipe.fit(chosen if chosen.any() else stored)["scale"])
        local = None if breasts.kind == "crop" else local_scale(pre, inside)
        return np.asarray(whole if local is None else local, np.float32)

    def _work(self, relative: Float32, pre: sitk.Image, shown_in: Float32) -> _Work:
        columns_mm, rows_mm, _ = pre.GetSpacing()
        grid = NetworkGrid.of(self._in_plane, (relative.shape[1], relative.shape[2]), (rows_mm, columns_mm))
        shows_tissue = (relative.max(axis=(1, 2)) > _LEAST_TISSUE) & shown_in.any(axis=(1, 2))
        return _Work(grid.to_network(relative), np.flatnonzero(shows_tissue), grid)

    def _predict(self, work: _Work, change: Float32, events: Events) -> None:
        """Fill `change` [shown, lower, upper, probability; phase; k, j, i], slice by slice.

        All but the last are in units of the scale.
        """
        total = int(work.todo.size)
        events.progress(Stage.SYNTHESIZE, 0, max(1, total))
        if total == 0:
            events.progress(Stage.SYNTHESIZE, 1, 1)
            return
        middle = work.stack[work.todo[total // 2]][None, None]
        self._network.settle(middle, total, self.card.weights_sha256, self._shown)
        step = self._network.batch_size(work.grid.size, self._base_width)
        for start in range(0, total, step):
            batch = work.todo[start : start + step]
            parts = self._shown(torch.from_numpy(self._network.run(work.stack[batch][:, None], events)))
            for part, phase in np.ndindex(*change.shape[:2]):
                change[part, phase, batch] = work.grid.to_native(parts[part, phase].numpy())
            events.progress(Stage.SYNTHESIZE, start + len(batch), total)

    def _shown(self, heads: Tensor) -> Tensor:
        """What leaves the synthesizer [shown, lower, upper, probability; phase; slice, row, column] of the heads."""
        found = [enhancement(heads, phase, self._calibration) for phase in range(len(PHASES))]
        parts = ("shown", "lower", "upper", "probability")
        return torch.stack([torch.stack([getattr(one, part) for one in found]) for part in parts]).float()


_LEAST_TISSUE = 0.2
"""Slices that are nowhere above this share of the scale are empty; they stay as they are."""
_NORMAL_90 = 2 * 1.645
"""Width of the central 90 % of a normal distribution, in standard deviations."""


def _added(pre: Float32, change: Float32) -> Float32:
    """Pre-contrast plus change; nothing falls below zero that was not there before."""
    return np.maximum(pre + change, np.minimum(pre, 0))
