"""What the stages of a run find: synthetic phases, lesions, curves, maps, and agreement with real phases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..events import Events, InputError
from ..io.volumes import like, same_geometry, to_array
from ..kinetics.agreement import Agreement, agreement
from ..kinetics.curves import LesionCurve, lesion_curves
from ..kinetics.maps import kinetic_maps
from ..kinetics.parameters import CurveRules
from ..lesions.measurement import LesionMeasures, measure_lesions
from ..lesions.subtraction import subtract
from ..lesions.threshold import segment_by_threshold, tissue_mask
from ..metrics.image_pairs import PairMetrics, compare_images
from ..study import Phase, Study
from ..synthesis.breast_region import breast_region

if TYPE_CHECKING:
    from ..lesions.nnunet import LesionNet

BREAST = "breast"
LESIONS = "lesions"


@dataclass
class Findings:
    """Filled stage by stage. `phases` are the synthetic ones, `labels` lesion instances 1..n or None.

    `acquired` are the real phases that the model read: they belong to the series, and are not compared. `dynamic` is
    False for a mammogram: `pre` is then the low-energy image and `phases` holds the recombined one, which has no time.
    `pre` is the pre-contrast volume in the units of `phases`, which differ from the input's where `arbitrary_units`.
    `subtractions` and `uncertainty` (standard deviations) run parallel to `phases`. `region` is the breasts, lesions
    included ([k, j, i]). `real` are the real phases with times filled in; `metrics`, `real_curves` and `agreement`
    compare with them.
    """

    study: Study
    pre: sitk.Image
    phases: list[Phase]
    uncertainty: list[sitk.Image] | None = None
    arbitrary_units: bool = False
    subtractions: list[sitk.Image] = field(default_factory=list)
    labels: sitk.Image | None = None
    measures: list[LesionMeasures] = field(default_factory=list)
    curves: list[LesionCurve] = field(default_factory=list)
    region: NDArray[np.bool_] | None = None
    maps: dict[str, sitk.Image] = field(default_factory=dict)
    real: list[Phase] = field(default_factory=list)
    real_curves: list[LesionCurve] = field(default_factory=list)
    metrics: list[PairMetrics] = field(default_factory=list)
    agreement: Agreement | None = None
    acquired: list[Phase] = field(default_factory=list)
    dynamic: bool = True

    @property
    def series(self) -> list[Phase]:
        """The pre-contrast phase, the acquired ones that the model read and the synthetic ones, all in one unit."""
        return [Phase(0, self.pre, 0.0, synthetic=False), *self.acquired, *self.phases]

    @property
    def compared(self) -> list[Phase]:
        """The real phases that the model did not read."""
        read = {phase.index for phase in self.acquired}
        return [phase for phase in self.real if phase.index not in read]

    def summary(self) -> dict[str, object]:
        """What a table of cases wants: lesions, their volume (mm3, None without geometry), curve types.

        Empty for a mammogram.
        """
        if not self.dynamic:
            return {}
        voxels = sum(curve.voxel_count for curve in self.curves)
        voxel_mm3 = float(np.prod(self.study.pre.image.GetSpacing()))
        return {
            "lesions": len(self.curves) if self.labels is not None else None,
            "lesion_volume_mm3": voxels * voxel_mm3 if self.study.has_geometry else None,
            "curve_types": [curve.curve_type.name.lower() for curve in self.curves],
        }


def subtract_all(found: Findings) -> None:
    """Signed subtraction of every synthetic phase."""
    found.subtractions = [subtract(phase.image, found.pre) for phase in found.phases]


def early_phase(phases: Sequence[Phase]) -> Phase:
    """The post-contrast phase nearest to 150 s after injection, where lesions are looked for."""
    wanted = CurveRules().ser_early_s
    return min(phases, key=lambda phase: abs((phase.time_s or 0.0) - wanted))


def segment(found: Findings, net: LesionNet | None, events: Events) -> None:
    """Find lesions on the series with `net`, or by threshold where it is None: on an acquired phase if there is one."""
    if net is None:
        post = early_phase(found.acquired or found.phases).image
        found.labels = segment_by_threshold(found.pre, post, events=events)
    else:
        found.labels = net.segment({phase.index: phase.image for phase in found.series}, events)


def lesion_labels(mask: sitk.Image, pre: sitk.Image, name: str) -> sitk.Image:
    """Lesion labels 1..n on the grid of `pre` from a user's mask, in order of its values; 0 is no lesion.

    A mask of one value is one lesion, connected or not. `name` says in messages which file it is.

    Raises:
        InputError: another geometry, no lesion, or values that are no labels.
    """
    difference = same_geometry(mask, pre)
    if difference:
        raise InputError(f"The lesion mask {name} does not lie on the input's grid: {difference}")
    values = sitk.GetArrayFromImage(mask)
    present = np.unique(values[values != 0])
    if not len(present):
        raise InputError(f"The lesion mask {name} is empty; mark at least one voxel.")
    if len(present) > 100 or not np.array_equal(present, np.round(present)) or present[0] < 0:
        raise InputError(f"The lesion mask {name} has {len(present)} values; give one value, or one per lesion.")
    return like(np.searchsorted([0, *present], values).astype(np.uint8), pre)


def kinetics(found: Findings, events: Events) -> None:
    """Breast region, measures and curves of the lesions, voxel maps of the breast's tissue and of the lesions."""
    pre = found.study.pre.image
    region = breast_region(pre, events)
    mapped = region & tissue_mask(to_array(found.pre), region)
    if found.labels is not None:
        lesions = sitk.GetArrayViewFromImage(found.labels) > 0
        region |= lesions
        mapped |= lesions
        found.measures = measure_lesions(found.labels, found.series, has_geometry=found.study.has_geometry)
        found.curves = lesion_curves(found.series, found.labels, found.uncertainty)
    found.maps = kinetic_maps(found.series, like(mapped.astype(np.uint8), pre))
    found.region = region


