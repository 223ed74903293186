"""A pair as the metrics see it: its slices, its masks, its data range, and the 8-bit slices of the papers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.one_examination import Given, another_person, doubts

from ..data.tumor_slices import tumor_slices
from . import as_published
from .images import Stack, read_mask, read_stack
from .pairs import Pair


@dataclass(frozen=True)
class LoadedPair:
    """Pixels [k, j, i] of one pair, checked to match.

    Attributes:
        real: What the true metrics compare (subtraction images where asked for), in the files' units or, of a pair with
            a scale of its own, on that.
        synthetic: The same of the synthetic image.
        data_range: 255 for 8-bit files, else max - min of the real one.
        floor: Lower end of the data range.
        masks: Masks (bool) by region.
        slices: Indices of the slices that count.
        published_real: What the published metrics compare, uint8.
        published_synthetic: The same of the synthetic image, uint8.
        as_in_files: Whether these are the files' own values and not a min-max of them.
        same_pixels: Whether true and published metrics see the same pixels.
        is_volume: Whether the files hold volumes.
        unrelated: Whether headers say that the images are not of one examination, or the real one is none.
    """

    real: np.ndarray
    synthetic: np.ndarray
    data_range: float
    floor: float
    masks: dict[str, np.ndarray]
    slices: tuple[int, ...]
    published_real: np.ndarray
    published_synthetic: np.ndarray
    as_in_files: bool
    same_pixels: bool
    is_volume: bool
    unrelated: bool


def load_pair(pair: Pair, subtraction: str | None = None, slice_margin: float | None = None) -> LoadedPair:
    """Read one pair.

    Args:
        pair: its files.
        subtraction: "signed" or "clipped" compares post minus pre, None the phases.
        slice_margin: only the slices of the tumor and this share of the volume more on either side count, all where the
            pair has no lesion mask (`data.tumor_slices`); None for all slices.

    Returns:
        What the metrics see.

    Raises:
        InputError: a file cannot be read, the images do not match, or the real one is constant.
    """
    real, synthetic = read_images(pair)
    _check_match(pair, real, synthetic)
    pre = None if subtraction is None else read_pre(pair, real)
    eight_bit = real.eight_bit and synthetic.eight_bit
    data_range = 255.0 if eight_bit else float(np.ptp(real.pixels.astype(np.float64)))
    if data_range == 0:
        raise InputError(f"{pair.real} has one value everywhere, so no metric has a scale; leave it out.")
    regions = (("lesion", pair.lesion), ("breast", pair.breast))
    masks = {name: _read_matching_mask(path, real) for name, path in regions if path}
    published_real, published_synthetic, as_in_files = _eight_bit_pair(real, synthetic, pre, pair.own_scale)
    return LoadedPair(
        real=subtracted(real.pixels, pre, subtraction),
        synthetic=subtracted(synthetic.pixels, pre, subtraction),
        data_range=data_range,
        floor=0.0 if eight_bit else float(real.pixels.min()),
        masks=masks,
        slices=counted_slices(masks.get("lesion"), len(real.pixels), slice_margin),
        published_real=published_real,
        published_synthetic=published_synthetic,
        as_in_files=as_in_files,
        same_pixels=eight_bit and pre is None,
        is_volume=real.is_volume and len(real.pixels) > 1,
        unrelated=_unrelated(real, synthetic, pre),
    )


def _unrelated(real: Stack, synthetic: Stack, pre: Stack | None) -> bool:
    """Whether headers speak against one examination, as `compare` and `synthesize --real` look at them."""
    if real.header is None:
        return False
    truth = Given("real", real.header)
    others = [Given("other", one.header) for one in (synthetic, pre) if one is not None and one.header is not None]
    unlike = any(another_person(other, truth) for other in others)
    late = pre is not None and pre.header is not None and bool(doubts(Given("pre", pre.header), truth))
    return unlike or late or bool(real.header.refusals) or real.header.is_marked_synthetic


def counted_slices(lesions: np.ndarray | None, count: int, slice_margin: float | None) -> tuple[int, ...]:
    """The slices that count.

    Args:
        lesions: mask [k, j, i], None where there is none.
        count: of all slices.
        slice_margin: see `load_pair`.

    Returns:
        Their indices.
    """
    if slice_margin is None or lesions is None:
        return tuple(range(count))
    return tuple(int(k) for k in tumor_slices(lesions, slice_margin))


def read_images(pair: Pair) -> tuple[Stack, Stack]:
    """The real and the synthetic image on one scale; raises InputError where one cannot be read."""
    real, synthetic = read_stack(pair.real), read_stack(pair.synthetic)
    if pair.own_scale:
        real, synthetic = real.on_own_scale(), synthetic.on_own_scale() if pair.baseline else synthetic
    return real, synthetic


def read_pre(pair: Pair, real: Stack) -> Stack:
    """The pre-contrast image of a pair on its scale; raises InputError where it is missing or differs in size."""
    if pair.pre is None:
        raise InputError(f"Subtraction images need the pre-contrast image of {pair.real.name}; give it with --pre.")
    pre = read_stack(pair.pre)
    if pair.own_scale:
        pre = pre.on_own_scale()
    if pre.pixels.shape != real.pixels.shape:
        raise InputError(
            f"The pre-contrast image {pair.pre} has {_size(pre.pixels)} pixels and the phase {_size(real.pixels)}; "
            "they must be equal."
        )
    return pre


def _eight_bit_pair(
    real: Stack, synthetic: Stack, pre: Stack | None, own_scale: bool
) -> tuple[np.ndarray, np.ndarray, bool]:
    """uint8 stacks, real and synthetic, of the saturating subtraction where `pre` is given; True if the files' own."""
    a, a_same = _eight_bit(real, own_scale)
    b, b_same = _eight_bit(synthetic, own_scale)
    if pre is None:
        return a, b, a_same and b_same
    base, base_same = _eight_bit(pre, own_scale)
    a, b = as_published.saturating_subtract(a, base), as_published.saturating_subtract(b, base)
    return a, b, a_same and b_same and base_same


