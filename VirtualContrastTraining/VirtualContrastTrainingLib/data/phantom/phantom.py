"""Puts anatomy, lesions and physics together into one dynamic study with known truth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from .anatomy import PROPERTIES, Anatomy, Grid, Tissue, make_anatomy
from .lesions import LesionShape, Uptake, draw_uptake, place_lesion
from .physics import enhanced_t1_s, spgr_signal, tofts_concentration

CURVE_TYPES = ("I", "II", "III")
_SIGNAL_SCALE = 12000.0  # scanner-like numbers: glandular tissue near 300 before contrast


@dataclass(frozen=True)
class PhantomSettings:
    """Acquisition and difficulty.

    Attributes:
        size_kji: Slices, rows and columns.
        spacing_kji_mm: Distance of voxels along k, j and i, in mm.
        phase_times_s: Seconds after injection of the phases.
        tr_s: Repetition time in seconds.
        flip_deg: Flip angle in degrees.
        snr: Signal of fibroglandular tissue before contrast over the standard deviation of the noise.
        motion_mm: Standard deviation in mm, along each axis, of the shift before each post-contrast phase.
        shading: Size of the slow random variation of the receive sensitivity, as a share of it.
        lesion_radius_mm: Smallest and largest radius of a lesion, in mm.
        lesion_count_weights: Weight of 0, 1, 2, ... lesions in the draw of their number.
        curve_type_times_s: The two times, in seconds after injection, between which a lesion's signal decides its curve
            type; by default the first and the last phase.
    """

    size_kji: tuple[int, int, int] = (40, 120, 192)
    spacing_kji_mm: tuple[float, float, float] = (3.0, 1.6, 1.6)
    phase_times_s: tuple[float, ...] = (90.0, 220.0, 350.0)
    tr_s: float = 0.005
    flip_deg: float = 12.0
    snr: float = 30.0
    motion_mm: float = 0.3
    shading: float = 0.15
    lesion_radius_mm: tuple[float, float] = (5.0, 11.0)
    lesion_count_weights: tuple[float, ...] = (0.1, 0.35, 0.35, 0.2)
    curve_type_times_s: tuple[float, float] | None = None


@dataclass(frozen=True)
class LesionTruth:
    """One lesion as it was built.

    Attributes:
        label: Its number in the label map.
        curve_type: "I", "II" or "III".
        radius_mm: Radius that it was drawn with, in mm.
        pattern: "rim" or "homogeneous".
        uptake: Tofts parameters and native T1.
        volume_mm3: Volume of its voxels in mm3.
        signal: Noise-free mean at pre-contrast and each phase, without shading.
    """

    label: int
    curve_type: str
    radius_mm: float
    pattern: str
    uptake: Uptake
    volume_mm3: float
    signal: tuple[float, ...]


@dataclass
class Phantom:
    """A study and its truth. Arrays are [k, j, i]; the images carry the geometry (axial, LPS).

    Attributes:
        seed: Seed that it was made from.
        settings: Settings that it was made with.
        images: The noisy volumes (int16): pre-contrast, then each phase.
        noise_free: The same without noise and motion (float32).
        labels: The lesions, numbered as in `lesions`.
        tissue: The tissue map.
        lesions: The lesions as they were built.
    """

    seed: int
    settings: PhantomSettings
    images: list[sitk.Image]
    noise_free: list[sitk.Image]
    labels: sitk.Image
    tissue: sitk.Image
    lesions: list[LesionTruth] = field(default_factory=list)

    @property
    def times_s(self) -> tuple[float, ...]:
        """Seconds after injection of every image, 0 for the pre-contrast one."""
        return (0.0, *self.settings.phase_times_s)


@dataclass
class _Scene:
    """What was drawn of a patient before the study is acquired.

    Attributes:
        anatomy: The tissue map.
        shapes: Shape of each lesion.
        uptakes: Uptake of each lesion.
        types: Curve type of each lesion.
        radii_mm: Radius of each lesion in mm.
        arrival_s: Seconds from injection to arrival of the bolus.
    """

    anatomy: Anatomy
    shapes: list[LesionShape]
    uptakes: list[Uptake]
    types: list[str]
    radii_mm: list[float]
    arrival_s: float


def make_phantom(seed: int, settings: PhantomSettings | None = None) -> Phantom:
    """Make the study of `seed`; the same seed and settings give the same voxels."""
    settings = settings or PhantomSettings()
    rng = np.random.default_rng(seed)
    grid = Grid(settings.size_kji, settings.spacing_kji_mm)
    scene = _draw_scene(grid, settings, rng)
    clean = _noise_free_series(scene, grid, settings, rng)
    truths = _lesion_truths(scene, grid, settings)
    noisy = _acquire(clean, grid, settings, rng)

    labels = np.zeros(grid.size_kji, dtype=np.uint8)
    for number, shape in enumerate(scene.shapes, start=1):
        labels[shape.mask] = number
    return Phantom(
        seed=seed,
        settings=settings,
        images=[_image(volume, settings) for volume in noisy],
        noise_free=[_image(volume, settings) for volume in clean],
        labels=_image(labels, settings),
        tissue=_image(scene.anatomy.tissue, settings),
        lesions=truths,
    )


def _draw_scene(grid: Grid, settings: PhantomSettings, rng: np.random.Generator) -> _Scene:
    scene = _Scene(make_anatomy(grid, rng), [], [], [], [], arrival_s=float(rng.uniform(15, 25)))
    weights = np.asarray(settings.lesion_count_weights) / sum(settings.lesion_count_weights)
    taken = np.zeros(grid.size_kji, dtype=bool)
    type_times_s = settings.curve_type_times_s or settings.phase_times_s
    for _ in range(rng.choice(len(weights), p=weights)):
        curve_type = str(rng.choice(CURVE_TYPES))
        radius = float(rng.uniform(*settings.lesion_radius_mm))
        shape = place_lesion(scene.anatomy, grid, curve_type, radius, taken, rng)
        if shape is None:
            continue
        uptake = draw_uptake(curve_type, type_times_s, scene.arrival_s, settings.tr_s, settings.flip_deg, rng)
        taken |= shape.mask
        scene.shapes.append(shape)
        scene.uptakes.append(uptake)
        scene.types.append(curve_type)
        scene.radii_mm.append(radius)
    for shape in scene.shapes:
        scene.anatomy.tissue[shape.mask] = Tissue.LESION
    return scene


def _noise_free_series(
    scene: _Scene, grid: Grid, settings: PhantomSettings, rng: np.random.Generator
) -> list[NDArray[np.float32]]:
    tissue = scene.anatomy.tissue
    t10, density = (np.zeros(grid.size_kji, dtype=np.float32) for _ in range(2))
    for kind, properties in PROPERTIES.items():
        t10[tissue == kind] = properties.t10_s
        density[tissue == kind] = properties.proton_density
    texture = 1 + 0.06 * grid.smooth_noise(rng, 2.5)
    for shape, uptake in zip(scene.shapes, scene.uptakes, strict=True):
        t10[shape.mask] = uptake.t10_s
        density[shape.mask] = PROPERTIES[Tissue.LESION].proton_density
        t10[shape.spicules] = uptake.t10_s
        density[shape.spicules] = np.maximum(density[shape.spicules], 0.6)
        texture = np.where(shape.mask, shape.texture, texture)
    uptake_texture = np.clip(1 + 0.10 * grid.smooth_noise(rng, 3.0), 0.6, 1.4)
    background_uptake = rng.uniform(0.4, 1.8)  # background parenchymal enhancement differs between patients
    shading = _coil_shading(grid, settings, rng)

    series = []
    for time_s in (None, *settings.phase_times_s):
        concentration = np.zeros(grid.size_kji, dtype=np.float32)
        if time_s is not None:
            concentration = _concentration(scene, time_s, background_uptake) * uptake_texture
        signal = spgr_signal(
            enhanced_t1_s(t10, concentration),
            density * texture,
            tr_s=settings.tr_s,
            flip_deg=settings.flip_deg,
        )
        blurred = ndimage.gaussian_filter(signal.astype(np.float32), [0.25, 0.5, 0.5])
        series.append((_SIGNAL_SCALE * blurred * shading).astype(np.float32))
    return series


def _concentration(scene: _Scene, time_s: float, background_uptake: float) -> NDArray[np.float32]:
    tissue = scene.anatomy.tissue
    result = np.zeros(tissue.shape, dtype=np.float32)
    for kind, p in PROPERTIES.items():
        if p.ktrans_per_min or p.vp:
            factor = background_uptake if kind == Tissue.FIBROGLANDULAR else 1.0
            result[tissue == kind] = tofts_concentration(
                time_s, ktrans_per_min=p.ktrans_per_min * factor, ve=p.ve, vp=p.vp, arrival_s=scene.arrival_s
            )[0]
    for shape, u in zip(scene.shapes, scene.uptakes, strict=True):
        value = float(
            tofts_concentration(time_s, ktrans_per_min=u.ktrans_per_min, ve=u.ve, vp=u.vp, arrival_s=scene.arrival_s)[0]
        )
        result[shape.mask] = value * shape.core[shape.mask]
        result[shape.spicules] = np.maximum(result[shape.spicules], 0.4 * value)
    return result


def _coil_shading(grid: Grid, settings: PhantomSettings, rng: np.random.Generator) -> NDArray[np.float32]:
    """Receive sensitivity: brighter near the breast coil in front, with a random slow variation."""
    falloff = np.exp(-np.clip(grid.y - 60, 0, None) / 170)
    slow = 1 + settings.shading * np.tanh(grid.smooth_noise(rng, 60.0))
    return (falloff * slow).astype(np.float32)


def _lesion_truths(scene: _Scene, grid: Grid, settings: PhantomSettings) -> list[LesionTruth]:
    voxel_mm3 = float(np.prod(settings.spacing_kji_mm))
    truths = []
    for number, (shape, uptake) in enumerate(zip(scene.shapes, scene.uptakes, strict=True), start=1):
        times = (1e-3, *settings.phase_times_s)
        concentration = tofts_concentration(
            times, ktrans_per_min=uptake.ktrans_per_min, ve=uptake.ve, vp=uptake.vp, arrival_s=scene.arrival_s
        )
        signal = _SIGNAL_SCALE * spgr_signal(
            enhanced_t1_s(uptake.t10_s, concentration),
            PROPERTIES[Tissue.LESION].proton_density,
            tr_s=settings.tr_s,
            flip_deg=settings.flip_deg,
        )
        truths.append(
            LesionTruth(
                label=number,
                curve_type=scene.types[number - 1],
                radius_mm=scene.radii_mm[number - 1],
                pattern=shape.pattern,
                uptake=uptake,
                volume_mm3=float(shape.mask.sum()) * voxel_mm3,
                signal=tuple(float(s) for s in signal),
            )
        )
    return truths


def _acquire(
    clean: list[NDArray[np.float32]], grid: Grid, settings: PhantomSettings, rng: np.random.Generator
) -> list[NDArray[np.int16]]:
    """Small motion before each post-contrast phase, then Rician noise (magnitude of a noisy complex signal)."""
    reference = _SIGNAL_SCALE * spgr_signal(
        PROPERTIES[Tissue.FIBROGLANDULAR].t10_s,
        PROPERTIES[Tissue.FIBROGLANDULAR].proton_density,
        tr_s=settings.tr_s,
        flip_deg=settings.flip_deg,
    )
    sigma = float(reference) / settings.snr
    acquired = []
    for number, volume in enumerate(clean):
        if number > 0 and settings.motion_mm > 0:
            shift = rng.normal(0, settings.motion_mm, 3) / np.array(settings.spacing_kji_mm)
            volume = ndimage.shift(volume, shift, order=1, mode="nearest")
        real = volume + rng.normal(0, sigma, volume.shape)
        imaginary = rng.normal(0, sigma, volume.shape)
        acquired.append(np.rint(np.hypot(real, imaginary)).astype(np.int16))
    return acquired


def _image(array: NDArray, settings: PhantomSettings) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    spacing = settings.spacing_kji_mm[::-1]
    image.SetSpacing(spacing)
    image.SetOrigin([-(n - 1) / 2 * s for n, s in zip(image.GetSize(), spacing, strict=True)])
    return image
