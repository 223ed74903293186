"""A result folder that this scene did not make, opened as if it had: beside its input, or the input computed back."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _

from ...events import InputError
from ...results.manifest import FILE_ROUNDING, MAMMOGRAM, Result
from ..views import display
from . import nodes, result
from .loaded import LoadedResult, is_rebuilt


def open_steps(
    folder: Path, selected: Any = None, real_nodes: Sequence[Any] = ()
) -> Generator[float, None, LoadedResult]:
    """Open a result folder in steps; yields the fraction done. One whose run is in the scene already is not read again.

    A result holds no name or path of its input. A volume of the scene with the same voxels at the same place is taken
    for it; where there is none the pre-contrast volume is computed back from a phase and its subtraction.

    Args:
        folder: the result folder.
        selected: the panel's input volume, None where none is selected. A mammogram's input must be this one.
        real_nodes: the panel's real phases; they count where the result was made from `selected`.

    Yields:
        The fraction done, 0 to 1; it returns the loaded result.

    Raises:
        InputError: as `result.load_steps`, or the input of a mammogram is not selected.
    """
    read = result.synthetic_result(folder)
    run_id = read.manifest.run_id
    for known in result.find_results():
        if known.run_id == run_id:
            return known
    if read.manifest.kind == MAMMOGRAM:
        return (yield from result.load_steps(folder, _mammogram(read, selected), real_nodes=real_nodes, run_id=run_id))
    image = yield from _quiet(nodes.in_thread(read.pre_contrast))
    present = None if read.manifest.arbitrary_units else (yield from _quiet(_same(image, selected)))
    if present is not None:
        real = real_nodes if present is selected else ()
        return (yield from result.load_steps(folder, present, real_nodes=real, run_id=run_id))
    return (yield from _beside_rebuilt(folder, image, run_id))


def _mammogram(read: Result, selected: Any) -> Any:
    """The selected volume, where it lies on the recombined image."""
    size = tuple(read.manifest.inputs[0]["geometry"]["size"]) if read.manifest.inputs else ()
    if selected is None or selected.GetImageData() is None or selected.GetImageData().GetDimensions() != size:
        raise InputError(_("The result holds no low-energy image; load it and select it as the input first."))
    return selected


def _same(image: sitk.Image, selected: Any) -> nodes.Steps[Any]:
    """The volume of the scene with these voxels at this place, the selected one before others; None where none is.

    The place is compared first, and the voxels of what lies there in a thread.
    """
    voxels = sitk.GetArrayViewFromImage(image)
    others = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    for volume in (selected, *(other for other in others if other is not selected)):
        if volume is None or not nodes.in_scene(volume) or _of_a_result(volume) or nodes.difference(image, volume):
            continue
        there = slicer.util.arrayFromVolume(volume)
        if (yield from nodes.in_thread(partial(_equal, voxels, there))) and nodes.in_scene(volume):
            return volume
    return None


def _equal(voxels: np.ndarray, there: np.ndarray) -> bool:
    """Equal but for the rounding of the files."""
    return nodes.same_voxels(voxels, there, FILE_ROUNDING * float(np.abs(voxels).max()))


def _of_a_result(volume: Any) -> bool:
    """The volume goes with a result of the scene: another result beside it would lose it when that one is removed."""
    return bool(volume.GetAttribute(nodes.RUN_ID)) or is_rebuilt(volume)


def _beside_rebuilt(folder: Path, image: sitk.Image, run_id: str) -> Generator[float, None, LoadedResult]:
    """Load the result beside a volume of `image`, which `result.remove_result` takes out with it."""
    name = _("{folder}: pre-contrast (computed back)").format(folder=folder.name)
    volume, loaded = nodes.add_empty(image, name), None
    try:
        yield from _quiet(nodes.fill(volume, sitk.GetArrayViewFromImage(image)))
        volume.SetAttribute(nodes.REBUILT, "1")
        loaded = yield from result.load_steps(folder, volume, run_id=run_id)
        display.set_window(volume, display.common_window(volume))
        return loaded
    finally:
        if loaded is None and nodes.in_scene(volume) and not slicer.mrmlScene.IsClosing():
            nodes.remove_nodes([volume.GetID()])


def _quiet(steps: nodes.Steps[Any]) -> Generator[float, None, Any]:
    """Steps before any progress can be shown."""
    try:
        while True:
            next(steps)
            yield 0.0
    except StopIteration as end:
        return end.value
    finally:
        steps.close()
