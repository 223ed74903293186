"""Frechet distance between radiomics features of lesions (FRD), versions 0 and 1, and version 0 as published.

Version 0 (Osuala et al. 2024): original image, PyRadiomics defaults, each feature scaled over both sets. Version 1
(Konz et al. 2026): original, Laplacian-of-Gaussian and wavelet images, z-scores by the real set, log of the distance;
PyRadiomics leaves out the Laplacian of Gaussian on single slices. As published (JMI 2025): the flag `--norm_across` of
frd-score 0.0.2 does the opposite of what it says, each set is z-scored by itself, so the means always agree and only
correlations are compared.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.events import InputError
from VirtualContrastLib.lesions.radiomics import quiet_radiomics
from VirtualContrastLib.metrics.measure import definitions

from .frechet import FeatureMoments, frechet_distance, too_few_note
from .images import read_mask
from .loaded_pair import read_images, read_pre, subtracted
from .measures import RADIOMICS
from .pairs import Pair

if TYPE_CHECKING:
    from radiomics.featureextractor import RadiomicsFeatureExtractor

NORM_RANGE = 7.45670747756958
"""Upper end of the range to which version 0 scales features (frd-score's default)."""
TEXTURE = ("glcm", "glrlm", "gldm", "glszm", "ngtdm")
ALL_GROUPS = ("firstorder", *TEXTURE, "shape2D")
_V1_GLCM = [
    *("Autocorrelation", "JointAverage", "ClusterProminence", "ClusterShade", "ClusterTendency", "Contrast"),
    *("Correlation", "DifferenceAverage", "DifferenceEntropy", "DifferenceVariance", "JointEnergy", "JointEntropy"),
    *("Imc1", "Imc2", "Idm", "Idmn", "Id", "Idn", "InverseVariance", "MaximumProbability", "SumEntropy", "SumSquares"),
]
V1_DIAGNOSTICS = tuple(
    f"diagnostics_{part}_{name}"
    for part, names in (
        ("Image-original", ("Mean", "Minimum", "Maximum")),
        ("Mask-original", ("VoxelNum", "VolumeNum")),
        ("Image-interpolated", ("Mean", "Minimum", "Maximum")),
        ("Mask-interpolated", ("VoxelNum", "VolumeNum", "Mean", "Minimum", "Maximum")),
    )
    for name in names
)
"""PyRadiomics' numeric diagnostics."""
DEFINITIONS = definitions(RADIOMICS)
"""What the numbers of a report are."""


@dataclass(frozen=True)
class FeatureTable:
    """Named features of a set of lesions.

    Attributes:
        names: Names of the features.
        values: Their values [lesion, feature].
    """

    names: tuple[str, ...]
    values: np.ndarray


def extractor_v0(groups: Sequence[str] = TEXTURE) -> RadiomicsFeatureExtractor:
    """PyRadiomics as version 0 sets it: original image, bin width 25, masks of one dimension allowed."""
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    quiet_radiomics()
    extractor = RadiomicsFeatureExtractor(correctMask=True, minimumROIDimensions=1)
    extractor.disableAllFeatures()
    for group in groups:
        extractor.enableFeatureClassByName(group)
    return extractor


def extractor_v1(*, two_dimensional: bool = True) -> RadiomicsFeatureExtractor:
    """PyRadiomics as version 1 sets it: z-scored image x 100, 2 mm pixels, LoG 2-5 mm, wavelets, bin width 5."""
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    quiet_radiomics()
    settings: dict[str, Any] = {
        "normalize": True,
        "normalizeScale": 100,
        "interpolator": "sitkBSpline",
        "resampledPixelSpacing": [2, 2, 0] if two_dimensional else [2, 2, 2],
        "padDistance": 10,
        "preCrop": True,
        "binWidth": 5,
        "voxelArrayShift": 300,
        "label": 1,
        "correctMask": True,
        "minimumROIDimensions": 1,
    }
    if two_dimensional:
        settings |= {"force2D": True, "force2Ddimension": 0}
    extractor = RadiomicsFeatureExtractor(**settings)
    extractor.disableAllImageTypes()
    extractor.enableImageTypes(Original={}, LoG={"sigma": [2.0, 3.0, 4.0, 5.0]}, Wavelet={})
    extractor.disableAllFeatures()
    extractor.enableFeaturesByName(firstorder=[], glcm=list(_V1_GLCM), glrlm=[], glszm=[], ngtdm=[])
    return extractor


def lesion_features(
    extractor: RadiomicsFeatureExtractor,
    image: np.ndarray,
    mask: np.ndarray,
    spacing_mm: Sequence[float] = (1, 1, 1),
    *,
    diagnostics: bool = False,
) -> dict[str, float]:
    """Radiomics of one lesion.

    Args:
        extractor: PyRadiomics' extractor.
        image: The image [k, j, i]; one slice is treated as 2-D.
        mask: The lesion, of the same shape.
        spacing_mm: Spacing along k, j, i.
        diagnostics: Adds PyRadiomics' own numbers (voxels of the mask, mean of the image ...): version 1 counts them as
            features, as its authors' code does.

    Returns:
        Values by feature.

    Raises:
        ValueError: The shapes differ, or the mask has fewer than two pixels.
    """
    if image.shape != mask.shape:
        raise ValueError(f"image and mask must have one shape, got {image.shape} and {mask.shape}")
    if int(mask.sum()) < 2:
        raise ValueError("a lesion of fewer than two pixels has no texture")
    flat = image.shape[0] == 1 and not extractor.settings.get("force2D")
    pixels, region = (image[0], mask[0]) if flat else (image, mask)
    spacing = [float(s) for s in reversed(spacing_mm)][: pixels.ndim]
    volumes = [sitk.GetImageFromArray(x) for x in (pixels.astype(np.float32), region.astype(np.uint8))]
    for volume in volumes:
        volume.SetSpacing(spacing)
    found = extractor.execute(*volumes, label=1)
    features = {name: float(value) for name, value in found.items() if not name.startswith("diagnostics")}
    if diagnostics:
        features |= {name: float(found[name]) for name in V1_DIAGNOSTICS if name in found}
    return features


def table_of(rows: Sequence[dict[str, float]]) -> FeatureTable:
    """Stack feature dictionaries of lesions; raises ValueError where there are none or their features differ."""
    if not rows or any(row.keys() != rows[0].keys() for row in rows):
        raise ValueError("every lesion needs the same features")
    return FeatureTable(tuple(rows[0]), np.array([list(row.values()) for row in rows], dtype=np.float64))


def distance_v0(real: FeatureTable, synthetic: FeatureTable, *, norm: str = "minmax", pooled: bool = True) -> float:
    """Version 0 of the radiomics distance. As published (JMI 2025, FRD on textures) is norm="zscore", pooled=False.

    Args:
        real: Features of the real lesions.
        synthetic: Features of the synthetic ones.
        norm: "minmax" (to 0..7.457) or "zscore" (times 7.457).
        pooled: Whether both sets are scaled together.

    Returns:
        The squared Frechet distance of the scaled features.
    """
    _check_names(real, synthetic)
    both = np.concatenate([real.values, synthetic.values])
    sets = [_scaled(t.values, both if pooled else t.values, norm) for t in (real, synthetic)]
    return frechet_distance(*(_moments(values) for values in sets))


def distance_v1(real: FeatureTable, synthetic: FeatureTable, *, paper_log: bool = False) -> float:
    """Version 1 of the radiomics distance: log of the squared distance of z-scores by the real set.

    As in frd-score 1.0, values are float32, lesions with NaN are dropped, then features that are not finite as z-scores
    (those constant in the real set).

    Args:
        real: Features of the real lesions.
        synthetic: Features of the synthetic ones.
        paper_log: Whether half of it is given, as in the paper.

    Returns:
        The distance; -inf for equal sets.

    Raises:
        ValueError: Fewer than two lesions or no feature remain.
    """
    _check_names(real, synthetic)
    first, second = (t.values[~np.isnan(t.values).any(axis=1)].astype(np.float32) for t in (real, synthetic))
    if min(len(first), len(second)) < 2:
        raise ValueError("the radiomics distance needs two lesions with all features on each side")
    with np.errstate(divide="ignore", invalid="ignore"):
        mean, spread = first.mean(axis=0), first.std(axis=0)
        scores = [(values - mean) / spread for values in (first, second)]
    usable = np.isfinite(scores[0]).all(axis=0) & np.isfinite(scores[1]).all(axis=0)
    if not usable.any():
        raise ValueError("no feature varies over the real lesions")
    squared = frechet_distance(*(_moments(values[:, usable]) for values in scores))
    value = math.log(squared) if squared > 0 else -math.inf
    return value / 2 if paper_log else value


@dataclass(frozen=True)
class RadiomicsReport:
    """Radiomics distances of two sets of lesions.

    Attributes:
        frd_v0: version 0.
        frd_v0_zscore: version 0 with z-scores over both sets.
        frd_v0_as_published: version 0 with z-scores of each set by itself.
        n: number of lesions of each set.
        features: number of features of version 0.
        definitions: what the numbers are, by name.
        note: a warning where lesions are too few or version 1 is not defined, else "".
        groups: of features, of version 0.
        left_out: pairs in which PyRadiomics cannot work (one value everywhere).
        frd_v1: version 1; None where it is not defined or not finite.
    """

    frd_v0: float
    frd_v0_zscore: float
    frd_v0_as_published: float
    n: tuple[int, int]
    features: int
    definitions: Mapping[str, str]
    note: str
    groups: Sequence[str] = ()
    left_out: int = 0
    frd_v1: float | None = None


def radiomics_report(real: FeatureTable, synthetic: FeatureTable) -> RadiomicsReport:
    """Version 0 true and as published side by side, with the numbers of lesions and features."""
    n = (len(real.values), len(synthetic.values))
    return RadiomicsReport(
        frd_v0=distance_v0(real, synthetic),
        frd_v0_zscore=distance_v0(real, synthetic, norm="zscore"),
        frd_v0_as_published=distance_v0(real, synthetic, norm="zscore", pooled=False),
        n=n,
        features=len(real.names),
        definitions=DEFINITIONS,
        note=too_few_note(min(n), len(real.names)),
    )


def lesion_distance(
    pairs: Iterable[Pair], groups: Sequence[str] = TEXTURE, *, subtraction: str | None = None
) -> RadiomicsReport:
    """Radiomics distance, versions 0 and 1, of the lesions of real against synthetic images; a file's lesions are one.

    Args:
        pairs: with lesion masks; for subtractions also with pre-contrast images.
        groups: of features, of version 0.
        subtraction: "signed" or "clipped" takes the features of phase minus pre-contrast.

    Returns:
        The distances.

    Raises:
        InputError: fewer than two pairs have a lesion mask of two pixels or more.
    """
    return distance_of((pair_radiomics(groups, subtraction, pair) for pair in pairs), groups)


def pair_radiomics(groups: Sequence[str], subtraction: str | None, pair: Pair) -> dict[str, dict[str, float]] | None:
    """Features of the lesions of a pair, of both versions, by side.

    Args:
        groups: of features, of version 0.
        subtraction: "signed" or "clipped" takes the features of phase minus pre-contrast.
        pair: the pair.

    Returns:
        The features, {} where PyRadiomics cannot work, None where no mask has two pixels.

    Raises:
        InputError: an image cannot be read, or sizes differ.
    """
    mask = None if pair.lesion is None else read_mask(pair.lesion)
    if mask is None or mask.sum() < 2:
        return None
    images = _compared(pair, mask, subtraction)
    simple, full = _extractors(tuple(groups), two_dimensional=len(mask) == 1)
    try:
        return _features_of(*images, mask, simple, full)
    except ValueError:
        return {}


@functools.cache
def _extractors(
    groups: tuple[str, ...], *, two_dimensional: bool
) -> tuple[RadiomicsFeatureExtractor, RadiomicsFeatureExtractor]:
    return extractor_v0(groups), extractor_v1(two_dimensional=two_dimensional)


def distance_of(pairs: Iterable[dict[str, dict[str, float]] | None], groups: Sequence[str]) -> RadiomicsReport:
    """As `lesion_distance`, of what `pair_radiomics` found of each pair.

    Raises InputError where fewer than two pairs have features.
    """
    tables: dict[str, list[dict[str, float]]] = {"real": [], "synthetic": [], "real v1": [], "synthetic v1": []}
    left_out = 0
    for found in pairs:
        left_out += found == {}
        for name, row in (found or {}).items():
            tables[name].append(row)
    if len(tables["real"]) < 2:
        raise InputError("The radiomics distance needs lesion masks of at least two pairs; give them with --lesions.")
    report = radiomics_report(table_of(tables["real"]), table_of(tables["synthetic"]))
    report = replace(report, groups=list(groups), left_out=left_out)
    try:
        v1 = distance_v1(table_of(tables["real v1"]), table_of(tables["synthetic v1"]))
    except ValueError as error:
        return replace(report, note=f"{report.note} Version 1: {error}.".strip())
    return replace(report, frd_v1=v1 if math.isfinite(v1) else None)


def _compared(
    pair: Pair, mask: np.ndarray, subtraction: str | None
) -> tuple[list[np.ndarray], tuple[float, float, float]]:
    """The real and the synthetic image, or their subtractions, and the spacing; InputError where sizes differ."""
    images = read_images(pair)
    for side, stack in zip(("real", "synthetic"), images, strict=True):
        if stack.pixels.shape != mask.shape:
            raise InputError(f"The mask {pair.lesion} differs in size from {getattr(pair, side)}.")
    pre = None if subtraction is None else read_pre(pair, images[0])
    spacing = images[0].spacing_mm or (1.0, 1.0, 1.0)
    return [subtracted(stack.pixels, pre, subtraction) for stack in images], spacing


def _features_of(
    images: Sequence[np.ndarray],
    spacing: tuple[float, float, float],
    mask: np.ndarray,
    simple: RadiomicsFeatureExtractor,
    full: RadiomicsFeatureExtractor,
) -> dict[str, dict[str, float]]:
    """Features of both images of a pair, of version 0 and of version 1; all or, by an error, none."""
    found = {}
    for side, pixels in zip(("real", "synthetic"), images, strict=True):
        found[side] = lesion_features(simple, pixels, mask, spacing)
        found[f"{side} v1"] = lesion_features(full, pixels, mask, spacing, diagnostics=True)
    return found


def _scaled(values: np.ndarray, base: np.ndarray, norm: str) -> np.ndarray:
    """Scale columns by the statistics of `base`; constant columns and NaN as frd-score 0.0.2 treats them."""
    if norm == "minmax":
        low = np.nanmin(base, axis=0)
        width = np.nanmax(base, axis=0) - low
        scaled = np.where(width == 0, 0.5, (values - low) / np.where(width == 0, 1, width)) * NORM_RANGE
    elif norm == "zscore":
        mean, spread = np.nanmean(base, axis=0), np.nanstd(base, axis=0)
        scaled = np.where(spread == 0, 0.0, (values - mean) / np.where(spread == 0, 1, spread)) * NORM_RANGE
    else:
        raise ValueError(f"norm must be minmax or zscore, got {norm}")
    return np.where(np.isnan(scaled), NORM_RANGE / 2, scaled)


def _moments(values: np.ndarray) -> FeatureMoments:
    moments = FeatureMoments()
    moments.add(values)
    return moments


def _check_names(real: FeatureTable, synthetic: FeatureTable) -> None:
    if real.names != synthetic.names:
        raise ValueError("both sets need the same features in the same order")
