"""What the application has to know of the module before anybody opens it."""

from __future__ import annotations

from . import sample_data
from .reader import views as reading
from .views import layout, layouts


def run() -> None:
    """Register the sample data and the layouts; called once, when Slicer has started."""
    sample_data.register()
    layouts.register({**layout.LAYOUTS, **reading.LAYOUTS})
