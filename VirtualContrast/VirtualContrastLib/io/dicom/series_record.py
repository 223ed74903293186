"""One DICOM series as the readers hand it round, and how messages name it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .headers import DicomFrame, SeriesHeader

_LISTED = 12


@dataclass(frozen=True)
class DicomSeries:
    """Images that belong together: one SeriesInstanceUID and, where images repeat, one kind (image type and echo).

    Attributes:
        header: What the images share.
        frames: The images.
        key: The series number, with a part number where a folder has it several times (801.1, 801.2).
    """

    header: SeriesHeader
    frames: tuple[DicomFrame, ...]
    key: str = ""

    @property
    def label(self) -> str:
        """Key, modality, description and number of images, for messages; no patient data."""
        number = self.key or self.header.number or "?"
        kind = f", {self.header.description}" if self.header.description else ""
        if "." in number:
            kind += f", {' '.join(word for word in self.frames[0].kind if word)}"
        return f"{number} ({self.header.modality}{kind}, {len(self.frames)} images)"


def listed(series: Sequence[DicomSeries]) -> str:
    """Labels of some series in one line, shortened where they are many."""
    return shorten([one.label for one in series], _LISTED)


def shorten(texts: list[str], most: int) -> str:
    """The texts with commas, all but the last of those beyond `most` left out."""
    return ", ".join(texts if len(texts) <= most else [*texts[: most - 1], "...", texts[-1]])
