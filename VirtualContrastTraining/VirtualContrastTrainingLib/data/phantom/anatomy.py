"""The anatomy of the phantom: two breasts hanging from a chest wall, as a map of tissues on the image grid.

Axes are [k, j, i] = [superior, posterior, left]; millimeters are measured from the volume's center in x (left) and
z (superior) and from the anterior edge in y (posterior).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


class Tissue(enum.IntEnum):
    """Labels of the tissue map."""

    AIR = 0
    SKIN = 1
    FAT = 2
    FIBROGLANDULAR = 3
    VESSEL = 4
    MUSCLE = 5
    LUNG = 6
    HEART = 7
    CYST = 8
    LESION = 9


@dataclass(frozen=True)
class TissueProperties:
    """Native T1, proton density and Tofts parameters of a tissue.

    Attributes:
        t10_s: Native T1 in seconds, at about 3 T.
        proton_density: Fat-suppressed proton density, 1 = water.
        ktrans_per_min: Ktrans in 1/min.
        ve: Share of the volume that is extravascular extracellular space.
        vp: Share of the volume that is plasma.
    """

    t10_s: float
    proton_density: float
    ktrans_per_min: float
    ve: float
    vp: float


PROPERTIES: dict[Tissue, TissueProperties] = {
    Tissue.AIR: TissueProperties(1.0, 0.0, 0.0, 0.1, 0.0),
    Tissue.SKIN: TissueProperties(1.0, 0.55, 0.030, 0.30, 0.02),
    Tissue.FAT: TissueProperties(0.38, 0.055, 0.002, 0.10, 0.003),
    Tissue.FIBROGLANDULAR: TissueProperties(1.25, 0.85, 0.007, 0.25, 0.008),
    Tissue.VESSEL: TissueProperties(1.65, 0.80, 0.0, 0.1, 0.50),
    Tissue.MUSCLE: TissueProperties(1.40, 0.75, 0.020, 0.15, 0.01),
    Tissue.LUNG: TissueProperties(1.20, 0.04, 0.010, 0.10, 0.05),
    Tissue.HEART: TissueProperties(1.55, 0.75, 0.150, 0.25, 0.35),
    Tissue.CYST: TissueProperties(4.00, 0.95, 0.0, 0.1, 0.0),
    Tissue.LESION: TissueProperties(2.10, 0.88, 0.0, 0.1, 0.0),  # replaced lesion by lesion
}


@dataclass(frozen=True)
class Grid:
    """Millimeter coordinates of the voxel centers, broadcastable to [k, j, i].

    Attributes:
        size_kji: Slices, rows and columns.
        spacing_kji_mm: Distance of voxels along k, j and i, in mm.
    """

    size_kji: tuple[int, int, int]
    spacing_kji_mm: tuple[float, float, float]

    @property
    def z(self) -> NDArray[np.float64]:
        """Superior coordinate, 0 at the center."""
        return self._centered(0)[:, None, None]

    @property
    def y(self) -> NDArray[np.float64]:
        """Posterior coordinate, 0 at the anterior edge."""
        return ((np.arange(self.size_kji[1], dtype=np.float64) + 0.5) * self.spacing_kji_mm[1])[None, :, None]

    @property
    def x(self) -> NDArray[np.float64]:
        """Left coordinate, 0 at the center."""
        return self._centered(2)[None, None, :]

    def _centered(self, axis: int) -> NDArray[np.float64]:
        size, spacing = self.size_kji[axis], self.spacing_kji_mm[axis]
        return (np.arange(size, dtype=float) - (size - 1) / 2) * spacing

    def smooth_noise(self, rng: np.random.Generator, length_mm: float) -> NDArray[np.float32]:
        """A Gaussian random field of unit variance with correlation length `length_mm`."""
        white = rng.standard_normal(self.size_kji).astype(np.float32)
        field = ndimage.gaussian_filter(white, [length_mm / s for s in self.spacing_kji_mm], mode="wrap")
        return (field / field.std()).astype(np.float32)

    def distance_inside_mm(self, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Distance in mm of each voxel of `mask` to its outside; 0 outside."""
        return ndimage.distance_transform_edt(mask, sampling=self.spacing_kji_mm).astype(np.float32)


