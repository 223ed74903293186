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

    Attributes:
        index: 0 for the pre-contrast phase, 1 for the first post-contrast phase.
        image: A 3-D scalar SimpleITK image; a single slice has size 1 along k.
        time_s: Seconds after injection, 0 for the pre-contrast phase; None where unknown.
        synthetic: Whether it was synthesized.
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
    """Where an image came from.

    Attributes:
        files: They stay on this machine and out of reports.
        format: One of nifti, nrrd, metaimage, dicom, png, memory.
        sha256: Of the bytes of all files in order.
        modality: The DICOM modality (MR, MG); None where the format does not record it.
        headers: DICOM headers of the files (pydicom datasets without pixels), from the same read as the pixels. They
            alone hold the patient's identity, and only DICOM export looks at them.
    """

    files: tuple[Path, ...]
    format: str
    sha256: str
    modality: str | None = None
    headers: tuple[Any, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True)
class Study:
    """One examination as the pipeline takes it: the pre-contrast phase and any real post-contrast phases.

    Attributes:
        pre: The pre-contrast phase.
        source: Where it came from.
        real: Real post-contrast phases in order.
        real_sources: Where each of them came from.
        has_geometry: False for pictures (PNG), whose pixels have no millimeters; measures are then in pixels.
        time_zero: What the times of the real phases count from, "" where that is unknown.
        acquired: Real phases, from the first on, that a model which goes on from acquired phases reads.
    """

    pre: Phase
    source: Source
    real: tuple[Phase, ...] = ()
    real_sources: tuple[Source, ...] = field(default=())
    has_geometry: bool = True
    time_zero: str = ""
    acquired: int = 1
