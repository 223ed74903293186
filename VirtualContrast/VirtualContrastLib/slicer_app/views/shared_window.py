"""One gray window for pre-contrast, synthetic and real phases, also after the user has changed it in one view."""

from __future__ import annotations

from typing import Any

import vtk

from ...results.manifest import MAMMOGRAM
from ..observers import Observers
from ..scene import nodes
from ..scene.loaded import LoadedResult
from .display import set_window, window_of


class SharedWindow:
    """What is brighter in a phase, or while the view flickers, is then brighter in the image."""

    def __init__(self) -> None:
        self._observers = Observers()
        self._volumes: list[str] = []
        self._busy = False

    def follow(self, loaded: LoadedResult) -> None:
        """Keep the windows of a result together, from that of its first phase on.

        Real phases belong to them where the phases have their units; else their window is left to the user. So is that
        of a low-energy mammogram, whose recombined image is another kind of picture.
        """
        self.clear()
        phases = (*loaded.input_phases, *loaded.phases)
        ids = [phase.volume for phase in phases]
        if loaded.kind != MAMMOGRAM:
            ids += [loaded.pre, loaded.proxy]
        if not loaded.arbitrary_units:
            ids += [phase.real for phase in loaded.phases]
        self._volumes = [one for one in ids if _display(one) is not None]
        first = _display(loaded.phases[0].volume)
        for volume in self._volumes:
            self._observers.add(_display(volume), vtk.vtkCommand.ModifiedEvent, self._on_change)
        if first is not None:
            self._on_change(first, None)

    def clear(self) -> None:
        """Let every window go its own way."""
        self._observers.clear()
        self._volumes = []

    def _on_change(self, changed: Any, event: Any) -> None:
        if self._busy:
            return
        self._busy, window = True, window_of(changed)
        for volume in self._volumes:
            display = _display(volume)
            if display is not None and window_of(display) != window:
                set_window(nodes.node(volume), window)
        self._busy = False


def _display(volume_id: str) -> Any:
    volume = nodes.node(volume_id)
    return volume.GetDisplayNode() if volume is not None else None
