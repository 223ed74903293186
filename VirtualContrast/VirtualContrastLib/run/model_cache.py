"""Weights that stay loaded from one run to the next, for a batch or the worker of a panel."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..events import Events

if TYPE_CHECKING:
    from ..lesions.nnunet import LesionNet
    from ..models.catalog import Kind
    from ..models.package import ModelPackage
    from ..synthesis.device import DeviceChoice
    from ..synthesis.study_synthesizer import StudySynthesizer


@dataclass
class Engine:
    """Devices and networks, made on first use and kept; serves any number of runs, one at a time."""

    _devices: dict[str, DeviceChoice] = field(default_factory=dict)
    _packages: dict[tuple[str, str], ModelPackage] = field(default_factory=dict)
    _synthesizers: dict[tuple[str, str], StudySynthesizer] = field(default_factory=dict)
    _lesion_nets: dict[tuple[str, str], LesionNet] = field(default_factory=dict)

    def device(self, wanted: str) -> DeviceChoice:
        """The device a run uses, chosen once by a tiny real computation on it."""
        if wanted not in self._devices:
            from ..synthesis.device import choose_device

            self._devices[wanted] = choose_device(wanted)
        return self._devices[wanted]

    def package(self, name: str, kind: Kind) -> ModelPackage:
        """The model package `name` (id or path) of `kind` "synthesis" or "segmentation".

        Raises:
            InputError: unknown, incomplete or not of that kind.
        """
        if (name, kind) not in self._packages:
            from ..models.catalog import resolve_model

            self._packages[name, kind] = resolve_model(name, kind)
        return self._packages[name, kind]

    def synthesizer(self, name: str, device: str) -> StudySynthesizer:
        """The synthesis model `name`, of any architecture, with its weights on `device`."""
        if (name, device) not in self._synthesizers:
            from ..synthesis.study_synthesizer import study_synthesizer

            package = self.package(name, "synthesis")
            self._synthesizers[name, device] = study_synthesizer(package, self.device(device))
        return self._synthesizers[name, device]

    def lesion_net(self, name: str, device: str) -> LesionNet:
        """The lesion segmentation model `name` with its weights on `device`."""
        if (name, device) not in self._lesion_nets:
            from ..lesions.nnunet import LesionNet

            package = self.package(name, "segmentation")
            self._lesion_nets[name, device] = LesionNet(package, self.device(device).device)
        return self._lesion_nets[name, device]


def own_events(events: Events) -> Events:
    """Events with an empty list of warnings that share the listeners and the wish to cancel of `events`."""
    return dataclasses.replace(events, warnings=[])
