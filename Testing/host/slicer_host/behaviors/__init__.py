"""What the stand-in widgets do: one mixin a widget class (named like it), over the properties of ``widgets.json``.

A mixin keeps to what panel code relies on: values, ranges, signals, node selection. Underscore names are the host's.
"""

from . import ctk_widgets, mrml_widgets
from .base import StandIn, converted, qMRMLWidget, qSlicerWidget

__all__ = ["StandIn", "behavior_of", "converted"]

_MIXINS = {**vars(ctk_widgets), **vars(mrml_widgets), "qMRMLWidget": qMRMLWidget, "qSlicerWidget": qSlicerWidget}


def behavior_of(names: list[str]) -> type:
    """The mixin of the first of these classes (a widget, then its ancestors) that has one."""
    return next((_MIXINS[name] for name in names if name in _MIXINS), StandIn)
