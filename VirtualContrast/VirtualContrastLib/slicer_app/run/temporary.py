"""Result folders for which nobody chose a place: private to the user, and gone when Slicer ends."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

import slicer

_folders: list[Path] = []


def folder() -> Path:
    """The folder in Slicer's temporary folder that holds the results of this process; made at the first time.

    Slicer itself never empties its temporary folder, and results are images of patients.

    Raises:
        OSError: it cannot be made.
    """
    if not _folders or not _folders[0].is_dir():
        _folders[:] = [Path(tempfile.mkdtemp(prefix="VirtualContrastResults_", dir=slicer.app.temporaryPath))]
    return _folders[0]


@atexit.register
def clear() -> None:
    """Remove the folder with all results in it."""
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)
