"""Sensitivity of a prediction to small changes of its input.

The spread over perturbed passes shows where the network is unsure of itself. It is not a calibrated error: a
network can be wrong in the same way in every pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .intensity import foreground_threshold

Float32 = NDArray[np.float32]

SCALE_JITTER = 0.05
_MAD_TO_SD = 1.4826
_RAYLEIGH_SD = 0.655  # standard deviation of magnitude noise without signal, per unit of Gaussian noise


@dataclass(frozen=True)
class Perturbation:
    """A left-right flip, a factor on intensities and added Gaussian noise; flip and factor are undone in the output.

    Noise of slice k depends on (seed, number, k) alone, so that neighboring slices keep their noise in every stack.

    Attributes:
        number: Number of the pass.
        seed: Seed of the run.
        flip: Whether slices are flipped left to right.
        factor: Factor on intensities, which leaves the lowest as it is.
        noise_sd: Standard deviation of the noise, in network units.
    """

    number: int
    seed: int
    flip: bool
    factor: float
    noise_sd: float

    def apply(self, stack: Float32, slice_indices: NDArray[np.intp]) -> Float32:
        """Perturb network input [n, c, row, column] of slices `slice_indices` [n, c]; clipped to -1..1."""
        noise = {k: self._noise(int(k), stack.shape[-2:]) for k in np.unique(slice_indices)}
        added = np.stack([np.stack([noise[k] for k in row]) for row in slice_indices])
        changed = np.clip((stack + 1.0) * self.factor - 1.0 + added, -1.0, 1.0).astype(np.float32)
        return changed[..., ::-1].copy(order="C") if self.flip else changed

    def undo(self, prediction: Float32) -> Float32:
        """Turn network output [n, phase, row, column] back and divide by the factor; noise stays."""
        turned = prediction[..., ::-1] if self.flip else prediction
        return ((turned + 1.0) / self.factor - 1.0).astype(np.float32)

    def _noise(self, k: int, size: tuple[int, ...]) -> Float32:
        rng = np.random.default_rng((self.seed, self.number, k))
        return rng.standard_normal(size, dtype=np.float32) * np.float32(self.noise_sd)


def draw_perturbations(count: int, seed: int, noise_sd: float) -> list[Perturbation]:
    """Draw the changes of the input: flips alternate, factors are uniform in 1 +- SCALE_JITTER.

    Args:
        count: The number of passes.
        seed: Of the factors and of the noise.
        noise_sd: Standard deviation of the noise, in the network's units.

    Returns:
        One perturbation per pass.
    """
    rng = np.random.default_rng(seed)
    factors = rng.uniform(1.0 - SCALE_JITTER, 1.0 + SCALE_JITTER, count)
    return [Perturbation(n, seed, n % 2 == 1, float(factor), noise_sd) for n, factor in enumerate(factors)]


def background_noise_sd(volume: NDArray[np.float32]) -> float:
    """Noise (standard deviation, in units of `volume` [k, j, i]) from differences of background neighbors.

    Background: not above the Otsu threshold. Median absolute difference along rows, times 1.4826 / sqrt(2),
    divided by 0.655 as magnitude noise without signal is Rayleigh distributed (Gudbjartsson and Patz 1995). 0
    where the background was set to a constant.
    """
    background = volume <= foreground_threshold(volume)
    both = background[..., 1:] & background[..., :-1]
    differences = np.abs(np.diff(volume, axis=-1)[both])
    if differences.size == 0:
        return 0.0
    return float(np.median(differences)) * _MAD_TO_SD / np.sqrt(2.0) / _RAYLEIGH_SD


class RunningSpread:
    """Mean and standard deviation of arrays that come one by one, in fixed memory (Welford 1962)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = np.zeros(0)
        self._squares = np.zeros(0)

    def add(self, array: NDArray[np.float32]) -> None:
        """Take in one more array; all must have one shape."""
        if self.count == 0:
            self.mean = np.zeros(array.shape)
            self._squares = np.zeros(array.shape)
        self.count += 1
        delta = array - self.mean
        self.mean += delta / self.count
        self._squares += delta * (array - self.mean)

    def standard_deviation(self) -> NDArray[np.float32]:
        """Sample standard deviation (n - 1); raises ValueError for fewer than two arrays."""
        if self.count < 2:
            raise ValueError("a standard deviation needs at least two arrays")
        return np.sqrt(self._squares / (self.count - 1)).astype(np.float32)
