"""Which side of the patient is where in a view: letters at its edges, axes and a ruler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import slicer

from .overlay import Size, Text, TextLayer, top_renderer

_WHITE = (1.0, 1.0, 1.0)
_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))  # below and above zero of R, A and S
_layers: dict[str, TextLayer] = {}  # by the ID of the view's node


def mark_slice(widget: Any, *, on: bool = True) -> None:
    """Show side letters, the patient's axes and a ruler in a slice view, so that no side is taken for the other.

    Not `on` hides them: a mammogram has no patient axes.
    """
    node, composite = widget.mrmlSliceNode(), widget.mrmlSliceCompositeNode()
    node.SetOrientationMarkerType(node.OrientationMarkerTypeAxes if on else node.OrientationMarkerTypeNone)
    node.SetOrientationMarkerSize(node.OrientationMarkerSizeSmall)
    node.SetRulerType(node.RulerTypeThin if on else node.RulerTypeNone)

    def to_the_right() -> np.ndarray | None:
        shown = bool(composite.GetBackgroundVolumeID())
        return slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, 0] if shown else None

    _letter(node, top_renderer(widget.sliceView().renderWindow()), to_the_right if on else None)


def mark_3d(widget: Any, is_empty: Callable[[], bool]) -> None:
    """Show side letters and the patient's axes in a 3-D view; no letters while `is_empty()`."""
    node, renderer = widget.mrmlViewNode(), widget.threeDView().renderWindow().GetRenderers().GetFirstRenderer()
    node.SetOrientationMarkerType(node.OrientationMarkerTypeAxes)

    def to_the_right() -> np.ndarray | None:
        camera = renderer.GetActiveCamera()
        return None if is_empty() else np.cross(camera.GetDirectionOfProjection(), camera.GetViewUp())

    _letter(node, renderer, to_the_right)


def _letter(node: Any, renderer: Any, to_the_right: Callable[[], np.ndarray | None] | None) -> None:
    """Letters at the left and right edge of a view; `to_the_right` gives the RAS direction from left to right."""
    if node.GetID() in _layers:
        _layers.pop(node.GetID()).remove()
    if to_the_right is not None:

        def texts(size: Size) -> Sequence[Text]:
            direction = to_the_right()
            if direction is None:
                return ()
            left, right = letter_of(-direction), letter_of(direction)
            middle = 0.5 * size[1]
            return (Text(left, 8, middle, _WHITE), Text(right, size[0] - 8, middle, _WHITE, ends_there=True))

        _layers[node.GetID()] = TextLayer(renderer, texts)


def letter_of(direction: np.ndarray) -> str:
    """The side of the patient to which an RAS direction points most: L, R, P, A, I or S."""
    axis = int(np.abs(direction).argmax())
    return _LETTERS[axis][int(direction[axis] > 0)]
