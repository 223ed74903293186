"""Which items make which batch of which epoch, shared among processes and open at any batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler
from VirtualContrastLib.events import InputError

Item = tuple[int, int]
"""Epoch and index: what a data set needs to draw the same item anywhere and at any time."""


class EpochBatches(Sampler[list[Item]]):
    """Batches of (epoch, index) items; batch b of epoch e is the same in every run and for any number of processes.

    `batch_size` counts the items of all processes; each of `world_size` takes an equal part, so that averaged
    gradients are those of one process. Without `shuffle_seed` items come in order (for data sets that draw at random
    themselves). Set `epoch` and `first_batch` to continue where a stopped run ended.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        shuffle_seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size % world_size:
            raise InputError(
                f"A batch of {batch_size} cannot be shared equally by {world_size} processes; set the recipe's "
                f"batch_size to a multiple of {world_size}."
            )
        self._length = length
        self._batch_size = batch_size
        self._shuffle_seed = shuffle_seed
        self._rank, self._world_size = rank, world_size
        # Shuffled epochs drop their incomplete batch as the published loader does; parts must be equal in any case.
        self._whole_only = shuffle_seed is not None or world_size > 1
        self.epoch = 0
        self.first_batch = 0
        if len(self) == 0:
            raise InputError(f"There are {length} slices to train on, fewer than a batch of {batch_size}.")

    def __len__(self) -> int:
        """Batches of a whole epoch, wherever it is entered."""
        whole, rest = divmod(self._length, self._batch_size)
        return whole + (1 if rest and not self._whole_only else 0)

    def __iter__(self) -> Iterator[list[Item]]:
        epoch, order = self.epoch, np.arange(self._length)
        if self._shuffle_seed is not None:
            order = np.random.default_rng((self._shuffle_seed, epoch)).permutation(self._length)
        for batch in range(self.first_batch, len(self)):
            items = order[batch * self._batch_size : (batch + 1) * self._batch_size]
            yield [(epoch, int(item)) for item in items[self._rank :: self._world_size]]
