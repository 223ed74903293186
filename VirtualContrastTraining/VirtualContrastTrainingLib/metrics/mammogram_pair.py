"""A low-energy, a real and a synthetic recombined mammogram in memory, what is measured of them, and a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from VirtualContrastLib.events import InputError

from .images import read_labels, read_mask, read_stack
from .mammography import (
    change_agreement,
    contrast_to_noise,
    distance_from_low_energy,
    halo,
    tissue_masks,
)
from .pairs import Pair

SIDES = ("low_energy", "real", "synthetic")
ADIPOSE, FIBROGLANDULAR = 1, 2
"""Labels of the tissues in annotated masks."""


@dataclass(frozen=True)
class LoadedMammogram:
    """Images [j, i] of one size.

    Attributes:
        name: The real file, for error messages.
        patient: Id of the patient.
        low_energy: The low-energy image.
        real: The real recombined image.
        synthetic: The synthetic recombined image.
        breast: The breast (bool).
        adipose: Adipose tissue (bool).
        fibroglandular: Fibroglandular tissue (bool).
    """

    name: Path
    patient: str
    low_energy: np.ndarray
    real: np.ndarray
    synthetic: np.ndarray
    breast: np.ndarray
    adipose: np.ndarray
    fibroglandular: np.ndarray


def load_mammogram(pair: Pair) -> LoadedMammogram:
    """Read a pair with its low-energy image.

    The tissues are those of `pair.tissues` (labels 1 adipose, 2 fibroglandular), else found by Otsu's threshold; the
    breast is `pair.breast`, else both tissues together. Raises InputError where an image is missing, sizes differ, or a
    tissue has no pixel.
    """
    if pair.pre is None:
        raise InputError(f"The change needs the low-energy image of {pair.real}; give it with --pre.")
    low, real, synthetic = (_one_image(path) for path in (pair.pre, pair.real, pair.synthetic))
    if not low.shape == real.shape == synthetic.shape:
        raise InputError(f"{pair.real}, {pair.synthetic} and {pair.pre} differ in size; they must be aligned.")
    try:
        adipose, gland = tissue_masks(low) if pair.tissues is None else _annotated(pair.tissues)
    except ValueError as error:
        raise InputError(f"{pair.real} cannot be measured: {error}.") from error
    breast = adipose | gland if pair.breast is None else read_mask(pair.breast)[0]
    for path, mask in ((pair.breast, breast), (pair.tissues, adipose)):
        if mask.shape != low.shape:
            raise InputError(f"The mask {path} differs in size from its image.")
    return LoadedMammogram(pair.real, pair.patient, low, real, synthetic, breast, adipose, gland)


def measure_mammogram(loaded: LoadedMammogram, synthetic: np.ndarray | None = None) -> dict[str, float | None]:
    """All measures by key, such as `cnr_real` and `change_ssim`, of the synthetic image or of another in its place.

    Raises InputError where a measure is not defined.
    """
    low, real = loaded.low_energy, loaded.real
    made = loaded.synthetic if synthetic is None else synthetic
    images = dict(zip(SIDES, (low, real, made), strict=True))
    data_range = float(max(low.max(), real.max())) - float(min(low.min(), real.min()))
    found: dict[str, float | None] = {}
    try:
        for side, image in images.items():
            found[f"cnr_{side}"] = contrast_to_noise(image, loaded.adipose, loaded.fibroglandular)
            found[f"adipose_{side}"] = float(image[loaded.adipose].mean())
            found[f"fibroglandular_{side}"] = float(image[loaded.fibroglandular].mean())
            found[f"halo_{side}"] = halo(image, loaded.breast)
            if side != "low_energy":
                distance = distance_from_low_energy(low, image, data_range, loaded.breast)
                found[f"mae_{side}"], found[f"ssim_{side}"] = distance
        change = change_agreement(low, real, made, loaded.breast)
    except ValueError as error:
        raise InputError(f"{loaded.name} cannot be measured: {error}.") from error
    return found | {f"change_{key}": value for key, value in vars(change).items()}


@dataclass(frozen=True)
class StraightLines:
    """Least-squares lines from low-energy to recombined gray values in the breast, by patient: of all other patients,
    or of the patient's own images where there is only one.
    """

    by_patient: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, loaded: Sequence[LoadedMammogram]) -> StraightLines:
        """Fit the lines."""
        sums: dict[str, np.ndarray] = {}
        for one in loaded:
            x, y = (image[one.breast].astype(np.float64) for image in (one.low_energy, one.real))
            own = np.array([len(x), x.sum(), y.sum(), (x * x).sum(), (x * y).sum()])
            sums[one.patient] = sums.get(one.patient, np.zeros(5)) + own
        whole = np.sum(list(sums.values()), axis=0)
        return cls({name: _line(whole - own if len(sums) > 1 else whole) for name, own in sums.items()})

    def image_of(self, loaded: LoadedMammogram) -> np.ndarray:
        """What the line makes of the low-energy image, float64."""
        intercept, slope = self.by_patient[loaded.patient]
        return intercept + slope * loaded.low_energy.astype(np.float64)


def _line(sums: np.ndarray) -> tuple[float, float]:
    """Intercept and slope from n and the sums of x, y, x^2 and x y; a constant x gives the mean of y."""
    n, x, y, xx, xy = sums
    spread = xx - x * x / n
    slope = (xy - x * y / n) / spread if spread > 0 else 0.0
    return float(y / n - slope * x / n), float(slope)


def _annotated(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(adipose, fibroglandular) of an annotated label map; InputError where it has not both labels."""
    labels = read_labels(path).pixels
    adipose, gland = (labels[0] == label for label in (ADIPOSE, FIBROGLANDULAR))
    if len(labels) != 1 or not adipose.any() or not gland.any():
        raise InputError(f"{path} must be one slice with label 1 in adipose and label 2 in fibroglandular tissue.")
    return adipose, gland


def _one_image(path: Path) -> np.ndarray:
    stack = read_stack(path)
    if len(stack.pixels) != 1:
        raise InputError(f"{path} has {len(stack.pixels)} slices; a mammogram has one.")
    return np.asarray(stack.pixels[0])
