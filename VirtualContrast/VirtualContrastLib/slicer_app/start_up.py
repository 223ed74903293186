"""What the application has to know of the module before anybody opens it."""

from __future__ import annotations

from . import sample_data
from .reader import views as reading
from .scene import nodes
from .views import layout, layouts


def run() -> None:
    """Register sample data and layouts, and keep the marks of files; called once, when Slicer has started."""
    sample_data.register()
    nodes.keep_marks()
    layouts.register({**layout.LAYOUTS, **reading.LAYOUTS})
