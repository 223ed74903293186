"""Volumes out of the scene into NRRD files, piece by piece, so that the application stays alive meanwhile.

Uncompressed NRRD is a short text header followed by the voxels as they lie in memory: it needs no library and can be
written in steps of any size. Format: https://teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from ...events import InputError
from ...study import PHANTOM_KEY, PHANTOM_VALUE
from ..scene import nodes

PIECE_BYTES = 4 << 20
_TYPES = {
    "int8": "int8", "uint8": "uint8", "int16": "int16", "uint16": "uint16", "int32": "int32", "uint32": "uint32",
    "int64": "int64", "uint64": "uint64", "float32": "float", "float64": "double",
}  # fmt: skip
_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "min": 60.0}


@dataclass(frozen=True)
class RealPhases:
    """Real post-contrast volumes.

    Attributes:
        nodes: The volumes in order.
        times_s: Their seconds after injection, where they are known.
    """

    nodes: tuple[Any, ...] = ()
    times_s: tuple[float, ...] | None = None


def real_phases(volumes: Sequence[Any], sequence: Any, *, first: int = 0) -> RealPhases:
    """The real phases of `sequence` from item `first` on where there is one, else `volumes` as they are.

    Items of a sequence with a time above 0 are post-contrast. Without a time axis the first item counts as the
    pre-contrast one and is left out.

    Args:
        volumes: Volume nodes in the order of the phases.
        sequence: A sequence node, or None.
        first: Item of the sequence with which its phases begin.

    Returns:
        The real phases, with their times where the sequence has a time axis.
    """
    if sequence is None:
        return RealPhases(tuple(volumes))
    count = sequence.GetNumberOfDataNodes()
    factor = _SECONDS.get((sequence.GetIndexUnit() or "").lower())
    if sequence.GetIndexType() != slicer.vtkMRMLSequenceNode.NumericIndex or factor is None:
        return RealPhases(tuple(sequence.GetNthDataNode(n) for n in range(1, count)))
    times = [float(sequence.GetNthIndexValue(n)) * factor for n in range(count)]
    after = [n for n, time_s in enumerate(times) if time_s > 0 and n >= first]
    return RealPhases(tuple(sequence.GetNthDataNode(n) for n in after), tuple(times[n] for n in after))


def problem_with(node: Any) -> str:
    """Why the volume `node` cannot go into a run, in one sentence; "" where it can."""
    name = node.GetName()
    image = node.GetImageData()
    if image is None or min(image.GetDimensions()) < 1 or image.GetNumberOfPoints() == 0:
        return _("The volume {name} has no voxels; load it again.").format(name=name)
    if image.GetNumberOfScalarComponents() != 1:
        return _("The volume {name} has several values per voxel; choose a gray-scale volume.").format(name=name)
    if node.GetParentTransformNode() is not None:
        return _("The volume {name} is moved by a transform; harden the transform first.").format(name=name)
    return ""


def write_nrrd(node: Any, path: Path) -> Iterator[float]:
    """Write a scalar volume with its exact geometry to `path`; yields the fraction 0..1 after each piece.

    Raises:
        InputError: the volume cannot be used, or the disk is full.
    """
    if problem := problem_with(node):
        raise InputError(problem)
    array = np.ascontiguousarray(slicer.util.arrayFromVolume(node))
    header = _header(node, array)
    voxels = array.reshape(-1).view(np.uint8).data
    try:
        with path.open("wb") as file:
            file.write(header)
            for start in range(0, len(voxels), PIECE_BYTES):
                file.write(voxels[start : start + PIECE_BYTES])
                yield min(1.0, (start + PIECE_BYTES) / len(voxels))
    except OSError as error:
        raise InputError(
            _("The volume could not be handed over ({reason}); make room in {folder}.").format(
                reason=error.strerror or error, folder=path.parent
            )
        ) from error


def _header(node: Any, array: np.ndarray) -> bytes:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    ijk_to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ slicer.util.arrayFromVTKMatrix(matrix)
    directions = " ".join(_vector(ijk_to_lps[:3, axis]) for axis in range(3))
    lines = [
        "NRRD0004",
        f"type: {_TYPES[array.dtype.name]}",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(str(n) for n in array.shape[::-1])}",
        f"space directions: {directions}",
        "kinds: domain domain domain",
        f"endian: {sys.byteorder}",
        "encoding: raw",
        f"space origin: {_vector(ijk_to_lps[:3, 3])}",
    ]
    if nodes.is_phantom(node):
        lines.append(f"{PHANTOM_KEY}:={PHANTOM_VALUE}")
    return ("\n".join(lines) + "\n\n").encode("ascii")


def _vector(values: np.ndarray) -> str:
    return "(" + ",".join(repr(float(value)) for value in values) + ")"
