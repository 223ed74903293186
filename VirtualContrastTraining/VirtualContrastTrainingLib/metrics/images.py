"""Pixels as evaluation needs them: a stack of slices, and whether its values are the file's own 8-bit
ones.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.io.loaded import Loaded
from VirtualContrastLib.io.suffixes import LOSSY_PICTURES, PICTURES, VOLUMES, suffix_of
from VirtualContrastLib.metrics.own_scale import on_own_scale

IMAGES = (*VOLUMES, *PICTURES, *LOSSY_PICTURES)


@dataclass(frozen=True)
class Stack:
    """Slices of one image or volume.

    Attributes:
        pixels: [k, j, i], uint8 when the file holds 8-bit values, float32 otherwise.
        eight_bit: Whether the file holds 8-bit values.
        spacing_mm: Spacing of a volume (k, j, i) in mm; None for pictures, which have no millimeters.
        corners_mm: LPS positions [8, 3] of the corner voxels of a volume, in mm; None for pictures.
        header: What the file of a volume says, without its voxels; None for pictures.
    """

    pixels: np.ndarray
    eight_bit: bool
    spacing_mm: tuple[float, float, float] | None = None
    corners_mm: np.ndarray | None = None
    header: Loaded | None = None

    @property
    def is_volume(self) -> bool:
        """True for a file format that has a third axis."""
        return self.spacing_mm is not None

    def on_own_scale(self) -> Stack:
        """A volume mapped to 0..255 by its own minimum and maximum; a picture as it is, for it has that scale."""
        return replace(self, pixels=on_own_scale(self.pixels), eight_bit=False) if self.is_volume else self

    def lies_on(self, other: Stack) -> bool:
        """True where both cover the same places, to 1 % of the smallest voxel side, or one is a picture."""
        if self.corners_mm is None or other.corners_mm is None or self.spacing_mm is None:
            return True
        apart = np.linalg.norm(self.corners_mm - other.corners_mm, axis=1).max()
        return bool(apart <= 0.01 * min(self.spacing_mm))


def is_picture(path: Path) -> bool:
    """True for PNG, JPEG, BMP and TIFF files, by name."""
    return bool(suffix_of(path, (*PICTURES, *LOSSY_PICTURES)))


def is_image(path: Path) -> bool:
    """True for files that `read_stack` reads, by name; DICOM folders are recognized by `read_stack` alone."""
    return bool(suffix_of(path, IMAGES))


def read_stack(path: Path) -> Stack:
    """Read a picture (one slice) or a volume (all its slices, axial order as stored).

    Raises InputError where the file is missing or cannot be read.
    """
    if not path.exists():
        raise InputError(f"There is no file or folder {path}; check the path.")
    if is_picture(path):
        return _read_picture(path)
    from VirtualContrastLib.io.read import read_checked

    loaded, _ = read_checked(path, None, Events())
    return replace(_stack_of(loaded.image), header=loaded.without_voxels())


def _stack_of(image: sitk.Image) -> Stack:
    array = sitk.GetArrayFromImage(image)
    eight_bit = array.dtype == np.uint8
    i, j, k = image.GetSpacing()
    ends = itertools.product(*((0, side - 1) for side in image.GetSize()))
    corners = np.array([image.TransformIndexToPhysicalPoint(end) for end in ends])
    return Stack(array if eight_bit else array.astype(np.float32), eight_bit, (k, j, i), corners)


def read_mask(path: Path) -> np.ndarray:
    """Read a mask as bool [k, j, i].

    Pictures are cut at 127, as JPEG and resampled masks have gray rims; in volumes everything above 0 counts.
    """
    return mask_of(read_labels(path))


def mask_of(labels: Stack) -> np.ndarray:
    """The voxels of a label map that count, bool [k, j, i]; see `read_mask`."""
    return labels.pixels > (127 if not labels.is_volume and labels.pixels.max() > 1 else 0)


def read_labels(path: Path) -> Stack:
    """Read a label map; unlike an image it may be empty or small. Raises InputError where it cannot be read."""
    if is_picture(path) or not path.exists():
        return read_stack(path)
    from VirtualContrastLib.io.read import load

    labels = _stack_of(load(path).image)
    if not np.isfinite(labels.pixels).all():  # NaN > 0 is False: a damaged mask would be an empty one
        raise InputError(f"{path} holds values that are not numbers (NaN or infinity); repair it or leave it out.")
    return labels


def _read_picture(path: Path) -> Stack:
    """Read one picture as [1, j, i]; colors become luma (0.299 R + 0.587 G + 0.114 B), transparency is
    ignored.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            if file.format == "JPEG":
                file.draft("L", file.size)  # the luma that the file stores, not one computed back from colors
            if file.mode.startswith("I") or file.mode == "F":
                return Stack(np.asarray(file, dtype=np.float32)[None], False)
            color = file.convert("RGB") if file.mode in ("RGBA", "LA", "P", "CMYK", "YCbCr") else file
            return Stack(np.asarray(color.convert("L"), dtype=np.uint8)[None], True)
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(
            f"{path} cannot be read as a picture ({error}); it may be damaged or of another format."
        ) from error
