"""Prepared cases whose real phases were brought onto the pre-contrast volume."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from VirtualContrastLib.study import Phase
from VirtualContrastLib.synthesis.registration import register_phases

from .prepare import CaseSource
from .prepared import PreparedCase


@dataclass(frozen=True)
class WithoutMotion:
    """A source of a dynamic case with the motion of its phases corrected where that helps; see `CaseSource`.

    Attributes:
        source: Reads the case as it was acquired.
    """

    source: CaseSource

    @property
    def case(self) -> str:
        """Name of the case's folder."""
        return self.source.case

    @property
    def patient(self) -> str:
        """Id that splits go by."""
        return self.source.patient

    @property
    def folder(self) -> Path:
        """Folder that the files lie below."""
        return self.source.folder

    @property
    def kind(self) -> str:
        """As the source's."""
        return self.source.kind

    def files(self) -> list[Path]:
        """As the source's."""
        return self.source.files()

    def settings(self) -> object:
        """The source's, and that motion is corrected."""
        return "register", self.source.settings()

    def read(self) -> PreparedCase:
        """The case with its phases moved; `motion` of case.json holds what was found of each."""
        content = self.source.read()
        (_, pre), *rest = content.images.items()
        phases = [Phase(number, image, None, synthetic=False) for number, (_, image) in enumerate(rest, start=1)]
        moved, motions = register_phases(pre, phases)
        images = dict(content.images) | {name: phase.image for (name, _), phase in zip(rest, moved, strict=True)}
        found = tuple(
            f"the motion of phase {number} was not corrected: {motion.sentence}"
            for number, motion in enumerate(motions, start=1)
            if not motion.kept
        )
        description = {**content.description, "motion": [motion.as_json() for motion in motions]}
        warnings = (*content.warnings, *found)
        return dataclasses.replace(content, images=images, description=description, warnings=warnings)
