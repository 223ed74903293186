"""Observers of VTK objects that let go of what they observed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Observers:
    """Adds observers to VTK and MRML objects and takes them back.

    Slicer's VTKObservationMixin keeps every object that was ever observed until the very end, and so the voxels of
    every volume that has left the scene. Here an object is kept as long as it is observed: `forget` it when it leaves.
    """

    def __init__(self) -> None:
        self._tags: dict[Any, list[int]] = {}

    def __contains__(self, observed: Any) -> bool:
        return observed in self._tags

    def add(self, observed: Any, event: Any, callback: Callable[..., None]) -> None:
        """Observe an object.

        Args:
            observed: The object.
            event: The event.
            callback: Called with the caller and the event.
        """
        self._tags.setdefault(observed, []).append(observed.AddObserver(event, callback))

    def forget(self, observed: Any) -> None:
        """Take the observers of an object back and let go of it; one that is not observed is left alone."""
        for tag in self._tags.pop(observed, ()):
            observed.RemoveObserver(tag)

    def clear(self) -> None:
        """Forget all objects."""
        for observed in list(self._tags):
            self.forget(observed)
