"""The evaluation protocol of the MAMA-SYNTH 2026 challenge, as its public evaluation container defines it.

Images are z-scored with constants of the pre-contrast training images, the same for pre- and post-contrast. MSE on
these; LPIPS on values cut at 5 sigma; SSIM (7 x 7 uniform window, range 10) averaged over the tumor; FRD version 1
over tumors; Dice and HD95 (both directions pooled, in pixels) of masks that the challenge's nnU-Net found on the
synthetic images. The two AUROCs need the organizers' classifiers, which are published as pickles only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from VirtualContrastLib.events import InputError

from .images import read_mask, read_stack
from .lpips import Lpips
from .pairs import Pair
from .pairwise import mse
from .radiomics_distance import distance_v1, extractor_v1, lesion_features, table_of
from .segmentation import dice, hd95

MEAN, STD = 107.41193853581365, 219.96180535228203
"""Pre-contrast intensity of the 1506 MAMA-MIA training patients."""
CLIP_SIGMA = 5.0
AUROC_NOTE = "The classifiers of the challenge are pickled programs, which are not loaded here."


@dataclass(frozen=True)
class Case:
    """One pair and, where a network segmented the synthetic image, the mask it found."""

    pair: Pair
    predicted_mask: Path | None = None


def z_score(values: np.ndarray) -> np.ndarray:
    """Scanner units to the challenge's z-scores, float64."""
    return (values.astype(np.float64) - MEAN) / STD


def tumor_ssim(real: np.ndarray, synthetic: np.ndarray, tumor: np.ndarray) -> float:
    """Mean over the tumor of the SSIM map of two z-scored slices [j, i]."""
    from skimage.metrics import structural_similarity

    _, full = structural_similarity(synthetic, real, data_range=2 * CLIP_SIGMA, full=True)
    return float(full[tumor].mean())


def protocol(
    cases: Iterable[Case],
    *,
    lpips: Lpips | None,
    lpips_missing: str = "",
    z_scored: bool = False,
    failures: list[str] | None = None,
) -> dict[str, Any]:
    """The challenge's aggregates: metric -> {mean, std, n}, or None with a reason in `notes`.

    `z_scored` says that the images hold z-scores already. Like the challenge, Dice and HD95 leave out cases without a
    predicted lesion; `without_prediction` counts them. A case that cannot be read is counted in `failed` and its
    sentence added to `failures`.
    """
    found: dict[str, list[float]] = {name: [] for name in ("mse", "lpips", "ssim_tumor", "dice", "hausdorff_95")}
    lesions: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
    extractor, empty, masks = extractor_v1(), 0, 0
    sentences: list[str] = []
    for case in cases:
        try:
            real, synthetic, tumor = _load(case.pair, z_scored)
        except InputError as error:
            sentences.append(str(error))
            continue
        found["mse"].append(mse(real, synthetic))
        if lpips is not None:
            cut = (np.clip(x, -CLIP_SIGMA, CLIP_SIGMA) / CLIP_SIGMA for x in (real, synthetic))
            found["lpips"].append(lpips.distance(*cut))
        if tumor is None:
            continue
        found["ssim_tumor"].append(tumor_ssim(real, synthetic, tumor))
        if tumor.sum() > 1:
            try:
                features = [lesion_features(extractor, image[None], tumor[None]) for image in (real, synthetic)]
            except ValueError:  # one value everywhere: PyRadiomics has nothing to bin
                sentences.append(f"{case.pair.real} or {case.pair.synthetic} has no radiomics; it is not part of FRD.")
            else:
                for rows, row in zip(lesions, features, strict=True):
                    rows.append(row)
        if case.predicted_mask is not None:
            predicted = _one_slice(read_mask(case.predicted_mask), case.predicted_mask)
            masks, empty = masks + 1, empty + (not predicted.any())
            if predicted.any():
                found["dice"].append(dice(predicted, tumor))
                found["hausdorff_95"].append(hd95(predicted, tumor, pooled=True))
    if not found["mse"]:
        raise InputError(sentences[0] if sentences else "There was no case to evaluate.")
    if failures is not None:
        failures += sentences
    return {**_summarized(found, lesions, lpips_missing, masks, empty), "failed": len(sentences)}


def _summarized(
    found: dict[str, list[float]],
    lesions: tuple[list[dict[str, float]], ...],
    lpips_missing: str,
    masks: int,
    empty: int,
) -> dict[str, Any]:
    report: dict[str, Any] = {name: _mean_std(values) for name, values in found.items()}
    notes = {"auroc_contrast": AUROC_NOTE, "auroc_tumor_roi": AUROC_NOTE}
    report |= {"frd": None, "auroc_contrast": None, "auroc_tumor_roi": None}
    if report["lpips"] is None:
        notes["lpips"] = lpips_missing
    if report["ssim_tumor"] is None:
        notes["ssim_tumor"] = "No case has a tumor mask."
    if masks == 0:
        notes["dice"] = notes["hausdorff_95"] = "No masks found on the synthetic images were given."
    if len(lesions[0]) < 2:
        notes["frd"] = "FRD needs two tumors or more."
    else:
        value = distance_v1(*(table_of(rows) for rows in lesions))
        report["frd"] = {"mean": value, "n": len(lesions[0])} if math.isfinite(value) else None
        if report["frd"] is None:
            notes["frd"] = "The radiomics of both sets are equal, the log of their distance is not finite."
    return {**report, "notes": notes, "cases": len(found["mse"]), "without_prediction": empty}


def _load(pair: Pair, z_scored: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """(real, synthetic, tumor or None where absent or empty), z-scored slices [j, i]."""
    images = []
    for path in (pair.real, pair.synthetic):
        pixels = _one_slice(read_stack(path).pixels, path)
        images.append(pixels.astype(np.float64) if z_scored else z_score(pixels))
    if images[0].shape != images[1].shape:
        raise InputError(f"{pair.real} and {pair.synthetic} differ in size.")
    tumor = None if pair.lesion is None else _one_slice(read_mask(pair.lesion), pair.lesion)
    if tumor is not None and tumor.shape != images[0].shape:
        raise InputError(f"The mask {pair.lesion} differs in size from its image.")
    return images[0], images[1], tumor if tumor is not None and tumor.any() else None


def _one_slice(stack: np.ndarray, path: Path) -> np.ndarray:
    if len(stack) != 1:
        raise InputError(f"{path} has {len(stack)} slices; the MAMA-SYNTH protocol takes one slice a case.")
    return np.asarray(stack[0])


def _mean_std(values: list[float]) -> dict[str, Any] | None:
    if not values:
        return None
    return {"mean": float(np.mean(values)), "std": float(np.std(values)), "n": len(values)}
