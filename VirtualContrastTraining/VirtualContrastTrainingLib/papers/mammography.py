"""Contrast-enhanced mammography: contrast-to-noise ratio, and what synthesis adds to the low-energy image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from VirtualContrastLib.events import InputError

from ..metrics.bootstrap import PatientSums
from ..metrics.images import read_mask, read_stack
from ..metrics.mammography import (
    change_agreement,
    contrast_to_noise,
    correlation_of,
    distance_from_low_energy,
    tissue_masks,
)
from ..metrics.pairs import Pair
from .named_table import INTERVALS, NamedTable, explained
from .reports import interval_figure
from .table_options import TableOptions

MEASURES = {
    "cnr_low_energy": "CNR, low-energy image",
    "cnr_real": "CNR, real",
    "cnr_synthetic": "CNR, synthetic",
    "mae_real": "MAE from low energy, real",
    "mae_synthetic": "MAE from low energy, synthetic",
    "ssim_real": "SSIM with low energy, real",
    "ssim_synthetic": "SSIM with low energy, synthetic",
    "change_mae": "MAE of the change",
    "change_ssim": "SSIM of the change",
    "change_pearson": "correlation of the change",
}
CORRELATIONS = {
    "mae_correlation": ("MAE from low energy, correlation over images", "mae_real", "mae_synthetic"),
    "ssim_correlation": ("SSIM with low energy, correlation over images", "ssim_real", "ssim_synthetic"),
}
DEFINITIONS = {
    "cnr": "|mean adipose - mean fibroglandular| / (sd adipose + sd fibroglandular), no unit, 0 and up; tissues by "
    "Otsu on the low-energy image (twice, for the breast and within it), where attenuating tissue is bright",
    "mae": "mean absolute difference from the low-energy image in the breast, units of the files; 0 is unchanged",
    "ssim": "SSIM with the low-energy image in the breast, range of the low-energy and the real image together; 1 is "
    "unchanged",
    "correlation over images": "Pearson's r of the real and the synthetic image's value, -1 to 1 (as the paper's "
    "r of MAE and SSIM)",
    "change": "image minus low-energy image, synthetic against real, in the breast: MAE in units of the files (0 is "
    "equal), SSIM on the real change's range (1 is equal), Pearson's r over pixels",
}


def write_mammography(
    name: str, title: str, pairs: Sequence[Pair], folder: Path, options: TableOptions
) -> dict[str, Any]:
    """Write the table of mammograms as CSV, JSON, PNG and HTML.

    Args:
        name: Name of the table, which the files get.
        title: Title of the table.
        pairs: Pairs of recombined images; `pre` of each is its low-energy image.
        folder: Folder of the files.
        options: Options of the table; pairs that cannot be measured go to its `failures`.

    Returns:
        What the JSON holds.

    Raises:
        InputError: No pair can be measured.
    """
    sums = {key: PatientSums() for key in MEASURES}
    measured: list[tuple[str, dict[str, float | None]]] = []
    failed = 0
    for pair in pairs:
        try:
            values = measure(pair)
        except InputError as error:
            options.failures.append(str(error))
            failed += 1
            continue
        measured.append((pair.patient, values))
        for key, value in values.items():
            if value is not None:
                sums[key].add(pair.patient, value)
    if failed == len(pairs):
        raise InputError(options.failures[-1])
    rows: list[dict[str, Any]] = []
    found: dict[str, dict[str, Any] | None] = {}
    for key, label in MEASURES.items():
        summary = sums[key].summary(repeats=options.repeats, seed=options.seed)
        found[key] = None if summary is None else summary.as_dict()
        rows.append({"measure": label, **(found[key] or {})})
        if summary is not None:
            rows[-1] |= {"ci95 low": summary.low, "ci95 high": summary.high}
    for key, (label, *_) in CORRELATIONS.items():
        found[key] = _correlation(key, measured, options)
        low, high = (found[key] or {}).get("ci95") or (None, None)
        rows.append({"measure": label, **(found[key] or {}), "ci95 low": low, "ci95 high": high})
    panels = {
        "CNR": [found["cnr_low_energy"], found["cnr_real"], found["cnr_synthetic"]],
        "MAE from low energy": [None, found["mae_real"], found["mae_synthetic"]],
        "SSIM with low energy": [None, found["ssim_real"], found["ssim_synthetic"]],
        "SSIM of the change": [None, None, found["change_ssim"]],
        "correlation of the change": [None, None, found["change_pearson"]],
    }
    notes = [f"Data: {options.data}.", INTERVALS, *explained((), DEFINITIONS)]
    if failed:
        notes.append(f"{failed} of {len(pairs)} pairs could not be measured.")
    return NamedTable(
        name,
        title,
        ("measure", "mean", "std", "ci95 low", "ci95 high", "n", "patients"),
        rows,
        {"table": name, "data": options.data, "measures": found, "definitions": DEFINITIONS, "failed": failed},
        interval_figure(["low energy", "real", "synthetic"], panels, options.data or "images given"),
        "measures with intervals",
        notes,
    ).write(folder)


def _correlation(
    key: str, measured: Sequence[tuple[str, dict[str, float | None]]], options: TableOptions
) -> dict[str, Any] | None:
    """One of CORRELATIONS as the other measures are given; None where it is not defined."""
    _, first, second = CORRELATIONS[key]
    pairs = [
        (patient, a, b)
        for patient, values in measured
        if (a := values[first]) is not None and (b := values[second]) is not None
    ]
    patients = [patient for patient, _, _ in pairs]
    values = [a for _, a, _ in pairs], [b for _, _, b in pairs]
    found = correlation_of(*values, patients, repeats=options.repeats, seed=options.seed)
    if found is None:
        return None
    return {"mean": found[0], "ci95": found[1], "n": len(pairs), "patients": len(set(patients))}


def measure(pair: Pair) -> dict[str, float | None]:
    """All measures of one pair of mammograms; the breast is `pair.breast` or found on the low-energy image.

    Raises InputError where an image is missing, sizes differ, or a measure is not defined.
    """
    if pair.pre is None:
        raise InputError(f"The change needs the low-energy image of {pair.real}; give it with --pre.")
    low, real, synthetic = (_one_image(path) for path in (pair.pre, pair.real, pair.synthetic))
    if not low.shape == real.shape == synthetic.shape:
        raise InputError(f"{pair.real}, {pair.synthetic} and {pair.pre} differ in size; they must be aligned.")
    try:
        fat, gland = tissue_masks(low)
        breast = fat | gland if pair.breast is None else read_mask(pair.breast)[0]
        if breast.shape != low.shape:
            raise InputError(f"The mask {pair.breast} differs in size from its image.")
        change = change_agreement(low, real, synthetic, breast)
        data_range = float(max(low.max(), real.max())) - float(min(low.min(), real.min()))
        from_low = {
            side: distance_from_low_energy(low, image, data_range, breast)
            for side, image in (("real", real), ("synthetic", synthetic))
        }
        return {
            **{f"mae_{side}": values[0] for side, values in from_low.items()},
            **{f"ssim_{side}": values[1] for side, values in from_low.items()},
            "cnr_low_energy": contrast_to_noise(low, fat, gland),
            "cnr_real": contrast_to_noise(real, fat, gland),
            "cnr_synthetic": contrast_to_noise(synthetic, fat, gland),
            **{f"change_{key}": value for key, value in change.as_dict().items()},
        }
    except ValueError as error:
        raise InputError(f"{pair.real} cannot be measured: {error}.") from error


def _one_image(path: Path) -> np.ndarray:
    stack = read_stack(path)
    if len(stack.pixels) != 1:
        raise InputError(f"{path} has {len(stack.pixels)} slices; a mammogram has one.")
    return np.asarray(stack.pixels[0])
