"""The module ``qt`` of Slicer's Python: PySide6's classes with PythonQt's semantics (see slicer_host/pythonqt.py)."""

from slicer_host import pythonqt
from slicer_host.uiloader import QUiLoader  # noqa: F401

pythonqt.install()
for _module in pythonqt.QT_MODULES:
    globals().update({_name: getattr(_module, _name) for _name in dir(_module) if not _name.startswith("_")})

slotErrors = pythonqt.slot_errors  # noqa: N816  exceptions of slots, timers and observers; tests assert it is empty
