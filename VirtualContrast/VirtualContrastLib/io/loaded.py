"""What every format reader hands to `reading`: one volume and what its header says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from ..events import InputError
from .volumes import quiet_itk

MARKED_SYNTHETIC = "{name} is marked as synthetic data in its header."
MAX_VOXELS = 1_000_000_000
"""Refuse larger volumes (1000 x 1000 x 1000): no breast MRI is near, a damaged header often is."""


@dataclass(frozen=True)
class Loaded:
    """One 3-D scalar volume as read, before the gate.

    Attributes:
        image: The volume.
        files: Files that it was read from.
        format: Name of the file format.
        modality: DICOM's name of the modality, None where unknown.
        has_geometry: Whether the file says where the voxels are.
        warnings: What is odd for any use, in sentences.
        contrast_warnings: What is odd only for a pre-contrast input.
        refusals: Why it can be no pre-contrast input.
        clocks: Seconds of this volume on each clock by its name, most trusted first; two volumes can be compared on a
            clock both have.
        headers: See `study.Source`.
        notes: What of a folder was left out.
        unit: Gray values of two volumes that have it compare after division by it (Philips).
        sequence: Numbers of the scan by name (repetition time, flip angle), as text.
    """

    image: sitk.Image
    files: tuple[Path, ...]
    format: str
    modality: str | None = None
    has_geometry: bool = True
    warnings: tuple[str, ...] = ()
    contrast_warnings: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    clocks: Mapping[str, float] = field(default_factory=dict)
    headers: tuple[Any, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()
    unit: float | None = None
    sequence: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_marked_synthetic(self) -> bool:
        """Whether the file says that the volume is synthetic."""
        return any(text.endswith(MARKED_SYNTHETIC.removeprefix("{name}")) for text in self.warnings)

    def without_voxels(self) -> Loaded:
        """What the header says alone, for one who keeps the voxels in another form."""
        return replace(self, image=sitk.Image())


def check_size(size: tuple[int, ...], name: str) -> None:
    """Raise InputError where a header's size (i, j, k) cannot be a volume; nothing is allocated before
    this.
    """
    if any(n < 1 for n in size):
        raise InputError(f"{name} declares an empty or negative size ({_by(size)}), so its header is damaged.")
    voxels = 1
    for n in size:
        voxels *= n
    if voxels > MAX_VOXELS:
        raise InputError(f"{name} declares {_by(size)} voxels, more than any breast volume; its header is damaged.")


def choose_time_point(index: int | None, count: int, name: str, what: str = "time points") -> int:
    """The time point of a file to read.

    Args:
        index: The N of PATH@N, None where none is given.
        count: The number of time points in the file.
        name: Name of the file, for messages.
        what: What there are several of.

    Returns:
        The index, from 0.

    Raises:
        InputError: A file of several time points is given without @N, or N does not exist.
    """
    if index is None:
        if count > 1:
            raise InputError(f"{name} holds {count} {what}; choose one by writing {name}@0 to {name}@{count - 1}.")
        return 0
    if index >= count:
        held = f"{count} {what} (0 to {count - 1})" if count > 1 else "one volume (@0)"
        raise InputError(f"{name}@{index} does not exist: {name} holds {held}.")
    return index


def read_with_itk(path: Path) -> sitk.Image:
    """The image of a file as SimpleITK reads it, without metadata; InputError where it cannot."""
    try:
        with quiet_itk():
            return without_metadata(sitk.ReadImage(str(path)))
    except RuntimeError as error:
        raise InputError(f"{path.name} is damaged or of a kind that cannot be read.") from error


def without_metadata(image: sitk.Image) -> sitk.Image:
    """The image with all key-value metadata erased: headers may hold names and must not travel on."""
    for key in image.GetMetaDataKeys():
        image.EraseMetaData(key)
    return image


def as_three_d(image: sitk.Image) -> sitk.Image:
    """A 2-D image as a 3-D one of size 1 along k (spacing 1 mm, direction along z); a 3-D image as it is."""
    return sitk.JoinSeries(image) if image.GetDimension() == 2 else image


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in size)
