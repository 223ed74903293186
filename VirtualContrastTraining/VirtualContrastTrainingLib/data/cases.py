"""Prepared cases: one folder per case with `pre.nrrd`, `phase_N.nrrd`, `lesions.nrrd` and `case.json`.

`virtual-contrast-training phantom` writes this layout; anything that writes the same can be trained on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from VirtualContrastLib.events import InputError
from VirtualContrastLib.synthesis.geometry import AxialView


@dataclass(frozen=True)
class Case:
    """One prepared case in memory, in the axial view that the engine gives its networks.

    Arrays are [k, j, i] of that view.

    Attributes:
        name: Name of the case.
        series: Pre-contrast volume and phases in order.
        lesions: Labels of the lesions, 0 outside.
        times_s: Time of each volume of `series` in seconds, as `case.json` has it.
        spacing_kji_mm: Distance of voxels along k, j and i, in mm.
        lesion_types: True curve type ("I", "II", "III") by label, where it is known.
    """

    name: str
    series: tuple[NDArray[np.int16] | NDArray[np.float32], ...]
    lesions: NDArray[np.uint8]
    times_s: tuple[float, ...]
    spacing_kji_mm: tuple[float, float, float]
    lesion_types: dict[int, str]


def case_folders(root: Path) -> list[Path]:
    """All case folders directly below `root`, in name order; raises InputError where there are none."""
    folders = sorted(p.parent for p in root.glob("*/case.json"))
    if not folders:
        raise InputError(
            f"{root} holds no prepared cases (folders with a case.json); make some with 'virtual-contrast-training "
            "prepare' from your data, or with 'virtual-contrast-training phantom'."
        )
    return folders


def pixel_range_mm(roots: Iterable[Path]) -> tuple[float, float] | None:
    """Smallest and largest in-plane pixel of the prepared cases below `roots`, by their headers; None without cases."""
    sides: list[float] = []
    for path in (path for root in roots for path in sorted(root.glob("*/pre.nrrd"))):
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        sides += AxialView.of(reader).spacing_mm[1:]
    return (min(sides), max(sides)) if sides else None


def load_case(folder: Path) -> Case:
    """Read one prepared case; raises InputError where a file is missing or a shape differs."""
    try:
        description = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        images = [sitk.ReadImage(str(folder / name)) for name in description["images"]]
        lesions = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "lesions.nrrd"))).astype(np.uint8)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"The prepared case {folder} cannot be read: {str(error).splitlines()[0]}") from error
    arrays = [sitk.GetArrayFromImage(image) for image in images]
    if any(volume.shape != lesions.shape for volume in arrays):
        raise InputError(f"The prepared case {folder} is broken: its volumes differ in size.")
    view = AxialView.of(images[0])
    types = {int(lesion["label"]): str(lesion["curve_type"]) for lesion in description.get("lesions", ())}
    return Case(
        folder.name,
        tuple(view.from_stored(volume) for volume in arrays),
        view.from_stored(lesions),
        tuple(description["times_s"]),
        view.spacing_mm,
        types,
    )
