"""Intensity recipes: input units to the network's -1..1 and back, with one set of constants for all phases.

The constants come from the pre-contrast volume alone, so that differences between phases keep their meaning.
Arrays may have any shape; results are float32. Training uses the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..events import InputError
from ..io.zero_level import zero_level
from ..metrics.tissue import scale_of

if TYPE_CHECKING:
    from ..models.card import IntensitySpec

Constants = Mapping[str, float]
Float32 = NDArray[np.float32]

_OTSU_BINS = 256
_OTSU_CLIP_PERCENTILE = 99.9


class IntensityRecipe(Protocol):
    """One way to map intensities. `arbitrary_units` says that outputs are not in the units of the input."""

    @property
    def arbitrary_units(self) -> bool:
        """True where outputs have a scale of their own."""

    def fit(self, pre: NDArray[Any]) -> dict[str, float]:
        """Constants of a pre-contrast volume [k, j, i]; raises InputError where it is constant."""

    def forward(self, array: NDArray[Any], constants: Constants) -> Float32:
        """Input units to network range -1..1 (clipped)."""

    def inverse(self, array: NDArray[Any], constants: Constants) -> Float32:
        """Network range to output units."""

    def to_output_units(self, array: NDArray[Any], constants: Constants) -> Float32:
        """Input units to output units, without clipping or rounding."""


def make_recipe(intensity: IntensitySpec | Mapping[str, Any]) -> IntensityRecipe:
    """The recipe of a model card's `intensity` (or of the same as a plain mapping)."""
    if isinstance(intensity, Mapping):
        from ..models.card import IntensitySpec

        intensity = IntensitySpec.model_validate(intensity)
    constants = intensity.constants
    if intensity.recipe == "pre_percentile":
        return PrePercentile(constants["percentile"], constants["max_ratio"])
    if intensity.recipe == "minmax_8bit":
        return MinMax8Bit()
    if intensity.recipe == "tissue_percentile":
        return TissuePercentile()
    return ZScore(constants["max_sd"], constants.get("mean"), constants.get("std"))


@dataclass(frozen=True)
class PrePercentile:
    """Units of the input, scaled by a percentile of the pre-contrast foreground.

    offset = `zero_level` of pre: 0, whatever padding or resampling left below it, and the level of air where signed
    storage moved the whole volume. scale = `percentile` of pre - offset over voxels above `foreground_threshold`. u =
    (x - offset) / scale; network value = 2 clip(u / max_ratio, 0, 1) - 1.

    Attributes:
        percentile: Percentile of the foreground, 0 to 100.
        max_ratio: Value of u that becomes 1.
        arbitrary_units: Whether the units of the output are not those of the input.
    """

    percentile: float
    max_ratio: float
    arbitrary_units: bool = False

    def fit(self, pre: NDArray[Any]) -> dict[str, float]:
        """Constants `offset` and `scale`, in input units."""
        foreground = pre[pre > foreground_threshold(pre)]
        offset = zero_level(pre)
        return {"offset": offset, "scale": float(np.percentile(foreground, self.percentile)) - offset}

    def forward(self, array: NDArray[Any], constants: Constants) -> Float32:
        """Input units to network range -1..1 (clipped)."""
        ratio = (_float32(array) - constants["offset"]) / (constants["scale"] * self.max_ratio)
        return _float32(2.0 * np.clip(ratio, 0.0, 1.0) - 1.0)

    def inverse(self, array: NDArray[Any], constants: Constants) -> Float32:
        """Network range to input units."""
        half_range = constants["scale"] * self.max_ratio / 2.0
        return _float32((_float32(array) + 1.0) * half_range + constants["offset"])

    def to_output_units(self, array: NDArray[Any], constants: Constants) -> Float32:
        """The array as it is: outputs are in input units."""
        return _float32(array)


@dataclass(frozen=True)
class MinMax8Bit:
    """As in the published pix2pixHD experiments: minimum to maximum of the volume as 8 bit, outputs 0..255.

    Numbers are rounded half to even, as writing a float picture with OpenCV does. The published tools truncated the
    output to whole numbers and saved JPEG; outputs here stay float. Their scale is that of the unknown real phase:
    arbitrary units.

    Attributes:
        arbitrary_units: Whether the units of the output are not those of the input.
    """

    arbitrary_units: bool = True

    def fit(self, pre: NDArray[Any]) -> dict[str, float]:
        """Constants `minimum` and `maximum`, in input units."""
        _check_range(pre)
        return {"minimum": float(pre.min()), "maximum": float(pre.max())}

    def forward(self, array: NDArray[Any], constants: Constants) -> Float32:
        """Input units to 256 steps in -1..1 (clipped)."""
        gray = np.rint(np.clip(self.to_output_units(array, constants), 0.0, 255.0))
        return _float32(gray / 127.5 - 1.0)

    def inverse(self, array: NDArray[Any], constants: Constants) -> Float32:
        """Network range to 0..255, not rounded."""
        return _float32((_float32(array) + 1.0) * 127.5)

    def to_output_units(self, array: NDArray[Any], constants: Constants) -> Float32:
        """Input units to 0..255 by the minimum and maximum of the pre-contrast volume."""
        width = constants["maximum"] - constants["minimum"]
        return _float32((_float32(array) - constants["minimum"]) * (255.0 / width))