def _eight_bit(stack: Stack, own_scale: bool) -> tuple[np.ndarray, bool]:
    """The 8-bit values of a stack, and whether they are its own: those of an own scale are, once rounded."""
    return (
        (as_published.rounded_eight_bit(stack.pixels), True) if own_scale else as_published.as_eight_bit(stack.pixels)
    )


def subtracted(post: np.ndarray, pre: Stack | None, kind: str | None) -> np.ndarray:
    """Subtraction image.

    Args:
        post: phase [k, j, i].
        pre: pre-contrast image of its size, None for no subtraction.
        kind: "clipped" sets values below 0 to 0.

    Returns:
        Post minus pre as float32; `post` itself without a `pre`.
    """
    if pre is None:
        return post
    difference = post.astype(np.float32) - pre.pixels.astype(np.float32)
    return np.maximum(difference, 0) if kind == "clipped" else difference


def _check_match(pair: Pair, real: Stack, synthetic: Stack) -> None:
    if real.pixels.shape != synthetic.pixels.shape:
        raise InputError(
            f"{pair.real} has {_size(real.pixels)} pixels (slices x rows x columns) and {pair.synthetic} "
            f"{_size(synthetic.pixels)}; a pair must have one size."
        )
    if not real.lies_on(synthetic):
        raise InputError(
            f"{pair.synthetic} lies elsewhere in space than {pair.real}; resample it onto the real one first."
        )
    for path, pixels in ((pair.real, real.pixels), (pair.synthetic, synthetic.pixels)):
        if pixels.dtype != np.uint8 and not np.isfinite(pixels).all():
            raise InputError(f"{path} holds values that are not numbers (NaN or infinity); repair it or leave it out.")


def _size(pixels: np.ndarray) -> str:
    return " x ".join(str(side) for side in pixels.shape)


def _read_matching_mask(path: Path, real: Stack) -> np.ndarray:
    mask = read_mask(path)
    if mask.shape != real.pixels.shape:
        raise InputError(
            f"The mask {path} has {_size(mask)} pixels, its image {_size(real.pixels)}; they must be equal."
        )
    return mask
