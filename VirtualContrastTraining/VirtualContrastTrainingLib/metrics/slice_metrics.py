"""All metrics of one pair of slices: true ones and, in a column of their own, the papers' artifacts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import as_published
from .loaded_pair import LoadedPair
from .lpips import SMALLEST_SIDE, Lpips
from .pairwise import MS_SMALLEST_SIDE, RADIUS, Similarity, mae, masked_metrics, mse, psnr, ssim_3d

Values = dict[tuple[str, str], float]
"""Metric values of one slice or volume by (group, metric)."""
Note = Callable[[str, str], None]
"""Takes a metric's name and a sentence on why it is missing."""


class SliceMetrics:
    """Computes metrics; `note` hears why one could not be computed.

    `subtraction` "signed" doubles the range that LPIPS maps to [-1, 1], as differences can be negative.
    """

    def __init__(
        self,
        protocol: as_published.Protocol,
        subtraction: str | None,
        lpips: Lpips | None,
        lpips_missing: str,
        note: Note,
    ) -> None:
        self._protocol = protocol
        self._signed = subtraction == "signed"
        self._lpips_network = lpips
        self._lpips_missing = lpips_missing
        self._note = note

    def of_slice(self, pair: LoadedPair, k: int) -> Values:
        """Metrics of slice `k`: groups true, as_published, and true_in_<region> where the mask has pixels."""
        real, synthetic = pair.real[k], pair.synthetic[k]
        similarity = self._similarity(real, synthetic)
        values = self._true(real, synthetic, pair, similarity)
        if pair.as_in_files or self._protocol.scale_volumes:
            published = pair.published_real[k], pair.published_synthetic[k]
            values |= self._published(*published, similarity if pair.same_pixels else None)
        for name, mask in pair.masks.items():
            if mask[k].any():
                inside = masked_metrics(real, synthetic, mask[k], pair.data_range, similarity)
                values |= {(f"true_in_{name}", metric): value for metric, value in inside.items()}
        return values

    def of_volume(self, pair: LoadedPair) -> Values:
        """Metrics over the whole volume at once, with 3-D SSIM; group true_per_volume."""
        group = "true_per_volume"
        squared = mse(pair.real, pair.synthetic)
        values = {
            (group, "mse"): squared,
            (group, "mae"): mae(pair.real, pair.synthetic),
            (group, "psnr"): psnr(squared, pair.data_range),
        }
        try:
            values[group, "ssim"] = ssim_3d(pair.real, pair.synthetic, pair.data_range)
        except ValueError as error:
            self._note("true_per_volume.ssim", f"{error}.")
        return values

    def _true(self, real: np.ndarray, synthetic: np.ndarray, pair: LoadedPair, similarity: Similarity | None) -> Values:
        group = "true"
        squared = mse(real, synthetic)
        values = {
            (group, "mse"): squared,
            (group, "mae"): mae(real, synthetic),
            (group, "psnr"): psnr(squared, pair.data_range),
        }
        if similarity is not None:
            values[group, "ssim"] = similarity.ssim(pair.data_range)
            self._ms_ssim(values, group, similarity, pair.data_range)
        floor, width = (-pair.data_range, 2 * pair.data_range) if self._signed else (pair.floor, pair.data_range)
        scaled = (np.clip(2 * (x.astype(np.float32) - floor) / width - 1, -1, 1) for x in (real, synthetic))
        self._lpips(values, group, *scaled)
        return values

    def _published(self, real: np.ndarray, synthetic: np.ndarray, similarity: Similarity | None) -> Values:
        """Published metrics of two uint8 slices; `similarity` of the same pixels is used again where given."""
        group, protocol = "as_published", self._protocol
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
        if self._lpips_network is None:
            self._note("lpips", self._lpips_missing)
        elif min(first.shape) < SMALLEST_SIDE:
            self._note("lpips", f"LPIPS needs {SMALLEST_SIDE} pixels on a side.")
        else:
            values[group, "lpips"] = self._lpips_network.distance(first, second)
            if self._lpips_network.note:
                self._note("lpips", self._lpips_network.note)
