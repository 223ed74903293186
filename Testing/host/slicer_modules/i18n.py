"""Stand-in for ``slicer.i18n``: translation in the context of the calling module."""

# ruff: noqa: N803 (these are Slicer's names)

import inspect
from pathlib import Path

import slicer


def getContext(sourceFile: str) -> str:
    """The translation context of a source file: its name without suffix (the folder's name for __init__.py)."""
    path = Path(sourceFile)
    return path.parent.name if path.stem == "__init__" else path.stem


def translate(context: str, text: str) -> str:
    """``text`` in the language of the application."""
    return slicer.app.translate(context, text)


def tr(text: str) -> str:
    """``text`` translated in the context of the file that calls."""
    return translate(getContext(inspect.currentframe().f_back.f_code.co_filename), text)
