"""The module ``ctk`` of Slicer's Python: the stand-ins of CTK's widgets (see slicer_host/widgets.py)."""

# ruff: noqa: N801 (these are Slicer's names)

from typing import Any

from slicer_host import widgets

globals().update({_name: _class for _name, _class in widgets.make_all().items() if _name.startswith("ctk")})


class ctkWidgetsUtils:
    """Picture of a widget or of one of the host's views."""

    @staticmethod
    def grabWidget(widget: Any) -> Any:
        """A QImage of ``widget``."""
        image = widget.grab()
        return image.toImage() if hasattr(image, "toImage") else image
