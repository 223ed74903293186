"""Slices of dynamic breast MRI as pictures with a table: prepared as one case per patient, read back for training.

The table is a CSV whose rows are slices. `patient` names the patient; the pictures are `file` (red pre-contrast, green
early, blue late, on one scale) or the three columns `pre`, `early` and `late` of gray pictures; paths are relative to
the table. `box_column`, `box_row`, `box_columns`, `box_rows` (pixels, first corner and size) and `cohort`, `subtype`,
`split`, `tumor_area_mm2`, `mm_per_px`, `slice_index`, `slice_thickness_mm` may be left out. That is the layout of
BreastDCEDL crops, and any folder of slices of several phases can be given one.

Slices of a patient become one stack, spaced apart by their indices where those are known. Boxes become the label volume
(`lesion_source`: box).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.loaded import read_with_itk
from VirtualContrastLib.metrics.tissue import scale_of, tissue_of

from .cases import case_folders, load_case
from .duke_tables import table_records
from .prepared import PreparedCase, read_description

PHASE_COLUMNS = ("pre", "early", "late")
NOMINAL_TIMES_S = (0.0, 150.0, 450.0)
"""Seconds of pre-contrast, early and late phase where the source does not give them: those of the I-SPY protocols."""

_BOX = ("box_column", "box_row", "box_columns", "box_rows")
_KEPT = ("subtype", "split")


@dataclass(frozen=True)
class CropStack:
    """All slices of one patient, ready to prepare.

    Attributes:
        case: Name of the patient.
        folder: Folder of the table.
        rows: The patient's rows of the table.
        kind: Kind of source in `case.json`.
    """

    case: str
    folder: Path
    rows: tuple[Mapping[str, str], ...]
    kind: str = "crops"

    @property
    def patient(self) -> str:
        """Id that splits go by."""
        return self.case

    def files(self) -> list[Path]:
        """The pictures."""
        return [self.folder / row[name] for row in self.rows for name in _pictures(row)]

    def settings(self) -> object:
        """The table's rows."""
        return [sorted(row.items()) for row in self.rows]

    def read(self) -> PreparedCase:
        """The stack as three phases and a label volume of its boxes; raises InputError where pictures do not fit."""
        slices = [self._phases(row) for row in self.rows]
        if len({picture.shape for picture in slices}) != 1:
            raise InputError(f"{self.case}: its slices differ in size.")
        stack = np.stack(slices, axis=1)
        boxes = np.stack([_box_mask(row, stack.shape[2:]) for row in self.rows])
        spacing_mm = self._spacing_mm()
        first = self.rows[0]
        areas = [float(row["tumor_area_mm2"]) if row.get("tumor_area_mm2") else None for row in self.rows]
        names = ["pre.nrrd", "phase_1.nrrd", "phase_2.nrrd"]
        return PreparedCase(
            images={name: _image(phase, spacing_mm) for name, phase in zip(names, stack, strict=True)},
            lesions=_image(boxes.astype(np.uint8), spacing_mm),
            files=tuple(self.files()),
            description={
                "times_s": list(NOMINAL_TIMES_S),
                "ordered_by": "columns of the table",
                "lesions": [],
                "lesion_source": "box" if boxes.any() else "none",
                "tumor_area_mm2": areas,
                "cohort": first.get("cohort", ""),
                "clinical": {name: first[name] for name in _KEPT if first.get(name)},
            },
            warnings=("seconds of the phases are nominal: the source does not give them",),
        )

    def _phases(self, row: Mapping[str, str]) -> NDArray[Any]:
        """Pre-contrast, early and late [phase, row, column] of one slice."""
        names = _pictures(row)
        pictures = [sitk.GetArrayFromImage(read_with_itk(self.folder / row[name])) for name in names]
        if len(names) == 1:
            picture = pictures[0]
            if picture.ndim != 3 or picture.shape[2] < 3:
                raise InputError(f"{self.case}: {row['file']} is not a picture of three phases as red, green and blue.")
            return np.ascontiguousarray(picture[..., :3].transpose(2, 0, 1))
        if any(picture.ndim != 2 or picture.shape != pictures[0].shape for picture in pictures):
            raise InputError(f"{self.case}: the phases of {row['pre']} are not gray pictures of one size.")
        return np.stack(pictures)

    def _spacing_mm(self) -> tuple[float, float, float]:
        first = self.rows[0]
        pixel_mm = float(first.get("mm_per_px") or 1.0)
        thickness_mm = float(first.get("slice_thickness_mm") or 1.0)
        indices = [int(row["slice_index"]) for row in self.rows if row.get("slice_index")]
        steps = np.diff(sorted(indices)) if len(indices) == len(self.rows) > 1 else np.ones(1)
        return pixel_mm, pixel_mm, thickness_mm * max(1.0, float(np.median(steps)))


