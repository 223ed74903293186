"""The pairwise evaluation of any number of pairs, as a stream: true and as-published metrics side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from VirtualContrastLib.events import InputError

from . import as_published
from .bootstrap import PatientSums
from .images import Stack, read_mask, read_stack
from .lpips import SMALLEST_SIDE, Lpips
from .pairs import Pair
from .pairwise import MS_SMALLEST_SIDE, RADIUS, Similarity, mae, masked_metrics, mse, psnr, ssim_3d

Values = dict[tuple[str, str], float]
"""Metric values of one slice or volume by (group, metric)."""

METRICS = ("mse", "mae", "psnr", "ssim", "ms_ssim", "lpips")
DEFINITIONS = {
    "mse": "mean squared error, squared units of the files",
    "mae": "mean absolute error, units of the files",
    "psnr": "10 log10(range^2 / MSE) in dB",
    "ssim": "Gaussian 11 x 11 window, sigma 1.5, population covariance, windows inside the slice",
    "ms_ssim": "five scales, torchmetrics' definition",
    "lpips": "AlexNet, version 0.1, on the data range mapped to [-1, 1]",
    "data_range": "255 for 8-bit files, else max - min of the pair's real image or volume",
}
AS_PUBLISHED_MEANING = (
    "artefacts of the published scripts (8-bit wrap-around, binarized LPIPS), for comparison with the papers only"
)


@dataclass(frozen=True)
class Settings:
    """What to compare: the published protocol to repeat, and `subtraction` None, "signed" or "clipped"
    (post minus pre).
    """

    protocol: str = "files"
    subtraction: str | None = None
    repeats: int = 1000
    seed: int = 0


@dataclass
class Evaluation:
    """Accumulates pairs; memory does not grow with their number. `rows` receives one mapping a slice
    where given.
    """

    settings: Settings = field(default_factory=Settings)
    lpips: Lpips | None = None
    lpips_missing: str = "no AlexNet weights were given"
    rows: Callable[[Mapping[str, Any]], None] | None = None
    _sums: dict[tuple[str, str], PatientSums] = field(default_factory=dict)
    _notes: dict[str, list[str]] = field(default_factory=dict)
    _pairs: int = 0
    _slices: int = 0
    _patients: set[str] = field(default_factory=set)
    _ranges: tuple[float, float] = (math.inf, -math.inf)

    def add(self, pair: Pair) -> None:
        """Read one pair, add all its slices; raises InputError where its images do not match."""
        real, synthetic = read_stack(pair.real), read_stack(pair.synthetic)
        _check_match(pair, real, synthetic)
        pre = self._read_pre(pair)
        masks = {
            name: _read_matching_mask(path, real)
            for name, path in (("lesion", pair.lesion), ("breast", pair.breast))
            if path
        }
        eight_bit = real.eight_bit and synthetic.eight_bit
        data_range = 255.0 if eight_bit else float(np.ptp(real.pixels.astype(np.float64)))
        if data_range == 0:
            raise InputError(f"{pair.real} has one value everywhere, so no metric has a scale; leave it out.")
        published = _eight_bit_pair(real, synthetic, pre)
        if not published.as_in_files:
            self._note(
                "as_published",
                "Volumes without 8-bit values were min-max scaled to 0..255 each on its own, as the "
                "papers prepared them.",
            )
        shown = [_subtracted(stack.pixels, pre, self.settings.subtraction) for stack in (real, synthetic)]
        floor = 0.0 if eight_bit else float(real.pixels.min())
        for k in range(len(shown[0])):
            a, b = shown[0][k], shown[1][k]
            similarity = self._similarity(a, b)
            values = self._true_values(a, b, data_range, floor, similarity)
            values |= self._published_values(
                published.real[k], published.synthetic[k], similarity if eight_bit and pre is None else None
            )
            for name, mask in masks.items():
                values |= self._region_values(name, a, b, mask[k], data_range, similarity)
            self._collect(pair.patient, values, k)
        if real.is_volume and len(shown[0]) > 1:
            self._add_volume(pair.patient, shown[0], shown[1], data_range)
        self._pairs += 1
        self._patients.add(pair.patient)
        self._ranges = (min(self._ranges[0], data_range), max(self._ranges[1], data_range))

    def report(self) -> dict[str, Any]:
        """The result as plain JSON values: `true`, `as_published`, `notes`, `statistics`, definitions and
        counts.
        """
        if self._slices == 0:
            raise InputError("There was no pair to evaluate.")
        statistics: dict[str, dict[str, Any]] = {}
        for (group, metric), sums in self._sums.items():
            summary = sums.summary(repeats=self.settings.repeats, seed=self.settings.seed)
            if summary is not None:
                statistics.setdefault(group, {})[metric] = summary.as_dict()
        if len(self._patients) == 1:
            self._note("ci95", "A confidence interval by patient needs more than one patient.")
        columns = {
            group: {metric: statistics.get(group, {}).get(metric, {}).get("mean") for metric in METRICS}
            for group in ("true", "as_published")
        }
        return {
            **columns,
            "notes": {name: " ".join(sentences) for name, sentences in self._notes.items()},
            "statistics": statistics,
            "definitions": DEFINITIONS,
            "as_published_means": AS_PUBLISHED_MEANING,
            "protocol": self.settings.protocol,
            "subtraction": self.settings.subtraction,
            "data_range": self._ranges[0] if self._ranges[0] == self._ranges[1] else list(self._ranges),
            "pairs": self._pairs,
            "slices": self._slices,
            "patients": len(self._patients),
        }

    def _read_pre(self, pair: Pair) -> Stack | None:
        if self.settings.subtraction is None:
            return None
        if pair.pre is None:
            raise InputError(f"Subtraction images need the pre-contrast image of {pair.real.name}; give it with --pre.")
        return read_stack(pair.pre)

    def _true_values(
        self,
        real: np.ndarray,
        synthetic: np.ndarray,
        data_range: float,
        floor: float,
        similarity: Similarity | None,
    ) -> Values:
        group = "true"
        squared = mse(real, synthetic)
        values = {
            (group, "mse"): squared,
            (group, "mae"): mae(real, synthetic),
            (group, "psnr"): psnr(squared, data_range),
        }
        if similarity is not None:
            values[group, "ssim"] = similarity.ssim(data_range)
            self._ms_ssim(values, group, similarity, data_range)
        if self.settings.subtraction == "signed":
            floor, data_range = -data_range, 2 * data_range
        scaled = (np.clip(2 * (x.astype(np.float32) - floor) / data_range - 1, -1, 1) for x in (real, synthetic))
        self._lpips(values, group, *scaled)
        return values

    def _published_values(self, real: np.ndarray, synthetic: np.ndarray, similarity: Similarity | None) -> Values:
        """Published metrics of two uint8 slices; `similarity` of the same pixels is used again where
        given.
        """
        group = "as_published"
        protocol = as_published.PROTOCOLS[self.settings.protocol]
        if protocol.normalize or protocol.size is not None:
            real, synthetic, similarity = protocol.prepare(real), protocol.prepare(synthetic), None
        first, second = (real, synthetic) if protocol.real_first else (synthetic, real)
        values = {
            (group, "mse"): as_published.wrapped_mse(first, second),
            (group, "mae"): as_published.wrapped_mae(first, second),
            (group, "psnr"): as_published.wrapped_psnr(first, second),
        }
        similarity = similarity or self._similarity(real, synthetic)
        if similarity is not None and similarity.own_range() > 0:
            values[group, "ssim"] = similarity.ssim(similarity.own_range(), with_border=True)
            self._ms_ssim(values, group, similarity, None)
        self._lpips(values, group, as_published.binarized(first), as_published.binarized(second))
        return values

    def _region_values(
        self,
        name: str,
        real: np.ndarray,
        synthetic: np.ndarray,
        mask: np.ndarray,
        data_range: float,
        similarity: Similarity | None,
    ) -> Values:
        if not mask.any():
            return {}
        inside = masked_metrics(real, synthetic, mask, data_range, similarity)
        return {(f"true_in_{name}", metric): value for metric, value in inside.items()}

    def _similarity(self, real: np.ndarray, synthetic: np.ndarray) -> Similarity | None:
        if min(real.shape) < 2 * RADIUS + 1:
            self._note("ssim", f"SSIM needs {2 * RADIUS + 1} pixels on a side.")
            self._note("ms_ssim", f"MS-SSIM needs {MS_SMALLEST_SIDE} pixels on a side.")
            return None
        return Similarity(real, synthetic)

    def _ms_ssim(self, values: Values, group: str, similarity: Similarity, data_range: float | None) -> None:
        try:
            values[group, "ms_ssim"] = similarity.ms_ssim(data_range)
        except ValueError as error:
            self._note("ms_ssim", f"{error}.")

    def _lpips(self, values: Values, group: str, first: np.ndarray, second: np.ndarray) -> None:
        if self.lpips is None:
            self._note("lpips", self.lpips_missing)
        elif min(first.shape) < SMALLEST_SIDE:
            self._note("lpips", f"LPIPS needs {SMALLEST_SIDE} pixels on a side.")
        else:
            values[group, "lpips"] = self.lpips.distance(first, second)
            if self.lpips.note:
                self._note("lpips", self.lpips.note)

    def _add_volume(self, patient: str, real: np.ndarray, synthetic: np.ndarray, data_range: float) -> None:
        squared = mse(real, synthetic)
        values = {
            ("true_per_volume", "mse"): squared,
            ("true_per_volume", "mae"): mae(real, synthetic),
            ("true_per_volume", "psnr"): psnr(squared, data_range),
        }
        try:
            values["true_per_volume", "ssim"] = ssim_3d(real, synthetic, data_range)
        except ValueError as error:
            self._note("true_per_volume.ssim", f"{error}.")
        self._accumulate(patient, values)

    def _collect(self, patient: str, values: Values, k: int) -> None:
        self._accumulate(patient, values)
        self._slices += 1
        if self.rows is not None:
            named = {f"{group}.{metric}": value for (group, metric), value in values.items()}
            self.rows({"pair": self._pairs, "slice": k, **named})

    def _accumulate(self, patient: str, values: Values) -> None:
        for key, value in values.items():
            if math.isfinite(value):
                self._sums.setdefault(key, PatientSums()).add(patient, value)
            elif key[1] == "psnr":
                self._note(
                    "psnr",
                    "Slices without any difference have an infinite PSNR and are left out of its mean.",
                )

    def _note(self, name: str, sentence: str) -> None:
        sentences = self._notes.setdefault(name, [])
        if sentence not in sentences:
            sentences.append(sentence)


def evaluate(pairs: Iterable[Pair], evaluation: Evaluation) -> dict[str, Any]:
    """Run all pairs through one evaluation and return its report."""
    for pair in pairs:
        evaluation.add(pair)
    return evaluation.report()


@dataclass(frozen=True)
class _EightBitPair:
    real: np.ndarray
    synthetic: np.ndarray
    as_in_files: bool


def _eight_bit_pair(real: Stack, synthetic: Stack, pre: Stack | None) -> _EightBitPair:
    """What the published metrics see: uint8 stacks, of the saturating subtraction where a pre-contrast
    image is given.
    """
    (a, a_same), (b, b_same) = (
        as_published.as_eight_bit(real.pixels),
        as_published.as_eight_bit(synthetic.pixels),
    )
    if pre is None:
        return _EightBitPair(a, b, a_same and b_same)
    base, base_same = as_published.as_eight_bit(pre.pixels)
    a, b = as_published.saturating_subtract(a, base), as_published.saturating_subtract(b, base)
    return _EightBitPair(a, b, a_same and b_same and base_same)


def _subtracted(post: np.ndarray, pre: Stack | None, kind: str | None) -> np.ndarray:
    if pre is None:
        return post
    if pre.pixels.shape != post.shape:
        raise InputError(
            f"The pre-contrast image has shape {pre.pixels.shape} and the phase {post.shape}; they must be equal."
        )
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
        if not np.isfinite(pixels).all():
            raise InputError(f"{path} holds values that are not numbers (NaN or infinity); repair it or leave it out.")


def _size(pixels: np.ndarray) -> str:
    return " x ".join(str(side) for side in pixels.shape)


def _read_matching_mask(path: Any, real: Stack) -> np.ndarray:
    mask = read_mask(path)
    if mask.shape != real.pixels.shape:
        raise InputError(
            f"The mask {path} has {_size(mask)} pixels, its image {_size(real.pixels)}; they must be equal."
        )
    return mask
