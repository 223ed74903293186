"""One dynamic examination from a folder: its phases in order of time, from DICOM tags or from volume files.

DICOM is read by the engine's one reader (`io.dicom.study_folder`), which says what belongs together and in which order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk
from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.dicom.clocks import LATEST_FIRST_PHASE_S, LONGEST_SERIES_S
from VirtualContrastLib.io.dicom.headers import DicomFrame, header_of
from VirtualContrastLib.io.dicom.plausibility import contrast_warnings
from VirtualContrastLib.io.dicom.series import find_series, read_series
from VirtualContrastLib.io.dicom.series_record import DicomSeries
from VirtualContrastLib.io.dicom.study_folder import choose_series, examination
from VirtualContrastLib.io.volumes import same_geometry


@dataclass(frozen=True)
class DynamicPhase:
    """One phase.

    Attributes:
        image: Its volume.
        time_s: Seconds after the first phase, None where unknown.
        files: Its files.
        frames: Its DICOM frames.
    """

    image: sitk.Image
    time_s: float | None
    files: tuple[Path, ...]
    frames: tuple[DicomFrame, ...] = ()


@dataclass(frozen=True)
class DynamicSeries:
    """Phases in order of time on one grid.

    Attributes:
        phases: The phases.
        ordered_by: What gave the order.
        warnings: What is odd, in sentences.
        notes: What was left out, in sentences.
    """

    phases: tuple[DynamicPhase, ...]
    ordered_by: str
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_dicom_dynamic(
    folder: Path, belongs: Callable[[DicomSeries], bool] | None = None, *, name: str | None = None
) -> DynamicSeries:
    """The dynamic examination in a folder of DICOM series (at any depth), as the engine reads it.

    Args:
        folder: The folder.
        belongs: Chooses the series where something outside the tags says which they are.
        name: Name of the case, for messages; None for the folder's.

    Returns:
        The series, phases in order of time.

    Raises:
        InputError: There is no dynamic series or several, a phase lacks slices, grids differ, or no tag gives the
            order.
    """
    name = name or folder.name
    series = [one for one in find_series(folder) if one.header.modality == "MR"]
    notes: list[str] = []
    if belongs:
        chosen = [one for one in series if belongs(one)]
    else:
        chosen, notes = choose_series(series, name)
    found = examination(chosen, name, notes) if chosen else None
    if found is None or len(found.pairs) < 2:
        raise InputError(f"{name} has no dynamic series: fewer than two volumes of MR series fit together.")
    phases, first = [], found.pairs[0][1].frames
    for (one, phase), time_s in zip(found.pairs, found.times, strict=True):
        files = tuple(dict.fromkeys(frame.path for frame in phase.frames))
        # Of its own frames alone: the whole series would be split again for each of its phases.
        image = read_series(DicomSeries(one.header, phase.frames))
        if first[0].unit and phase.frames[0].unit and phase.frames[0].unit != first[0].unit:
            image = sitk.Cast(image, sitk.sitkFloat32) * (first[0].unit / phase.frames[0].unit)
        phases.append(DynamicPhase(image, time_s, files, phase.frames))
    check_one_grid([phase.image for phase in phases], name)
    header = header_of(found.pairs[0][0].header, first)
    warnings = [*found.warnings, *contrast_warnings(header, "the first phase"), *_time_warnings(found.times)]
    return DynamicSeries(tuple(phases), found.ordered_by, tuple(warnings), tuple(notes))


def check_one_grid(images: Sequence[sitk.Image], name: str) -> None:
    """Raise InputError naming the first phase (0 = pre-contrast) that lies on another grid than the first."""
    for number, image in enumerate(images[1:], start=1):
        difference = same_geometry(images[0], image)
        if difference:
            raise InputError(f"{name}: phase {number} does not lie on the voxels of phase 0. {difference}")


def _time_warnings(times: Sequence[float | None]) -> list[str]:
    if times[-1] is None:
        return ["no tag gives the times of the phases, only their order"]
    if times[-1] > LONGEST_SERIES_S:
        return [f"the phases span {times[-1] / 60:.0f} minutes, which is long for one dynamic series"]
    if times[1] is not None and times[1] > LATEST_FIRST_PHASE_S:
        return [
            f"the first phase lies {times[1] / 60:.0f} minutes after the pre-contrast volume; times count from that, "
            "not from the injection: give them with --times"
        ]
    return []
