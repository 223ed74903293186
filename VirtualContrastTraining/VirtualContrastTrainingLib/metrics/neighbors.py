"""Does a model repeat its training images, and are its images as different from each other as real ones?

Slices are compared by correlation: resized to 32 x 32 pixels, mean 0 and length 1, so that brightness and contrast do
not matter, at the distance sqrt(2 (1 - r)). Real held-out slices have neighbors among the training slices too: how near
a synthetic slice comes to them says something only beside that. Copies are judged as Alaa et al. (ICML 2022,
"authenticity"): a slice is nearer to a training slice than any training slice of another patient is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from VirtualContrastLib.events import InputError

from .images import read_stack
from .pairs import Pair, images_in, patient_of

SIDE = 32
"""Pixels of a compared slice."""
MOST_SLICES = 20000
"""Training slices that are compared with: a random choice of more, so that memory stays bounded."""
NEAREST_K = 5
"""Neighbor that bounds the surroundings of a real slice for coverage (Naeem et al., ICML 2020)."""
DEFINITIONS = {
    "memorization": "distance of the nearest training slice, sqrt(2 (1 - r)) with r the correlation of slices of "
    "32 x 32 pixels; 0 to 2, 0 for the same picture",
    "copies": "share of slices that are nearer to a training slice than that one is to any of another patient; 0 to 1",
    "diversity": "mean distance between slices of different patients, synthetic over real; 1 as different as real "
    "ones, less where the model makes all patients alike",
    "coverage": f"share of real slices that have a synthetic one within the distance of their {NEAREST_K}th real "
    "neighbor of another patient; 0 to 1",
}

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Slices:
    """Slices of one set.

    Attributes:
        vectors: Unit vectors [n, pixels].
        patients: The patient of each.
    """

    vectors: Array
    patients: NDArray[np.str_]

    @classmethod
    def of(cls, images: Iterable[tuple[Path, str]], *, seed: int = 0) -> Slices:
        """Read images with their patients; slices of one gray value are left out, more than MOST_SLICES drawn from."""
        vectors, patients = [], []
        for path, patient in images:
            for pixels in read_stack(path).pixels:
                vector = unit_vector(pixels)
                if vector is not None:
                    vectors.append(vector)
                    patients.append(patient)
        if not vectors:
            raise InputError("There are no slices to compare: every image has one gray value.")
        chosen = np.arange(len(vectors))
        if len(vectors) > MOST_SLICES:
            chosen = np.random.default_rng(seed).choice(len(vectors), MOST_SLICES, replace=False)
        return cls(np.stack([vectors[n] for n in chosen]), np.array(patients)[chosen])


def unit_vector(pixels: NDArray[Any]) -> Array | None:
    """A slice [j, i] as means of 32 x 32 fields, a vector of mean 0 and length 1; None where it has one gray value."""
    import torch

    whole = torch.from_numpy(np.asarray(pixels, np.float32))[None, None]
    small: Array = torch.nn.functional.adaptive_avg_pool2d(whole, SIDE).numpy().ravel()
    small = small - small.mean()
    length = float(np.linalg.norm(small))
    return small / length if length > 1e-6 * max(1.0, float(np.abs(pixels).max())) else None


def training_images(folder: Path, pattern: str | None = None) -> list[tuple[Path, str]]:
    """Image files below a folder (of prepared cases the phases) with their patients; raises InputError for none."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; --training takes the folder of the training images.")
    found = [(path, patient_of(path.relative_to(folder), pattern)) for path in images_in(folder)]
    if not found:
        raise InputError(f"{folder} holds no image files; --training takes the folder of the training images.")
    return found


@dataclass(frozen=True)
class Nearness:
    """How near the slices of one side come to the training slices, as distances 0 to 2.

    Attributes:
        median: of the distances to the nearest training slice.
        p5: their 5th percentile.
        least: their minimum.
        copies: share of slices nearer to a training slice than any training slice of another patient is.
        slices: number of slices.
    """

    median: float
    p5: float
    least: float
    copies: float
    slices: int


@dataclass(frozen=True)
class Memorization:
    """How near synthetic slices come to the training slices, beside how near real held-out slices come.

    Attributes:
        synthetic: of the synthetic slices.
        real: of the real slices.
        training_slices: number of training slices.
        patients_in_training: patients that are in both the training and the compared set.
    """

    synthetic: Nearness
    real: Nearness
    training_slices: int
    patients_in_training: int


@dataclass(frozen=True)
class Diversity:
    """How different the images of a set are from each other; None for fewer than two patients.

    Attributes:
        synthetic: mean distance between slices of different patients, of the synthetic images.
        real: the same of the real images.
        diversity: the first over the second.
        coverage: share of real slices that have a synthetic one near.
    """

    synthetic: float | None
    real: float | None
    diversity: float | None
    coverage: float | None