def compare(found: Findings, events: Events) -> None:
    """Pairwise metrics of every phase that is both synthetic and real, and agreement of the lesions' curves.

    The pre-contrast image and the last acquired phase that the model read are compared with the real phases too: what
    doing nothing would have given (not a low-energy mammogram, whose gray values mean something else). Where
    the model's output has a scale of its own (8 bit), real phases are brought to theirs for the metrics.
    """
    regions = {BREAST: found.region} if found.region is not None else {}
    if found.labels is not None:
        regions[LESIONS] = sitk.GetArrayFromImage(found.labels) > 0
    if found.arbitrary_units:
        events.warn(
            "The model's output has arbitrary units, so each real phase was scaled to 0..255 by its own "
            "minimum and maximum for the image metrics."
        )
    real = {phase.index: phase for phase in found.compared}
    common = [phase for phase in found.phases if phase.index in real]
    for phase in common:
        events.check_cancelled()
        truth = real[phase.index].image
        if found.arbitrary_units:
            truth = sitk.RescaleIntensity(sitk.Cast(truth, sitk.sitkFloat32), 0.0, 255.0)
        found.metrics += compare_images(phase.image, truth, regions, phase=phase.index)
        if found.dynamic:
            found.metrics += compare_images(found.pre, truth, regions, phase=phase.index, compared="pre")
        for last in found.acquired[-1:]:
            found.metrics += compare_images(last.image, truth, regions, phase=phase.index, compared=last.name)
    _compare_curves(found, common)


def _compare_curves(found: Findings, common: list[Phase]) -> None:
    """Curves of the real phases, and their agreement with the synthetic ones over the phases both have.

    Acquired phases that the model read stand in both curves.
    """
    if found.labels is None or not found.curves:
        return
    pre = found.study.pre
    known = [phase for phase in found.real if phase.time_s is not None]
    found.real_curves = lesion_curves([pre, *known], found.labels)
    if common:
        indices = {phase.index for phase in (*found.acquired, *common)}
        real = [phase for phase in found.real if phase.index in indices]
        ours = lesion_curves([found.series[0], *found.acquired, *common], found.labels)
        found.agreement = agreement(ours, lesion_curves([pre, *real], found.labels))


def outline_breast(found: Findings) -> None:
    """The breast of a mammogram as the region for metrics."""
    from ..synthesis.mammogram import breast_mask

    found.region = breast_mask(to_array(found.study.pre.image)[0])[np.newaxis]
