"""Size and enhancement of each lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from ..events import InputError
from ..io.volumes import same_geometry, voxels_of
from ..kinetics.parameters import check_times, early_and_late, enhancement_ratio, percent_enhancement
from ..study import Phase

Mask = NDArray[np.bool_]

FTV_PE_PERCENT = 70.0


@dataclass(frozen=True)
class LesionMeasures:
    """Size and enhancement of one lesion.

    Enhancement is None where there is no post-contrast phase. The early and the late phase are those of
    `kinetics.parameters.early_and_late`.

    Attributes:
        label: Number of the lesion.
        unit: Of lengths, "mm", or "px" where the image has no millimeters; volumes are in mm3 or in pixels
            accordingly.
        voxel_count: Number of its voxels.
        volume: All voxels of the lesion.
        centroid: Mean of the voxel centers, LPS.
        diameters: Extents along the patient's left, posterior and superior axes, voxels counted whole.
        longest_diameter: Greatest distance between two points of the surface in 3-D.
        in_plane_diameter: The same within one slice. Surface points are the centers of the voxels' outer faces, the
            vertices of a marching-cubes mesh, so these two equal pyradiomics' Maximum3DDiameter and
            Maximum2DDiameterSlice.
        axis_ratio: Longest to shortest of the principal axes of the voxels, 1 for a ball; by second moments.
        solidity: Volume over that of the convex hull of the surface points, 1 at most.
        early_pe_percent: PE of the mean signals at the early phase, the value that the lesion's curve has there.
        peak_pe_percent: 95th percentile of voxel PE at the early phase, over voxels with a positive baseline; unlike
            the maximum it does not hang on one noisy voxel.
        ser: Signal enhancement ratio of the mean signals, None where no phase follows the early one.
        ftv: Volume of voxels with early PE >= 70 % and SER >= 0, as UCSF's I-SPY 2 software counts functional tumor
            volume (Hylton et al., Radiology 279 (2016) 44). Its background threshold and neighbor rule belong to
            finding the lesion and are not repeated here. Without a late phase the SER rule is left out.
    """

    label: int
    unit: str
    voxel_count: int
    volume: float
    centroid: tuple[float, float, float]
    diameters: tuple[float, float, float]
    longest_diameter: float
    in_plane_diameter: float
    axis_ratio: float = 1.0
    solidity: float = 1.0
    early_pe_percent: float | None = None
    peak_pe_percent: float | None = None
    ser: float | None = None
    ftv: float | None = None


def measure_lesions(
    labels: sitk.Image, phases: Sequence[Phase] = (), *, has_geometry: bool = True
) -> list[LesionMeasures]:
    """Size of every lesion and, with phases, its enhancement.

    Args:
        labels: Lesion labels; 0 is background.
        phases: The pre-contrast phase and post-contrast phases with known times, on the grid of the labels; without
            them only size is measured.
        has_geometry: Whether the voxel spacing is in millimeters; where not, sizes are in pixels.

    Returns:
        Measures of every positive label, in ascending order of the labels.

    Raises:
        InputError: Times are unknown or do not rise, or geometries differ.
    """
    array = voxels_of(labels)
    phases = sorted(phases, key=lambda phase: phase.index)
    enhancement = _Enhancement.of(phases, labels) if len(phases) > 1 else None
    measures = []
    for label, box in enumerate(ndimage.find_objects(array), start=1):
        if box is not None:
            mask = array[box] == label
            values = _size(mask, box, labels)
            if enhancement is not None:
                values |= enhancement.measure(mask, box, float(np.prod(labels.GetSpacing())))
            measures.append(LesionMeasures(label=label, unit="mm" if has_geometry else "px", **values))
    return measures


def _size(mask: Mask, box: tuple[slice, ...], image: sitk.Image) -> dict[str, Any]:
    """Size fields of LesionMeasures for `mask`, cut out of `image` at `box`."""
    spacing_kji = image.GetSpacing()[::-1]
    start = np.array([part.start for part in box])
    center_kji = np.argwhere(mask).mean(axis=0) + start
    surface = surface_points(mask)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    lps = (surface * spacing_kji)[:, ::-1] @ direction.T
    return {
        "voxel_count": int(mask.sum()),
        "volume": float(mask.sum() * np.prod(spacing_kji)),
        "centroid": image.TransformContinuousIndexToPhysicalPoint([float(c) for c in center_kji[::-1]]),
        "diameters": tuple(float(extent) for extent in np.ptp(lps, axis=0)),
        "longest_diameter": longest_diameter(mask, spacing_kji),
        "in_plane_diameter": in_plane_diameter(mask, spacing_kji),
        "axis_ratio": axis_ratio(mask, spacing_kji),
        "solidity": min(1.0, float(mask.sum() * np.prod(spacing_kji) / ConvexHull(surface * spacing_kji).volume)),
    }


def surface_points(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Centers of the outer faces of the voxels of `mask`, index coordinates (n, axes of `mask`)."""
    padded = np.pad(mask, 1)
    points = []
    for axis in range(mask.ndim):
        for step in (-1, 1):
            faces = np.argwhere(padded & ~np.roll(padded, -step, axis=axis)) - 1.0
            faces[:, axis] += step / 2
            points.append(faces)
    return np.concatenate(points)


