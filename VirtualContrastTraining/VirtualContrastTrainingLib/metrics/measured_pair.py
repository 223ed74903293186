"""The metrics of one pair of images, as plain values that can be computed anywhere and added up elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import as_published
from .loaded_pair import LoadedPair, load_pair
from .lpips import Lpips
from .pairs import Pair
from .slice_metrics import SliceMetrics, Values

_SCALES = 3.0
_OF_ERROR = 0.1
_SLOPE = 1.5
"""Of gray values; a model whose contrast is a little strong or weak is no image in other units."""
_AT_MOST = 2**20
"""Voxels that decide on the scale."""
_OTHER_SCALE = (
    "Some synthetic images are on another scale of gray values than their real ones (their means differ more than "
    "threefold, or a straight line of gray values takes nine tenths of the squared error away), so that errors mean "
    "little; give both on one scale, or what an as-published model made as its result folder, which tells its units."
)
_IDENTICAL = "Some synthetic images are their real ones, pixel by pixel; make sure that the right images are compared."
_UNRELATED = (
    "Some pairs do not belong together by their headers: another patient, study, sequence or time than the real image, "
    "or a real image that is a subtraction, not T1-weighted or synthetic; make sure that the right images are compared."
)


@dataclass(frozen=True)
class Settings:
    """What to compare.

    Attributes:
        protocol: The published protocol to repeat.
        subtraction: None, "signed" or "clipped" (post minus pre).
        repeats: Resamples of the bootstrap.
        seed: Seed of the bootstrap.
        slice_margin: With it, only the slices of the tumor and this share of the volume more on either side count.
    """

    protocol: str = "files"
    subtraction: str | None = None
    repeats: int = 1000
    seed: int = 0
    slice_margin: float | None = None


@dataclass(frozen=True)
class MeasuredPair:
    """What one pair measures.

    Attributes:
        slices: values of each slice that counts.
        indices: which those are.
        volume: values of the volume as a whole, None for an image.
        notes: metric and sentence, why some of it is missing.
        data_range: that the metrics are relative to.
    """

    slices: tuple[Values, ...]
    indices: tuple[int, ...]
    volume: Values | None
    notes: tuple[tuple[str, str], ...]
    data_range: float


def measure(pair: Pair, settings: Settings, lpips: Lpips | None = None, lpips_missing: str = "") -> MeasuredPair:
    """Read and measure one pair.

    Args:
        pair: its files.
        settings: what to compare.
        lpips: the network of LPIPS, None where it is missing.
        lpips_missing: why.

    Returns:
        The pair with its measures.

    Raises:
        InputError: a file cannot be read, or the images do not match.
    """
    loaded = load_pair(pair, settings.subtraction, settings.slice_margin)
    protocol = as_published.PROTOCOLS[settings.protocol]
    notes: list[tuple[str, str]] = []
    if not loaded.slices:
        notes.append(("slices", "Images whose lesion mask is empty have no slice with a tumor and count for nothing."))
    if not loaded.as_in_files:
        scaled = as_published.SCALED_TO_EIGHT_BIT if protocol.scale_volumes else as_published.NOT_EIGHT_BIT
        notes.append(("as_published", scaled))

    if np.array_equal(loaded.real, loaded.synthetic):
        notes.append(("identical", _IDENTICAL))
    elif settings.subtraction is None and (
        not 1 / _SCALES < _mean_ratio(loaded) < _SCALES or _is_mostly_scale(loaded.real, loaded.synthetic)
    ):
        notes.append(("scale", _OTHER_SCALE))

    if loaded.unrelated:
        notes.append(("belonging", _UNRELATED))

    def note(name: str, sentence: str) -> None:
        if (name, sentence) not in notes:
            notes.append((name, sentence))

    metrics = SliceMetrics(protocol, settings.subtraction, lpips, lpips_missing, note)
    slices = tuple(metrics.of_slice(loaded, k) for k in loaded.slices)
    volume = metrics.of_volume(loaded) if loaded.is_volume and slices else None
    return MeasuredPair(slices, loaded.slices, volume, tuple(notes), loaded.data_range)


def _is_mostly_scale(real: np.ndarray, synthetic: np.ndarray) -> bool:
    """Whether a straight line of gray values, steeper or flatter by half, takes most of an image's error away."""
    step = max(1, real.size // _AT_MOST)
    x, y = (pixels.reshape(-1)[::step].astype(np.float64) for pixels in (synthetic, real))
    error, spread = float(np.mean((x - y) ** 2)), float(y.var())
    if x.var() == 0 or spread == 0 or error < 0.01 * spread:
        return False
    correlation = float(np.corrcoef(x, y)[0, 1])
    slope = correlation * float(np.sqrt(spread / x.var()))
    return not 1 / _SLOPE < slope < _SLOPE and spread * (1 - correlation**2) < _OF_ERROR * error


def _mean_ratio(loaded: LoadedPair) -> float:
    """Mean of the synthetic image over that of the real one; 1 where they tell no scale."""
    real, synthetic = (float(pixels.mean(dtype=np.float64)) for pixels in (loaded.real, loaded.synthetic))
    return synthetic / real if real > 0 and synthetic > 0 else 1.0
