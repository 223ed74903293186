"""Dynamic examinations from one folder per subject, BIDS-like: DICOM series, one 4-D file, or one 3-D file per phase.

A subject is a folder below the root, or each of its `ses-*` folders. DICOM is read by `dynamic_series`. Volume files
(NIfTI, NRRD, MetaImage) are ordered by the first of these that all of them have: the times given with `--times`, a
JSON file beside each (`AcquisitionTime`, `TriggerTime` in ms, `ContentTime`, as dcm2niix writes them), the frame times
of a 4-D file, and last, with a warning, their names (one with `pre` first, then by number).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.io.dicom.clocks import unwrapped
from VirtualContrastLib.io.dicom.files import is_dicom
from VirtualContrastLib.io.lesion_mask import read_lesions
from VirtualContrastLib.io.loaded import Loaded
from VirtualContrastLib.io.read import load, time_after
from VirtualContrastLib.io.suffixes import stem_of, suffix_of
from VirtualContrastLib.io.tables import seconds_of
from VirtualContrastLib.io.volumes import quiet_itk
from VirtualContrastLib.io.zero_level import without_values_below_zero
from VirtualContrastLib.run.settings import LONGEST_SERIES_S, SHORTEST_SERIES_S

from .duke_tables import table_rows
from .dynamic_series import DynamicPhase, DynamicSeries, check_one_grid, read_dicom_dynamic
from .prepared import PreparedCase, dynamic_case, files_below

_MASK = re.compile(r"(^|[^a-z])(mask|seg|segmentation|lesions?|label|roi|tumou?r)([^a-z]|$)", re.I)
_DERIVED = re.compile(r"(?<=[^a-z])(sub|subtr[a-z]*|mip|mpr|diff(erence)?|wash[_ ]?(in|out))[_ ]?\d*(?![a-z\d-])", re.I)
"""Names of computed images; `sub-01` and a name that begins with `sub` are subjects."""
_PRE = re.compile(r"(^|[^a-z])(pre|native?)([^a-z]|$)", re.I)


@dataclass(frozen=True)
class DynamicFolder:
    """One subject to prepare.

    Attributes:
        case: Name of the case.
        folder: Folder of its files.
        patient: Id of the patient.
        pattern: Names of the volume files to take.
        times_s: Seconds of each phase after the first, which is 0; overrides what the files say.
        lesions: Its label file; without it, one that its name gives away.
        labels_expected: Whether a missing label file is worth a warning.
        kind: Kind of source in `case.json`.
    """

    case: str
    folder: Path
    patient: str
    pattern: str = "*"
    times_s: tuple[float, ...] | None = None
    lesions: Path | None = None
    labels_expected: bool = False
    kind: str = "dynamic"

    def files(self) -> list[Path]:
        """All files of the subject."""
        return files_below(self.folder)

    def settings(self) -> object:
        """The options, and whether the label file has changed."""
        changed = self.lesions.stat().st_mtime_ns if self.lesions else None
        return self.pattern, self.times_s, self.lesions.name if self.lesions else None, changed

    def read(self) -> PreparedCase:
        """Volumes, labels and description; raises InputError where the case cannot be used."""
        files = [path for path in self.files() if suffix_of(path) and path.match(self.pattern)]
        derived = [path for path in files if _DERIVED.search(stem_of(path))]
        images = [path for path in files if not _MASK.search(stem_of(path)) and path not in derived]
        masks = [path for path in files if _MASK.search(stem_of(path))]
        if images:
            series = read_volume_files(images, self.times_s, self.case)
        elif any(is_dicom(path) for path in self.files()):
            series = _with_times(read_dicom_dynamic(self.folder, name=self.case), self.times_s, self.case)
        else:
            raise InputError(f"{self.case} holds neither DICOM nor a volume file named like {self.pattern}.")
        if len(masks) > 1 and self.lesions is None:
            raise InputError(f"{self.case} holds {len(masks)} label files; keep one, or give --lesions FOLDER.")
        mask = self.lesions or (masks[0] if masks else None)
        series, cleaned = _cleaned(series, self.case)
        labels, notes = _labels(mask, series.phases[0].image, self.case)
        if mask is None and self.labels_expected:
            notes = ["it has no label file in the folder of lesions"]
        left_out = [f"{path.name} was left out: a subtraction or projection by its name" for path in derived]
        warnings = [*left_out, *series.notes, *cleaned, *notes]
        return dynamic_case(series, labels, "segmentation" if mask else "none", warnings=warnings)


def find_dynamic_folders(
    root: Path,
    *,
    pattern: str = "*",
    times: Mapping[str, Sequence[float]] | None = None,
    lesions: Path | None = None,
) -> list[DynamicFolder]:
    """Find the subjects of a folder.

    Args:
        root: Folder with one folder per subject.
        pattern: Names of the volume files to take.
        times: Seconds of all phases by case, the first 0.
        lesions: Folder with one label file `CASE.<suffix>` per case.

    Returns:
        The subjects in name order.

    Raises:
        InputError: There is none, or the times name a case that is not there.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give the folder that holds one folder per subject.")
    labels = {stem_of(p): p for p in sorted(lesions.iterdir()) if suffix_of(p)} if lesions else {}
    found = []
    for subject in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        for place in sorted(subject.glob("ses-*")) or [subject]:
            case = subject.name if place == subject else f"{subject.name}_{place.name}"
            given = (times or {}).get(case)
            found.append(
                DynamicFolder(
                    case,
                    place,
                    subject.name,
                    pattern,
                    tuple(given) if given is not None else None,
                    labels.get(case),
                    lesions is not None,
                )
            )
    if not found:
        raise InputError(f"{root} holds no folder; give the folder that holds one folder per subject.")
    unknown = sorted(set(times or {}) - {one.case for one in found})
    if unknown:
        raise InputError(f"The table of times names {unknown[0]}, and {root} holds no such case.")
    return found


