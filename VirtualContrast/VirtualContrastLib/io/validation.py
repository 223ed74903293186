"""The gate: what cannot be used is refused in one sentence, what is only odd is warned of."""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk

from ..events import Events, InputError
from ..study import Source
from .formats.picture import PICTURE_FORMATS
from .zero_level import zero_level

MIN_SPACING_MM = 0.05
"""Full-field mammography is the finest grid in use, at 0.05 to 0.1 mm."""
MAX_SPACING_MM = 50.0
"""Coarser than any MR slice; beyond it the unit is wrong."""
MAX_VALUE = 1e12
"""Larger numbers are no signal, and their squares overflow single precision in a network."""
MIN_RANGE = 1e-6
"""Networks take a smaller difference between darkest and brightest voxel for none."""
MIN_IN_PLANE = 16
FEW_SLICES = 8
MODALITIES = ("MR", "MG")
_MISMATCH = {
    "MR": "{name} is a mammogram (MG) and the model reads breast MRI; give MR, or a mammography model with --model.",
    "MG": "{name} is MR and the model reads low-energy mammograms; give a mammogram, or an MRI model with --model.",
}
_ORTHONORMAL_TOLERANCE = 1e-3
_NORMALIZED_TOLERANCE = 0.05


def check_volume(
    image: sitk.Image, source: Source, *, expected: str | None = None, events: Events | None = None
) -> None:
    """Check that an image can be a breast volume; warn where it is merely odd.

    Refused: a modality other than MR or MG, or than the expected one where both are known, not 3-D (or one slice; for
    "MG" more than one), several or complex values per voxel, fewer than 16 voxels per side in plane, spacings outside
    0.05 to 50 mm, axes not at right angles, NaN or infinite values, one constant value, values beyond 1e12 or all
    within 1e-6. Warned of: 0..255 integers, few slices, unknown modality.

    Args:
        image: The image.
        source: The files it came from, with the modality.
        expected: Modality that the model reads, "MR" or "MG"; None takes both.
        events: Where warnings go.

    Raises:
        InputError: It is refused.
    """
    name = _name(source)
    if expected is not None:
        _check_expected(image, source, name, expected)
    _check_kind(image, source, name)
    _check_geometry(image, name)
    low, high, whole = _value_range(image, name)
    if low == high:
        raise InputError(f"{name} has the same value ({low:g}) in every voxel, so there is nothing to work on.")
    if max(-low, high) > MAX_VALUE or high - low < MIN_RANGE:
        raise InputError(f"{name} has values from {low:g} to {high:g}, beyond any unit of an image; scale them first.")
    shifted = _shifted(image, name, whole) if low < 0 and expected != "MG" else []
    if events is None:
        return
    odd = _oddities_of_mammogram(source) if expected == "MG" else _oddities(image, source, name, low, high, whole)
    for message in (*shifted, *odd):
        events.warn(message)


def _name(source: Source) -> str:
    if not source.files:
        return "The volume"
    first = source.files[0]
    return first.parent.name if source.format == "dicom" and len(source.files) > 1 else first.name


def _check_expected(image: sitk.Image, source: Source, name: str, expected: str) -> None:
    if source.modality in MODALITIES and source.modality != expected:
        raise InputError(_MISMATCH[expected].format(name=name))
    if expected == "MG" and image.GetDimension() == 3 and image.GetSize()[2] != 1:
        raise InputError(f"{name} has {image.GetSize()[2]} slices; a mammogram is one image, so give a single one.")


def _check_kind(image: sitk.Image, source: Source, name: str) -> None:
    if source.modality is not None and source.modality not in MODALITIES:
        raise InputError(f"{name} has the modality {source.modality}; give breast MR or mammography (MG).")
    if image.GetDimension() != 3:
        raise InputError(f"{name} has {image.GetDimension()} dimensions; give one 3-D volume.")
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{name} has several values per voxel (color or vectors); give one gray value per voxel.")
    if image.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise InputError(f"{name} holds complex numbers; give the magnitude image.")


