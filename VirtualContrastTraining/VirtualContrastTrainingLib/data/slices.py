"""Slices of prepared cases as network input and target: drawn at random with lesions over-represented, or all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.package import InPlane, IntensitySpec
from VirtualContrastLib.synthesis.intensity import make_recipe
from VirtualContrastLib.synthesis.network_grid import NetworkGrid

from .batches import Item
from .cases import Case
from .tumor_slices import tumor_slices

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class SliceStyle:
    """How a slice becomes a sample; see `recipe.SliceData`.

    Attributes:
        channel_phases: Phase index of each target channel; without it the targets are all phases.
        flip: Probability of a left-right flip.
        rotation_90: Probability of a quarter turn.
        own_target_scale: Whether intensities of each phase are by its own constants, instead of the pre-contrast
            volume's.
        in_plane: Pixels, made as the engine makes them.
        slice_margin: Share of the volume's slices that is used on either side of the lesions; without it every slice.
    """

    channel_phases: tuple[int, ...] | None = None
    flip: float = 0.5
    rotation_90: float = 0.0
    own_target_scale: bool = False
    in_plane: InPlane = field(default_factory=InPlane)
    slice_margin: float | None = None


class RandomSlices(Dataset[dict[str, Tensor]]):
    """`length` random slices of `cases` an epoch, or with `length` None every slice in order.

    An item holds `source` [channels, row, column] (the pre-contrast slices k + offset), `target` [phases, row, column],
    both in network range, and `lesions` [1, row, column]. `lesion_share` of random items are drawn from slices that
    cross a lesion. Augmentation: left-right flip and quarter turn, each with its probability. Item `i` of epoch `e`
    depends on (seed, e, i) alone, so that workers and a resumed run draw the same; it is asked for as `(e, i)`, or as
    `i` of the epoch of `set_epoch`.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        *,
        intensity: IntensitySpec,
        channel_offsets: Sequence[int],
        length: int | None,
        lesion_share: float,
        seed: int,
        style: SliceStyle | None = None,
    ) -> None:
        self._cases = cases
        self._offsets = tuple(channel_offsets)
        self._lesion_share = lesion_share
        self._seed = seed
        self._style = style or SliceStyle()
        self._epoch = 0
        self._intensity = make_recipe(intensity)
        self._constants: list[Any] = [self._intensity.fit(case.series[0].astype(np.float32)) for case in cases]
        self._target_phases = [self._phases_of(case) for case in cases]
        self._target_constants = [
            [self._intensity.fit(case.series[p].astype(np.float32)) for p in phases]
            if self._style.own_target_scale
            else [constants] * len(phases)
            for case, phases, constants in zip(cases, self._target_phases, self._constants, strict=True)
        ]
        self._with_lesion = [
            (c, int(k)) for c, case in enumerate(cases) for k in np.flatnonzero(case.lesions.any(axis=(1, 2)))
        ]
        self._all = [(c, int(k)) for c, case in enumerate(cases) for k in self._slices_of(case)]
        if not self._all:
            raise InputError("No case has a lesion; leave data.slice_margin out, or give cases with lesions.")
        self._at_random = length is not None
        self._length = len(self._all) if length is None else length

    def _slices_of(self, case: Case) -> NDArray[np.int64]:
        """Indices of the slices that are drawn from."""
        if self._style.slice_margin is None:
            return np.arange(case.lesions.shape[0])
        return tumor_slices(case.lesions, self._style.slice_margin)

    def _phases_of(self, case: Case) -> tuple[int, ...]:
        phases = self._style.channel_phases or tuple(range(1, len(case.series)))
        if max(phases) >= len(case.series):
            raise InputError(
                f"The case {case.name} has {len(case.series) - 1} phases, but the recipe's outputs name phase "
                f"{max(phases)}; leave the case out or change outputs.channel_phases."
            )
        return phases

    def set_epoch(self, epoch: int) -> None:
        """Choose which random numbers the items use that are asked for without an epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, item: int | Item) -> dict[str, Tensor]:
        epoch, index = item if isinstance(item, tuple) else (self._epoch, item)
        rng = np.random.default_rng((self._seed, epoch, index))
        number, k = self._drawn(rng) if self._at_random else self._all[index]
        sample = self._sample(number, k)
        if rng.random() < self._style.flip:
            sample = {name: array[..., ::-1] for name, array in sample.items()}
        if self._style.rotation_90 and rng.random() < self._style.rotation_90:
            sample = {name: np.rot90(array, axes=(1, 2)) for name, array in sample.items()}
        return {name: torch.from_numpy(array.copy()) for name, array in sample.items()}

    def _drawn(self, rng: np.random.Generator) -> tuple[int, int]:
        pool = self._with_lesion if self._with_lesion and rng.random() < self._lesion_share else self._all
        return pool[rng.integers(len(pool))]

    def _sample(self, number: int, k: int) -> dict[str, Float32]:
        case, constants = self._cases[number], self._constants[number]
        last = case.lesions.shape[0] - 1
        neighbors = [min(max(k + offset, 0), last) for offset in self._offsets]
        targets = zip(self._target_phases[number], self._target_constants[number], strict=True)
        source = self._sized(case.series[0][neighbors], case)
        lesions = self._sized((case.lesions[k] > 0)[None], case)
        return {
            "source": self._forward(source, constants),
            "target": np.concatenate(
                [self._forward(self._sized(case.series[p][k][None], case), c) for p, c in targets]
            ),
            "lesions": (lesions > 0.5).astype(np.float32),
        }

    def _sized(self, slices: NDArray[Any], case: Case) -> Float32:
        """Slices [n, row, column] at the size that the network trains on."""
        size = (slices.shape[1], slices.shape[2])
        grid = NetworkGrid.of(self._style.in_plane, size, case.spacing_kji_mm[1:])
        return grid.to_network(slices.astype(np.float32))

    def _forward(self, array: NDArray[Any], constants: Mapping[str, float]) -> Float32:
        return self._intensity.forward(array.astype(np.float32), constants)
