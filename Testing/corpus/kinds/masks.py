"""The user's lesion masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.events import Events
from VirtualContrastLib.io.lesion_mask import read_lesions
from VirtualContrastLib.io.volumes import like

from .registry import IMAGE, LABELS, MASK, kind, with_warnings


def mask(name: str, wanted: str, make: Callable[[], sitk.Image]) -> None:
    @kind("masks", name, "synthesize --lesions", wanted)
    def _(folder: Path) -> str:
        sitk.WriteImage(make(), str(folder / "m.nii.gz"))
        events = Events()
        found = sitk.GetArrayFromImage(read_lesions(folder / "m.nii.gz", IMAGE, events)[0])
        return with_warnings(" ".join(str(int((found == label).sum())) for label in range(1, found.max() + 1)), events)


def moved(voxels: float) -> sitk.Image:
    image = like(LABELS, IMAGE)
    image.SetOrigin(IMAGE.TransformContinuousIndexToPhysicalPoint((voxels, voxels / 2, 0)))
    return image


RESAMPLED = r" \| warned: The lesion mask was resampled.*"
for axes in ("RAS", "PIR", "SLA"):
    mask(f"axes {axes}", "75 60" + RESAMPLED, lambda axes=axes: sitk.DICOMOrient(MASK, axes))
mask("shifted by 0.3 voxels", "75 60" + RESAMPLED, lambda: moved(0.3))
mask("cropped", "75 60" + RESAMPLED, lambda: MASK[2:18, 1:16, 1:9])
mask("elsewhere", r"2: .*would be left.*", lambda: moved(300))
mask("255 in a lesion", "135", lambda: like((LABELS > 0).astype(np.uint8) * 255, IMAGE))
mask("labels 1 and 5", "75 60", lambda: like(np.where(LABELS == 2, 5, LABELS).astype(np.uint8), IMAGE))
mask("float labels", "75 60", lambda: like(LABELS.astype(np.float64), IMAGE))
mask("soft, 0.9", "75", lambda: like((0.9 * (LABELS == 1)).astype(np.float32), IMAGE))
mask("soft, 0.3", r"2: .*is empty.*", lambda: like((0.3 * (LABELS == 1)).astype(np.float32), IMAGE))
mask("0 to 100 percent", r"2: .*labels.*", lambda: like((87.5 * (LABELS > 0)).astype(np.float32), IMAGE))
mask("empty", r"2: .*is empty.*", lambda: like(LABELS * 0, IMAGE))
marks = r" \| warned: .* marks \d\d% of the volume.*"
mask("inverted", r"\d+" + marks, lambda: like((LABELS == 0).astype(np.uint8), IMAGE))
mask("negative", r"2: .*labels.*", lambda: like(LABELS.astype(np.int16) * -1, IMAGE))
