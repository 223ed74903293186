"""The DICOM files that a volume was loaded from: the run reads these, so that it sees their headers.

Slicer keeps no header in a volume node. Without one the run knows neither the modality nor the times of phases,
and DICOM objects that it writes belong to an anonymous patient in a new study.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _

from ..scene import nodes

if TYPE_CHECKING:
    from ...io.loaded import Loaded

INSTANCES = "DICOM.instanceUIDs"
"""Attribute of a volume: the SOP instance UIDs of its images, separated by blanks."""


def files_of(volume: Any) -> list[Path]:
    """The DICOM files that a volume node was loaded from; [] where there are none, or one is gone."""
    database = getattr(slicer, "dicomDatabase", None)
    uids = (volume.GetAttribute(INSTANCES) or "").split()
    if database is None:
        return []
    names = [database.fileForInstance(uid) for uid in uids]
    return [Path(name) for name in names] if all(name and Path(name).is_file() for name in names) else []


def explanation(volume: Any) -> str:
    """What the panel says of the DICOM objects that a run of this volume writes."""
    if files_of(volume):
        return _("They belong to the patient and the study that the volume came from.")
    return _("The volume came from no DICOM files: they belong to an anonymous patient in a new study.")


def hand_over(volume: Any, files: list[Path], folder: Path) -> Generator[None, None, bool]:
    """Let a folder hold the DICOM files of a volume, in steps.

    Args:
        volume: The volume node.
        files: The DICOM files it was loaded from.
        folder: The folder to make.

    Returns:
        Whether the files still are the volume. They are not where it was edited or moved since it was loaded; the
        folder is empty then.

    Raises:
        InputError: The engine refuses the series, as it does on the command line.
    """
    from ...io.dicom import series

    folder.mkdir()
    for number, file in enumerate(files):
        put(file, folder / f"{number:05d}.dcm")
        if number % 50 == 0:
            yield
    loaded = yield from nodes.in_thread(lambda: series.read(folder, None))
    if nodes.difference(loaded.image, volume):
        same = False
    else:
        voxels = slicer.util.arrayFromVolume(volume)
        same = yield from nodes.in_thread(lambda: _same(loaded, voxels))
    if not same:
        shutil.rmtree(folder)
        folder.mkdir()
    return same


def _same(loaded: Loaded, voxels: np.ndarray) -> bool:
    """Whether the voxels are those of the files; a mammogram's may be inverted, as Slicer leaves MONOCHROME1."""
    read = sitk.GetArrayViewFromImage(loaded.image)
    if loaded.modality == "MG" and np.ptp(read.astype(np.float64) + voxels) == 0:
        return True
    return nodes.same_voxels(read, voxels)


def put(file: Path, place: Path) -> None:
    """A link where the system allows one, else a copy."""
    try:
        place.symlink_to(file)
    except OSError:
        shutil.copyfile(file, place)
