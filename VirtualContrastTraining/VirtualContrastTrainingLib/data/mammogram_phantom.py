"""Simulated pairs of low-energy and iodine-enhanced mammograms: a compressed breast, masses, and their uptake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from .mammograms import LOW_ENERGY, RECOMBINED

Float = NDArray[np.float64]
_BACKGROUND, _FAT, _GLAND = 200.0, 1950.0, 650.0
_IODINE_BACKGROUND, _IODINE_GLAND, _IODINE_MASS = 1750.0, 60.0, 420.0


def phantom_pair(seed: int, size: tuple[int, int] = (256, 160), pixel_mm: float = 1.0) -> tuple[sitk.Image, sitk.Image]:
    """Simulate a low-energy and a recombined mammogram; the same for the same seed.

    The low-energy image adds fat, a smooth random gland and one to three masses, which are a little denser than gland;
    the recombined one shows faint uptake of the gland and strong uptake of the masses. Both have quantum noise. Gray
    values are near those that the published windows (1800-2900, 1700-2400) are made for.

    Args:
        seed: Draws gland, masses and noise.
        size: Rows and columns.
        pixel_mm: Pixel size in mm.

    Returns:
        Low-energy and recombined image, int16, of size 1 along k.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(size, dtype=float)
    height, width = size
    inside = ((rows - height / 2) / (0.45 * height)) ** 2 + ((columns - width) / (0.9 * width)) ** 2 < 1
    thickness = np.clip(ndimage.distance_transform_edt(inside) / (0.08 * width), 0, 1)
    gland = _smooth_noise(size, 0.05 * width, rng).clip(0) * thickness
    masses = np.zeros(size)
    for _ in range(rng.integers(1, 4)):
        row, column = height * rng.uniform(0.3, 0.7), width * rng.uniform(0.45, 0.85)
        radius = width * rng.uniform(0.03, 0.07)
        masses += np.exp(-((((rows - row) ** 2 + (columns - column) ** 2) / (2 * radius**2)) ** 2))
    low = np.where(inside, _FAT * (0.6 + 0.4 * thickness) + _GLAND * (gland / 2 + 0.5 * masses), _BACKGROUND)
    high = _IODINE_BACKGROUND + inside * (_IODINE_GLAND * gland + _IODINE_MASS * masses)
    return _image(low + rng.normal(0, 8, size), pixel_mm), _image(high + rng.normal(0, 8, size), pixel_mm)


def write_phantom_pair(seed: int, folder: Path, size: tuple[int, int] = (256, 160), pixel_mm: float = 1.0) -> Path:
    """Write one simulated pair as a prepared mammogram.

    Args:
        seed: Draws the pair.
        folder: Folder of the pair.
        size: Rows and columns.
        pixel_mm: Pixel size in mm.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for image, name in zip(phantom_pair(seed, size, pixel_mm), (LOW_ENERGY, RECOMBINED), strict=True):
        sitk.WriteImage(image, str(folder / name), useCompression=True)
    content = {
        "kind": "mammogram",
        "note": "Simulated contrast-enhanced mammogram; no patient data.",
        "seed": seed,
        "images": [LOW_ENERGY, RECOMBINED],
        "has_geometry": True,
    }
    (folder / "case.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    return folder


def _smooth_noise(size: tuple[int, int], sigma: float, rng: np.random.Generator) -> Float:
    """Gaussian random field of mean 0 and standard deviation 1."""
    field = ndimage.gaussian_filter(rng.normal(size=size), sigma)
    return (field - field.mean()) / field.std()


def _image(values: Float, pixel_mm: float) -> sitk.Image:
    image = sitk.GetImageFromArray(np.rint(values).astype(np.int16)[np.newaxis])
    image.SetSpacing((pixel_mm, pixel_mm, 1.0))
    return image
