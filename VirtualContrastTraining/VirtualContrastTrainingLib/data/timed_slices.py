"""Slices of prepared cases with phases at times of their own: some of a case's phases with their seconds, an item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

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

Float32 = NDArray[np.float32]
_BLACK = -1.0


@dataclass(frozen=True)
class TimedSliceSettings:
    """How slices are drawn and made.

    Attributes:
        channel_offsets: Channel c is slice k + offset of the pre-contrast volume.
        time_range_s: Seconds after injection; phases outside of them and those of unknown time are not used.
        phases_per_slice: Phases of a case that are drawn for a slice, all of them where it has fewer.
        lesion_share: Share of the slices that cross a lesion.
        flip: Probability of a left-right flip.
        in_plane: Pixels, made as the engine makes them.
        side: Rows and columns that slices are then cut or filled up to, with black on all sides.
    """

    channel_offsets: tuple[int, ...]
    time_range_s: tuple[float, float]
    phases_per_slice: int = 4
    lesion_share: float = 0.5
    flip: float = 0.5
    in_plane: InPlane = field(default_factory=InPlane)
    side: int | None = None


class TimedSlices(Dataset[dict[str, Tensor]]):
    """`length` random slices of `cases` an epoch.

    An item holds `source` [channel, row, column] (the pre-contrast slices k + offset) and `target` [phase, row, column]
    in network range, by the constants of the pre-contrast volume; `times_s` [phase], increasing; `valid` [phase], 1 for
    phases that are there and 0 behind them, where the case has fewer than `phases_per_slice`; `lesions` [1, row,
    column]. Item `i` of epoch `e` depends on (seed, e, i) alone; it is asked for as `(e, i)`, or as `i` of epoch 0.

    `left_out` names cases without any phase of known time in the range. Raises InputError where no case is left.
    """

    def __init__(
        self, cases: Sequence[Case], settings: TimedSliceSettings, *, intensity: IntensitySpec, length: int, seed: int
    ) -> None:
        phases = [_usable_phases(case, settings.time_range_s) for case in cases]
        self.left_out = tuple(case.name for case, usable in zip(cases, phases, strict=True) if not usable)
        self._cases = [case for case, usable in zip(cases, phases, strict=True) if usable]
        if not self._cases:
            low, high = settings.time_range_s
            raise InputError(
                f"None of the {len(cases)} cases has a phase of known time between {low:g} and {high:g} s after "
                "injection; look at times_s in their case.json, or change the recipe's network.time_range_s."
            )
        self._phases = [usable for usable in phases if usable]
        self._settings = settings
        self._seed = seed
        self._length = length
        self._intensity = make_recipe(intensity)
        self._constants = [self._intensity.fit(case.series[0].astype(np.float32)) for case in self._cases]
        self._with_lesion = [
            (c, int(k)) for c, case in enumerate(self._cases) for k in np.flatnonzero(case.lesions.any(axis=(1, 2)))
        ]
        self._all = [(c, k) for c, case in enumerate(self._cases) for k in range(case.lesions.shape[0])]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, item: int | Item) -> dict[str, Tensor]:
        epoch, index = item if isinstance(item, tuple) else (0, item)
        rng = np.random.default_rng((self._seed, epoch, index))
        lesion = self._with_lesion and rng.random() < self._settings.lesion_share
        pool = self._with_lesion if lesion else self._all
        number, k = pool[rng.integers(len(pool))]
        drawn = self._draw_phases(number, rng)
        images = self._images(number, k, drawn)
        if rng.random() < self._settings.flip:
            images = {name: array[..., ::-1] for name, array in images.items()}
        times = [float(self._cases[number].times_s[p]) for p in drawn]
        missing = self._settings.phases_per_slice - len(drawn)
        return {
            **{name: torch.from_numpy(array.copy()) for name, array in images.items()},
            "times_s": torch.tensor(times + times[-1:] * missing, dtype=torch.float32),
            "valid": torch.tensor([1.0] * len(drawn) + [0.0] * missing, dtype=torch.float32),
        }

    def _draw_phases(self, number: int, rng: np.random.Generator) -> list[int]:
        usable = self._phases[number]
        count = min(len(usable), self._settings.phases_per_slice)
        return sorted(int(p) for p in rng.choice(usable, count, replace=False))

    def _images(self, number: int, k: int, drawn: list[int]) -> dict[str, Float32]:
        case = self._cases[number]
        last = case.lesions.shape[0] - 1
        neighbors = [min(max(k + offset, 0), last) for offset in self._settings.channel_offsets]
        filled_up = drawn + drawn[-1:] * (self._settings.phases_per_slice - len(drawn))
        lesions = self._sized((case.lesions[k] > 0)[None], case)
        return {
            "source": self._in_range(case.series[0][neighbors], number),
            "target": self._in_range(np.stack([case.series[p][k] for p in filled_up]), number),
            "lesions": _centered((lesions > 0.5).astype(np.float32), self._settings.side, 0.0),
        }

    def _in_range(self, slices: NDArray, number: int) -> Float32:
        sized = self._sized(slices, self._cases[number])
        return _centered(self._intensity.forward(sized, self._constants[number]), self._settings.side, _BLACK)

    def _sized(self, slices: NDArray, case: Case) -> Float32:
        size = (slices.shape[1], slices.shape[2])
        grid = NetworkGrid.of(self._settings.in_plane, size, case.spacing_kji_mm[1:])
        return grid.to_network(slices.astype(np.float32))


def _usable_phases(case: Case, time_range_s: tuple[float, float]) -> list[int]:
    low, high = time_range_s
    timed = [(p, time) for p, time in enumerate(case.times_s) if p > 0 and time is not None]
    return [p for p, time in timed if low <= time <= high]


def _centered(slices: Float32, side: int | None, fill: float) -> Float32:
    """The middle `side` x `side` pixels of slices [n, row, column], with `fill` where there are fewer."""
    if side is None:
        return slices
    for axis in (1, 2):
        have = slices.shape[axis]
        start = max((have - side) // 2, 0)
        slices = slices.take(range(start, start + min(have, side)), axis)
        missing = side - slices.shape[axis]
        pads = [(missing // 2, missing - missing // 2) if a == axis else (0, 0) for a in range(3)]
        slices = np.pad(slices, pads, constant_values=fill)
    return slices