def longest_diameter(mask: Mask, spacing_kji: Sequence[float]) -> float:
    """Greatest distance in mm between two surface points of `mask` [k, j, i] (maximum Feret diameter)."""
    return _feret(surface_points(mask) * np.asarray(spacing_kji))


def in_plane_diameter(mask: Mask, spacing_kji: Sequence[float]) -> float:
    """Greatest distance in mm between two surface points that lie in one slice k of `mask` [k, j, i]."""
    return max(_feret(surface_points(plane) * np.asarray(spacing_kji[1:])) for plane in mask if plane.any())


def axis_ratio(mask: Mask, spacing_kji: Sequence[float]) -> float:
    """Longest to shortest principal axis of `mask` [k, j, i], from second moments of its voxels (boxes)."""
    points = np.argwhere(mask) * np.asarray(spacing_kji)
    moments = np.cov(points.T, bias=True) + np.diag(np.square(spacing_kji) / 12.0)
    variances = np.linalg.eigvalsh(moments)
    return float(np.sqrt(variances[-1] / variances[0]))


def _feret(points: NDArray[np.float64]) -> float:
    """Greatest distance between two of the points (n, 2 or 3): always two corners of the convex hull."""
    return float(pdist(points[ConvexHull(points).vertices]).max())


@dataclass(frozen=True)
class _Enhancement:
    """Signals [k, j, i] before contrast, early and late; `late` is None where no phase follows the early one."""

    baseline: NDArray[Any]
    early: NDArray[Any]
    late: NDArray[Any] | None

    @classmethod
    def of(cls, phases: Sequence[Phase], labels: sitk.Image) -> _Enhancement:
        """Pick the phases by their times."""
        times = check_times([phase.time_s for phase in phases])
        early, late = early_and_late(times)
        for phase in phases:
            difference = same_geometry(phase.image, labels)
            if difference:
                raise InputError(f"A phase does not lie on the lesions' grid: {difference}")
        baseline, first, *last = (voxels_of(phases[index].image) for index in (0, early, late) if index is not None)
        return cls(baseline, first, last[0] if last else None)

    def measure(self, mask: Mask, box: tuple[slice, ...], voxel_mm3: float) -> dict[str, float | None]:
        """Enhancement fields of LesionMeasures; None where no voxel has a positive baseline."""
        baseline, early = (
            self.baseline[box][mask].astype(np.float64),
            self.early[box][mask].astype(np.float64),
        )
        usable = baseline > 0
        if not usable.any():
            return {}
        pe = percent_enhancement(np.stack([baseline, early], axis=-1)[usable])[:, 1]
        counted = pe >= FTV_PE_PERCENT
        ser = None
        if self.late is not None:
            late = self.late[box][mask].astype(np.float64)
            # With early enhancement, SER >= 0 says just this, and needs no division by a late enhancement
            # near 0.
            counted &= (late >= baseline)[usable]
            ratio = float(enhancement_ratio(baseline.mean(), early.mean(), late.mean()))
            ser = ratio if np.isfinite(ratio) else None
        return {
            "early_pe_percent": 100 * float(early.mean() / baseline.mean() - 1),
            "peak_pe_percent": float(np.percentile(pe, 95)),
            "ser": ser,
            "ftv": float(counted.sum() * voxel_mm3),
        }
