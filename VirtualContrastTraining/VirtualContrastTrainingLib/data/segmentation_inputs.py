"""What the networks of a segmentation experiment read: one image as published, or several channels of a study.

As published an image is one volume: pre-contrast, acquired or synthetic phase 1 (`DOMAINS`). With channels named,
`pre`, `phase_N` or `subtraction_N` as in a model's card, an image is a study: all its phases are acquired (`real`) or
all made from its pre-contrast volume (`synthetic`). This is how the engine uses such a network: its phase N is one
volume.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.card import CHANNEL_PATTERN

DOMAINS = ("pre", "post", "synthetic")
STUDY_DOMAINS = ("real", "synthetic")
PRE = "pre"


@dataclass(frozen=True)
class Inputs:
    """Input channels of the networks; raises InputError for channels that no network can have.

    Attributes:
        channels: `pre`, `phase_N` or `subtraction_N` (phase N minus pre) in the network's order; empty for the one
            image of the published experiment.
    """

    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.channels:
            if not re.match(CHANNEL_PATTERN, name):
                raise InputError(
                    f"A channel is pre, phase_N or subtraction_N, not '{name}': whether phases are acquired or "
                    "synthetic is for the scenario to say, and one network cannot read both of one phase."
                )
        if len(set(self.channels)) < len(self.channels):
            raise InputError(f"The channels {' '.join(self.channels)} name one twice.")
        if self.channels and self.last_phase == 0:
            raise InputError("Name a phase_N or subtraction_N among the channels; without one nothing is synthetic.")

    @property
    def domains(self) -> tuple[str, ...]:
        """Kinds of images to train and to test on."""
        return STUDY_DOMAINS if self.channels else DOMAINS

    @property
    def phases(self) -> list[int]:
        """Post-contrast phases that are read, in order."""
        return sorted({int(name.rpartition("_")[2]) for name in self.channels if name != PRE}) if self.channels else [1]

    @property
    def last_phase(self) -> int:
        """The last of these phases; 0 where there is none."""
        return max(self.phases, default=0)

    def channel_files(self, domain: str) -> list[str]:
        """Names of the files, without suffix, that an image of a domain consists of, one a channel."""
        if not self.channels:
            return [domain]
        return [PRE if name == PRE else f"{domain}_{name}" for name in self.channels]

    def phase_files(self, domain: str) -> Mapping[int, str]:
        """Names of the files, without suffix, that hold the phases of an image by phase index, for `LesionNet`."""
        if not self.channels:
            # One image is the network's only input, whatever the phase is called in its package.
            return {0: domain, 1: domain}
        return {0: PRE, **{number: f"{domain}_phase_{number}" for number in self.phases}}