@dataclass(frozen=True)
class ZScore:
    """(x - mean) / std, with +-max_sd standard deviations as the network's -1..1, in units of the input.

    Attributes:
        max_sd: Standard deviations that become 1.
        mean: Mean fixed by the model, or None for that of all voxels of the pre-contrast volume.
        std: Standard deviation, likewise.
        arbitrary_units: Whether the units of the output are not those of the input.
    """

    max_sd: float
    mean: float | None = None
    std: float | None = None
    arbitrary_units: bool = False

    def fit(self, pre: NDArray[Any]) -> dict[str, float]:
        """Constants `mean` and `std`, in input units."""
        if self.mean is not None and self.std is not None:
            return {"mean": self.mean, "std": self.std}
        _check_range(pre)
        return {"mean": float(pre.mean(dtype=np.float64)), "std": float(pre.std(dtype=np.float64))}

    def forward(self, array: NDArray[Any], constants: Constants) -> Float32:
        """Input units to network range -1..1 (clipped)."""
        scaled = (_float32(array) - constants["mean"]) / (constants["std"] * self.max_sd)
        return _float32(np.clip(scaled, -1.0, 1.0))

    def inverse(self, array: NDArray[Any], constants: Constants) -> Float32:
        """Network range to input units."""
        return _float32(_float32(array) * (constants["std"] * self.max_sd) + constants["mean"])

    def to_output_units(self, array: NDArray[Any], constants: Constants) -> Float32:
        """The array as it is: outputs are in input units."""
        return _float32(array)


@dataclass(frozen=True)
class TissuePercentile:
    """Units of the input over the study's scale q, the 90th percentile of its tissue (`metrics.tissue`), not clipped.

    For networks that work on ratios: 0 stays 0, and the range is not -1..1.

    Attributes:
        arbitrary_units: Whether the units of the output are not those of the input.
    """

    arbitrary_units: bool = False

    def fit(self, pre: NDArray[Any]) -> dict[str, float]:
        """Constant `scale`, in input units."""
        _check_range(pre)
        return {"scale": scale_of(pre)}

    def forward(self, array: NDArray[Any], constants: Constants) -> Float32:
        """Input units to multiples of the scale."""
        return _float32(_float32(array) / np.float32(constants["scale"]))

    def inverse(self, array: NDArray[Any], constants: Constants) -> Float32:
        """Multiples of the scale to input units."""
        return _float32(_float32(array) * np.float32(constants["scale"]))

    def to_output_units(self, array: NDArray[Any], constants: Constants) -> Float32:
        """The array as it is: outputs are in input units."""
        return _float32(array)


def foreground_threshold(volume: NDArray[Any]) -> float:
    """Otsu's threshold (1979) of a volume clipped at its 99.9th percentile, in the volume's units.

    The clip keeps a few very bright voxels (vessels, coil edges) from drawing the threshold up. Voxels above
    it are foreground. Values below the zero level (padding, undershoot) count as that level. 256 bins.
    Raises InputError where the volume is constant or not finite.
    """
    from skimage.filters import threshold_otsu

    _check_range(volume)
    if float(volume.min()) < (level := zero_level(volume)):
        volume = np.maximum(volume, np.asarray(level, volume.dtype))
        _check_range(volume)
    top = float(np.percentile(volume, _OTSU_CLIP_PERCENTILE))
    if top <= float(volume.min()):  # less than 0.1 % of the voxels differ from the minimum
        top = float(volume.max())
    return float(threshold_otsu(np.minimum(volume, top).astype(np.float32).ravel(), nbins=_OTSU_BINS))


def _check_range(volume: NDArray[Any]) -> None:
    low, high = float(volume.min()), float(volume.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError("The pre-contrast volume holds numbers that are not finite; repair or re-export it.")
    if low == high:
        raise InputError("The pre-contrast volume has the same value everywhere; there is nothing to synthesize.")


def _float32(array: NDArray[Any]) -> Float32:
    return np.asarray(array, dtype=np.float32)