def find_crops(table: Path) -> list[CropStack]:
    """One stack a patient of a table; raises InputError where it is missing, lacks a column or names no slice."""
    rows = [row for _, row in table_records(table)]
    if "patient" not in rows[0] or not ("file" in rows[0] or set(PHASE_COLUMNS) <= set(rows[0])):
        raise InputError(f"The table {table.name} needs the column patient, and file or {', '.join(PHASE_COLUMNS)}.")
    of_patient: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for row in rows:
        of_patient[row["patient"]].append(row)
    return [CropStack(patient, table.parent, tuple(slices)) for patient, slices in sorted(of_patient.items())]


@dataclass(frozen=True)
class CropPatient:
    """One prepared patient in memory; arrays are [slice, row, column].

    Attributes:
        name: Name of the patient.
        cohort: Study that the patient took part in.
        folder: Folder of the prepared case.
        phases: Phases as float32 [phase, slice, row, column], in the units they were stored in.
        box: True in the lesion's box.
        tissue: Tissue of the pre-contrast stack.
        scale: Scale of the pre-contrast stack, in the same units.
        spacing_mm: Distance of voxels along i, j and k, in mm.
        fold: The part of a cross-validation that the patient is held out in.
    """

    name: str
    cohort: str
    folder: Path
    phases: NDArray[np.float32]
    box: NDArray[np.bool_]
    tissue: NDArray[np.bool_]
    scale: float
    spacing_mm: tuple[float, float, float]
    fold: int

    @property
    def pre(self) -> NDArray[np.float32]:
        """The pre-contrast slices."""
        return self.phases[0]


def load_patients(root: Path, *, folds: int = 1, cohorts: Sequence[str] = ()) -> list[CropPatient]:
    """The prepared patients of a folder.

    Args:
        root: Folder of the prepared cases.
        folds: Number of folds of the cross-validation, into which patients are divided.
        cohorts: Cohorts to take; all where none is given.

    Returns:
        The patients in name order.

    Raises:
        InputError: There are none, or a case cannot be read.
    """
    patients = [patient for patient in _patients(root, folds) if not cohorts or patient.cohort in cohorts]
    if not patients:
        raise InputError(f"{root} holds no patient of {', '.join(cohorts)}.")
    return patients


def fold_of(patient: str, folds: int) -> int:
    """The fold, 0 to `folds` - 1, that a patient is held out in: the same everywhere and for ever, by its id's hash."""
    return int(hashlib.sha256(patient.encode()).hexdigest(), 16) % folds


def _patients(root: Path, folds: int) -> Iterator[CropPatient]:
    for folder in case_folders(root):
        case = load_case(folder)
        if len(case.series) < 3:
            raise InputError(f"The prepared case {folder} has fewer than two phases after contrast.")
        phases = np.stack([np.asarray(phase, np.float32) for phase in (*case.series[:2], case.series[-1])])
        cohort = (read_description(folder) or {}).get("cohort", "")
        yield CropPatient(
            name=case.name,
            cohort=str(cohort),
            folder=folder,
            phases=phases,
            box=case.lesions > 0,
            tissue=tissue_of(phases[0]),
            scale=scale_of(phases[0]),
            spacing_mm=case.spacing_kji_mm[::-1],
            fold=fold_of(case.name, folds),
        )


def _pictures(row: Mapping[str, str]) -> tuple[str, ...]:
    return ("file",) if row.get("file") else PHASE_COLUMNS


def _box_mask(row: Mapping[str, str], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, bool)
    if all(row.get(name) for name in _BOX):
        column, top, columns, rows = (float(row[name]) for name in _BOX)
        mask[round(top) : round(top + rows), round(column) : round(column + columns)] = True
    return mask


def _image(pixels: NDArray[Any], spacing_mm: tuple[float, float, float]) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(pixels))
    image.SetSpacing(spacing_mm)
    return image
