"""Arithmetic-free handling of volumes: arrays, geometry, writing and hashing."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..events import InputError, VirtualContrastError
from .suffixes import VOLUMES, suffix_of

SYNTHETIC_KEY, SYNTHETIC_COMMENT = "VirtualContrast", "SYNTHETIC - research only"
_GEOMETRY_TOLERANCE = 0.01
"""Two volumes are at the same place when no corner is further apart than this part of the smallest voxel
side.
"""


@dataclass
class _Quiet:
    """How many blocks keep ITK quiet now, and what its display was before the first of them."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    blocks: int = 0
    before: bool = True


_quiet = _Quiet()


@contextmanager
def quiet_itk() -> Iterator[None]:
    """Keep ITK's warnings off standard error inside the block; errors still come as RuntimeError.

    The display is one for all threads: it comes back when the last block ends.
    """
    with _quiet.lock:
        if not _quiet.blocks:
            _quiet.before = sitk.ProcessObject.GetGlobalWarningDisplay()
            sitk.ProcessObject.SetGlobalWarningDisplay(False)
        _quiet.blocks += 1
    try:
        yield
    finally:
        with _quiet.lock:
            _quiet.blocks -= 1
            if not _quiet.blocks:
                sitk.ProcessObject.SetGlobalWarningDisplay(_quiet.before)


def to_array(image: sitk.Image) -> np.ndarray:
    """Voxels as a new float32 array [k, j, i], in the units of the image."""
    return sitk.GetArrayFromImage(image).astype(np.float32, copy=False)


class _Voxels:
    """Lends an image's voxels to numpy, and keeps the image as long as an array looks at them."""

    def __init__(self, image: sitk.Image, *, writable: bool = False) -> None:
        self.image = image
        view = sitk.GetArrayViewFromImage(image)
        self.__array_interface__ = view.__array_interface__ | {"data": (view.ctypes.data, not writable)}


def voxels_of(image: sitk.Image) -> np.ndarray:
    """The voxels of an image [k, j, i], neither copied nor to be changed.

    They stay valid without the image, which SimpleITK's own views do not, but not where the image is changed.
    """
    return np.asarray(_Voxels(image))


def like(array: np.ndarray, reference: sitk.Image) -> sitk.Image:
    """A scalar image of `array` [k, j, i] with exactly the size, spacing, origin and direction of
    `reference`.

    The data type is kept; bool becomes uint8 and float16 float32, which SimpleITK lacks. Raises ValueError
    where the sizes differ.
    """
    expected = reference.GetSize()[::-1]
    if array.shape != expected:
        raise ValueError(f"array [k, j, i] is {array.shape}, the reference image {expected}")
    known = {np.dtype(bool): np.uint8, np.dtype(np.float16): np.float32}.get(array.dtype, array.dtype)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array, dtype=known), isVector=False)
    image.SetSpacing(reference.GetSpacing())
    image.SetOrigin(reference.GetOrigin())
    image.SetDirection(reference.GetDirection())
    return image


def blank(reference: sitk.Image, pixels: int) -> tuple[sitk.Image, np.ndarray]:
    """An image of zeros on the grid of `reference`, and its voxels [k, j, i] to be filled in before it is used.

    Filling them spares the copy that `like` takes of an array.

    Args:
        reference: Its size, spacing, origin and direction are taken.
        pixels: SimpleITK's type of the voxels.
    """
    image = sitk.Image(reference.GetSize(), pixels)
    image.SetSpacing(reference.GetSpacing())
    image.SetOrigin(reference.GetOrigin())
    image.SetDirection(reference.GetDirection())
    return image, np.asarray(_Voxels(image, writable=True))


def affine_of(image: sitk.Image) -> np.ndarray:
    """4 x 4 matrix from voxel index (i, j, k, 1) to LPS millimeters."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return affine


def corner_distance(a: np.ndarray, b: np.ndarray, size: Sequence[int]) -> float:
    """Largest distance between the corner voxels of two grids.

    Args:
        a: Index-to-world matrix (4 x 4), in mm.
        b: The other matrix.
        size: Size (i, j, k) of both.

    Returns:
        The distance in mm.
    """
    corners = np.array([(*corner, 1.0) for corner in product(*[(0, n - 1 if n > 1 else 1) for n in size])])
    return float(np.linalg.norm(corners @ (a - b).T, axis=1).max())


def same_geometry(a: sitk.Image, b: sitk.Image) -> str:
    """'' where two 3-D images cover the same voxels in the world, else one sentence that says how they
    differ.

    Corner voxels may lie apart by 1 % of the smallest voxel side, which is far above the rounding of a
    float32 header (NIfTI) and far below what a registration would have to repair.
    """
    if a.GetSize() != b.GetSize():
        return f"The sizes differ: {_times(a.GetSize())} and {_times(b.GetSize())} voxels."
    limit = _GEOMETRY_TOLERANCE * min(*a.GetSpacing(), *b.GetSpacing())
    distance = corner_distance(affine_of(a), affine_of(b), a.GetSize())
    if distance <= limit:
        return ""
    if not np.allclose(a.GetSpacing(), b.GetSpacing(), rtol=1e-3):
        return f"The voxel spacings differ: {_times(a.GetSpacing())} and {_times(b.GetSpacing())} mm."
    if not np.allclose(a.GetDirection(), b.GetDirection(), atol=1e-3):
        return "The orientations (direction cosines) differ."
    return f"The volumes lie at different places, up to {distance:.3g} mm apart."


def _times(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)


@contextmanager
def _noted(image: sitk.Image, key: str, text: str | None) -> Iterator[None]:
    """The image with a note inside the block, None for none: set on itself, as a copy would take its memory again."""
    before = image.GetMetaData(key) if image.HasMetaDataKey(key) else None
    if text is not None:
        image.SetMetaData(key, text)
    try:
        yield
    finally:
        if before is not None:
            image.SetMetaData(key, before)
        elif text is not None:
            image.EraseMetaData(key)


def write(image: sitk.Image, path: Path, *, comment: str | None = None) -> None:
    """Write a volume as NRRD, NIfTI or MetaImage by the suffix; NRRD, MetaImage and .nii.gz are compressed.

    NRRD and MetaImage keep voxels bit for bit and geometry to the last place or two of double precision; a NIfTI header
    has single precision, so spacing, origin and direction come back rounded to about 1e-7 of their size.

    Args:
        image: The volume; while it is written no other thread may look at it.
        path: The file: .nrrd, .nhdr, .nii, .nii.gz, .mha or .mhd.
        comment: Becomes the NRRD or MetaImage field `VirtualContrast` and the NIfTI field `descrip` (79 characters).

    Raises:
        InputError: The suffix is another.
        VirtualContrastError: The file cannot be written.
    """
    suffix = suffix_of(path)
    if not suffix:
        raise InputError(f"{path.name} cannot be written: use one of {', '.join(VOLUMES)}.")
    try:
        with quiet_itk(), _noted(image, "ITK_FileNotes" if suffix.startswith(".nii") else SYNTHETIC_KEY, comment):
            sitk.WriteImage(image, str(path), useCompression=suffix != ".nii")
    except RuntimeError as error:
        raise VirtualContrastError(
            f"{path.name} could not be written; check that the folder exists, is writable and has space left."
        ) from error