def _check_geometry(image: sitk.Image, name: str) -> None:
    size, spacing = image.GetSize(), image.GetSpacing()
    if min(size[:2]) < MIN_IN_PLANE:
        raise InputError(
            f"{name} has {size[0]} x {size[1]} voxels in plane; at least {MIN_IN_PLANE} per side are needed."
        )
    if not all(math.isfinite(s) and MIN_SPACING_MM <= s <= MAX_SPACING_MM for s in spacing):
        shown = " x ".join(f"{s:g}" for s in spacing)
        raise InputError(
            f"{name} has a voxel spacing of {shown} mm; "
            f"between {MIN_SPACING_MM:g} and {MAX_SPACING_MM:g} mm is plausible."
        )
    if not np.isfinite(image.GetOrigin()).all():
        raise InputError(f"{name} has an origin that is not a number, so its place is unknown.")
    direction = np.reshape(image.GetDirection(), (3, 3))
    if not np.allclose(direction.T @ direction, np.eye(3), atol=_ORTHONORMAL_TOLERANCE):  # NaN fails too
        raise InputError(f"{name} has axes that are not at right angles; resample it to a regular grid.")


def _value_range(image: sitk.Image, name: str) -> tuple[float, float, bool]:
    """Smallest and largest value and whether all are whole numbers; slice by slice, to hold little memory."""
    array = sitk.GetArrayViewFromImage(image)
    floating = np.issubdtype(array.dtype, np.floating)
    low, high, whole = math.inf, -math.inf, True
    for slice_ in array:
        if floating and not np.isfinite(slice_).all():
            raise InputError(f"{name} holds voxels that are NaN or infinite; repair or mask them first.")
        low, high = min(low, float(slice_.min())), max(high, float(slice_.max()))
        whole = whole and (not floating or bool((slice_ == np.rint(slice_)).all()))
    return low, high, whole


def _shifted(image: sitk.Image, name: str, whole: bool) -> list[str]:
    """Warnings of a volume with negative values that are more than padding; InputError where no tissue is above 0."""
    values = sitk.GetArrayViewFromImage(image)
    if np.percentile(values, 99) <= 0:
        raise InputError(
            f"{name} has no gray value above 0 in its tissue, so percent enhancement has no meaning; "
            "give the magnitude image as the scanner wrote it."
        )
    if not whole and (_is_z_score(values) or _is_z_score(values[values != 0])):
        return [
            f"{name} is normalized (mean 0, standard deviation 1): percent enhancement and curve types mean nothing in "
            "it; give the original gray values."
        ]
    level = zero_level(values)
    if level == 0:
        return []
    return [
        f"{name} has many negative gray values: {level:g} was taken as the level of air. Percent enhancement is off by "
        "that shift; give the gray values as the scanner wrote them."
    ]


def _is_z_score(values: np.ndarray) -> bool:
    if not values.size:
        return False
    mean, sd = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    return abs(mean) < _NORMALIZED_TOLERANCE and abs(sd - 1.0) < _NORMALIZED_TOLERANCE


def _oddities(image: sitk.Image, source: Source, name: str, low: float, high: float, whole: bool) -> list[str]:
    found = []
    if whole and low >= 0 and high <= 255:
        found.append(
            f"{name} holds whole numbers from 0 to 255, like an 8-bit picture; original gray values are better."
        )
    if source.modality != "MG" and source.format not in PICTURE_FORMATS and image.GetSize()[2] < FEW_SLICES:
        found.append(f"{name} has only {image.GetSize()[2]} slice(s); a breast volume has many more.")
    if source.modality is None:
        found.append(
            "The file format does not record the modality: make sure that it is fat-suppressed T1-weighted breast MR."
        )
    return found


def _oddities_of_mammogram(source: Source) -> list[str]:
    if source.modality is not None:
        return []
    return ["The file format does not record the modality: make sure that it is a low-energy mammogram."]
