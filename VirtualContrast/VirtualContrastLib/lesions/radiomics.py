"""Radiomics of each lesion in each phase by pyradiomics: shape, first-order statistics and texture.

Gray values are divided by the study's own scale (the 90th percentile of its tissue before contrast) and given in
percent of it, so that features of scanners, and of models with units of their own, can be compared; gray levels are 5
percent of that scale wide in every phase, real or synthetic. Nothing is resampled and nothing is filtered.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..events import Events, InputError
from ..io.volumes import same_geometry
from ..study import Phase

BIN_WIDTH_PERCENT = 5.0
SHAPE = "shape"
CLASSES = ("firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm")
"""Feature classes that depend on the phase; the shape does not, as one outline serves all of them."""


@dataclass(frozen=True)
class LesionRadiomics:
    """Features of one lesion in one phase.

    Attributes:
        label: Number of the lesion.
        phase: Index of the phase, 0 before contrast.
        time_s: Seconds after injection, None where nobody knows them.
        synthetic: The phase was synthesized.
        features: Value by pyradiomics' name without the image type, as `glcm_Contrast`; lengths in mm.
    """

    label: int
    phase: int
    time_s: float | None
    synthetic: bool
    features: Mapping[str, float]

    @property
    def of_phase(self) -> dict[str, float]:
        """The features that depend on the phase: all but the shape."""
        return {name: value for name, value in self.features.items() if not name.startswith(SHAPE)}


def has_radiomics() -> bool:
    """Pyradiomics is installed."""
    return importlib.util.find_spec("radiomics") is not None


def check_radiomics() -> None:
    """Raise InputError where pyradiomics is not installed."""
    if not has_radiomics():
        raise InputError(
            "Radiomics need the package pyradiomics: in Slicer install the extension SlicerRadiomics, elsewhere "
            "'pip install pyradiomics-cuda' (no graphics card is needed); or leave --radiomics out."
        )


def lesion_radiomics(
    labels: sitk.Image, phases: Sequence[Phase], scale: float, events: Events | None = None
) -> list[LesionRadiomics]:
    """Features of every positive label in every phase, in order of labels, then phases.

    Args:
        labels: lesion instances on the grid of the phases.
        phases: in one unit.
        scale: gray value that counts as 100 percent, in that unit; see `metrics.tissue.scale_of`.
        events: receives a warning of lesions without features (a single voxel), and carries the request to cancel.

    Returns:
        One row per lesion and phase; none of lesions without features.

    Raises:
        InputError: pyradiomics is missing, or a phase lies on another grid.
    """
    check_radiomics()
    for phase in phases:
        if difference := same_geometry(phase.image, labels):
            raise InputError(f"A phase does not lie on the lesions' grid: {difference}")
    events = events or Events()
    shape, texture = _extractors(flat=labels.GetSize()[2] == 1)
    images = [sitk.Cast(phase.image, sitk.sitkFloat64) * (100.0 / scale) for phase in phases]
    found: list[LesionRadiomics] = []
    for label in (int(label) for label in np.unique(sitk.GetArrayViewFromImage(labels)) if label > 0):
        try:
            form = _features(shape, images[0], labels, label)
            for phase, image in zip(phases, images, strict=True):
                events.check_cancelled()
                features = form | _features(texture, image, labels, label)
                found.append(LesionRadiomics(label, phase.index, phase.time_s, phase.synthetic, features))
        except ValueError as error:
            events.warn(f"Lesion {label} has no radiomics, it is too small for pyradiomics ({error}).")
    return found


def quiet_radiomics() -> None:
    """Keep pyradiomics from logging every class of every lesion; its failures come as exceptions."""
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)


def _extractors(*, flat: bool) -> tuple[Any, Any]:
    """Extractors of shape and of the other classes; `flat` for a single slice."""
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    quiet_radiomics()
    extractors = []
    for classes in ((f"{SHAPE}2D" if flat else SHAPE,), CLASSES):
        extractor = RadiomicsFeatureExtractor(
            binWidth=BIN_WIDTH_PERCENT, force2D=flat, minimumROIDimensions=1, additionalInfo=False
        )
        extractor.disableAllFeatures()
        for name in classes:
            extractor.enableFeatureClassByName(name)
        extractors.append(extractor)
    return extractors[0], extractors[1]


def _features(extractor: Any, image: sitk.Image, labels: sitk.Image, label: int) -> dict[str, float]:
    values = extractor.execute(image, labels, label=label)
    return {name.removeprefix("original_"): float(value) for name, value in values.items() if "diagnostics" not in name}
