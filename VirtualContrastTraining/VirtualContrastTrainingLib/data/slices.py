"""Slices of prepared cases as network input and target, drawn at random with lesions over-represented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from VirtualContrastLib.models.package import IntensitySpec
from VirtualContrastLib.synthesis.intensity import make_recipe

from .cases import Case


class RandomSlices(Dataset[dict[str, Tensor]]):
    """`length` random slices of `cases` an epoch.

    An item holds `source` [channels, row, column] (the pre-contrast slices k + offset), `target` [phases, row, column],
    both in network range, and `lesions` [1, row, column]. `lesion_share` of the items are drawn from slices that cross
    a lesion. Augmentation: left-right flip with probability 1/2. Item `i` of epoch `e` depends on (seed, e, i) alone,
    so that workers and a resumed run draw the same.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        *,
        intensity: IntensitySpec,
        channel_offsets: Sequence[int],
        length: int,
        lesion_share: float,
        seed: int,
    ) -> None:
        self._cases = cases
        self._offsets = tuple(channel_offsets)
        self._length = length
        self._lesion_share = lesion_share
        self._seed = seed
        self._epoch = 0
        self._intensity = make_recipe(intensity)
        self._constants: list[Any] = [self._intensity.fit(case.series[0].astype(np.float32)) for case in cases]
        self._with_lesion = [
            (c, int(k)) for c, case in enumerate(cases) for k in np.flatnonzero(case.lesions.any(axis=(1, 2)))
        ]
        self._all = [(c, k) for c, case in enumerate(cases) for k in range(case.lesions.shape[0])]

    def set_epoch(self, epoch: int) -> None:
        """Choose which random numbers the items use."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self._seed, self._epoch, item))
        pool = self._with_lesion if self._with_lesion and rng.random() < self._lesion_share else self._all
        number, k = pool[rng.integers(len(pool))]
        sample = self._sample(number, k)
        if rng.random() < 0.5:
            sample = {name: array[..., ::-1].copy() for name, array in sample.items()}
        return {name: torch.from_numpy(array) for name, array in sample.items()}

    def _sample(self, number: int, k: int) -> dict[str, NDArray[np.float32]]:
        case, constants = self._cases[number], self._constants[number]
        last = case.lesions.shape[0] - 1
        neighbors = [min(max(k + offset, 0), last) for offset in self._offsets]
        return {
            "source": self._forward(case.series[0][neighbors], constants),
            "target": self._forward(np.stack([volume[k] for volume in case.series[1:]]), constants),
            "lesions": (case.lesions[k] > 0).astype(np.float32)[None],
        }

    def _forward(self, array: NDArray, constants: Mapping[str, float]) -> NDArray[np.float32]:
        return self._intensity.forward(array.astype(np.float32), constants)
