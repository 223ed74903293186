"""A real and a synthetic slice with what the measures of a pair share; each method is the function of one measure."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from VirtualContrastLib.metrics import image_pairs
from VirtualContrastLib.metrics.similarity import MS_SMALLEST_SIDE, SMALLEST_SIDE, Similarity


class NotMeasurableError(ValueError):
    """Why a measure cannot be computed of this pair, in a sentence for the report."""


class SlicePair:
    """Slices [j, i] of one shape; `data_range` is what PSNR and SSIM refer to.

    Attributes:
        real, synthetic: the slices, in the files' units.
        data_range: 255 for 8-bit files, else the range of the real image.
        perceptual: LPIPS of the pair; raises NotMeasurableError where it cannot be had.
    """

    def __init__(
        self, real: np.ndarray, synthetic: np.ndarray, data_range: float, perceptual: Callable[[], float]
    ) -> None:
        self.real, self.synthetic = real, synthetic
        self.data_range = data_range
        self.perceptual = perceptual

    @cached_property
    def similarity(self) -> Similarity | None:
        """Local moments for SSIM, None where the slice is too small for its window."""
        if min(self.real.shape) < SMALLEST_SIDE:
            return None
        return Similarity(self.real, self.synthetic, (self.data_range, None))  # true and published

    @cached_property
    def _squared_error(self) -> float:
        return image_pairs.mse(self.real, self.synthetic)

    def mse(self) -> float:
        """See `image_pairs.mse`."""
        return self._squared_error

    def mae(self) -> float:
        """See `image_pairs.mae`."""
        return image_pairs.mae(self.real, self.synthetic)

    def psnr(self) -> float:
        """See `image_pairs.psnr`."""
        return image_pairs.psnr(self.mse(), self.data_range)

    def ssim(self) -> float:
        """See `Similarity.ssim`."""
        if self.similarity is None:
            raise NotMeasurableError(f"SSIM needs {SMALLEST_SIDE} pixels on a side.")
        return self.similarity.ssim(self.data_range)

    def ms_ssim(self) -> float:
        """See `Similarity.ms_ssim`."""
        if self.similarity is None:
            raise NotMeasurableError(f"MS-SSIM needs {MS_SMALLEST_SIDE} pixels on a side.")
        try:
            return self.similarity.ms_ssim(self.data_range)
        except ValueError as error:
            raise NotMeasurableError(f"{error}.") from error

    def lpips(self) -> float:
        """LPIPS of the pair."""
        return self.perceptual()
