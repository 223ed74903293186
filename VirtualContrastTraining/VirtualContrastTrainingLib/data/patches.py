"""Random 3-D patches of dynamic series in TI-norm units, drawn around lesions or breast tissue."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from VirtualContrastLib.events import InputError
from VirtualContrastLib.synthesis.breast_region import breast_region
from VirtualContrastLib.synthesis.ti_norm import Region, TINorm

from .augmentation_3d import Augmentation, augment
from .batches import Item
from .cases import Case

Label = Literal["lesion", "breast"]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PatchSettings:
    """How patches are cut.

    Attributes:
        size_kji: Slices, rows and columns of a patch, in voxels; a case smaller than that is extended by repeating its
            edge.
        phases: Post-contrast phases used, from the first.
        patches_per_case: Patches of every case per epoch.
        label: Where positive patches are centered: the lesions, as the paper says, or the breast, as the published code
            does; as many patches again are centered outside (positive : negative 1 : 1).
        region: That of TI-norm.
        augmentation: How patches are changed at random.
    """

    size_kji: tuple[int, int, int] = (48, 96, 96)
    phases: int = 5
    patches_per_case: int = 2
    label: Label = "lesion"
    region: Region = "volume"
    augmentation: Augmentation = "published"


class RandomPatches(Dataset[dict[str, Tensor]]):
    """`patches_per_case` patches of every case an epoch, cases in random order.

    An item holds `series` [pre and phases, k, j, i] in TI-norm units, `lesions` [k, j, i] (1 inside), `times_s` of the
    phases in seconds after injection, and `data_range`, the width of the case's whole intensity scale in TI-norm units.
    Item `i` of epoch `e` depends on (seed, e, i) alone, so that workers and a resumed run draw the same; it is asked
    for as `(e, i)`, or as `i` of epoch 0. Raises InputError where a case has too few phases.
    """

    def __init__(self, cases: Sequence[Case], settings: PatchSettings, *, seed: int) -> None:
        for case in cases:
            if len(case.series) <= settings.phases:
                raise InputError(
                    f"The case {case.name} has {len(case.series) - 1} post-contrast phases, not {settings.phases}."
                )
        self._cases = [_Prepared.of(case, settings) for case in cases]
        self._settings = settings
        self._seed = seed

    def with_seed(self, seed: int) -> RandomPatches:
        """The same cases, drawn with another seed."""
        other = copy.copy(self)
        other._seed = seed
        return other

    def __len__(self) -> int:
        return len(self._cases) * self._settings.patches_per_case

    def __getitem__(self, item: int | Item) -> dict[str, Tensor]:
        epoch, index = item if isinstance(item, tuple) else (0, item)
        order = np.random.default_rng((self._seed, epoch)).permutation(len(self._cases))
        case = self._cases[order[index // self._settings.patches_per_case]]
        rng = np.random.default_rng((self._seed, epoch, index))
        window = _window(case.draw_center(rng), case.shape, self._settings.size_kji)
        series, lesions = case.cut(window, self._settings.size_kji)
        series, lesions = augment(series, lesions, self._settings.augmentation, rng)
        return {
            "series": torch.from_numpy(np.ascontiguousarray(series)),
            "lesions": torch.from_numpy(np.ascontiguousarray(lesions)),
            "times_s": case.times_s,
            "data_range": case.data_range,
        }


@dataclass(frozen=True)
class _Prepared:
    """A case with its TI-norm constants and the mask that positive patches are centered on.

    Attributes:
        series: Pre-contrast volume and phases [k, j, i].
        lesions: Labels of the lesions [k, j, i].
        label: Where positive patches are centered.
        norm: TI-norm constants.
        times_s: Seconds after injection of the phases.
        data_range: Width of the case's intensity scale in TI-norm units.
    """

    series: tuple[NDArray[np.int16] | NDArray[np.float32], ...]
    lesions: NDArray[np.uint8]
    label: Mask
    norm: TINorm
    times_s: Tensor
    data_range: Tensor

    @classmethod
    def of(cls, case: Case, settings: PatchSettings) -> _Prepared:
        series = case.series[: settings.phases + 1]
        norm = TINorm.of(series[1].astype(np.float32), settings.region)
        width = (max(float(v.max()) for v in series) - min(float(v.min()) for v in series)) / norm.sd
        label = case.lesions > 0 if settings.label == "lesion" else _breast(case)
        times_s = torch.tensor(case.times_s[1 : settings.phases + 1], dtype=torch.float32)
        return cls(series, case.lesions, label, norm, times_s, torch.tensor(width, dtype=torch.float32))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.label.shape

    def draw_center(self, rng: np.random.Generator) -> tuple[int, ...]:
        """A random voxel inside the label or, as often, outside of it; inside or outside alone where that is all."""
        inside = int(self.label.sum())
        wanted = bool(rng.random() < 0.5)
        if inside in (0, self.label.size):
            wanted = inside > 0
        return _random_voxel(self.label == wanted, rng)

    def cut(self, window: tuple[slice, ...], size: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Normalized series [phase, k, j, i] and lesion mask of a window, extended to `size` by repeating the edge."""
        lesions = (self.lesions[window] > 0).astype(np.float32)
        pads = [(0, want - have) for want, have in zip(size, lesions.shape, strict=True)]
        series = np.stack([self.norm.forward(volume[window]) for volume in self.series])
        return np.pad(series, [(0, 0), *pads], mode="edge"), np.pad(lesions, pads, mode="edge")


def _breast(case: Case) -> Mask:
    """The breast region of a prepared case, which is axial in LPS order."""
    image = sitk.GetImageFromArray(case.series[0].astype(np.float32))
    image.SetSpacing(case.spacing_kji_mm[::-1])
    return breast_region(image)


def _random_voxel(mask: Mask, rng: np.random.Generator) -> tuple[int, ...]:
    """A voxel of `mask` [k, j, i], all equally likely, without a list of them all."""
    ends = np.cumsum(mask.sum(axis=(1, 2)))
    number = int(rng.integers(ends[-1]))
    k = int(np.searchsorted(ends, number, side="right"))
    flat = np.flatnonzero(mask[k])[number - (int(ends[k - 1]) if k else 0)]
    j, i = np.unravel_index(flat, mask.shape[1:])
    return k, int(j), int(i)


def _window(center: Sequence[int], shape: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
    """The window of `size` around `center`, moved inside the volume; shorter where the volume is."""
    starts = [min(max(c - n // 2, 0), max(side - n, 0)) for c, side, n in zip(center, shape, size, strict=True)]
    return tuple(slice(s, min(s + n, side)) for s, n, side in zip(starts, size, shape, strict=True))
