"""What the gate of a package must know: numbers of the training cases, and of wrong inputs made of the same cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.loaded import read_with_itk
from VirtualContrastLib.models.card import GateStatistics
from VirtualContrastLib.synthesis.gate import Numbers, fit, study_features

from .prepared import read_description

KEPT = 0.99
"""Share of the training studies that each limit lets pass."""
LEAST_STUDIES = 40
"""Fewer say too little of how the numbers vary together."""
POST, UNSUPPRESSED = "a post-contrast image", "an image without fat suppression"
HALF_SPACING = "an image of twice its pixel size"


def gate_statistics(folders: Iterable[Path], *, data: str) -> GateStatistics:
    """Statistics of prepared cases, for the card of a model that was trained on them; raises InputError for too few."""
    studies: list[Numbers] = []
    wrong: dict[str, list[list[Numbers]]] = {POST: [], UNSUPPRESSED: [], HALF_SPACING: []}
    for folder in folders:
        pre = read_with_itk(folder / "pre.nrrd")
        numbers = study_features(pre)
        if not len(numbers):
            continue
        studies.append(numbers)
        phases = [read_with_itk(path) for path in sorted(folder.glob("phase_*.nrrd"))]
        made = {POST: phases, UNSUPPRESSED: [without_fat_suppression(pre)], HALF_SPACING: [_of_half_spacing(pre)]}
        for name, images in made.items():
            wrong[name].append([found for image in images if len(found := study_features(image))])
    if len(studies) < LEAST_STUDIES:
        raise InputError(
            f"{len(studies)} cases with breast tissue are too few for a gate; give {LEAST_STUDIES} or more."
        )
    return fit(studies, kept=KEPT, data=data, wrong=wrong)


def _of_half_spacing(pre: sitk.Image) -> sitk.Image:
    """The image said to have pixels half as large as they are."""
    made = sitk.Image(pre)
    columns_mm, rows_mm, slices_mm = pre.GetSpacing()
    made.SetSpacing((columns_mm / 2, rows_mm / 2, slices_mm))
    return made


def cases_of(root: Path, wanted: Mapping[str, str]) -> list[Path]:
    """Prepared cases below `root` whose case.json has every value of `wanted` (several are separated by commas)."""
    found = []
    for path in sorted(root.glob("*/case.json")):
        description = read_description(path.parent) or {}
        if all(str(description.get(key)) in values.split(",") for key, values in wanted.items()):
            found.append(path.parent)
    return found


def without_fat_suppression(pre: sitk.Image) -> sitk.Image:
    """A fat-suppressed image with fat bright and gland dark: tissue mirrored at its brightest, air unchanged."""
    array: NDArray[np.float32] = sitk.GetArrayFromImage(pre).astype(np.float32)
    tissue = array > 0.08 * np.percentile(array, 99.5)
    mirrored = np.clip(1.25 * np.percentile(array, 98) - array, 0, None)
    made = sitk.GetImageFromArray(np.where(tissue, mirrored, array).astype(np.float32))
    made.CopyInformation(pre)
    return made
