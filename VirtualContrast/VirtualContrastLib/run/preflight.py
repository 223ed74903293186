"""Is there room for a run? Answers with numbers before any work starts."""

from __future__ import annotations

import math
from pathlib import Path

import SimpleITK as sitk

from ..events import InputError
from ..files import free_bytes
from ..free_memory import free_memory

_MIB = 2**20
# Float32 copies of the input volume alive at the peak, with some to spare: of a study of 8 million voxels and 2 phases
# resident memory grows by less than 12. `Testing/engine/test_memory.py` holds that.
_WORKING_COPIES = 8
_COPIES_PER_PHASE = 3
_FIGURES_AND_REPORT = 20 * _MIB


def needed_disk_bytes(image: sitk.Image, phases: int, *, uncertainty: bool, dicom: bool) -> int:
    """Bytes a result takes at most: all volumes as if compression gained nothing.

    Per phase the phase, its subtraction and a percent enhancement map (float32), an uncertainty map and a 16-bit DICOM
    series where asked for; besides four float32 maps, two label volumes, and figures.

    Args:
        image: The pre-contrast volume.
        phases: The number of synthetic phases.
        uncertainty: Whether uncertainty maps are written.
        dicom: Whether DICOM series are written.

    Returns:
        Bytes on disk.
    """
    voxels = image.GetNumberOfPixels()
    per_phase = 3 * 4 + (4 if uncertainty else 0) + (2 if dicom else 0)
    return voxels * (phases * per_phase + 4 * 4 + 2) + _FIGURES_AND_REPORT


def needed_memory_bytes(image: sitk.Image, phases: int, *, uncertainty: bool) -> int:
    """Bytes of volumes held at once; weights and the network's own working memory come on top.

    Args:
        image: The pre-contrast volume.
        phases: The number of synthetic phases.
        uncertainty: Whether uncertainty maps are made.

    Returns:
        Bytes of memory.
    """
    copies = _WORKING_COPIES + phases * (_COPIES_PER_PHASE + (1 if uncertainty else 0))
    return 4 * image.GetNumberOfPixels() * copies


def check_room(out: Path, image: sitk.Image, phases: int, *, uncertainty: bool, dicom: bool) -> None:
    """Check that disk and memory can hold the run.

    Args:
        out: The result folder, whose parent exists.
        image: The pre-contrast volume.
        phases: The number of synthetic phases.
        uncertainty: Whether uncertainty maps are made.
        dicom: Whether DICOM series are written.

    Raises:
        InputError: They cannot; the sentence holds the numbers.
    """
    disk = needed_disk_bytes(image, phases, uncertainty=uncertainty, dicom=dicom)
    free = free_bytes(out.parent)
    if disk > free:
        raise InputError(
            f"The result may take {_mib(disk)} MiB and the disk of {out.parent} has {_mib(free)} MiB free; "
            "make room or name another folder with -o."
        )
    memory = needed_memory_bytes(image, phases, uncertainty=uncertainty)
    available = free_memory()
    if memory > available:
        raise InputError(
            f"This volume needs about {_mib(memory)} MiB of memory and {_mib(int(available))} MiB are free; "
            "close other programs or crop the volume."
        )


def _mib(count: int) -> int:
    return math.ceil(count / _MIB)