@dataclass
class Anatomy:
    """Tissue map [k, j, i] with the masks that lesions are placed by.

    Attributes:
        tissue: Number of the tissue of each voxel.
        breast: The breasts.
        depth_mm: Distance to the surface of the body in mm, 0 outside.
        glandular: Fibroglandular tissue.
    """

    tissue: NDArray[np.uint8]
    breast: NDArray[np.bool_]
    depth_mm: NDArray[np.float32]
    glandular: NDArray[np.bool_]


def make_anatomy(grid: Grid, rng: np.random.Generator) -> Anatomy:
    """Draw one patient: breast size and droop, glandular density, vessels, heart and cysts vary with `rng`."""
    wall_y = rng.uniform(88, 102)
    thorax = _thorax(grid, wall_y)
    breasts = _breasts(grid, rng, wall_y) & ~thorax
    body = breasts | thorax
    body = ndimage.gaussian_filter(body.astype(np.float32), [1.0, 2.0, 2.0]) > 0.5
    breasts = body & ~thorax
    depth = grid.distance_inside_mm(np.pad(body, ((1, 1), (0, 1), (1, 1)), mode="edge"))[1:-1, :-1, 1:-1]

    tissue = np.full(grid.size_kji, Tissue.AIR, dtype=np.uint8)
    tissue[body] = Tissue.FAT
    _fill_thorax(tissue, grid, rng, thorax, wall_y)
    glandular = _glandular_tissue(grid, rng, breasts, depth)
    tissue[glandular] = Tissue.FIBROGLANDULAR
    tissue[_vessels(grid, rng, breasts & (depth > 6), wall_y, thorax)] = Tissue.VESSEL
    tissue[_cysts(grid, rng, glandular, depth)] = Tissue.CYST
    tissue[body & (depth <= rng.uniform(1.8, 2.8)) & ~_cut_edges(grid, thorax)] = Tissue.SKIN
    return Anatomy(tissue, breasts, depth, glandular)


def _thorax(grid: Grid, wall_y: float) -> NDArray[np.bool_]:
    front = wall_y + 95 * (1 - np.sqrt(np.clip(1 - (grid.x / 172) ** 2, 0, 1)))
    return np.broadcast_to(grid.y > front, grid.size_kji).copy()


