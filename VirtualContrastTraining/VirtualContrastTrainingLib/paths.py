"""Where the resources of the training library lie: recipes and splits."""

from __future__ import annotations

from pathlib import Path


def resources_dir() -> Path:
    """The folder `Resources`: inside the library in a wheel, beside it in the source tree and in Slicer."""
    library = Path(__file__).resolve().parent
    inside = library / "Resources"
    return inside if inside.is_dir() else library.parent / "Resources"
