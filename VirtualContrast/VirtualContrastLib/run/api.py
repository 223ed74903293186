"""The engine for Python people: a file, an image or an array goes in; images of the phases come out.

It takes the same road as the command line, with its gate, warnings and result folder, so a notebook gets what a
radiologist gets. The folder is kept where `out` names one.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..events import Events, InputError, Stage
from ..files import expanded
from ..results.manifest import Manifest, Result
from ..study import Phase
from .pipeline import run
from .settings import RunSettings

Volume = str | Path | sitk.Image | NDArray[np.generic]
Progress = Callable[[str, int, int], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SynthesizedStudy:
    """What one synthesis made.

    Attributes:
        phases: the synthetic phases, each with index, seconds after injection and a `SimpleITK.Image` in the input's
            units (see `manifest.arbitrary_units`) and exactly the input's geometry.
        lesions: labels 1..n on the same grid, or None where none were looked for.
        manifest: models, settings, hashes and warnings of the run.
        folder: the result folder, None where `out` was not given.
    """

    phases: tuple[Phase, ...]
    lesions: sitk.Image | None
    manifest: Manifest
    folder: Path | None

    def arrays(self) -> list[NDArray[np.float32]]:
        """The phases as arrays [k, j, i]."""
        return [sitk.GetArrayFromImage(phase.image).astype(np.float32) for phase in self.phases]


def synthesize(
    pre: Volume,
    out: str | Path | None = None,
    *,
    spacing_mm: Sequence[float] | None = None,
    real: Sequence[Volume] = (),
    settings: RunSettings | None = None,
    progress: Progress | None = None,
) -> SynthesizedStudy:
    """Synthesize the post-contrast phases of one study.

    Args:
        pre: the pre-contrast volume: a file or DICOM folder, a `SimpleITK.Image`, or an array [k, j, i].
        out: where the result folder goes; None keeps nothing on disk.
        spacing_mm: distance of voxels along i, j, k for an array, which has none; taken as axial, patient right first.
        real: real post-contrast phases to compare with, or that the model reads.
        settings: model, segmentation, times and so on; the defaults of the command line where it is None.
        progress: called with the stage's name, steps done and steps in all.

    Returns:
        The phases in memory, with lesions and manifest.

    Raises:
        InputError: the input, a setting or the output place cannot be used; one sentence says why.
    """
    events = Events(listeners=[_Listener(progress)])
    with tempfile.TemporaryDirectory(prefix="VirtualContrast-") as place:
        source = _as_file(pre, Path(place, "pre.nrrd"), spacing_mm)
        others = [
            _as_file(volume, Path(place, f"real_{number}.nrrd"), spacing_mm) for number, volume in enumerate(real, 1)
        ]
        target = expanded(out) if out is not None else Path(place, "result")
        result = run(source, target, settings or RunSettings(), real=others, events=events)
        return _in_memory(result, None if out is None else result.folder)


def _as_file(volume: Volume, path: Path, spacing_mm: Sequence[float] | None) -> str:
    """The spec of a file that holds `volume`; images and arrays are written to `path`."""
    if isinstance(volume, str | Path):
        return str(volume)
    if isinstance(volume, np.ndarray):
        if volume.ndim != 3:
            raise InputError(f"An array has to be a volume [k, j, i]; this one has {volume.ndim} axes.")
        if spacing_mm is None:
            raise InputError("An array has no millimeters; give spacing_mm=(i, j, k).")
        image = sitk.GetImageFromArray(np.ascontiguousarray(volume, dtype=np.float32))
        image.SetSpacing([float(value) for value in spacing_mm])
        volume = image
    sitk.WriteImage(volume, str(path))
    return str(path)


def _in_memory(result: Result, folder: Path | None) -> SynthesizedStudy:
    """The result with its images read, so that the folder may go."""
    labels = result.folder / "lesions.seg.nrrd"
    lesions = sitk.ReadImage(str(labels)) if labels.is_file() else None
    return SynthesizedStudy(tuple(result.phases()), lesions, result.manifest, folder)


class _Listener:
    """Hands progress to the caller's function, and warnings to `logging`."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    def progress(self, stage: Stage, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(stage.value, done, total)

    def warning(self, message: str) -> None:
        _log.warning("%s", message)