def _cut_edges(grid: Grid, thorax: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Parts of the thorax more than 15 mm behind its front: the volume's borders cut through it, there is no skin."""
    return grid.distance_inside_mm(thorax) > 15


def _breasts(grid: Grid, rng: np.random.Generator, wall_y: float) -> NDArray[np.bool_]:
    mask = np.zeros(grid.size_kji, dtype=bool)
    height, width = rng.uniform(58, 86), rng.uniform(52, 64)
    for side in (-1, 1):
        x0 = side * (width + rng.uniform(6, 14))
        length = min(height * rng.uniform(0.93, 1.07), wall_y - 6)
        z0 = rng.uniform(-8, 4)
        half_z = rng.uniform(58, 72)
        bulge = np.clip((wall_y + 12 - grid.y) / (length + 12), 0, None)
        radius = ((grid.x - x0) / (width * (1 - 0.12 * bulge))) ** 2 + ((grid.z - z0) / half_z) ** 2
        mask |= (radius + bulge**2.3 < 1) & (grid.y < wall_y + 40)
    return mask


def _fill_thorax(
    tissue: NDArray[np.uint8], grid: Grid, rng: np.random.Generator, thorax: NDArray[np.bool_], wall_y: float
) -> None:
    inside = grid.distance_inside_mm(np.pad(thorax, ((1, 1), (0, 1), (1, 1)), mode="edge"))[1:-1, :-1, 1:-1]
    fat_mm, muscle_mm = rng.uniform(4, 8), rng.uniform(8, 12)
    tissue[thorax & (inside > fat_mm)] = Tissue.MUSCLE
    tissue[inside > fat_mm + muscle_mm] = Tissue.LUNG
    mediastinum = np.abs(grid.x - 5) < 18 + 0.25 * (grid.y - wall_y)
    tissue[(inside > fat_mm + muscle_mm) & mediastinum] = Tissue.MUSCLE
    heart = (
        ((grid.x - rng.uniform(15, 30)) / rng.uniform(44, 54)) ** 2
        + ((grid.y - wall_y - rng.uniform(58, 66)) / rng.uniform(32, 40)) ** 2
        + ((grid.z + rng.uniform(5, 25)) / 60) ** 2
    )
    tissue[(inside > fat_mm + muscle_mm) & (heart < 1)] = Tissue.HEART


def _glandular_tissue(
    grid: Grid, rng: np.random.Generator, breasts: NDArray[np.bool_], depth: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Fibroglandular tissue: the central part of each breast, broken up by fat lobules."""
    density = rng.uniform(-0.9, 0.9)
    lobules = 0.8 * grid.smooth_noise(rng, 4.0) + 0.6 * grid.smooth_noise(rng, 9.0)
    central = np.clip(depth / 14.0, 0, 2.2) - 1.9
    # A floor on the strand thickness keeps partial volume from turning gland into noise.
    tissue = breasts & (depth > 8) & (lobules + 1.1 * central + density > 0)
    return ndimage.binary_opening(tissue, np.ones((1, 2, 2), dtype=bool))


def _vessels(
    grid: Grid, rng: np.random.Generator, allowed: NDArray[np.bool_], wall_y: float, thorax: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Tubes: a few winding through each breast from the chest wall, and the two internal mammary vessels."""
    points: list[NDArray[np.float64]] = []
    steps = np.linspace(0, 1, 160)
    for side in (-1, 1):
        for _ in range(rng.integers(2, 5)):
            start = np.array([rng.uniform(-45, 45), wall_y + 4, side * rng.uniform(25, 110)])
            end = np.array([rng.uniform(-30, 30), rng.uniform(28, 60), side * rng.uniform(45, 85)])
            bend = rng.normal(0, 9, size=(3, 3))
            path = start + steps[:, None] * (end - start)
            for order in range(3):
                path = path + np.sin((order + 1) * np.pi * steps)[:, None] * bend[order] / (order + 1)
            points.append(path)
        z = np.linspace(float(grid.z.min()), float(grid.z.max()), 120)
        mammary = np.stack([z, np.full_like(z, wall_y + 9), np.full_like(z, side * rng.uniform(14, 20))], axis=1)
        points.append(mammary)
    tube = np.zeros(grid.size_kji, dtype=bool)
    for path in points:
        tube |= _tube(grid, path, radius_mm=rng.uniform(1.0, 1.7))
    near_wall = thorax & (grid.distance_inside_mm(thorax) < 16)
    return tube & (allowed | near_wall)


def _tube(grid: Grid, path_zyx_mm: NDArray[np.float64], radius_mm: float) -> NDArray[np.bool_]:
    seeds = np.ones(grid.size_kji, dtype=bool)
    index = _to_index(grid, path_zyx_mm)
    inside = np.all((index >= 0) & (index < grid.size_kji), axis=1)
    seeds[tuple(index[inside].T)] = False
    if seeds.all():
        return ~seeds
    low = np.maximum(index[inside].min(axis=0) - 3, 0)
    high = index[inside].max(axis=0) + 4
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    mask = np.zeros(grid.size_kji, dtype=bool)
    mask[box] = ndimage.distance_transform_edt(seeds[box], sampling=grid.spacing_kji_mm) <= radius_mm
    return mask


def _to_index(grid: Grid, points_zyx_mm: NDArray[np.float64]) -> NDArray[np.int_]:
    origin = np.array([grid.z.min(), grid.y.min(), grid.x.min()])
    return np.rint((points_zyx_mm - origin) / np.array(grid.spacing_kji_mm)).astype(int)


def _cysts(
    grid: Grid, rng: np.random.Generator, glandular: NDArray[np.bool_], depth: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Benign look-alikes: round, dark before contrast, never enhancing."""
    mask = np.zeros(grid.size_kji, dtype=bool)
    candidates = np.argwhere(glandular & (depth > 12))
    for _ in range(rng.integers(0, 4) if len(candidates) else 0):
        center = candidates[rng.integers(len(candidates))] * np.array(grid.spacing_kji_mm)
        radius = rng.uniform(3.0, 6.0)
        offsets = [
            (np.arange(n) * s - c) ** 2 for n, s, c in zip(grid.size_kji, grid.spacing_kji_mm, center, strict=True)
        ]
        mask |= offsets[0][:, None, None] + offsets[1][None, :, None] + offsets[2][None, None, :] < radius**2
    return mask
