"""What a run is made of: its images, what was found in them, and how they compare with real ones. Frozen, without
computing; `analysis` makes them and the writers read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..io.masked import MaskedValues
from ..kinetics.agreement import Agreement
from ..kinetics.curves import LesionCurve
from ..kinetics.feature_agreement import FeatureAgreement
from ..lesions.breast_tissue import BreastTissue
from ..lesions.confidence import LesionConfidence
from ..lesions.location import LesionPlace
from ..lesions.measurement import LesionMeasures
from ..lesions.radiomics import LesionRadiomics
from ..metrics.image_pairs import PairMetrics
from ..metrics.own_scale import phases_on_own_scale
from ..study import Phase, Study

Region = NDArray[np.bool_]


@dataclass(frozen=True)
class PhaseResult:
    """One synthetic image and what belongs to it alone.

    Attributes:
        phase: The synthetic phase, or the recombined image of a mammogram, which has no time.
        uncertainty: Standard deviation of the synthesis, None where it was not asked for.
    """

    phase: Phase
    uncertainty: sitk.Image | None = None


@dataclass(frozen=True)
class Series:
    """All images of a run.

    Attributes:
        study: What was read, in the input's units.
        pre: The pre-contrast volume (low-energy image of a mammogram) in the units of the synthetic phases.
        results: The synthetic phases in order.
        real: The real post-contrast phases in the input's units, with times.
        inputs: Indices of those real phases that the model read.
        arbitrary_units: Whether the synthetic phases' units differ from the input's.
        dynamic: False for a mammogram, whose one image has no time.
    """

    study: Study
    pre: sitk.Image
    results: tuple[PhaseResult, ...]
    real: tuple[Phase, ...] = ()
    inputs: tuple[int, ...] = ()
    arbitrary_units: bool = False
    dynamic: bool = True

    @property
    def synthetic(self) -> list[Phase]:
        """The synthetic phases."""
        return [result.phase for result in self.results]

    @property
    def uncertainty(self) -> list[sitk.Image]:
        """A standard deviation per synthetic phase, or none at all."""
        return [result.uncertainty for result in self.results if result.uncertainty is not None]

    @cached_property
    def acquired(self) -> tuple[Phase, ...]:
        """The pre-contrast and the real phases as they are compared with the synthetic ones.

        Where those have a scale of their own, each is brought to it by its own minimum and maximum.
        """
        phases = (self.study.pre, *self.real)
        if not self.arbitrary_units:
            return phases
        return tuple(phases_on_own_scale(phases))

    @property
    def input_phases(self) -> list[Phase]:
        """The real phases that the model read, as `acquired`: they belong to the curves and are not compared."""
        return [phase for phase in self.acquired[1:] if phase.index in self.inputs]

    @property
    def compared(self) -> list[Phase]:
        """The real phases that the model did not read, as `acquired`."""
        return [phase for phase in self.acquired[1:] if phase.index not in self.inputs]

    @property
    def phases(self) -> list[Phase]:
        """The points of a curve, all in one unit: pre-contrast, the phases that the model read, the synthetic ones."""
        return [Phase(0, self.pre, 0.0, synthetic=False), *self.input_phases, *self.synthetic]


@dataclass(frozen=True)
class LesionResult:
    """One lesion.

    Attributes:
        measures: Its size and enhancement.
        curve: Its time curve.
        place: Its place in the breast.
        confidence: How sure a calibrated model is of it; None where the model is not calibrated.
    """

    measures: LesionMeasures
    curve: LesionCurve
    place: LesionPlace
    confidence: LesionConfidence | None = None


@dataclass(frozen=True)
class Kinetics:
    """What the series shows in the breast.

    Attributes:
        region: The breasts, lesions included, [k, j, i].
        maps: Voxel maps of enhancement by name, inside the breasts' tissue and the lesions.
        labels: Lesion instances 1..n, None where lesions were not looked for.
        lesions: One result per label, in order.
        radiomics: Of every lesion in every phase; empty where they were not asked for.
        tissue: Fibroglandular tissue and background enhancement of every breast in every phase; empty without
            geometry.
    """

    region: Region
    maps: Mapping[str, MaskedValues]
    labels: sitk.Image | None = None
    lesions: tuple[LesionResult, ...] = ()
    radiomics: tuple[LesionRadiomics, ...] = ()
    tissue: tuple[BreastTissue, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Synthetic against real.

    Attributes:
        metrics: Of the images, one row per phase, compared image and region.
        curves: Of the lesions on the real phases.
        agreement: Of these curves with the synthetic ones; None where there are none.
        features: Agreement of every kinetic parameter, of the background enhancement, and of every radiomics feature
            where they were asked for.
    """

    metrics: tuple[PairMetrics, ...] = ()
    curves: tuple[LesionCurve, ...] = ()
    agreement: Agreement | None = None
    features: tuple[FeatureAgreement, ...] = ()


@dataclass(frozen=True)
class Analysis:
    """Everything that a run found.

    Attributes:
        series: All images.
        region: The breasts, for metrics.
        kinetics: What the series shows in them; None for a mammogram.
        comparison: With real phases; empty where none was given that the model had not read.
    """

    series: Series
    region: Region
    kinetics: Kinetics | None = None
    comparison: Comparison = field(default_factory=Comparison)

    @property
    def labels(self) -> sitk.Image | None:
        """Lesion instances, None where lesions were not looked for."""
        return self.kinetics.labels if self.kinetics else None

    @property
    def measures(self) -> list[LesionMeasures]:
        """Size and enhancement of every lesion."""
        return [lesion.measures for lesion in self.kinetics.lesions] if self.kinetics else []

    @property
    def curves(self) -> list[LesionCurve]:
        """The curve of every lesion."""
        return [lesion.curve for lesion in self.kinetics.lesions] if self.kinetics else []

    @property
    def places(self) -> list[LesionPlace]:
        """Where every lesion lies in the breast."""
        return [lesion.place for lesion in self.kinetics.lesions] if self.kinetics else []

    @property
    def radiomics(self) -> tuple[LesionRadiomics, ...]:
        """Features of every lesion in every phase; empty where they were not asked for."""
        return self.kinetics.radiomics if self.kinetics else ()

    @property
    def confidence(self) -> list[LesionConfidence]:
        """How sure a calibrated model is of every lesion; empty for other models."""
        lesions = self.kinetics.lesions if self.kinetics else ()
        return [lesion.confidence for lesion in lesions if lesion.confidence is not None]

    def summary(self) -> dict[str, object]:
        """What a table of cases wants: lesions, their volume (mm3, None without geometry), curve types.

        Empty for a mammogram.
        """
        if self.kinetics is None:
            return {}
        study = self.series.study
        voxels = sum(curve.voxel_count for curve in self.curves)
        voxel_mm3 = float(np.prod(study.pre.image.GetSpacing()))
        return {
            "lesions": len(self.curves) if self.labels is not None else None,
            "lesion_volume_mm3": voxels * voxel_mm3 if study.has_geometry else None,
            "curve_types": [curve.curve_type.name.lower() for curve in self.curves],
        }
