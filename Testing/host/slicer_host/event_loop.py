"""Qt's event loop as Slicer runs it: with Python's lock held, so that Python threads stand still while it idles.

PySide6 gives the lock away in every call of Qt. PythonQt does so only where an application asks for it, which Slicer
does not: its threads go on only while Python code runs, or waits.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import shiboken6
from PySide6 import QtCore

LIBRARY = Path(QtCore.__file__).parent / "Qt" / "lib" / "libQt6Core.so.6"
_PROCESS_EVENTS = "_ZN16QCoreApplication13processEventsE6QFlagsIN10QEventLoop17ProcessEventsFlagEE"
_EXEC = "_ZN10QEventLoop4execE6QFlagsINS_17ProcessEventsFlagEE"
_qt = ctypes.PyDLL(str(LIBRARY)) if sys.platform == "linux" and LIBRARY.is_file() else None
"""The Qt library in this process, called without giving the lock away; None where it is not to be had so."""


def process_events() -> None:
    """Handle what is waiting."""
    if _qt is None:
        QtCore.QCoreApplication.processEvents()
    else:
        getattr(_qt, _PROCESS_EVENTS)(0)


def run(seconds: float) -> None:
    """Run the loop in one piece, in C++: between two slots no line of Python is run."""
    loop = QtCore.QEventLoop()
    end = QtCore.QTimer()
    end.setSingleShot(True)
    end.timeout.connect(loop.quit)
    end.start(max(1, round(1000 * seconds)))
    if _qt is None:
        loop.exec()
    else:
        getattr(_qt, _EXEC)(ctypes.c_void_p(shiboken6.getCppPointer(loop)[0]), 0)