def read_times(path: Path) -> dict[str, list[float]]:
    """Times of a table (.csv, .xlsx) without header: case, then seconds of its phases, the first 0."""
    times: dict[str, list[float]] = {}
    for number, row in enumerate(table_rows(path), start=1):
        try:
            values = [seconds_of(part) for cell in row[1:] for part in cell.split()]
        except ValueError as error:
            if not times and number == 1:
                continue  # a header
            raise InputError(f"{path.name} row {number}: the times must be seconds or mm:ss.") from error
        if values and values[-1] < SHORTEST_SERIES_S:
            raise InputError(f"{path.name} row {number}: the times end after {values[-1]:g} s; give seconds.")
        if values and values[-1] > LONGEST_SERIES_S:
            raise InputError(f"{path.name} row {number}: the times last over an hour; give seconds.")
        if row and row[0].strip() and values:
            times[row[0].strip()] = values
    if not times:
        raise InputError(f"{path.name} holds no row of a case and the seconds of its phases.")
    return times


def read_volume_files(paths: Sequence[Path], times_s: Sequence[float] | None, name: str) -> DynamicSeries:
    """A dynamic examination from one 4-D file or from one 3-D file per phase.

    Args:
        paths: The files.
        times_s: Seconds of the phases in the order of time points, or of file names; None for those of the files.
        name: Name of the case, for messages.

    Returns:
        The series, phases in order of time.

    Raises:
        InputError: A file cannot be read, or the times do not fit.
    """
    if len(paths) == 1:
        return _with_times(_four_d(paths[0], name), times_s, name)
    ordered = sorted(paths, key=_by_name)
    loaded = {path: load(path) for path in ordered}
    sidecar, clock = _sidecar_times(ordered)
    if sidecar is not None and times_s is None:
        ordered = sorted(ordered, key=lambda path: sidecar[path])
        start = sidecar[ordered[0]]
        phases = [DynamicPhase(loaded[p].image, sidecar[p] - start, loaded[p].files) for p in ordered]
        series = DynamicSeries(tuple(phases), clock)
    else:
        phases = [DynamicPhase(loaded[path].image, None, loaded[path].files) for path in ordered]
        by_name = [] if times_s else ["no time tag gives the order of the phases; they are ordered by file name"]
        series = DynamicSeries(tuple(phases), "file name", tuple(by_name))
    told = [warning for path in ordered for warning in loaded[path].warnings]
    series = replace(series, warnings=(*series.warnings, *told))
    check_one_grid([phase.image for phase in series.phases], name)
    return _with_times(series, times_s, name)


