"""Frechet distance and kernel distance between two sets of feature vectors.

Heusel et al. 2017 (Frechet inception distance), Binkowski et al. 2018 (kernel inception distance).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class FeatureMoments:
    """Mean and covariance of a stream of feature vectors, in float64 (Chan et al. 1979); memory is one matrix.

    Attributes:
        n: Number of vectors.
        mean: Their mean, None before the first.
    """

    n: int = 0
    mean: np.ndarray | None = None
    _scatter: np.ndarray | None = None

    def add(self, features: np.ndarray) -> None:
        """Add vectors [n, dimension]; raises ValueError for another dimension or values that are not finite."""
        batch = np.atleast_2d(np.asarray(features, dtype=np.float64))
        if not np.isfinite(batch).all():
            raise ValueError("features must be finite")
        mean = batch.mean(axis=0)
        centered = batch - mean
        scatter = centered.T @ centered
        if self.mean is None or self._scatter is None:
            self.n, self.mean, self._scatter = len(batch), mean, scatter
            return
        if mean.shape != self.mean.shape:
            raise ValueError(f"features have dimension {len(mean)}, those before had {len(self.mean)}")
        shift, total = mean - self.mean, self.n + len(batch)
        self._scatter += scatter + np.outer(shift, shift) * (self.n * len(batch) / total)
        self.mean = self.mean + shift * (len(batch) / total)
        self.n = total

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance (N - 1); raises ValueError for fewer than two vectors."""
        if self._scatter is None or self.n < 2:
            raise ValueError("a covariance needs at least two feature vectors")
        return self._scatter / (self.n - 1)


def frechet_distance(first: FeatureMoments, second: FeatureMoments) -> float:
    """Squared Frechet distance of two Gaussians, |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    With C1 = A A^T and C2 = B B^T the trace of the root is the sum of the singular values of A^T B. It stays real and
    does not enlarge rounding where a covariance is singular, as a matrix square root does (from 1e-16 to 1e-8).
    """
    if first.mean is None or second.mean is None or first.mean.shape != second.mean.shape:
        raise ValueError("two sets of features of one dimension are needed")
    shift = first.mean - second.mean
    c1, c2 = first.covariance, second.covariance
    overlap = np.linalg.svd(_factor(c1).T @ _factor(c2), compute_uv=False).sum()
    return float(max(shift @ shift + np.trace(c1) + np.trace(c2) - 2 * overlap, 0.0))


def too_few_note(n: int, dimension: int) -> str:
    """A sentence where the sample is too small for a covariance of that dimension, else ''."""
    if n > dimension:
        return ""
    return (
        f"{n} images for {dimension} features: the covariance is singular and the Frechet distance strongly "
        "biased; compare only values of equal N, or use KID."
    )


def kernel_distance(
    first: np.ndarray, second: np.ndarray, *, subset_size: int = 100, subsets: int = 50, seed: int = 0
) -> tuple[float, float]:
    """KID: unbiased squared MMD with the kernel (x.y / dimension + 1)^3.

    Args:
        first: Features [n, dimension].
        second: Features [m, dimension].
        subset_size: Vectors of each subset; where neither set has more, all are used, once.
        subsets: The number of subsets.
        seed: Draws the subsets.

    Returns:
        Mean and standard deviation over the subsets.

    Raises:
        ValueError: A set has fewer than two vectors.
    """
    if len(first) < 2 or len(second) < 2:
        raise ValueError("KID needs at least two images on each side")
    size = min(subset_size, len(first), len(second))
    if size == len(first) == len(second):
        return _squared_mmd(first, second), 0.0
    rng = np.random.default_rng(seed)
    values = [
        _squared_mmd(first[rng.choice(len(first), size, False)], second[rng.choice(len(second), size, False)])
        for _ in range(subsets)
    ]
    return float(np.mean(values)), float(np.std(values))


def _squared_mmd(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x.astype(np.float64), y.astype(np.float64)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)

    def within(a: np.ndarray) -> float:
        k = kernel(a, a)
        return float((k.sum() - np.trace(k)) / (len(a) * (len(a) - 1)))

    return within(x) + within(y) - 2 * float(kernel(x, y).mean())


def _factor(covariance: np.ndarray) -> np.ndarray:
    """A [dimension, rank] with A A^T = `covariance`; directions without any spread beyond rounding are left out."""
    values, vectors = np.linalg.eigh(covariance)
    rounding = len(values) * np.finfo(np.float64).eps * max(float(values[-1]), 0.0)
    kept = values > rounding
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))
