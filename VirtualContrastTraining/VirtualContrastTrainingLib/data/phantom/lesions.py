"""Lesions of the phantom: shape, uptake and the imperfect sign that each carries before contrast.

The three kinetic types differ in Tofts parameters, and, with overlap, in what can be seen before contrast: margin,
native T1 and inner texture. That link is an assumption made so that the task is learnable; it is not a claim about
patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .anatomy import Anatomy, Grid
from .physics import enhanced_t1_s, spgr_signal, tofts_concentration

LATE_CHANGE_MARGIN = {"I": (0.14, np.inf), "II": (-0.07, 0.07), "III": (-np.inf, -0.14)}
"""Allowed relative signal change from the first to the last phase, kept clear of the usual limits of +-10 %."""

_UPTAKE_RANGES = {
    # Ktrans 1/min, ve, vp
    "I": ((0.035, 0.08), (0.50, 0.70), (0.005, 0.02)),
    "II": ((0.10, 0.20), (0.32, 0.48), (0.01, 0.03)),
    "III": ((0.28, 0.70), (0.22, 0.36), (0.02, 0.05)),
}
_T10_S = {"I": (1.75, 0.06), "II": (2.10, 0.07), "III": (2.50, 0.08)}  # mean, standard deviation
_MARGIN_ROUGHNESS = {"I": 0.04, "II": 0.13, "III": 0.22}
_RIM_PROBABILITY = {"I": 0.0, "II": 0.15, "III": 0.45}


@dataclass(frozen=True)
class Uptake:
    """Tofts parameters and native T1 of a lesion.

    Attributes:
        ktrans_per_min: Ktrans in 1/min.
        ve: Share of the volume that is extravascular extracellular space.
        vp: Share of the volume that is plasma.
        t10_s: Native T1 in seconds.
    """

    ktrans_per_min: float
    ve: float
    vp: float
    t10_s: float


@dataclass
class LesionShape:
    """Where a lesion is, on the whole grid [k, j, i], and how its inside varies.

    Attributes:
        mask: The lesion.
        spicules: Thin strands outside `mask` that carry part of the lesion's signal.
        core: Factor on the uptake (1 = full, lower in a necrotic center).
        texture: Factor on the pre-contrast signal.
        pattern: "rim" or "homogeneous".
    """

    mask: NDArray[np.bool_]
    spicules: NDArray[np.bool_]
    core: NDArray[np.float32]
    texture: NDArray[np.float32]
    pattern: str


def draw_uptake(
    curve_type: str,
    times_s: tuple[float, ...],
    arrival_s: float,
    tr_s: float,
    flip_deg: float,
    rng: np.random.Generator,
) -> Uptake:
    """Draw pharmacokinetic parameters whose noise-free signal follows a curve type from first to last time.

    Args:
        curve_type: "I", "II" or "III".
        times_s: Seconds after injection of the phases.
        arrival_s: Seconds from injection to arrival of the bolus.
        tr_s: Repetition time in seconds.
        flip_deg: Flip angle in degrees.
        rng: Draws the parameters.

    Returns:
        The parameters.

    Raises:
        ValueError: A thousand draws give no such curve.
    """
    low, high = LATE_CHANGE_MARGIN[curve_type]
    for _ in range(1000):
        ktrans, ve, vp = (rng.uniform(a, b) for a, b in _UPTAKE_RANGES[curve_type])
        t10 = float(np.clip(rng.normal(*_T10_S[curve_type]), 1.5, 2.8))
        concentration = tofts_concentration(times_s, ktrans_per_min=ktrans, ve=ve, vp=vp, arrival_s=arrival_s)
        signal = spgr_signal(enhanced_t1_s(t10, concentration), 1.0, tr_s=tr_s, flip_deg=flip_deg)
        if low < signal[-1] / signal[0] - 1 < high:
            return Uptake(float(ktrans), float(ve), float(vp), t10)
    raise ValueError(f"No uptake of type {curve_type} exists for phases at {times_s} s after injection.")


def place_lesion(
    anatomy: Anatomy,
    grid: Grid,
    curve_type: str,
    radius_mm: float,
    taken: NDArray[np.bool_],
    rng: np.random.Generator,
) -> LesionShape | None:
    """Put a lesion into a breast, clear of skin and of other lesions.

    Args:
        anatomy: The breasts.
        grid: Grid of the volume.
        curve_type: "I", "II" or "III".
        radius_mm: About its radius, in mm.
        taken: Voxels [k, j, i] of other lesions.
        rng: Draws place and shape.

    Returns:
        The lesion, or None where there is no room.
    """
    allowed = anatomy.breast & (anatomy.depth_mm > radius_mm + 5)
    allowed[: round(radius_mm / grid.spacing_kji_mm[0]) + 1] = False
    allowed[-round(radius_mm / grid.spacing_kji_mm[0]) - 1 :] = False
    if taken.any():
        away = ndimage.distance_transform_edt(~taken, sampling=grid.spacing_kji_mm)
        allowed &= away > radius_mm + 10
    preferred = allowed & ndimage.binary_dilation(anatomy.glandular, iterations=2)
    candidates = np.argwhere(preferred if preferred.any() and rng.random() < 0.85 else allowed)
    if not len(candidates):
        return None
    center = candidates[rng.integers(len(candidates))]
    return _grow(grid, center, curve_type, radius_mm, rng)


def _grow(
    grid: Grid, center: NDArray[np.int_], curve_type: str, radius_mm: float, rng: np.random.Generator
) -> LesionShape:
    reach = [int(np.ceil(2.2 * radius_mm / s)) for s in grid.spacing_kji_mm]
    box = tuple(slice(max(c - r, 0), min(c + r + 1, n)) for c, r, n in zip(center, reach, grid.size_kji, strict=True))
    axes = [(np.arange(b.start, b.stop) - c) * s for b, c, s in zip(box, center, grid.spacing_kji_mm, strict=True)]
    offset = np.stack(np.meshgrid(*axes, indexing="ij"))
    stretch = np.array([rng.uniform(0.8, 1.2) for _ in range(3)])[:, None, None, None]
    distance = np.sqrt(((offset / stretch) ** 2).sum(axis=0)) / radius_mm
    direction = offset / np.maximum(np.sqrt((offset**2).sum(axis=0)), 1e-3)

    local = _radius_by_direction(direction, _MARGIN_ROUGHNESS[curve_type], rng)
    relative = distance / local
    mask = _one_component(relative < 1)
    spicules = _spicules(direction, relative, mask, rng) if curve_type == "III" else np.zeros_like(mask)
    rim = rng.random() < _RIM_PROBABILITY[curve_type] and radius_mm > 6
    core = np.ones(mask.shape, dtype=np.float32)
    if rim:
        core[relative < 0.55] = 0.35
    texture = _texture(offset, relative, curve_type, rng)
    return LesionShape(
        mask=_on_grid(mask, box, grid, 0),
        spicules=_on_grid(spicules, box, grid, 0),
        core=_on_grid(core, box, grid, 1),
        texture=_on_grid(texture, box, grid, 1),
        pattern="rim" if rim else "homogeneous",
    )


def _radius_by_direction(
    direction: NDArray[np.float64], roughness: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """A star-shaped boundary: a few random cosine lobes over the sphere; star-shaped means one piece."""
    radius = np.ones(direction.shape[1:])
    for order in (2, 3, 4, 5):
        axis = rng.standard_normal(3)
        axis /= np.linalg.norm(axis)
        angle = np.arccos(np.clip(np.tensordot(axis, direction, 1), -1, 1))
        radius += roughness * rng.uniform(0.4, 1.0) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    return np.clip(radius, 0.55, 1.6)


def _spicules(
    direction: NDArray[np.float64],
    relative: NDArray[np.float64],
    mask: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    strands = np.zeros(mask.shape, dtype=bool)
    for _ in range(rng.integers(9, 15)):
        axis = rng.standard_normal(3) * np.array([0.5, 1.0, 1.0])  # mostly in plane: slices are thick
        axis /= np.linalg.norm(axis)
        narrow = np.tensordot(axis, direction, 1) > np.cos(np.deg2rad(11) / np.maximum(relative, 1))
        strands |= narrow & (relative < rng.uniform(1.4, 1.9))
    return strands & ~mask


def _texture(
    offset: NDArray[np.float64], relative: NDArray[np.float64], curve_type: str, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Multiplies the native signal: dark septa in type I, none in II, a slightly brighter rim in III."""
    texture = np.ones(relative.shape)
    if curve_type == "I":
        axis = rng.standard_normal(3) * np.array([0.3, 1.0, 1.0])
        wave = np.cos(2 * np.pi * np.tensordot(axis / np.linalg.norm(axis), offset, 1) / 5.5)
        texture -= 0.30 * (wave > 0.55)
    elif curve_type == "III":
        texture += 0.18 * ((relative > 0.72) & (relative < 1.0))
    return texture.astype(np.float32)


def _one_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask, np.ones((3, 3, 3)))
    if count <= 1:
        return mask
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


def _on_grid(part: NDArray, box: tuple[slice, ...], grid: Grid, fill: float) -> NDArray:
    whole = np.full(grid.size_kji, fill, dtype=part.dtype)
    whole[box] = part
    return whole