def _four_d(path: Path, name: str) -> DynamicSeries:
    count = _time_points(path)
    if count < 2:
        raise InputError(f"{name} holds one volume ({path.name}); a dynamic series has at least two phases.")
    loaded: list[Loaded] = [load(f"{path}@{n}") for n in range(count)]
    times = [0.0, *(time_after(loaded[0], other) for other in loaded[1:])]
    known = None not in times
    phases = [DynamicPhase(v.image, t if known else None, v.files) for v, t in zip(loaded, times, strict=True)]
    warnings = () if known else (f"{path.name} gives no times of its {count} phases",)
    return DynamicSeries(tuple(phases), "frame times" if known else "frame number", warnings)


def _time_points(path: Path) -> int:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with quiet_itk():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{path.name} is damaged or of a kind that cannot be read.") from error
    return reader.GetSize()[3] if reader.GetDimension() == 4 else reader.GetNumberOfComponents()


def _with_times(series: DynamicSeries, times_s: Sequence[float] | None, name: str) -> DynamicSeries:
    """The series with given times; InputError where their number or order is off."""
    if times_s is None:
        return series
    if len(times_s) != len(series.phases) or list(times_s) != sorted(set(times_s)):
        raise InputError(f"{name}: its {len(times_s)} given times do not increase or are not one for each phase.")
    phases = [
        DynamicPhase(p.image, t - times_s[0], p.files, p.frames) for p, t in zip(series.phases, times_s, strict=True)
    ]
    return DynamicSeries(tuple(phases), series.ordered_by, series.warnings)


def _sidecar_times(paths: Sequence[Path]) -> tuple[dict[Path, float] | None, str]:
    """Seconds by file from the JSON files beside them, and the field; None where no field distinguishes all files."""
    contents = [_sidecar(path) for path in paths]
    for field, to_seconds in (("AcquisitionTime", _clock_s), ("TriggerTime", _milliseconds), ("ContentTime", _clock_s)):
        values = [to_seconds(content.get(field)) for content in contents]
        known = [value for value in values if value is not None]
        if len(known) == len(paths) and len(set(known)) == len(paths):
            run_on = unwrapped(known) if to_seconds is _clock_s else known
            return dict(zip(paths, run_on, strict=True)), f"sidecar {field}"
    return None, ""


def _sidecar(path: Path) -> Mapping[str, Any]:
    file = path.with_name(stem_of(path) + ".json")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        return {}
    except ValueError as error:
        raise InputError(f"{file.name} is not valid JSON.") from error
    return content if isinstance(content, dict) else {}


def _clock_s(value: object) -> float | None:
    """Seconds of `HH:MM:SS.ffffff`, else None."""
    match = re.fullmatch(r"(\d{1,2}):(\d{2}):(\d{2}(?:\.\d+)?)", str(value))
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else None


def _milliseconds(value: object) -> float | None:
    return value / 1000.0 if isinstance(value, int | float) else None


def _by_name(path: Path) -> tuple:
    """`pre` first, then names with their numbers compared as numbers."""
    parts = re.split(r"(\d+)", stem_of(path))
    return not _PRE.search(stem_of(path)), [int(part) if part.isdigit() else part for part in parts]


def _cleaned(series: DynamicSeries, name: str) -> tuple[DynamicSeries, list[str]]:
    """The series without padding below the zero level, as a run reads it, and what there is to say of it.

    Raises InputError where a phase has voxels that are no numbers, which would stop a training, or is empty.
    """
    phases, notes = [], []
    for number, phase in enumerate(series.phases):
        values = sitk.GetArrayViewFromImage(phase.image)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(
                f"{name}: phase {number} holds voxels that are NaN or infinite; repair or mask them first."
            )
        if values.min() == values.max():
            raise InputError(f"{name}: phase {number} has one value in every voxel; export it again.")
        image, count = without_values_below_zero(phase.image)
        if count:
            notes.append(f"phase {number} has {count} voxels below its zero level, which were set to it")
        phases.append(replace(phase, image=image))
    return replace(series, phases=tuple(phases)), notes


def _labels(path: Path | None, pre: sitk.Image, name: str) -> tuple[sitk.Image, list[str]]:
    """Lesion labels 1..n on the grid of `pre`, uint8, and what there is to say of them; all 0 without a file."""
    empty = sitk.Image(pre.GetSize(), sitk.sitkUInt8)
    empty.CopyInformation(pre)
    if path is None:
        return empty, []
    events = Events()
    try:
        if not sitk.GetArrayFromImage(load(path).image).any():
            return empty, [f"its label file {path.name} marks no voxel"]
        return read_lesions(path, pre, events)[0], events.warnings
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
