"""All metrics of one pair of slices: true ones and, in a column of their own, the papers' artifacts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from VirtualContrastLib.metrics.image_pairs import mae, mse, psnr
from VirtualContrastLib.metrics.similarity import Similarity, ssim_3d

from . import as_published
from .loaded_pair import LoadedPair
from .lpips import SMALLEST_SIDE, Lpips
from .measures import IMAGE
from .slice_pair import NotMeasurableError, SlicePair

Values = dict[tuple[str, str], float]
"""Metric values of one slice or volume by (group, metric)."""
Note = Callable[[str, str], None]
"""Takes a metric's name and a sentence on why it is missing."""


class SliceMetrics:
    """Computes metrics; `note` receives why one could not be computed.

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
        floor, width = (-pair.data_range, 2 * pair.data_range) if self._signed else (pair.floor, pair.data_range)

        def perceptual() -> float:
            slices = (pair.real[k], pair.synthetic[k])
            return self._lpips(*(np.clip(2 * (x.astype(np.float32) - floor) / width - 1, -1, 1) for x in slices))

        slices = SlicePair(pair.real[k], pair.synthetic[k], pair.data_range, perceptual)
        values = self._measured("true", slices)
        if pair.as_in_files or self._protocol.scale_volumes:
            published = pair.published_real[k], pair.published_synthetic[k]
            values |= self._published(*published, slices.similarity if pair.same_pixels else None)
        for name, mask in pair.masks.items():
            if mask[k].any():
                inside = masked_metrics(slices, mask[k])
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

    def _measured(self, group: str, slices: SlicePair) -> Values:
        values = {}
        for measure in IMAGE:
            try:
                values[group, measure.name] = measure.of(slices)
            except NotMeasurableError as reason:
                self._note(measure.name, str(reason))
        return values

    def _published(self, real: np.ndarray, synthetic: np.ndarray, similarity: Similarity | None) -> Values:
        """Published metrics of two uint8 slices; `similarity` of the same pixels is used again where given."""
        group, protocol = "as_published", self._protocol
        if protocol.normalize or protocol.size is not None:
            real, synthetic, similarity = protocol.prepare(real), protocol.prepare(synthetic), None
        first, second = (real, synthetic) if protocol.real_first else (synthetic, real)
        squared = as_published.wrapped_mse(first, second)
        values = {
            (group, "mse"): squared,
            (group, "mae"): as_published.wrapped_mae(first, second),
            (group, "psnr"): as_published.wrapped_psnr(squared, second),
        }
        alike = SlicePair(real, synthetic, 0.0, lambda: self._lpips(*map(as_published.binarized, (first, second))))
        similarity = similarity or alike.similarity
        if similarity is not None and similarity.own_range() > 0:
            values[group, "ssim"] = similarity.ssim(similarity.own_range(), with_border=True)
            try:
                values[group, "ms_ssim"] = similarity.ms_ssim(None)
            except ValueError as error:
                self._note("ms_ssim", f"{error}.")
        try:
            values[group, "lpips"] = alike.lpips()
        except NotMeasurableError as reason:
            self._note("lpips", str(reason))
        return values

    def _lpips(self, first: np.ndarray, second: np.ndarray) -> float:
        if self._lpips_network is None:
            raise NotMeasurableError(self._lpips_missing)
        if min(first.shape) < SMALLEST_SIDE:
            raise NotMeasurableError(f"LPIPS needs {SMALLEST_SIDE} pixels on a side.")
        distance = self._lpips_network.distance(first, second)
        if self._lpips_network.note:
            self._note("lpips", self._lpips_network.note)
        return distance


def masked_metrics(slices: SlicePair, mask: np.ndarray) -> dict[str, float]:
    """MSE, MAE, PSNR over the pixels of a mask [j, i], and the mean there of the whole slice's SSIM map.

    Raises ValueError for an empty mask. SSIM is left out where the slice is too small.
    """
    if not mask.any():
        raise ValueError("the mask is empty")
    real, synthetic = slices.real[mask], slices.synthetic[mask]
    squared = mse(real, synthetic)
    values = {"mse": squared, "mae": mae(real, synthetic), "psnr": psnr(squared, slices.data_range)}
    if slices.similarity is not None:
        values["ssim"] = float(np.mean(slices.similarity.ssim_map(slices.data_range)[mask]))
    return values
