"""Arrow keys in the slice views of a result: left and right go through the phases, up and down through the lesions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

from . import layout


class ViewKeys:
    """Answers while one of our slice views has the focus, so that arrows elsewhere keep their meaning.

    `phase` and `lesion` get -1 or 1.
    """

    def __init__(self, phase: Callable[[int], None], lesion: Callable[[int], None]) -> None:
        self._actions = {
            "Left": lambda: phase(-1), "Right": lambda: phase(1), "Up": lambda: lesion(-1), "Down": lambda: lesion(1),
        }  # fmt: skip
        self._shortcuts: list[Any] = []

    def start(self) -> None:
        """Listen in the views that there are."""
        self.stop()
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        for tag in layout.SLICE_VIEWS:
            widget = manager.sliceWidget(tag)
            if widget is None:
                continue
            for key, action in self._actions.items():
                shortcut = qt.QShortcut(qt.QKeySequence(key), widget)
                shortcut.context = qt.Qt.WidgetWithChildrenShortcut
                shortcut.connect("activated()", action)
                self._shortcuts.append(shortcut)

    def stop(self) -> None:
        """Listen no more."""
        for shortcut in self._shortcuts:
            shortcut.enabled = False
            shortcut.deleteLater()
        self._shortcuts = []
