"""Weights that stay loaded from one run to the next, for a batch or the worker of a panel."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from ..lesions.nnunet import LesionNet
    from ..models.package import ModelPackage
    from ..synthesis.device import DeviceChoice
    from ..synthesis.study_synthesizer import StudySynthesizer

MODELS_KEPT = 2
"""Networks of each kind that stay loaded; one that was used longer ago is let go, and its memory with it."""

Network = TypeVar("Network")


class _Recent(Generic[Network]):
    """The networks used last, each with the package and the device that it was made for, the latest at the end."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._items: list[tuple[ModelPackage, str, Network]] = []

    def get(self, package: ModelPackage, device: str, make: Callable[[], Network]) -> Network:
        """The network of `package` on `device`, made where it is not there."""
        for item in self._items:
            if item[:2] == (package, device):
                self._items.remove(item)
                break
        else:
            del self._items[: max(0, len(self._items) - self._kept + 1)]  # before the new one needs the memory
            item = (package, device, make())
        self._items.append(item)
        return item[2]


class ModelCache:
    """Devices and networks, made on first use and kept; serves any number of runs, one at a time."""

    def __init__(self, kept: int = MODELS_KEPT) -> None:
        self._devices: dict[str, DeviceChoice] = {}
        self._synthesizers: _Recent[StudySynthesizer] = _Recent(kept)
        self._lesion_nets: _Recent[LesionNet] = _Recent(kept)

    def device(self, wanted: str, precision: str = "auto") -> DeviceChoice:
        """The device a run uses, chosen once by a tiny real computation on it."""
        if wanted not in self._devices:
            from ..synthesis.device import choose_device

            self._devices[wanted] = choose_device(wanted)
        return dataclasses.replace(self._devices[wanted], precision=precision)

    def synthesizer(self, package: ModelPackage, device: str, precision: str = "auto") -> StudySynthesizer:
        """The synthesis model of a package, of any architecture, with its weights on the device.

        Args:
            package: The model package.
            device: "auto", "cpu" or the name of a GPU.
            precision: "auto", or a precision by name.

        Returns:
            The model, loaded now or before.
        """
        from ..synthesis.study_synthesizer import study_synthesizer

        choice = self.device(device, precision)
        return self._synthesizers.get(package, f"{device} {precision}", lambda: study_synthesizer(package, choice))

    def lesion_net(self, package: ModelPackage, device: str) -> LesionNet:
        """The lesion segmentation model of `package` with its weights on `device`."""
        from ..lesions.nnunet import LesionNet

        return self._lesion_nets.get(package, device, lambda: LesionNet(package, self.device(device).device))
