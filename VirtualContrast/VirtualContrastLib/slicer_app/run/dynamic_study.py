"""A dynamic examination as one input: its first volume is the pre-contrast one, the others are the real phases.

It is a sequence of the scene, or the volumes of a DICOM study, ordered by the engine from their headers.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from ...events import InputError
from ..scene import nodes
from . import dicom_source

FIRST_OF = nodes.PREFIX + "FirstOf"
"""Role by which a volume refers to the sequence whose first item it is."""


@dataclass(frozen=True)
class DynamicStudy:
    """The volumes of a study in order of time.

    Attributes:
        pre: The pre-contrast volume.
        real: The real post-contrast volumes.
        times_s: Seconds of these after injection, None where unknown.
        remarks: Sentences on volumes that were left out, and on what speaks against the order.
    """

    pre: Any
    real: tuple[Any, ...]
    times_s: tuple[float | None, ...]
    remarks: tuple[str, ...] = ()


def is_first_of(volume: Any, sequence: Any) -> bool:
    """The volume was made as the first item of this sequence."""
    return volume is not None and volume.GetNodeReferenceID(FIRST_OF) == sequence.GetID()


def first_of(sequence: Any) -> Any:
    """The first item of a sequence as a volume of the scene, which shares its voxels; made at the first time.

    Raises:
        InputError: the sequence has less than two items, or no gray-scale volumes.
    """
    for volume in slicer.util.getNodesByClass(nodes.SCALAR_VOLUME):
        if is_first_of(volume, sequence):
            return volume
    item = sequence.GetNthDataNode(0) if sequence.GetNumberOfDataNodes() > 1 else None
    if item is None or item.GetClassName() != nodes.SCALAR_VOLUME or item.GetImageData() is None:
        text = _("The sequence {name} is no dynamic series of volumes; choose another.")
        raise InputError(text.format(name=sequence.GetName()))
    name = _("{sequence}: pre-contrast").format(sequence=sequence.GetName())
    volume = slicer.mrmlScene.AddNewNodeByClass(nodes.SCALAR_VOLUME, name)
    volume.CopyOrientation(item)
    for attribute in item.GetAttributeNames():
        volume.SetAttribute(attribute, item.GetAttribute(attribute))
    volume.SetAndObserveImageData(item.GetImageData())
    volume.CreateDefaultDisplayNodes()
    volume.SetNodeReferenceID(FIRST_OF, sequence.GetID())
    return volume


def of_dicom(volume: Any) -> nodes.Steps[DynamicStudy]:
    """The phases among the volumes of the scene that lie on the grid of `volume` and came from DICOM, in steps.

    Raises:
        InputError: there is no other one, or the headers tell no order.
    """
    present = slicer.util.getNodesByClass(nodes.SCALAR_VOLUME)
    files = {one.GetID(): dicom_source.files_of(one) for one in present if _on_grid(one, volume)}
    found = [one for one in present if files.get(one.GetID())]
    if len(found) < 2 or volume not in found:
        text = _("No other volume on the same voxels was loaded from DICOM; load the other phases of the study first.")
        raise InputError(text)
    with tempfile.TemporaryDirectory(prefix="VirtualContrast_", dir=slicer.app.temporaryPath) as name:
        folder = Path(name, "study")
        folder.mkdir()
        for number, one in enumerate(found):
            for place, file in enumerate(files[one.GetID()]):
                dicom_source.put(file, folder / f"{number:03d}_{place:05d}.dcm")
            yield
        order, times_s, remarks = yield from nodes.in_thread(lambda: _order(folder))
    volumes = [found[number] for number in order]
    return DynamicStudy(volumes[0], tuple(volumes[1:]), tuple(times_s), remarks)


def _on_grid(one: Any, volume: Any) -> bool:
    if nodes.is_synthetic(one) or one.GetAttribute(nodes.RUN_ID) or None in (one.GetImageData(), volume.GetImageData()):
        return False
    same = one.GetImageData().GetDimensions() == volume.GetImageData().GetDimensions()
    return same and bool(abs(nodes.ijk_to_ras(one) - nodes.ijk_to_ras(volume)).max() < 0.01)


def _order(folder: Path) -> tuple[list[int], list[float | None], tuple[str, ...]]:
    """Numbers of the volumes in order of time, the seconds of all but the first, and the engine's remarks."""
    from ...io.dicom.clocks import seconds_between
    from ...io.dicom.series import find_examination

    examination = find_examination(folder)
    pairs = examination.pairs
    numbers = [int(phase.frames[0].path.name[:3]) for _series, phase in pairs]
    if len(set(numbers)) < max(2, len(numbers)):
        raise InputError(_("The headers of the volumes do not tell their order; tick the real phases by hand."))
    found = [seconds_between(pairs[0][1].times, phase.times) for _series, phase in pairs[1:]]
    remarks = (*examination.notes, *examination.warnings)
    return numbers, [None if one is None else one[0] for one in found], remarks
