"""The stages of a run after the synthesis: functions that change nothing they are given and return `parts`.

A run goes `Series` -> lesions -> `Kinetics` -> `Comparison`, and `Analysis` holds the parts together for the writers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ..events import Events
from ..io.volumes import like, to_array, voxels_of
from ..kinetics.agreement import agreement
from ..kinetics.curves import early_phase, lesion_curves
from ..kinetics.feature_agreement import (
    BACKGROUND,
    KINETICS,
    RADIOMICS,
    FeatureAgreement,
    agreement_by_phase,
    curve_features,
    feature_agreement,
)
from ..kinetics.maps import kinetic_maps
from ..lesions.breast_tissue import BreastTissue, breast_tissue, fibroglandular_tissue
from ..lesions.confidence import Evidence, LesionConfidence, lesion_confidence
from ..lesions.location import LesionPlace, lesion_places
from ..lesions.measurement import measure_lesions
from ..lesions.radiomics import LesionRadiomics, lesion_radiomics
from ..lesions.threshold import ThresholdSettings, segment_by_threshold, tissue_mask
from ..metrics.image_pairs import PairMetrics, compare_images
from ..metrics.tissue import scale_of
from ..study import Phase
from ..synthesis.breast_region import BreastRegion, find_breasts
from .parts import Comparison, Kinetics, LesionResult, PhaseResult, Region, Series

if TYPE_CHECKING:
    from ..lesions.nnunet import LesionNet

BREAST = "breast"
LESIONS = "lesions"
OWN_SCALE_WARNING = (
    "The model's output has arbitrary units, so each real phase was scaled to 0..255 by its own minimum and maximum "
    "for the image metrics and the curves."
)


def phase_results(synthetic: Sequence[Phase], uncertainty: Sequence[sitk.Image] | None) -> tuple[PhaseResult, ...]:
    """The synthetic phases in order, each with its map of standard deviations in its units, where there are maps."""
    maps: Sequence[sitk.Image | None] = uncertainty or [None] * len(synthetic)
    return tuple(PhaseResult(phase, deviation) for phase, deviation in zip(synthetic, maps, strict=True))


def find_lesions(
    series: Series, net: LesionNet | None, events: Events, rule: ThresholdSettings | None = None
) -> sitk.Image:
    """Lesion labels of the series.

    Args:
        series: All phases of the study.
        net: The segmentation network; None segments by threshold on the early phase of the curves.
        events: Receives progress, and carries the request to cancel.
        rule: Threshold settings measured for the model's phases; None for the defaults.

    Returns:
        Instance labels 1..n on the grid of the pre-contrast volume; 0 elsewhere.
    """
    breasts = find_breasts(series.study.pre.image, events)
    if net is None:
        return segment_by_threshold(series.pre, early_phase(series.phases).image, rule, events, breasts.mask())
    near_breast = breasts.weight() > 0
    return net.segment({phase.index: phase.image for phase in series.phases}, events, near_breast)


def analyze_kinetics(
    series: Series, labels: sitk.Image | None, events: Events, evidence: Evidence | None = None
) -> Kinetics:
    """Breast region, measures and curves of the lesions, voxel maps of the breast's tissue and of the lesions.

    Args:
        series: All phases of the study.
        labels: Lesion labels on its grid; None where lesions were not looked for.
        events: Receives progress, and carries the request to cancel.
        evidence: How sure a calibrated model is of the phases; None for other models.

    Returns:
        The region, the maps and one object per lesion.
    """
    original = series.study.pre.image
    breasts = find_breasts(original, events)
    region = breasts.mask()
    mapped = region & tissue_mask(voxels_of(series.pre), region)
    lesions: tuple[LesionResult, ...] = ()
    if labels is not None:
        inside = sitk.GetArrayViewFromImage(labels) > 0
        region |= inside
        mapped |= inside
        measures = measure_lesions(labels, series.phases, has_geometry=series.study.has_geometry)
        curves = lesion_curves(series.phases, labels, _curve_uncertainty(series))
        if series.study.has_geometry:
            places = lesion_places(labels, breasts)
        else:
            places = [LesionPlace(measure.label) for measure in measures]
        parts = zip(measures, curves, places, _confidence(series, labels, evidence), strict=True)
        lesions = tuple(LesionResult(*one) for one in parts)
    tissue = _tissue(series, breasts, labels)  # before there are maps: its masks are more than a copy of the volume
    maps = kinetic_maps(series.phases, like(mapped.astype(np.uint8), original))
    return Kinetics(region, maps, labels, lesions, tissue=tissue)


def _tissue(series: Series, breasts: BreastRegion, labels: sitk.Image | None) -> tuple[BreastTissue, ...]:
    """Breast tissue in the synthetic phases and in the real ones; nothing of a picture without millimeters."""
    if not series.study.has_geometry:
        return ()
    tissue = fibroglandular_tissue(series.study.pre.image, breasts, labels)
    pre, *real = series.acquired
    made = breast_tissue(tissue, series.pre, series.synthetic)
    return (*made, *breast_tissue(tissue, pre.image, real))


def _confidence(series: Series, labels: sitk.Image, evidence: Evidence | None) -> Sequence[LesionConfidence | None]:
    """Of every lesion, None each where the model is not calibrated."""
    if evidence is None:
        return [None] * int(np.count_nonzero(np.unique(sitk.GetArrayViewFromImage(labels))))
    times_s = [phase.time_s or 0.0 for phase in series.synthetic]
    return lesion_confidence(labels, series.pre, times_s, evidence)


def _curve_uncertainty(series: Series) -> list[sitk.Image] | None:
    """A map for every point of a curve after the first: 0 for the phases that the model read; None without maps."""
    if not series.uncertainty:
        return None
    return [series.pre * 0.0] * len(series.input_phases) + series.uncertainty


def compare_with_real(
    series: Series,
    region: Region | None,
    labels: sitk.Image | None,
    events: Events,
) -> Comparison:
    """Pairwise metrics of every phase that is both synthetic and real, and agreement of the lesions' curves.

    The pre-contrast image and the last phase that the model read are compared with the real phases too: what doing
    nothing would have given (not a low-energy mammogram, whose gray values mean something else). Where the model's
    output has a scale of its own (8 bit), real phases are brought to theirs for the metrics.

    Args:
        series: all images; only `series.compared` is compared with.
        region: the breasts, [k, j, i], or None.
        labels: lesion instances, or None.
        events: receives warnings and carries the request to cancel.

    Returns:
        Metrics, one row per phase and region, and the agreement of the curves where there are any.
    """
    regions = {} if region is None else {BREAST: region}
    if labels is not None:
        regions[LESIONS] = sitk.GetArrayFromImage(labels) > 0
    if series.arbitrary_units:
        events.warn(OWN_SCALE_WARNING)
    real = {phase.index: phase.image for phase in series.compared}
    common = [phase for phase in series.synthetic if phase.index in real]
    metrics: list[PairMetrics] = []
    for phase in common:
        events.check_cancelled()
        target = real[phase.index]
        metrics += compare_images(phase.image, target, regions, phase=phase.index)
        if series.dynamic:
            metrics += compare_images(series.pre, target, regions, phase=phase.index, compared="pre")
        for last in series.input_phases[-1:]:
            metrics += compare_images(last.image, target, regions, phase=phase.index, compared=last.name)
    return replace(_compare_curves(series, labels, common), metrics=tuple(metrics))


def _compare_curves(series: Series, labels: sitk.Image | None, common: list[Phase]) -> Comparison:
    """Curves of the real phases, and their agreement with the synthetic ones over the phases both have.

    Phases that the model read are points of both curves. All are on the scale of the synthetic ones.
    """
    if labels is None or not (sitk.GetArrayViewFromImage(labels) > 0).any():
        return Comparison()
    pre, *real_phases = series.acquired
    known = [phase for phase in real_phases if phase.time_s is not None]
    if not known:
        return Comparison()
    curves = tuple(lesion_curves([pre, *known], labels))
    timed = {phase.index for phase in known}
    common = [phase for phase in common if phase.index in timed]
    if not common:
        return Comparison(curves=curves)
    read = [phase for phase in known if phase.index in series.inputs]
    indices = {phase.index for phase in (*read, *common)}
    real = lesion_curves([pre, *(phase for phase in known if phase.index in indices)], labels)
    synthetic = lesion_curves([series.phases[0], *read, *common], labels)
    features = feature_agreement(KINETICS, list(map(curve_features, synthetic)), list(map(curve_features, real)))
    return Comparison(curves=curves, agreement=agreement(synthetic, real), features=tuple(features))


def measure_radiomics(series: Series, labels: sitk.Image, events: Events) -> tuple[LesionRadiomics, ...]:
    """Radiomics of the lesions in all phases, in one scale.

    Args:
        series: The images.
        labels: Lesion instances.
        events: Receives warnings of lesions without features, and carries the request to cancel.

    Returns:
        By lesion the real phases, pre-contrast included, then the synthetic ones.
    """
    phases = [*series.acquired, *series.synthetic]
    return tuple(lesion_radiomics(labels, phases, scale_of(to_array(series.pre)), events))


def compare_features(kinetics: Kinetics) -> tuple[FeatureAgreement, ...]:
    """Agreement of what depends on the phase, in every phase that is both synthetic and real: the background
    enhancement over the breasts, and every radiomics feature over the lesions.
    """
    tissue = [(one.synthetic, one.phase, one.side, one.background) for one in kinetics.tissue]
    radiomics = [(one.synthetic, one.phase, one.label, one.of_phase) for one in kinetics.radiomics]
    return (*agreement_by_phase(BACKGROUND, tissue), *agreement_by_phase(RADIOMICS, radiomics))


def outline_breast(series: Series) -> Region:
    """The breast of a mammogram as the region for metrics, [k, j, i]."""
    from ..synthesis.mammogram import breast_mask

    return breast_mask(to_array(series.study.pre.image)[0])[np.newaxis]