@dataclass(frozen=True)
class SetReport:
    """What the sets of images show beside their pairs.

    Attributes:
        diversity: of the synthetic images.
        memorization: of the training images; None where these were not given.
    """

    diversity: Diversity
    memorization: Memorization | None = None

    def as_json(self) -> dict[str, object]:
        """The parts that there are, with definitions."""
        memorized = {} if self.memorization is None else {"memorization": self.memorization}
        return {"diversity": self.diversity, **memorized, "set_definitions": DEFINITIONS}


def memorization(synthetic: Slices, real: Slices, training: Slices) -> Memorization:
    """How near synthetic slices come to the training slices, beside how near real held-out slices come.

    Args:
        synthetic: Of the patients compared.
        real: Of the same patients.
        training: What the model has learned from.

    Returns:
        The distances of each side.
    """
    own = _nearest(training, training, apart=True)[0]

    def nearness(side: Slices) -> Nearness:
        distance, place = _nearest(side, training)
        return Nearness(
            median=float(np.median(distance)),
            p5=float(np.percentile(distance, 5)),
            least=float(distance.min()),
            copies=float(np.mean(distance < own[place])),
            slices=len(distance),
        )

    shared = len(set(synthetic.patients) & set(training.patients))
    return Memorization(nearness(synthetic), nearness(real), len(own), shared)


def diversity(synthetic: Slices, real: Slices) -> Diversity:
    """Diversity of two sets of slices of the same patients."""
    made, acquired = _mean_between_patients(synthetic), _mean_between_patients(real)
    ratio = made / acquired if made is not None and acquired else None
    return Diversity(made, acquired, ratio, _coverage(synthetic, real))


def set_report(pairs: Sequence[Pair], training: Path | None, pattern: str | None, seed: int = 0) -> SetReport:
    """Diversity of the synthetic images of pairs, and with a folder of training images their memorization.

    Args:
        pairs: What is compared.
        training: Folder of what the model has learned from; None for no check.
        pattern: Finds the patient in a file name.
        seed: Of the choice where there are too many slices.

    Returns:
        The report.
    """
    real = Slices.of(((pair.real, pair.patient) for pair in pairs), seed=seed)
    synthetic = Slices.of(((pair.synthetic, pair.patient) for pair in pairs), seed=seed)
    memorized = None
    if training is not None:
        learned = Slices.of(training_images(training, pattern), seed=seed)
        memorized = memorization(synthetic, real, learned)
    return SetReport(diversity(synthetic, real), memorized)


def _nearest(of: Slices, among: Slices, *, apart: bool = False) -> tuple[Array, NDArray[np.intp]]:
    """Distance and place of the nearest slice; `apart`: of another patient, infinite where there is none."""
    distances, places = np.empty(len(of.vectors), np.float32), np.empty(len(of.vectors), np.intp)
    for start in range(0, len(of.vectors), 500):
        part = slice(start, start + 500)
        apart_by = _distances(of.vectors[part], among.vectors)
        if apart:
            apart_by[of.patients[part, None] == among.patients[None]] = np.inf
        places[part] = apart_by.argmin(axis=1)
        distances[part] = apart_by.min(axis=1)
    return distances, places


def _distances(first: Array, second: Array) -> Array:
    return np.sqrt(np.clip(2 - 2 * (first @ second.T), 0, None))


def _mean_between_patients(slices: Slices) -> float | None:
    total, count = 0.0, 0
    for start in range(0, len(slices.vectors), 500):
        part = slice(start, start + 500)
        other = slices.patients[part, None] != slices.patients[None]
        total += float(_distances(slices.vectors[part], slices.vectors)[other].sum(dtype=np.float64))
        count += int(other.sum())
    return total / count if count else None


def _coverage(synthetic: Slices, real: Slices) -> float | None:
    covered, counted = 0, 0
    for start in range(0, len(real.vectors), 500):
        part = slice(start, start + 500)
        between = _distances(real.vectors[part], real.vectors)
        between[real.patients[part, None] == real.patients[None]] = np.inf
        if between.shape[1] < NEAREST_K:
            return None
        radius = np.partition(between, NEAREST_K - 1, axis=1)[:, NEAREST_K - 1]
        known = np.isfinite(radius)
        nearest = _distances(real.vectors[part], synthetic.vectors).min(axis=1)
        covered += int((nearest[known] <= radius[known]).sum())
        counted += int(known.sum())
    return covered / counted if counted else None
