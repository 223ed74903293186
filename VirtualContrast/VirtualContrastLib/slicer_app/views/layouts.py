"""Layouts of our own: made known to the application, and kept out of scenes that others open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import slicer
import vtk

_own: set[int] = set()
_watched: set[Any] = set()


def register(descriptions: Mapping[int, str]) -> None:
    """Make layouts (number: XML) known, so that a scene that was saved in one of them opens in it.

    Call it when the application has started; there are no layouts without a main window.
    """
    manager = slicer.app.layoutManager()
    if manager is None:
        return
    node = manager.layoutLogic().GetLayoutNode()
    for number, description in descriptions.items():
        if not node.IsLayoutDescription(number):
            node.AddLayoutDescription(number, description)
    _own.update(descriptions)
    if node not in _watched:
        _watched.add(node)  # a singleton, as old as the application
        node.AddObserver(vtk.vtkCommand.ModifiedEvent, _keep_to_ourselves)


def use(number: int, descriptions: Mapping[int, str]) -> None:
    """Switch to one of these layouts; at the first time this makes its views."""
    register(descriptions)
    slicer.app.layoutManager().setLayout(number)


def _keep_to_ourselves(node: Any, event: Any) -> None:
    """A scene does not keep a layout of this extension: where this extension is absent it would open without a single
    view.

    The application then stays in the layout that it has, and shows the scene in it.
    """
    node.SetSaveWithScene(node.GetViewArrangement() not in _own)
