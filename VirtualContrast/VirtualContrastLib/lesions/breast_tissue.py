"""Fibroglandular tissue and background parenchymal enhancement of each breast: an estimate by threshold.

Fibroglandular tissue is what is brighter before contrast than Otsu's threshold in the breasts (Otsu, IEEE Trans. Syst.
Man Cybern. 9 (1979) 62), skin and lesions left out; one threshold serves both breasts. It takes fat to be suppressed:
where that fails, and near the coils, fat counts as tissue. Background enhancement is measured in it,
in percent. Neither is the category that a radiologist gives (BI-RADS a to d), and no reader has checked the outline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..io.volumes import voxels_of
from ..study import Phase
from ..synthesis.breast_region import LEFT, RIGHT, BreastRegion

SHARE_PE_PERCENT = 20.0
"""Enhancement from which a voxel counts for the enhancing share."""
WHOLE = "whole image"
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class BreastTissue:
    """One breast in one phase.

    Attributes:
        side: "left" or "right" of the patient; "whole image" where the picture shows one breast or a part.
        phase: Index of the post-contrast phase.
        time_s: Its time; None where it is unknown.
        synthetic: Whether it was synthesized.
        breast_mm3: Volume of the breast without skin and lesions, from the pre-contrast volume, so the same for each
            phase.
        fgt_mm3: Volume of its fibroglandular tissue, likewise.
        fgt_percent: Share of the fibroglandular tissue in the breast.
        bpe_percent: Percent enhancement of the mean signal of the fibroglandular tissue.
        bpe_share_percent: Share of the fibroglandular tissue that enhances by 20 percent or more.
    """

    side: str
    phase: int
    time_s: float | None
    synthetic: bool
    breast_mm3: float
    fgt_mm3: float
    fgt_percent: float
    bpe_percent: float
    bpe_share_percent: float

    @property
    def background(self) -> dict[str, float]:
        """What can differ between real and synthetic phases, by name."""
        return {"bpe_percent": self.bpe_percent, "bpe_share_percent": self.bpe_share_percent}


def fibroglandular_tissue(
    pre: sitk.Image, breasts: BreastRegion, labels: sitk.Image | None
) -> dict[str, tuple[Mask, Mask]]:
    """Breast and its fibroglandular tissue by side.

    Args:
        pre: Pre-contrast volume.
        breasts: Where its breasts are.
        labels: Lesions, which are neither; None where none are known.

    Returns:
        Two masks [k, j, i] by side; nothing where there is no breast or no contrast within it.
    """
    region = breasts.mask()
    if labels is not None:
        region &= sitk.GetArrayViewFromImage(labels) == 0
    values = voxels_of(pre)
    inside = values[region].astype(np.float32)
    if not inside.size or np.ptp(inside) == 0:
        return {}
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.Execute(sitk.GetImageFromArray(inside[None]))
    gland = region & (values > otsu.GetThreshold())
    sides = {WHOLE: region}
    if breasts.kind == "two breasts":
        right = breasts.right_side()
        sides = {RIGHT: region & right, LEFT: region & ~right}
    return {side: (mask, gland & mask) for side, mask in sides.items() if (gland & mask).any()}


def breast_tissue(
    tissue: Mapping[str, tuple[Mask, Mask]], pre: sitk.Image, phases: Sequence[Phase]
) -> list[BreastTissue]:
    """Volumes and background enhancement of every breast in every phase.

    Args:
        tissue: As `fibroglandular_tissue` gives it.
        pre: Pre-contrast volume in the units of the phases.
        phases: Post-contrast phases.

    Returns:
        By breast the phases in the order given.
    """
    voxel_mm3 = float(np.prod(pre.GetSpacing()))
    before = voxels_of(pre)
    found = []
    for phase in phases:
        after = voxels_of(phase.image)
        for side, (breast, gland) in tissue.items():
            first, then = before[gland].astype(np.float64), after[gland].astype(np.float64)
            baseline = first.mean()
            found.append(
                BreastTissue(
                    side=side,
                    phase=phase.index,
                    time_s=phase.time_s,
                    synthetic=phase.synthetic,
                    breast_mm3=int(breast.sum()) * voxel_mm3,
                    fgt_mm3=int(gland.sum()) * voxel_mm3,
                    fgt_percent=100.0 * int(gland.sum()) / int(breast.sum()),
                    bpe_percent=100.0 * float(then.mean() / baseline - 1) if baseline > 0 else float("nan"),
                    bpe_share_percent=100.0 * float(np.mean(then - first >= SHARE_PE_PERCENT / 100 * np.abs(first))),
                )
            )
    return sorted(found, key=lambda one: one.side)
