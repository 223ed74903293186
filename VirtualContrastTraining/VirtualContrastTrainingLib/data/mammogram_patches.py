"""Random patches of prepared mammogram pairs as network input and target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from VirtualContrastLib.events import InputError
from VirtualContrastLib.synthesis.mammogram import MammogramSpec

from .batches import Item
from .mammograms import LOW_ENERGY, RECOMBINED

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Breast:
    """The breast of one prepared pair at the network's pixel size.

    Attributes:
        name: Name of the pair.
        low: Low-energy image [row, column] in network range.
        high: Recombined image [row, column] in network range.
    """

    name: str
    low: Float32
    high: Float32


def load_breasts(root: Path, spec: MammogramSpec, patch: int) -> list[Breast]:
    """All prepared pairs of a folder, cut to the breast's box in the low-energy image.

    Args:
        root: Folder of the prepared pairs.
        spec: Gray-value windows and pixel size.
        patch: Pixels per side to which smaller boxes are grown, by repeating the edge.

    Returns:
        The breasts in name order.

    Raises:
        InputError: There is none, or one cannot be read.
    """
    folders = sorted(path.parent for path in root.glob(f"*/{LOW_ENERGY}"))
    if not folders:
        raise InputError(
            f"{root} holds no prepared mammograms (folders with {LOW_ENERGY}); make some with "
            "'virtual-contrast-training prepare mammograms'."
        )
    return [_load(folder, spec, patch) for folder in folders]


class MammogramPatches(Dataset[dict[str, Tensor]]):
    """`length` random patches an epoch, each breast as likely as any other.

    An item holds `low` and `high` [1, row, column] of the same place, in network range, flipped left to right with
    probability `flip`. Item `i` of epoch `e` depends on (seed, e, i) alone and is asked for as `(e, i)`, or as `i` of
    epoch 0.
    """

    def __init__(self, breasts: list[Breast], *, patch: int, length: int, flip: float, seed: int) -> None:
        self._breasts = breasts
        self._patch = patch
        self._length = length
        self._flip = flip
        self._seed = seed

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, item: int | Item) -> dict[str, Tensor]:
        epoch, number = item if isinstance(item, tuple) else (0, item)
        rng = np.random.default_rng((self._seed, epoch, number))
        breast = self._breasts[rng.integers(len(self._breasts))]
        rows, columns = (rng.integers(side - self._patch + 1) for side in breast.low.shape)
        window = slice(rows, rows + self._patch), slice(columns, columns + self._patch)
        step = -1 if rng.random() < self._flip else 1
        return {
            name: torch.from_numpy(image[window][None, :, ::step].copy())
            for name, image in (("low", breast.low), ("high", breast.high))
        }


def _load(folder: Path, spec: MammogramSpec, patch: int) -> Breast:
    try:
        low, high = (sitk.ReadImage(str(folder / name)) for name in (LOW_ENERGY, RECOMBINED))
    except RuntimeError as error:
        raise InputError(f"The prepared mammogram {folder} cannot be read.") from error
    if low.GetSize() != high.GetSize():
        raise InputError(f"The prepared mammogram {folder} is broken: its images differ in size.")
    values = spec.shrink(low)
    box = spec.breast_box(values)
    low_range, high_range = spec.source_range(values)[box], spec.target_range(spec.shrink(high))[box]
    return Breast(folder.name, _grow(low_range, patch), _grow(high_range, patch))


def _grow(image: Float32, side: int) -> Float32:
    return np.pad(image, [(0, max(0, side - n)) for n in image.shape], mode="edge")
