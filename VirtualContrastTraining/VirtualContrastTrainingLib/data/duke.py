"""Duke-Breast-Cancer-MRI as downloaded from TCIA: DICOM folders by case, and boxes placed in patient coordinates."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.dicom.headers import DicomFrame
from VirtualContrastLib.io.dicom.phases import directions
from VirtualContrastLib.io.dicom.series_record import DicomSeries

from .duke_tables import CASE_PATTERN, AnnotationBox, MappedSequence
from .dynamic_series import read_dicom_dynamic
from .prepared import PreparedCase, dynamic_case, files_below

_DYNAMIC = re.compile(r"pre|post_\d+")


@dataclass(frozen=True)
class DukeCase:
    """One case to prepare: its folder, and what the tables say of it.

    Attributes:
        case: Name of the case.
        folder: Folder of its DICOM files.
        sequences: Where the file mapping says that each sequence lies.
        boxes: Boxes around its lesions.
        clinical: Its row of the clinical table.
        kind: Kind of source in `case.json`.
    """

    case: str
    folder: Path
    sequences: Mapping[str, MappedSequence] = field(default_factory=dict)
    boxes: Sequence[AnnotationBox] = ()
    clinical: Mapping[str, str] = field(default_factory=dict)
    kind: str = "duke"

    @property
    def patient(self) -> str:
        """Id that splits go by."""
        return self.case

    def files(self) -> list[Path]:
        """All files of the case."""
        return files_below(self.folder)

    def settings(self) -> object:
        """What the tables say of the case."""
        mapped = sorted((name, s.sop_uid, sorted(s.folders)) for name, s in self.sequences.items())
        return mapped, list(self.boxes), sorted(self.clinical.items())

    def read(self) -> PreparedCase:
        """Volumes, boxes and description; raises InputError where the case cannot be used."""
        warnings: list[str] = []
        matched: set[str] = set()
        series = read_dicom_dynamic(self.folder, self._matching(matched) if self.sequences else None, name=self.case)
        missing = sorted({name for name in self.sequences if _DYNAMIC.fullmatch(name)} - matched)
        if missing:
            warnings.append(f"the download lacks {', '.join(missing)} of the file mapping")
        if "pre" in self.sequences and not _holds(self.sequences["pre"], series.phases[0].frames):
            raise InputError(f"{self.case}: the file mapping calls another series pre than the one first in time.")
        pre = series.phases[0].image
        placed = [place_box(box, series.phases[0].frames, pre, self.case) for box in self.boxes]
        if not placed:
            warnings.append("the table has no box for this case")
        mask = sitk.Image(pre.GetSize(), sitk.sitkUInt8)
        mask.CopyInformation(pre)
        for number, box in enumerate(placed, start=1):
            (i0, j0, k0), (i1, j1, k1) = box.index_ijk
            mask[i0 : i1 + 1, j0 : j1 + 1, k0 : k1 + 1] = number
        extra = {"boxes": [box.as_json() for box in placed], "clinical": dict(self.clinical)}
        return dynamic_case(series, mask, "box" if placed else "none", extra, warnings)

    def _matching(self, matched: set[str]) -> Callable[[DicomSeries], bool]:
        """Whether a series is a dynamic one by the file mapping; the names of the sequences found go to `matched`."""

        def belongs(one: DicomSeries) -> bool:
            names = {n for n, s in self.sequences.items() if _DYNAMIC.fullmatch(n) and _holds(s, one.frames)}
            matched.update(names)
            return bool(names)

        return belongs


@dataclass(frozen=True)
class PlacedBox:
    """A box on the voxels of a volume.

    Attributes:
        index_ijk: First and last index, both included.
        lps_mm: Its bounds in LPS mm.
    """

    index_ijk: tuple[tuple[int, int, int], tuple[int, int, int]]
    lps_mm: tuple[tuple[float, float, float], tuple[float, float, float]]

    def as_json(self) -> dict[str, list[list[float]]]:
        """As in `case.json`."""
        return {"index_ijk": [list(v) for v in self.index_ijk], "lps_mm": [list(v) for v in self.lps_mm]}


def place_box(box: AnnotationBox, frames: Sequence[DicomFrame], image: sitk.Image, name: str) -> PlacedBox:
    """Where an annotation box lies, by the patient coordinates of the images it was drawn on.

    Slice s of the box is the s-th image in order of InstanceNumber, whichever way that runs through the patient; row r
    and column c, counted from 1, are at ImagePositionPatient + (c - 1) between-columns x row direction + (r - 1)
    between-rows x column direction.

    Args:
        box: The box in rows, columns and slices, counted from 1.
        frames: The images of the annotated phase.
        image: Their volume.
        name: Name of the case, for messages.

    Returns:
        The box in voxel indices of `image` and in LPS coordinates.

    Raises:
        InputError: Images have no number, or the box is not within them.
    """
    instances = [frame.instance for frame in frames]
    if None in instances or len(set(instances)) != len(frames):
        raise InputError(f"{name}: its images have no InstanceNumber to count the slices of its box by.")
    ranked = sorted(frames, key=lambda frame: frame.instance or 0)
    columns, rows = frames[0].size
    if box.slices[1] > len(ranked) or box.rows[1] > rows or box.columns[1] > columns:
        raise InputError(f"{name}: its box ends beyond its {columns} x {rows} x {len(ranked)} voxels.")
    corners = [
        _point(ranked[s - 1], row, column) for s, row, column in itertools.product(box.slices, box.rows, box.columns)
    ]
    indices = np.array([image.TransformPhysicalPointToIndex(corner.tolist()) for corner in corners])
    low, high = indices.min(axis=0), indices.max(axis=0)
    return PlacedBox((_three(low), _three(high)), bounds_lps(image, low, high))


def bounds_lps(
    image: sitk.Image, low: np.ndarray, high: np.ndarray
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """The patient coordinates that voxels cover, outer edges included.

    Args:
        image: The volume.
        low: Lowest index (i, j, k).
        high: Highest index (i, j, k), included.

    Returns:
        Smallest and largest LPS coordinates in mm.
    """
    ends = zip(low - 0.5, high + 0.5, strict=True)
    points = np.array([image.TransformContinuousIndexToPhysicalPoint(p) for p in itertools.product(*ends)])
    first, last = points.min(axis=0).round(4).tolist(), points.max(axis=0).round(4).tolist()
    return (first[0], first[1], first[2]), (last[0], last[1], last[2])


def find_duke_cases(
    root: Path,
    *,
    boxes: Mapping[str, Sequence[AnnotationBox]],
    mapping: Mapping[str, Mapping[str, MappedSequence]],
    clinical: Mapping[str, Mapping[str, str]],
) -> list[DukeCase]:
    """Find the cases (folders `Breast_MRI_NNN`, at any depth) of a download.

    Args:
        root: The folder.
        boxes: Annotation boxes by case.
        mapping: Series of each phase by case.
        clinical: Clinical values by case.

    Returns:
        The cases in name order.

    Raises:
        InputError: There is no case, or a case twice.
    """
    folders: dict[str, Path] = {}
    for path in sorted(p for p in [root, *root.rglob("Breast_MRI_*")] if p.is_dir()):
        if CASE_PATTERN.fullmatch(path.name):
            if path.name in folders:
                raise InputError(f"{root} holds {path.name} twice; remove one of the folders.")
            folders[path.name] = path
    if not folders:
        raise InputError(f"{root} holds no folder named like Breast_MRI_001; give the folder downloaded from TCIA.")
    return [
        DukeCase(case, folder, mapping.get(case, {}), tuple(boxes.get(case, ())), clinical.get(case, {}))
        for case, folder in folders.items()
    ]


def _holds(sequence: MappedSequence, frames: Sequence[DicomFrame]) -> bool:
    """True where the frames have the sequence's image, or lie in one of its folders."""
    if any(frame.sop_uid == sequence.sop_uid for frame in frames if sequence.sop_uid):
        return True
    return any(frame.path.parent.name in sequence.folders for frame in frames)


def _point(frame: DicomFrame, row: int, column: int) -> np.ndarray:
    along_row, along_column = directions(frame)
    between_rows, between_columns = frame.pixel_spacing or (1.0, 1.0)
    offset = (column - 1) * between_columns * along_row + (row - 1) * between_rows * along_column
    return np.asarray(frame.position) + offset


def _three(values: np.ndarray) -> tuple[int, int, int]:
    return int(values[0]), int(values[1]), int(values[2])
