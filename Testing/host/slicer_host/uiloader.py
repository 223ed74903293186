"""QUiLoader that knows the stand-ins of CTK's and Slicer's widgets."""

import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import pythonqt

stand_ins: dict[str, type] = {}  # class name in the .ui file -> stand-in class


class QUiLoader(QtUiTools.QUiLoader):
    """Loads an unmodified .ui file of Slicer; a widget class without a stand-in is an error.

    ``<connections>`` are made here, because their signatures name types (vtkMRMLScene*) that PySide6 cannot declare.
    """

    def createWidget(self, class_name: str, parent: QtWidgets.QWidget | None = None, name: str = "") -> Any:
        """Called by Qt for each widget of the file."""
        if class_name in stand_ins:
            widget = stand_ins[class_name](parent)
        elif class_name in self.availableWidgets():
            widget = super().createWidget(class_name, parent, name)
        else:
            self._unknown.append(class_name)
            widget = QtWidgets.QWidget(parent)
        widget.setObjectName(name)
        self._created.append(widget)
        return widget

    def load(self, device: QtCore.QIODevice, parent: QtWidgets.QWidget | None = None) -> QtWidgets.QWidget:
        """The widget described by the open ``device``.

        Raises:
            RuntimeError: the file names a widget class that is neither Qt's nor in widgets.json.
        """
        self._created: list[QtWidgets.QWidget] = []
        self._unknown: list[str] = []
        root = ElementTree.fromstring(device.readAll().data())
        wanted = [
            [connection.findtext(part, "") for part in ("sender", "signal", "receiver", "slot")]
            for connection in root.findall("connections/connection")
        ]
        for section in root.findall("connections") + root.findall("customwidgets"):
            root.remove(section)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.ReadOnly)
        with pythonqt.loading_ui():
            top = super().load(buffer, parent)
        if self._unknown:
            raise RuntimeError(f"no stand-in for widget class {', '.join(sorted(set(self._unknown)))}")
        top._host_children = self._created  # the Python part of a stand-in must live as long as the form
        named = {widget.objectName: widget for widget in self._created}
        for sender, signal, receiver, slot in wanted:
            pythonqt.connect(named[sender], signal, named[receiver], slot)
        return top
