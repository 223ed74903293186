"""Motion correction: real phases brought onto the pre-contrast volume in the breasts.

A cubic B-spline on a grid of a few centimeters maximizes Mattes' mutual information (Mattes et al., IEEE Trans. Med.
Imaging 22 (2003) 120; Rueckert et al., ibid. 18 (1999) 712) over random voxels of the breasts, coarse to fine, on
pixels of about 2 mm. The grid is that coarse so that an enhancing lesion cannot be shrunk to look like the one before
contrast. Outside the breasts the motion fades to none. Whether it helped is judged on voxels other than those that it
was fitted to, and where it did not, the phase stays as it was. The pre-contrast volume never moves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from ..events import Events, InputError, Stage
from ..io.volumes import like, same_geometry
from ..study import Phase
from .breast_region import find_breasts, shrunk

_LEAST_PIXELS = 16
"""Thin volumes keep their slices."""
GRID_MM = 40.0
FADE_MM = 20.0
"""The motion goes from all of it in the breasts to none at this distance from them."""
SAMPLES = 6000
BINS = 32
ITERATIONS = 15
LEAST_GAIN = 0.005
"""Share by which mutual information must grow, or the phase stays as it was."""
_SEED = 2026
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Motion:
    """What was found of one phase.

    Attributes:
        similarity_before: Mutual information (nats) with the pre-contrast volume over the breasts' voxels that the
            fit did not see.
        similarity_after: The same after the correction.
        kept: The corrected phase is used; else the phase as it was, because it was not more similar afterwards.
        median_mm: Median of the motion in the breasts.
        p95_mm: 95th percentile of the motion in the breasts.
    """

    similarity_before: float
    similarity_after: float
    kept: bool
    median_mm: float
    p95_mm: float

    @property
    def sentence(self) -> str:
        """What the report says."""
        numbers = f"mutual information {self.similarity_before:.3f} before, {self.similarity_after:.3f} after"
        if not self.kept:
            return f"left as it was: not more similar ({numbers})"
        return f"moved by {self.median_mm:.1f} mm (median in the breasts; 95 % up to {self.p95_mm:.1f} mm; {numbers})"

    def as_json(self) -> dict[str, Any]:
        """Plain values for manifests."""
        return {name: value if name == "kept" else round(value, 4) for name, value in vars(self).items()}


def register_phases(
    pre: sitk.Image, phases: Sequence[Phase], events: Events | None = None
) -> tuple[list[Phase], list[Motion]]:
    """The real phases without motion against the pre-contrast volume, on its grid, and what was found of each.

    Args:
        pre: Pre-contrast volume; it stays as it is.
        phases: Real phases on its grid.
        events: Receives progress, and warnings of phases that stay as they were.

    Returns:
        The phases in the order given, float32 where they were moved, and one `Motion` each.

    Raises:
        InputError: A phase lies on another grid, the study has fewer than 4 slices, or no breast was found.
    """
    events = events or Events()
    if pre.GetSize()[2] < 4:
        raise InputError("Motion correction needs a volume of 4 slices or more; leave --register out.")
    reference = _Reference.of(pre)
    moved, motions = [], []
    for number, phase in enumerate(phases):
        events.progress(Stage.REGISTER, number, len(phases))
        if difference := same_geometry(phase.image, pre):
            raise InputError(f"Phase {phase.index} does not lie on the pre-contrast grid: {difference}")
        image, motion = reference.register(phase.image)
        if not motion.kept:
            events.warn(f"Motion of the real phase {phase.index} was not corrected: it was {motion.sentence}.")
        moved.append(dataclasses.replace(phase, image=image))
        motions.append(motion)
    return moved, motions


@dataclass(frozen=True)
class _Reference:
    """The fixed side, on the working grid: the pre-contrast volume in the box of the breasts, with their mask.

    `fade` is how much of the motion to apply [k, j, i]; `judged` are the voxels that the fit does not see.
    """

    pre: sitk.Image
    fixed: sitk.Image
    mask: sitk.Image
    fade: NDArray[np.float64]
    judged: Mask

    @classmethod
    def of(cls, pre: sitk.Image) -> _Reference:
        """Find the breasts of `pre`."""
        work = shrunk(pre, least_pixels=_LEAST_PIXELS)
        region = find_breasts(pre).weight() > 0.5
        coarse = sitk.Resample(like(region.astype(np.uint8), pre), work, sitk.Transform(), sitk.sitkNearestNeighbor)
        breast = sitk.GetArrayFromImage(coarse) > 0
        box = _box(breast, work.GetSpacing()[::-1])
        breast = breast[box]
        fixed = work[tuple(slice(part.start, part.stop) for part in reversed(box))]
        distance = ndimage.distance_transform_edt(~breast, sampling=fixed.GetSpacing()[::-1])
        fitted = np.random.default_rng(_SEED).random(breast.shape) < 0.5
        mask = like((breast & fitted).astype(np.uint8), fixed)
        return cls(pre, fixed, mask, np.clip(1 - distance / FADE_MM, 0, 1), breast & ~fitted)

    def register(self, phase: sitk.Image) -> tuple[sitk.Image, Motion]:
        """The phase on the pre-contrast volume, or the phase itself where that did not help."""
        moving = shrunk(phase, least_pixels=_LEAST_PIXELS)
        field = self._field(_fit(self.fixed, self.mask, moving))
        before = self._similarity(sitk.Resample(moving, self.fixed, sitk.Transform(), sitk.sitkBSpline))
        # Of a copy: the transform takes the field away from its image.
        transform = sitk.DisplacementFieldTransform(sitk.Image(field))
        after = self._similarity(sitk.Resample(moving, self.fixed, transform, sitk.sitkBSpline))
        length = np.linalg.norm(sitk.GetArrayViewFromImage(field), axis=-1)[self.judged]
        motion = Motion(
            before, after, after > (1 + LEAST_GAIN) * before, float(np.median(length)), float(np.percentile(length, 95))
        )
        return (_moved(phase, transform) if motion.kept else phase), motion

    def _field(self, transform: sitk.Transform) -> sitk.Image:
        """The motion in mm on the working grid, faded outside the breasts."""
        field = sitk.TransformToDisplacementField(
            transform,
            sitk.sitkVectorFloat64,
            self.fixed.GetSize(),
            self.fixed.GetOrigin(),
            self.fixed.GetSpacing(),
            self.fixed.GetDirection(),
        )
        faded = sitk.GetImageFromArray(sitk.GetArrayViewFromImage(field) * self.fade[..., None], isVector=True)
        faded.CopyInformation(self.fixed)
        return faded

    def _similarity(self, phase: sitk.Image) -> float:
        first, second = (sitk.GetArrayViewFromImage(image)[self.judged] for image in (self.fixed, phase))
        return mutual_information(first, second)


def mutual_information(first: NDArray[Any], second: NDArray[Any], bins: int = BINS) -> float:
    """Mutual information in nats, from a joint histogram between the 0.5th and 99.5th percentiles of both.

    Args:
        first: Values of one image (n,).
        second: Values of the other at the same places (n,).
        bins: Of each side of the histogram.

    Returns:
        0 for independent images, the entropy of the bins for one and the same.
    """
    sides = []
    for values in (first, second):
        low, high = np.percentile(values, [0.5, 99.5])
        place = (np.asarray(values, np.float64) - low) / max(high - low, 1e-12) * bins
        sides.append(np.clip(place, 0, bins - 1).astype(np.intp))
    joint = np.bincount(sides[0] * bins + sides[1], minlength=bins**2).reshape(bins, bins) / len(sides[0])
    alone = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / alone[there])).sum())


def _fit(fixed: sitk.Image, mask: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """The B-splines, coarse then fine, that bring `moving` onto `fixed`, judged within `mask`."""
    found = sitk.CompositeTransform(3)
    extents = [size * step for size, step in zip(fixed.GetSize(), fixed.GetSpacing(), strict=True)]
    for shrink, cell_mm in ((2, 2 * GRID_MM), (1, GRID_MM)):
        spline = sitk.BSplineTransformInitializer(fixed, [max(1, round(extent / cell_mm)) for extent in extents])
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(BINS)
        method.SetMetricFixedMask(mask)
        method.SetMetricSamplingStrategy(method.RANDOM)
        voxels = np.count_nonzero(sitk.GetArrayViewFromImage(mask)) / shrink**3
        method.SetMetricSamplingPercentage(min(1.0, SAMPLES / max(1, voxels)), _SEED)
        method.SetShrinkFactorsPerLevel([shrink])
        method.SetSmoothingSigmasPerLevel([shrink - 1.0])
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsLBFGSB(numberOfIterations=ITERATIONS, maximumNumberOfFunctionEvaluations=2 * ITERATIONS)
        method.SetInitialTransform(spline, inPlace=True)
        method.Execute(fixed, sitk.Resample(moving, fixed, found, sitk.sitkBSpline))
        found.AddTransform(spline)
    return found


def _moved(phase: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """The phase through the motion on its own grid; what comes from beyond its border keeps its value."""
    image = sitk.Cast(phase, sitk.sitkFloat32)
    moved = sitk.Resample(image, image, transform, sitk.sitkBSpline, float("nan"))
    array, own = sitk.GetArrayFromImage(moved), sitk.GetArrayViewFromImage(image)
    # Cubic interpolation swings beyond the values around an edge; the phase's own range bounds it.
    values = np.clip(np.where(np.isfinite(array), array, own), own.min(), own.max())
    return like(values.astype(np.float32), phase)


def _box(breast: Mask, spacing_kji: Sequence[float]) -> tuple[slice, ...]:
    """The breasts' box with the margin in which the motion fades."""
    found = ndimage.find_objects(breast.astype(np.int32))
    if not found:
        raise InputError("No breast was found in the pre-contrast volume; leave --register out.")
    margin = [int(np.ceil(FADE_MM / step)) for step in spacing_kji]
    return tuple(
        slice(max(0, part.start - more), min(size, part.stop + more))
        for part, more, size in zip(found[0], margin, breast.shape, strict=True)
    )
