"""Distances between the set of real and the set of synthetic images: FID and KID on a feature network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from VirtualContrastLib.events import InputError
from VirtualContrastLib.metrics.measure import definitions

from .as_published import as_eight_bit, minmax_eight_bit, resize_linear, rounded_eight_bit, saturating_subtract
from .feature_networks import FeatureNetwork
from .frechet import FeatureMoments, frechet_distance, kernel_distance, too_few_note
from .images import read_mask, read_stack
from .loaded_pair import counted_slices
from .measures import DISTANCE
from .pairs import Pair

KID_LIMIT = 2000
"""KID keeps this many feature vectors a side at most (a random sample of the stream), so memory stays bounded."""

DEFINITIONS = definitions(DISTANCE) | {
    "baseline": "real images of one random half of the patients against those of the other half",
    "halves": "real images of one half of the patients against the synthetic ones of the other half",
}
"""What the numbers of a comparison are."""


@dataclass(frozen=True)
class Preparation:
    """8-bit slices to network input: square linear resize, then, as published, min-max per slice; to [-1, 1].

    Attributes:
        size: Side of the square in pixels.
        normalize: Whether each slice is min-max scaled.
    """

    size: int = 299
    normalize: bool = False

    def __call__(self, slice_: np.ndarray) -> np.ndarray:
        """One uint8 slice [j, i] to float32 [size, size]."""
        resized = resize_linear(slice_, self.size)
        if self.normalize:
            resized = minmax_eight_bit(resized)
        return (resized / 127.5 - 1).astype(np.float32)


@dataclass
class FeatureSet:
    """Features of one set of images as a stream: exact moments, and a bounded random sample for KID."""

    seed: int = 0
    moments: FeatureMoments = field(default_factory=FeatureMoments)
    sample: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def add(self, features: np.ndarray) -> None:
        """Add vectors [n, dimension]."""
        for number, vector in enumerate(features, start=self.moments.n):
            if len(self.sample) < KID_LIMIT:
                self.sample.append(vector)
            elif (place := int(self._rng.integers(number + 1))) < KID_LIMIT:
                self.sample[place] = vector
        self.moments.add(features)


@dataclass(frozen=True)
class SetDistance:
    """Distance of two sets of images on the features of a network.

    Attributes:
        fid: Frechet distance.
        kid: kernel distance, mean over subsets.
        kid_std: its standard deviation over the subsets.
        n: number of images of each set.
        note: a warning where they are too few, else "".
    """

    fid: float
    kid: float
    kid_std: float
    n: tuple[int, int]
    note: str


@dataclass(frozen=True)
class ImageDistances:
    """Distances of synthetic and real images on the features of one network.

    Attributes:
        network: its kind.
        synthetic_against_real: of all images.
        baseline: of the real images of one half of the patients and those of the other half; None for one patient.
        halves: of the real images of one half and the synthetic ones of the other; None for one patient.
        definitions: what the numbers are, by name.
    """

    network: str
    synthetic_against_real: SetDistance
    baseline: SetDistance | None
    halves: SetDistance | None
    definitions: Mapping[str, str]


def compare_sets(first: FeatureSet, second: FeatureSet, *, seed: int = 0) -> SetDistance:
    """Frechet and kernel distance of two sets.

    Args:
        first: Features of one set.
        second: Features of the other.
        seed: Of KID's subsets.

    Returns:
        FID and KID.
    """
    kid, spread = kernel_distance(np.array(first.sample), np.array(second.sample), seed=seed)
    fewest = min(first.moments.n, second.moments.n)
    mean = first.moments.mean
    return SetDistance(
        fid=frechet_distance(first.moments, second.moments),
        kid=kid,
        kid_std=spread,
        n=(first.moments.n, second.moments.n),
        note=too_few_note(fewest, 0 if mean is None else len(mean)),
    )


@dataclass(frozen=True)
class FeatureReader:
    """Features of image files.

    Attributes:
        network: Gives the features.
        preparation: How slices become its input.
        batch: Slices that go through it at once.
        subtract: Whether features are of phase minus pre-contrast on 8 bit, negative values at 0.
    """

    network: FeatureNetwork
    preparation: Preparation
    batch: int = 16
    subtract: bool = False

    def features(
        self, path: Path, pre: Path | None, keep: Sequence[int] | None = None, *, own_scale: bool = False
    ) -> np.ndarray:
        """Features of one image; volumes without 8-bit values are min-max scaled as a whole.

        Args:
            path: The image.
            pre: Its pre-contrast image, for subtractions.
            keep: Indices of the slices that count, None for all.
            own_scale: Whether the values are on 0..255 already and are only rounded.

        Returns:
            Features [slices, dimension].

        Raises:
            InputError: A subtraction has no pre-contrast image of the image's size.
        """
        pixels = read_stack(path).pixels
        slices = rounded_eight_bit(pixels) if own_scale else as_eight_bit(pixels)[0]
        if self.subtract:
            if pre is None:
                raise InputError(f"The subtraction of {path} needs its pre-contrast image; give it with --pre.")
            before, _ = as_eight_bit(read_stack(pre).pixels)
            if before.shape != slices.shape:
                raise InputError(f"{pre} differs in size from {path}.")
            slices = saturating_subtract(slices, before)
        if keep is not None:
            slices = slices[list(keep)]
        found = []
        for start in range(0, len(slices), self.batch):
            batch = [self.preparation(slice_) for slice_ in slices[start : start + self.batch]]
            found.append(self.network.features(np.stack(batch)))
        return np.concatenate(found)


PairFeatures = tuple[np.ndarray, np.ndarray]
"""Features [slices, dimension] of the real and of the synthetic image of a pair."""
KnownFeatures = dict[tuple[Path, Path | None, tuple[int, ...] | None], np.ndarray]
"""Features of real images by file, the pre-contrast file of a subtraction, and the slices that count."""


def pair_features(
    reader: FeatureReader, pair: Pair, slice_margin: float | None = None, known: KnownFeatures | None = None
) -> PairFeatures | None:
    """Features of a pair's slices that count; None where none does.

    Args:
        reader: Reads them.
        pair: The pair.
        slice_margin: That of `loaded_pair.load_pair`.
        known: As of `image_distances`.

    Returns:
        Those of its real and of its synthetic image.

    Raises:
        InputError: An image cannot be read.
    """
    keep = _kept(pair, slice_margin)
    if keep == ():
        return None
    known = {} if known is None else known
    key = (pair.real, pair.pre if reader.subtract else None, keep)
    if key not in known:
        known[key] = reader.features(pair.real, pair.pre, keep)
    own_scale = pair.own_scale and not pair.baseline
    return known[key], reader.features(pair.synthetic, pair.pre, keep, own_scale=own_scale)


def image_distances(
    pairs: Sequence[Pair],
    network: FeatureNetwork,
    preparation: Preparation,
    *,
    batch: int = 16,
    seed: int = 0,
    subtract: bool = False,
    slice_margin: float | None = None,
    limit: int | None = None,
    known: KnownFeatures | None = None,
) -> ImageDistances:
    """FID and KID of pairs, as `distances_of` their features; streams over the pairs, one file at a time.

    Args:
        pairs: The pairs.
        network: Feature network.
        preparation: How images are prepared for it.
        batch: Slices that go through the network at once.
        seed: Of the halves and of KID's subsets.
        subtract: Whether subtraction images are compared.
        slice_margin: That of `loaded_pair.load_pair`.
        limit: Only so many slices count, the first; None for all.
        known: Features of real images that were read before with this network and preparation; it is filled, so that
            several synthetic sets of the same cases read the real images once. None reads them here alone.

    Returns:
        All comparisons.

    Raises:
        InputError: There are fewer than two slices.
    """
    reader = FeatureReader(network, preparation, batch, subtract)
    features = (pair_features(reader, pair, slice_margin, known) for pair in pairs)
    return distances_of(pairs, features, network.kind, seed=seed, limit=limit)


def distances_of(
    pairs: Sequence[Pair],
    features: Iterable[PairFeatures | None],
    kind: str,
    *,
    seed: int = 0,
    limit: int | None = None,
) -> ImageDistances:
    """FID and KID of synthetic against real, and of one half of the patients' real images against the other half.

    The halves (`baseline`, and `halves` with the synthetic images of the other half) show what distance two samples of
    one distribution have at that N; they are None for one patient.

    Args:
        pairs: The pairs.
        features: Those of each pair, in this order; no more are asked for than count.
        kind: The feature network.
        seed: Of the halves and of KID's subsets.
        limit: Only so many slices count, the first; None for all.

    Returns:
        All comparisons.

    Raises:
        InputError: There are fewer than two slices.
    """
    first_half = _half_of_patients(pairs, seed)
    real, synthetic, halves = FeatureSet(seed), FeatureSet(seed), (FeatureSet(seed), FeatureSet(seed))
    synthetic_half = FeatureSet(seed)
    for pair, found in zip(pairs, features, strict=False):
        if found is None:
            continue
        room = None if limit is None else limit - real.moments.n
        vectors, made = (values[:room] for values in found)
        real.add(vectors)
        halves[pair.patient in first_half].add(vectors)
        synthetic.add(made)
        if pair.patient in first_half:
            synthetic_half.add(made)
        if real.moments.n == limit:
            break
    if real.moments.n < 2:
        raise InputError("FID and KID compare sets of images; one pair of slices is not enough.")
    enough = all(half.moments.n > 1 for half in halves)
    return ImageDistances(
        network=kind,
        synthetic_against_real=compare_sets(real, synthetic, seed=seed),
        baseline=compare_sets(*halves, seed=seed) if enough else None,
        halves=compare_sets(halves[0], synthetic_half, seed=seed) if enough else None,
        definitions=DEFINITIONS,
    )


def _kept(pair: Pair, slice_margin: float | None) -> tuple[int, ...] | None:
    """Indices of the slices of a pair that count, None for all."""
    if pair.lesion is None or slice_margin is None:
        return None
    lesions = read_mask(pair.lesion)
    return counted_slices(lesions, len(lesions), slice_margin)


def _half_of_patients(pairs: Sequence[Pair], seed: int) -> set[str]:
    """A random half of the patients; sorted first, so that the seed alone decides."""
    patients = sorted({pair.patient for pair in pairs})
    shuffled = np.random.default_rng(seed).permutation(len(patients))
    return {patients[n] for n in shuffled[: len(patients) // 2]}
