"""Stored DICOM pixels to gray values, with the whole headers of the same read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from ...events import InputError
from ..volumes import quiet_itk
from ..zero_level import zero_level
from .files import dicom_errors, open_data_set, quiet_pydicom
from .headers import DicomFrame

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def decode(
    frames: Sequence[DicomFrame], name: str, *, inverted: bool = False
) -> tuple[np.ndarray, tuple[Dataset, ...]]:
    """Gray values of frames.

    A gray value is stored value x slope + intercept of its frame: of the stored integer type where all slopes are 1 and
    intercepts 0, else float32. Voxels with the frame's padding value get the zero level of the others. Each file is
    opened once.

    Args:
        frames: The frames in order of k.
        name: Name of the series, for messages.
        inverted: Whether air is bright; padding then gets the largest value.

    Returns:
        The values [k, j, i], and the header of each file, without pixels.

    Raises:
        InputError: Pixels are missing, cut off or compressed in a way that cannot be undone, or a file was replaced
            since its frames were read.
    """
    if not all(np.isfinite((frame.slope, frame.intercept)).all() and frame.slope != 0 for frame in frames):
        raise InputError(f"{name} has a rescale slope or intercept that is 0 or not a number.")
    scaled = any((frame.slope, frame.intercept) != (1.0, 0.0) for frame in frames)
    slices: list[np.ndarray] = [np.empty(0)] * len(frames)
    padded: list[np.ndarray | None] = [None] * len(frames)
    headers = []
    for path in dict.fromkeys(frame.path for frame in frames):
        wanted = [(n, frame) for n, frame in enumerate(frames) if frame.path == path]
        stored_frames, header = _read(path, [f for _, f in wanted])
        headers.append(header)
        for (n, frame), stored in zip(wanted, stored_frames, strict=True):
            if stored.shape != frame.size[::-1]:
                raise InputError(f"{path.name} holds pixels of another size than its header declares.")
            if frame.padding is not None:
                padded[n] = (stored >= frame.padding[0]) & (stored <= frame.padding[1])
            slices[n] = (stored * np.float64(frame.slope) + frame.intercept).astype(np.float32) if scaled else stored
    volume = np.stack(slices)
    if any(mask is not None and mask.any() for mask in padded):
        empty = np.zeros(frames[0].size[::-1], bool)
        _fill(volume, np.stack([empty if mask is None else mask for mask in padded]), inverted)
    return volume, tuple(headers)


def _fill(volume: np.ndarray, padding: np.ndarray, inverted: bool) -> None:
    """Give the voxels in `padding` the value of no signal among the others, in place; nothing where all are padding."""
    image = volume[~padding]
    if image.size:
        volume[padding] = image.max() if inverted else zero_level(image)


def _read(path: Path, frames: Sequence[DicomFrame]) -> tuple[list[np.ndarray], Dataset]:
    """Stored values [j, i] of some frames of one file, and its header."""
    from pydicom.pixels import pixel_array

    stored = None
    try:
        with quiet_pydicom():
            dataset = open_data_set(path)
            uid = str(dataset.get("SOPInstanceUID") or "")
            if "PixelData" in dataset and uid == frames[0].sop_uid and _decodable(dataset):
                stored = [pixel_array(dataset, index=frame.frame or 0) for frame in frames]
    except dicom_errors() as error:
        raise InputError(f"{path.name} has damaged, cut off or undecodable pixels; export it uncompressed.") from error
    if "PixelData" not in dataset:
        raise InputError(f"{path.name} is a DICOM file without pixels; export it again.")
    if uid != frames[0].sop_uid:
        raise InputError(f"{path.name} was replaced by another image while it was read; read it again.")
    if stored is None:
        stored = _stored_by_gdcm(path, frames)
    del dataset.PixelData
    return stored, dataset


def _decodable(dataset: Any) -> bool:
    """True where pydicom can decode the transfer syntax with what is installed."""
    from pydicom.pixels import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    return not syntax.is_compressed or get_decoder(syntax).is_available


def _stored_by_gdcm(path: Path, frames: Sequence[DicomFrame]) -> list[np.ndarray]:
    """Stored values by SimpleITK's GDCM, which knows JPEG lossless and JPEG-LS; single-frame files only."""
    if len(frames) != 1 or frames[0].frame is not None:
        raise InputError(f"{path.name} is compressed in a way that cannot be undone here; export it uncompressed.")
    try:
        with quiet_itk():
            rescaled = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
    except RuntimeError as error:
        raise InputError(f"{path.name} has damaged or undecodable pixels; export it uncompressed.") from error
    values = (rescaled.reshape(rescaled.shape[-2:]).astype(np.float64) - frames[0].intercept) / frames[0].slope
    return [np.rint(values).astype(np.int32)]
