"""Texts over the image of a view, placed again at each rendering: they fit every slice, camera and size of the view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import vtk

Color = tuple[float, float, float]
Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True)
class Text:
    """A text at a pixel of a view.

    Attributes:
        text: What it says.
        x: Column of its left end, or of its right end with `ends_there`, from the view's left.
        y: Row of its lower edge, from the view's lower end.
        color: Its color.
        ends_there: Whether x is its right end.
    """

    text: str
    x: float
    y: float
    color: Color
    ends_there: bool = False


class TextLayer:
    """The texts that `texts` gives for the size of a view, in one renderer, until `remove`."""

    def __init__(self, renderer: Any, texts: Callable[[Size], Sequence[Text]]) -> None:
        self._renderer, self._texts = renderer, texts
        self._actors: list[Any] = []
        self._tag = renderer.AddObserver(vtk.vtkCommand.StartEvent, self._draw)

    def remove(self) -> None:
        """Take all texts out of the renderer."""
        self._renderer.RemoveObserver(self._tag)
        for actor in self._actors:
            self._renderer.RemoveViewProp(actor)
        self._actors = []

    def _draw(self, caller: Any, event: Any) -> None:
        texts = self._texts(self._renderer.GetSize())
        while len(self._actors) < len(texts):
            self._actors.append(_actor())
            self._renderer.AddViewProp(self._actors[-1])
        for number, actor in enumerate(self._actors):
            actor.SetVisibility(number < len(texts))
            if number < len(texts):
                _set(actor, texts[number])


def _actor() -> Any:
    actor = vtk.vtkTextActor()
    actor.GetPositionCoordinate().SetCoordinateSystemToViewport()
    look = actor.GetTextProperty()
    look.SetFontSize(16)
    look.SetBold(True)
    look.SetShadow(True)
    return actor


def _set(actor: Any, text: Text) -> None:
    actor.SetInput(text.text)
    actor.SetPosition(text.x, text.y)
    look = actor.GetTextProperty()
    look.SetColor(*text.color)
    if text.ends_there:
        look.SetJustificationToRight()
    else:
        look.SetJustificationToLeft()


def top_renderer(window: Any) -> Any:
    """The highest renderer of a render window that is the view's own, over the image.

    Those of the orientation marker, the ruler and the legend are not interactive; they shrink to a corner when shown.
    """
    renderers = window.GetRenderers()
    all_of_them = [renderers.GetItemAsObject(number) for number in range(renderers.GetNumberOfItems())]
    own = [renderer for renderer in all_of_them if renderer.GetInteractive()]
    return max(own or all_of_them, key=lambda renderer: renderer.GetLayer())
