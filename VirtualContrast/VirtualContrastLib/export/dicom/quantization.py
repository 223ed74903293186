"""Float volumes as 16-bit stored values with one rescale slope and intercept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from ...events import InputError

LEVELS = 65535


@dataclass(frozen=True)
class Quantization:
    """`value = slope * stored + intercept` for stored values 0..65535; the error is at most slope / 2.

    Attributes:
        slope: Units of the image per step.
        intercept: Value that is stored as 0.
    """

    slope: float
    intercept: float

    def store(self, values: np.ndarray) -> np.ndarray:
        """Nearest stored values (uint16) of `values`, same shape."""
        stored = np.rint((values.astype(np.float64) - self.intercept) / self.slope)
        return np.clip(stored, 0, LEVELS).astype(np.uint16)


def quantization(images: Sequence[sitk.Image]) -> Quantization:
    """One slope and intercept for all phases of a run, so that stored values of phases can be compared.

    Both are exact in DICOM's 16-character decimal strings. Raises InputError for values that are not finite.
    """
    arrays = [sitk.GetArrayViewFromImage(image) for image in images]
    low, high = float(min(a.min() for a in arrays)), float(max(a.max() for a in arrays))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError("A phase holds values that are not finite; it cannot be written as DICOM.")
    # Nine digits keep slope and intercept representable; rounding outward keeps both ends inside 0..65535.
    intercept = _round_outward(low, math.floor)
    slope = _round_outward((high - intercept) / LEVELS, math.ceil) if high > intercept else 1.0
    return Quantization(slope, intercept)


def _round_outward(value: float, direction: Any, digits: int = 9) -> float:
    """`value` with `digits` significant digits, rounded by `direction` (math.floor or math.ceil)."""
    if value == 0.0:
        return 0.0
    exponent = math.floor(math.log10(abs(value))) - digits + 1
    return float(f"{direction(value / 10.0**exponent)}e{exponent}")
