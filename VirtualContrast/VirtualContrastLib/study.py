"""What goes in: a pre-contrast volume, and real post-contrast phases where a user has them to compare with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import SimpleITK as sitk

PHANTOM_KEY, PHANTOM_VALUE = "VirtualContrastPhantom", "simulated"
"""Key and value in the files of simulated phantoms, by which models of phantoms may be chosen (`io.marks`)."""


@dataclass(frozen=True)
class Phase:
    """One time point of a dynamic series.

    `image` is a 3-D scalar SimpleITK image (a single slice has size 1 along k). `index` 0 is pre-contrast, 1 the first
    post-contrast phase. `time_s` is seconds after injection, 0 for the pre-contrast phase, None where unknown.
    """

    index: int
    image: sitk.Image
    time_s: float | None
    synthetic: bool

    @property
    def name(self) -> str:
        """`pre` or `phase_N`, as in file names."""
        return "pre" if self.index == 0 else f"phase_{self.index}"


@dataclass(frozen=True)
class Source:
    """Where an image came from; `files` stay on this machine and out of reports.

    `sha256` covers the bytes of all files in order. `format` is one of nifti, nrrd, metaimage, dicom, png, memory.
    `modality` is the DICOM modality (MR, MG) or None where the format does not say. `headers` are the DICOM headers
    (pydicom datasets without pixels) of the files, from the same read as the pixels: they alone hold the patient's
    identity, and only DICOM export looks at them.
    """

    files: tuple[Path, ...]
    format: str
    sha256: str
    modality: str | None = None
    headers: tuple[Any, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True)
class Study:
    """One examination as the pipeline takes it: the pre-contrast phase and any real post-contrast phases.

    `time_zero` says what the times of the real phases count from, "" where nobody knows.
    `has_geometry` is False for pictures (PNG), whose pixels have no millimeters; measures are then in pixels.
    """

    pre: Phase
    source: Source
    real: tuple[Phase, ...] = ()
    real_sources: tuple[Source, ...] = field(default=())
    has_geometry: bool = True
    time_zero: str = ""
