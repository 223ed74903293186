"""From a pre-contrast study to its early and late phase by predicted relative enhancement (`residual_enhancement`).

Slices are taken as they are stored: the network was trained on axial and sagittal crops in every orientation, and the
stored plane is the one with the finest pixels. What is predicted is the change; the study's own image stays under it
in every detail, and outside the breasts nothing is changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..events import Events, InputError, Stage, VirtualContrastError
from ..io.masked import MaskedValues
from ..io.volumes import blank, voxels_of
from ..networks.options import ResidualEnhancementOptions
from ..networks.residual_enhancement import HEADS, PHASES
from .breast_region import BreastRegion, find_breasts
from .calibration import enhancement
from .intensity import make_recipe
from .local_scale import LocalScale, local_scale
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
    """The volume [k, j, i], what it is divided by for the network, where and how much of a change is shown, and the
    slices to do.

    `inside` [k, j, i] is where a change is shown in those slices, `weight` (n,) how much of it. Slice by slice: nothing
    of the whole volume is held at the network's pixel size.
    """

    stored: Float32
    scale: LocalScale
    inside: NDArray[np.bool_]
    weight: Float32
    todo: NDArray[np.intp]
    grid: NetworkGrid

    def stack(self, batch: NDArray[np.intp]) -> Float32:
        """Network input of the slices `batch` [n, 1, row, column]."""
        return self.grid.to_network(self.stored[batch] / self.scale.slices(batch))[:, None]

    @cached_property
    def ends(self) -> NDArray[np.intp]:
        """How many voxels are inside up to each slice, that slice among them (k,)."""
        return np.cumsum(self.inside.sum(axis=(1, 2)))


@dataclass(frozen=True)
class _Made:
    """What is made, in the units of the volume.

    `shown`, an image and its voxels [k, j, i] by phase: the phases, which are the volume where nothing is predicted.
    `spread`, likewise, the standard deviation that a normal error of the bands would have; nothing where nobody asked
    for it. Of the rest only what lies inside `_Work.inside` is held, as a whole study is mostly air and chest: `bands`
    [lower, upper; phase; n] as changes of the volume, and `probability` (n,) at the early phase.
    """

    shown: list[tuple[sitk.Image, Float32]]
    bands: Float32
    probability: Float32
    spread: list[tuple[sitk.Image, Float32]]

    @classmethod
    def of(cls, work: _Work, pre: sitk.Image, *, uncertainty: bool) -> _Made:
        """Before anything is predicted; the images lie on the grid of `pre`."""
        count = len(work.weight)
        made = cls(
            [blank(pre, sitk.sitkFloat32) for _ in PHASES],
            np.zeros((2, len(PHASES), count), np.float32),
            np.zeros(count, np.float32),
            [blank(pre, sitk.sitkFloat32) for _ in PHASES] if uncertainty else [],
        )
        for _, voxels in made.shown:
            voxels[:] = work.stored
        return made

    def put(self, heads: Float32, work: _Work, batch: NDArray[np.intp]) -> None:
        """Enter what is predicted for slices [shown, lower, upper, probability; phase; slice, row, column].

        Nothing falls below zero that was not there before.
        """
        inside = work.inside[batch]
        end = int(work.ends[batch[-1]])
        part = slice(end - np.count_nonzero(inside), end)
        before = work.stored[batch][inside]
        scale = np.broadcast_to(work.scale.slices(batch), inside.shape)[inside]
        change = heads[:, :, inside] * work.weight[part]
        lowest = np.minimum(before, 0)
        made = np.maximum(before + change[:3] * scale, lowest)
        for phase, (_, shown) in enumerate(self.shown):
            some = shown[batch]
            some[inside] = made[0, phase]
            shown[batch] = some
        self.bands[:, :, part] = made[1:] - before
        self.probability[part] = change[3, 0]
        for phase, (_, spread) in enumerate(self.spread):
            some = np.zeros(inside.shape, np.float32)
            some[inside] = (change[2, phase] - change[1, phase]) * (scale / _NORMAL_90)
            spread[batch] = some


class EnhancementSynthesizer:
    """A package with its weights loaded; serves any number of studies, one at a time."""

    def __init__(
        self, package: ModelPackage, device_choice: DeviceChoice, members: Sequence[int] | None = None
    ) -> None:
        """`members` are those to average, None for all: an evaluation leaves out those that have seen a patient.

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
        """As `StudySynthesizer`; the network predicts its own uncertainty, so nothing is perturbed or drawn.

        Args:
            study: The study, of which the pre-contrast volume is read.
            events: Receives progress and warnings, and carries the request to cancel.
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
            events: Receives progress and warnings, and carries the request to cancel.
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
        in_float, stored = blank(pre, sitk.sitkFloat32)
        stored[:] = voxels_of(pre)
        work = self._work(stored, pre, find_breasts(pre, events))
        if work.todo.size == 0:
            events.warn("No slice shows breast tissue; the synthetic phases are copies of the pre-contrast volume.")
        made = _Made.of(work, pre, uncertainty=uncertainty)
        self._predict(work, made, events)
        lower, upper = ([MaskedValues(work.inside, change) for change in band] for band in made.bands)
        return Synthesis(
            phases=[image for image, _ in made.shown],
            times_s=list(self._times_s),
            uncertainty=[image for image, _ in made.spread] if uncertainty else None,
            arbitrary_units=False,
            pre=in_float,
            bands=list(zip(lower, upper, strict=True)) if self._calibration else None,
            probability=MaskedValues(work.inside, made.probability) if self._calibration else None,
            computed=self._network.chosen.description,
        )

    def _scale(self, pre: sitk.Image, stored: Float32, breasts: BreastRegion) -> LocalScale:
        """What the volume is divided by, one number or one per voxel.

        It is that of the breasts alone, as in training: heart, liver and arms have other intensities. Whole studies are
        scaled place by place, each as the crop around it would be.
        """
        inside = breasts.mask()
        local = None if breasts.kind == "crop" else local_scale(pre, inside)
        if local is not None:
            return local
        chosen = stored[inside]
        return LocalScale.one(self._recipe.fit(chosen if chosen.any() else stored)["scale"])

    def _work(self, stored: Float32, pre: sitk.Image, breasts: BreastRegion) -> _Work:
        columns_mm, rows_mm, _ = pre.GetSpacing()
        grid = NetworkGrid.of(self._in_plane, (stored.shape[1], stored.shape[2]), (rows_mm, columns_mm))
        scale, weight = self._scale(pre, stored, breasts), breasts.weight()
        inside = weight > 0
        shows_tissue = [
            plane.any() and (values / scale.slices(np.array([k]))).max() > _LEAST_TISSUE
            for k, (values, plane) in enumerate(zip(stored, inside, strict=True))
        ]
        inside[np.logical_not(shows_tissue)] = False
        return _Work(stored, scale, inside, weight[inside], np.flatnonzero(shows_tissue), grid)

    def _predict(self, work: _Work, made: _Made, events: Events) -> None:
        """Fill `made`, some slices at a time; raises VirtualContrastError where a value is not finite."""
        total = int(work.todo.size)
        events.progress(Stage.SYNTHESIZE, 0, max(1, total))
        if total == 0:
            events.progress(Stage.SYNTHESIZE, 1, 1)
            return
        middle = work.stack(work.todo[total // 2, None])
        self._network.settle(middle, total, self.card.weights_sha256, self._shown)
        step = self._network.batch_size(work.grid.size, self._base_width)
        for start in range(0, total, step):
            batch = work.todo[start : start + step]
            parts = self._shown(torch.from_numpy(self._network.run(work.stack(batch), events)))
            native = work.grid.to_native(parts.flatten(0, 2).numpy())
            if not np.isfinite(native).all():
                raise VirtualContrastError(
                    f"The model '{self.card.id}' gave numbers that are not finite; its weights are unusable."
                )
            made.put(native.reshape(*parts.shape[:3], *native.shape[1:]), work, batch)
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
