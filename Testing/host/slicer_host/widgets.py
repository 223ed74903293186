"""Stand-ins for the CTK and MRML widgets.

The names of properties and signals come from ``widgets.json`` (read out of the headers of CTK and Slicer), so that a
misspelt property, a wrong signal signature or an unlisted class fails a test; what a widget does comes from
``behaviors``. The classes are published in ``ctk`` and ``slicer`` and are known to QUiLoader.
"""

import json
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtWidgets

from . import behaviors, pythonqt, uiloader

TABLE = json.loads((Path(__file__).resolve().parents[1] / "widgets.json").read_text(encoding="utf-8"))
PROPERTY_TYPES = {"bool": bool, "int": int, "double": float, "QString": str, "QStringList": list}
SIGNAL_TYPES = {"bool": bool, "int": int, "double": float, "QString": str}


def _lineage(name: str) -> tuple[list[str], type]:
    """The table's classes from ``name`` to its oldest known ancestor, and the Qt class below that."""
    names = []
    while name in TABLE:
        names.append(name)
        name = TABLE[name]["base"]
    return names, getattr(QtWidgets, name)


def _declare_property(namespace: dict[str, Any], name: str, kind: str) -> None:
    python_type = PROPERTY_TYPES.get(kind, object)

    def read(self: Any) -> Any:
        value = self._read(name, python_type)
        return tuple(value) if python_type is list else value

    def write(self: Any, value: Any) -> None:
        self._write(name, behaviors.converted(name, value, python_type))

    declared = "QVariant" if python_type is object else "QStringList" if python_type is list else python_type
    namespace[name] = QtCore.Property(declared, read, write)
    namespace["set" + name[0].upper() + name[1:]] = write


def _declare_signal(namespace: dict[str, Any], signature: str) -> None:
    """One PySide6 signal per signature; the plain name means the first of several overloads."""
    name, arguments = signature[:-1].split("(")
    attribute = f"_{name}_{len(namespace['_host_signals'])}"
    types = [SIGNAL_TYPES.get(argument, object) for argument in arguments.split(",")] if arguments else []
    namespace[attribute] = QtCore.Signal(*types)
    namespace["_host_signals"][pythonqt.normalized(signature)] = attribute
    namespace.setdefault(name, property(lambda self: getattr(self, attribute)))


def make_stand_in(name: str) -> type:
    """The stand-in class ``name``: its Qt base, the table's properties and signals, and its behavior."""
    names, qt_base = _lineage(name)
    behavior = behaviors.behavior_of(names)
    namespace: dict[str, Any] = {"_host_signals": {}, "__doc__": f"Stand-in for {name}."}
    for ancestor in names:
        for prop, kind in TABLE[ancestor]["properties"].items():
            if qt_base.staticMetaObject.indexOfProperty(prop) < 0 and prop not in namespace:
                _declare_property(namespace, prop, kind)
        for signature in TABLE[ancestor]["signals"]:
            _declare_signal(namespace, signature)
    for hidden in set(namespace) & set(vars(behavior)) - {"__doc__"}:
        del namespace[hidden]  # the behavior's own setter wins over the generated one
    return type(qt_base)(name, (behavior, qt_base), namespace)


def make_all() -> dict[str, type]:
    """All stand-ins by name, registered with QUiLoader."""
    if not uiloader.stand_ins:
        uiloader.stand_ins.update({name: make_stand_in(name) for name in TABLE})
    return uiloader.stand_ins
