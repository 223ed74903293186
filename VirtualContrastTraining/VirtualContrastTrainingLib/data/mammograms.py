"""Contrast-enhanced mammograms as pairs of a low-energy and a recombined (iodine-enhanced) image.

Three layouts are known: names that differ in `_DM_` and `_CM_` (CDD-CESM: P1_L_DM_MLO.jpg, P1_L_CM_MLO.jpg); folders
`low_energy` and `recombined` with equal names; and pictures whose left half is the low-energy image in red and whose
right half is the recombined one in green.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.loaded import as_three_d, read_with_itk
from VirtualContrastLib.io.read import load
from VirtualContrastLib.io.suffixes import DICOM, LOSSY_PICTURES, PICTURES, VOLUMES, suffix_of

from .prepared import PreparedCase

LOW_ENERGY, RECOMBINED = "low_energy.nrrd", "recombined.nrrd"
_PICTURES = (*PICTURES, *LOSSY_PICTURES)
_LEAK = 8
"""Gray levels by which a half of a two-color picture may differ from 0 in the color that is not its own."""


@dataclass(frozen=True)
class MammogramPair:
    """One view to prepare.

    Attributes:
        case: Name of the case.
        folder: Folder of its files.
        low_energy: The low-energy image, or the picture that holds both; None where it is missing.
        recombined: The recombined image; None where it is missing or `combined`.
        combined: Whether both images are halves of the picture `low_energy`.
        pixel_spacing_mm: Side of a pixel in mm, where the files do not say it.
        kind: Kind of source in `case.json`.
    """

    case: str
    folder: Path
    low_energy: Path | None
    recombined: Path | None
    combined: bool = False
    pixel_spacing_mm: float | None = None
    kind: str = "mammogram"

    @property
    def patient(self) -> str:
        """Id that splits go by: the name up to its first underscore (P10 of P10_L_CC)."""
        return self.case.partition("_")[0]

    def files(self) -> list[Path]:
        """The one or two files of the pair."""
        return [path for path in (self.low_energy, self.recombined) if path is not None]

    def settings(self) -> object:
        """The pixel spacing given."""
        return self.pixel_spacing_mm, self.combined

    def read(self) -> PreparedCase:
        """Both images on one grid; raises InputError where one is missing or their sizes differ."""
        if self.low_energy is None or (self.recombined is None and not self.combined):
            lacking = "low-energy (DM)" if self.low_energy is None else "recombined (CM)"
            raise InputError(f"{self.case} has no {lacking} image.")
        if self.recombined is None:
            low, high = split_combined(self.low_energy)
        else:
            low, high = read_mammogram(self.low_energy), read_mammogram(self.recombined)
        if low.GetSize() != high.GetSize():
            raise InputError(f"{self.case}: its images have {low.GetSize()[:2]} and {high.GetSize()[:2]} pixels.")
        for image in (low, high):
            if np.ptp(sitk.GetArrayViewFromImage(image)) == 0:
                raise InputError(f"{self.case} has the same value in every pixel of an image.")
        pictures = any(path.suffix.lower() in _PICTURES for path in self.files())
        if pictures and self.pixel_spacing_mm is not None:
            low.SetSpacing((self.pixel_spacing_mm, self.pixel_spacing_mm, 1.0))
        high.CopyInformation(low)
        known = not pictures or self.pixel_spacing_mm is not None
        warnings = () if known else ("pictures without millimeters: spacings count pixels",)
        return PreparedCase(
            {LOW_ENERGY: low, RECOMBINED: high}, None, tuple(self.files()), {"has_geometry": known}, warnings
        )


def find_pairs(root: Path, pixel_spacing_mm: float | None = None) -> list[MammogramPair]:
    """Pairs of views below `root`, by name; raises InputError where there is none or a name comes twice."""
    files = [p for p in sorted(root.rglob("*")) if p.is_file() and _readable(p)] if root.is_dir() else []
    low, high = _by_names(files) or _by_folders(files) or ({}, {})
    pairs = [
        MammogramPair(case, root, low.get(case), high.get(case), False, pixel_spacing_mm) for case in sorted(low | high)
    ]
    if not pairs:
        pictures = [p for p in files if p.suffix.lower() == ".png"]
        pairs = [MammogramPair(p.stem, root, p, None, True, pixel_spacing_mm) for p in pictures]
    if not pairs:
        raise InputError(f"{root} holds no mammogram pairs (_DM_ and _CM_ names, or low_energy and recombined).")
    names = [pair.case for pair in pairs]
    if len(set(names)) != len(names):
        raise InputError(f"{root} holds {max(names, key=names.count)} twice; give each view a name of its own.")
    return pairs


def split_combined(path: Path) -> tuple[sitk.Image, sitk.Image]:
    """Low-energy and recombined image of a two-color picture; InputError where its halves are not red and green."""
    pixels = sitk.GetArrayFromImage(read_with_itk(path))
    if pixels.ndim != 3 or pixels.shape[2] < 3 or pixels.shape[1] % 2:
        raise InputError(f"{path.name} is not a picture of a red and a green half.")
    half = pixels.shape[1] // 2
    left, right = pixels[:, :half, :3], pixels[:, half:, :3]
    if max(left[..., 1:].max(), right[..., 0].max(), right[..., 2].max()) > _LEAK:
        raise InputError(f"{path.name} is not a low-energy image in red beside a recombined one in green.")
    return _image(left[..., 0]), _image(right[..., 1])


def read_mammogram(path: Path) -> sitk.Image:
    """A gray image of size 1 along k: JPEG, TIFF, or what the engine reads; raises InputError."""
    if path.suffix.lower() not in _PICTURES:
        return load(path).image
    image = read_with_itk(path)
    if image.GetNumberOfComponentsPerPixel() == 1:
        plain = as_three_d(image) if image.GetDimension() == 2 else image
        return _image(sitk.GetArrayFromImage(plain)[0])
    pixels = sitk.GetArrayFromImage(image)[..., :3].astype(np.int16)
    if (np.abs(pixels - pixels[..., :1]) > _LEAK).any():
        raise InputError(f"{path.name} is a color picture; give a gray one.")
    return _image(pixels[..., 0].astype(np.uint8))


def _image(pixels: np.ndarray) -> sitk.Image:
    return sitk.GetImageFromArray(np.ascontiguousarray(pixels)[np.newaxis], isVector=False)


def _readable(path: Path) -> bool:
    return bool(suffix_of(path, (*VOLUMES, *_PICTURES, *DICOM)))


def _by_names(files: Sequence[Path]) -> tuple[dict[str, Path], dict[str, Path]] | None:
    """Files by case from `_DM_` and `_CM_` names; None where no name has either."""
    found: dict[str, dict[str, Path]] = {"DM": {}, "CM": {}}
    for path in files:
        match = re.fullmatch(r"(.+)_(DM|CM)(?:_(.+))?", path.stem)
        if match:
            case = "_".join(part for part in (match[1], match[3]) if part)
            if case in found[match[2]]:
                raise InputError(f"The {match[2]} image of {case} appears twice ({path.name}).")
            found[match[2]][case] = path
    return (found["DM"], found["CM"]) if found["DM"] or found["CM"] else None


def _by_folders(files: Sequence[Path]) -> tuple[dict[str, Path], dict[str, Path]] | None:
    low = {path.stem: path for path in files if path.parent.name == "low_energy"}
    high = {path.stem: path for path in files if path.parent.name == "recombined"}
    return (low, high) if low or high else None
