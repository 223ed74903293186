"""Two volumes in turn in one view."""

from __future__ import annotations

from typing import Any

import qt

from ..scene import nodes

INTERVAL_MS = 600


class Flicker:
    """Swaps the background of one slice view; ends by itself when a volume or the view goes away."""

    def __init__(self) -> None:
        self._timer: Any = None
        self._composite: Any = None
        self._pair = ("", "")

    @property
    def running(self) -> bool:
        """It flickers now."""
        return self._composite is not None

    def start(self, composite: Any, synthetic_id: str, real_id: str) -> None:
        """Begin with the real volume.

        Args:
            composite: Composite node of the slice view.
            synthetic_id: Id of the synthetic volume node.
            real_id: Id of the real one.
        """
        self._composite, self._pair = composite, (synthetic_id, real_id)
        if self._timer is None:
            self._timer = qt.QTimer()
            self._timer.setInterval(INTERVAL_MS)
            self._timer.connect("timeout()", self.swap)
        self.swap()
        self._timer.start()

    def follow(self, synthetic_id: str, real_id: str) -> None:
        """Go on with another pair, or end where there is no real volume."""
        if self.running:
            if nodes.node(real_id) is None:
                self.stop()
            else:
                self._pair = (synthetic_id, real_id)

    def swap(self) -> None:
        """Show the other of the two."""
        synthetic, real = self._pair
        if not self.running or None in (nodes.node(synthetic), nodes.node(real), self._composite.GetScene()):
            self.stop()
            return
        shown = self._composite.GetBackgroundVolumeID()
        self._composite.SetBackgroundVolumeID(synthetic if shown == real else real)

    def stop(self) -> None:
        """End with the synthetic volume shown."""
        if self._timer is not None:
            self._timer.stop()
        if self.running and nodes.node(self._pair[0]) is not None and self._composite.GetScene() is not None:
            self._composite.SetBackgroundVolumeID(self._pair[0])
        self._composite = None
