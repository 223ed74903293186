"""Connectors between a parameter and a widget, chosen by the exact widget class and the parameter's type."""

import enum
import pathlib
import typing
from collections.abc import Callable
from typing import Any

import ctk
import qt
import slicer

from .serializers import split_annotated
from .validators import Choice, Decimals, Maximum, Minimum, SingleStep, WithinRange


class GuiConnector:
    """Reads and writes one widget; ``signal`` names what the widget emits when its value changed."""

    signal = ""

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        """Whether this class connects a widget of this kind to a (possibly annotated) type."""
        raise NotImplementedError

    def __init__(self, widget: Any, datatype: Any) -> None:
        self._widget, self._callback = widget, None
        self._type, annotations = split_annotated(datatype)
        self._notes = {type(note): note for note in annotations}

    def widget(self) -> Any:
        return self._widget

    def onChanged(self, callback: Callable[[], None] | None) -> None:
        """Call ``callback`` at each change of the widget; None ends it."""
        signal = getattr(self._widget, self.signal)
        if callback is not None:
            signal.connect(self._changed)
        elif self._callback is not None:
            signal.disconnect(self._changed)
        self._callback = callback

    def _changed(self) -> None:
        if self._callback is not None:
            self._callback()

    def read(self) -> Any:
        raise NotImplementedError

    def write(self, value: Any) -> None:
        raise NotImplementedError


connectors: list[type[GuiConnector]] = []


def parameterNodeGuiConnector(connector: Any = None) -> Any:
    """Class decorator that registers a connector."""
    if connector is None:
        return parameterNodeGuiConnector
    connectors.append(connector)
    return connector


def createGuiConnector(widget: Any, datatype: Any) -> GuiConnector:
    """The connector of a widget and a type; RuntimeError if there is none."""
    for connector in connectors:
        if connector.canRepresent(widget, datatype):
            return connector(widget, datatype)
    raise RuntimeError(f"Unable to create GUI connector from datatype '{datatype}' to widget type '{type(widget)}'")


@parameterNodeGuiConnector
class BoolConnector(GuiConnector):
    """QCheckBox or checkable QPushButton and bool."""

    signal = "toggled"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return split_annotated(datatype)[0] is bool and type(widget) in (qt.QCheckBox, qt.QPushButton)

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        widget.checkable = True

    def read(self) -> bool:
        return self._widget.checked

    def write(self, value: bool) -> None:
        self._widget.checked = value


@parameterNodeGuiConnector
class NumberConnector(GuiConnector):
    """QSlider and QSpinBox with int; QDoubleSpinBox and ctkSliderWidget with float. Sliders need both bounds."""

    signal = "valueChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        classes = {int: (qt.QSlider, qt.QSpinBox), float: (qt.QDoubleSpinBox, ctk.ctkSliderWidget)}
        return type(widget) in classes.get(split_annotated(datatype)[0], ())

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        bounds = self._notes.get(WithinRange)
        lower = bounds or self._notes.get(Minimum)
        upper = bounds or self._notes.get(Maximum)
        if type(widget) in (qt.QSlider, ctk.ctkSliderWidget) and not (lower and upper):
            raise RuntimeError(
                f"a parameter without minimum and maximum cannot be connected to a {type(widget).__name__}"
            )
        if Decimals in self._notes:
            widget.decimals = self._notes[Decimals].value
        if SingleStep in self._notes:
            widget.singleStep = self._notes[SingleStep].value
        unbounded = 2**31 - 1 if self._type is int else float("inf")
        widget.minimum = lower.minimum if lower else -unbounded
        widget.maximum = upper.maximum if upper else unbounded

    def read(self) -> Any:
        return self._widget.value

    def write(self, value: Any) -> None:
        self._widget.value = value


class _ComboConnector(GuiConnector):
    """QComboBox filled with labels of fixed values."""

    signal = "currentIndexChanged"

    def _fill(self, labels: list[str], values: list[Any]) -> None:
        self._values = values
        self._widget.clear()
        self._widget.addItems(labels)

    def read(self) -> Any:
        return self._values[self._widget.currentIndex]

    def write(self, value: Any) -> None:
        self._widget.currentIndex = self._values.index(value)


@parameterNodeGuiConnector
class ChoiceConnector(_ComboConnector):
    """QComboBox and a Choice of numbers or texts."""

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return type(widget) is qt.QComboBox and split_annotated(datatype)[0] in (int, float, str, bool)

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        if Choice not in self._notes:
            raise RuntimeError("a combo box needs the Choice annotation")
        choices = list(self._notes[Choice].choices)
        self._fill([str(choice) for choice in choices], choices)


@parameterNodeGuiConnector
class EnumConnector(_ComboConnector):
    """QComboBox and an Enum, whose ``label()`` is shown if it has one, else the member's name."""

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        kind = split_annotated(datatype)[0]
        return type(widget) is qt.QComboBox and isinstance(kind, type) and issubclass(kind, enum.Enum)

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        label = getattr(self._type, "label", lambda member: member.name)
        self._fill([label(member) for member in self._type], list(self._type))


@parameterNodeGuiConnector
class TextConnector(GuiConnector):
    """QLineEdit and QTextEdit with str."""

    signal = "textChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return split_annotated(datatype)[0] is str and type(widget) in (qt.QLineEdit, qt.QTextEdit)

    def read(self) -> str:
        return self._widget.text if type(self._widget) is qt.QLineEdit else self._widget.toPlainText()

    def write(self, value: str) -> None:
        if self.read() != value:  # setting the same text would move the cursor
            self._widget.setText(value)


@parameterNodeGuiConnector
class PathConnector(GuiConnector):
    """ctkPathLineEdit and ctkDirectoryButton with pathlib.Path."""

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        classes = (ctk.ctkPathLineEdit, ctk.ctkDirectoryButton)
        return split_annotated(datatype)[0] is pathlib.Path and type(widget) in classes

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        self._property = "currentPath" if type(widget) is ctk.ctkPathLineEdit else "directory"
        self.signal = self._property + "Changed"

    def read(self) -> pathlib.Path:
        return pathlib.Path(getattr(self._widget, self._property))

    def write(self, value: pathlib.Path) -> None:
        setattr(self._widget, self._property, str(value))


@parameterNodeGuiConnector
class NodeConnector(GuiConnector):
    """qMRMLNodeComboBox with a node class or a union of node classes, which become its nodeTypes."""

    signal = "currentNodeChanged"

    @staticmethod
    def _classes(datatype: Any) -> list[type]:
        kind = split_annotated(datatype)[0]
        union = typing.get_origin(kind) is typing.Union
        options = typing.get_args(kind) if union else (kind,)
        return [option for option in options if option is not type(None)]

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        classes = NodeConnector._classes(datatype)
        nodes = all(isinstance(cls, type) and issubclass(cls, slicer.vtkMRMLNode) for cls in classes)
        return type(widget) is slicer.qMRMLNodeComboBox and nodes

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        widget.nodeTypes = [cls.__name__ for cls in self._classes(datatype)]

    def read(self) -> Any:
        return self._widget.currentNode()

    def write(self, value: Any) -> None:
        self._widget.setCurrentNode(value)
