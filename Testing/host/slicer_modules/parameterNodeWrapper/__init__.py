"""Stand-in for ``slicer.parameterNodeWrapper``: a class with typed fields, kept in a parameter node of the scene.

Same names, same texts in the node and same binding to widgets (dynamic property ``SlicerParameterName``) as Slicer's;
types and connectors it lacks raise, see ``serializers`` and ``gui``.
"""

# ruff: noqa: N803, N815 (these are Slicer's names)

import typing
import weakref
from typing import Any

import qt
import slicer
import vtk

from .gui import GuiConnector, createGuiConnector, parameterNodeGuiConnector
from .serializers import Serializer, make_serializer, split_annotated
from .validators import (
    Choice,
    Decimals,
    Default,
    Exclude,
    IsInstance,
    Maximum,
    Minimum,
    NotNone,
    SingleStep,
    Validator,
    WithinRange,
)

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Exclude",
    "GuiConnector",
    "IsInstance",
    "Maximum",
    "Minimum",
    "NotNone",
    "SingleStep",
    "SlicerParameterNamePropertyName",
    "Validator",
    "WithinRange",
    "createGuiConnector",
    "findChildWidgetForParameter",
    "isParameterNodeWrapper",
    "parameterNodeGuiConnector",
    "parameterNodeWrapper",
]

SlicerParameterNamePropertyName = "SlicerParameterName"


class _Field:
    """Name, type, serializer and default of one parameter."""

    def __init__(self, name: str, annotated: Any, class_value: Any) -> None:
        self.name, self.unalteredType = name, annotated
        self.serializer: Serializer = make_serializer(annotated)
        defaults = [note for note in split_annotated(annotated)[1] if isinstance(note, Default)]
        self.default = class_value or (defaults[0] if defaults else Default(self.serializer.default()))


class _Value:
    """The value of a field in a node, cached until the node is modified (as in Slicer)."""

    def __init__(self, field: _Field, node: Any) -> None:
        self.field, self.node, self.writing = field, node, False
        if not field.serializer.is_in(node, field.name):
            field.serializer.write_valid(node, field.name, field.default.value)
        self.value = field.serializer.read(node, field.name)
        myself = weakref.ref(self)  # the observer must not keep the wrapper alive
        self.tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: myself() and myself()._modified())

    def __del__(self) -> None:
        self.node.RemoveObserver(self.tag)

    def _modified(self) -> None:
        if not self.writing:
            self._read()

    def _read(self) -> None:
        serializer, name = self.field.serializer, self.field.name
        if not serializer.is_in(self.node, name):
            serializer.write_valid(self.node, name, self.field.default.value)
        self.value = serializer.read(self.node, name)

    def write(self, value: Any) -> None:
        self.writing = True
        try:
            with slicer.util.NodeModify(self.node):  # observers are told after the cache is right
                self.field.serializer.write_valid(self.node, self.field.name, value)
                self._read()
        finally:
            self.writing = False


class _Wrapper:
    """What the decorator gives a class."""

    allParameters: dict[str, _Field]

    def __init__(self, parameterNode: Any, prefix: str | None = None) -> None:
        if prefix is not None:
            raise NotImplementedError("the test host's parameterNodeWrapper knows no prefix")
        self.parameterNode = parameterNode
        self._values = {name: _Value(field, parameterNode) for name, field in self.allParameters.items()}
        self._guis: dict[int, dict[str, GuiConnector]] = {}
        self._updating_gui = False

    def _check(self, name: str) -> None:
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}; there are {list(self.allParameters)}")

    def getValue(self, name: str) -> Any:
        self._check(name)
        return self._values[name].value

    def setValue(self, name: str, value: Any) -> None:
        self._check(name)
        self._values[name].write(value)

    def default(self, name: str) -> Default:
        self._check(name)
        return self.allParameters[name].default

    def dataType(self, name: str) -> Any:
        self._check(name)
        return self.allParameters[name].unalteredType

    def isCached(self, name: str) -> bool:
        self._check(name)
        return True

    def connectGui(self, gui: Any) -> int:
        """Connect the widgets with a SlicerParameterName below a widget or in an object's attributes."""
        is_widget = getattr(gui, "isWidgetType", lambda: False)()
        found = gui.findChildren(qt.QWidget) if is_widget else vars(gui).values()
        named = {widget.property(SlicerParameterNamePropertyName): widget for widget in found}
        named.pop(None, None)
        return self.connectParametersToGui(named)

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Connect widgets (or connectors) to the parameters of these names; returns the tag for disconnectGui."""
        for name in mapping:
            self._check(name)
        connected = {
            name: item if isinstance(item, GuiConnector) else createGuiConnector(item, self.dataType(name))
            for name, item in mapping.items()
        }
        tag = max(self._guis, default=-1) + 1
        self._guis[tag] = connected
        for name, connector in connected.items():
            connector.write(self.getValue(name))
            connector.onChanged(lambda name=name, connector=connector: self._gui_changed(name, connector))
        if len(self._guis) == 1:
            myself = weakref.ref(self)  # the node may outlive the wrapper
            self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: myself() and myself()._update_gui())
        return tag

    def disconnectGui(self, tag: int) -> None:
        for connector in self._guis.pop(tag, {}).values():
            connector.onChanged(None)

    def _gui_changed(self, name: str, connector: GuiConnector) -> None:
        if not self._updating_gui:
            self.setValue(name, connector.read())

    def _update_gui(self) -> None:
        if self._updating_gui:
            return
        self._updating_gui = True
        try:
            with slicer.util.NodeModify(self):
                for connected in list(self._guis.values()):
                    for name, connector in connected.items():
                        connector.write(self.getValue(name))
        finally:
            self._updating_gui = False

    def StartModify(self) -> int:
        return self.parameterNode.StartModify()

    def EndModify(self, was_modified: int) -> int:
        return self.parameterNode.EndModify(was_modified)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()


def _property(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


def parameterNodeWrapper(classtype: Any = None) -> Any:
    """Class decorator: its annotated fields become parameters of the node given to the constructor."""
    if classtype is None:
        return parameterNodeWrapper
    fields = {}
    for name, annotated in typing.get_type_hints(classtype, include_extras=True).items():
        given = Default(classtype.__dict__[name]) if name in classtype.__dict__ else None
        fields[name] = _Field(name, annotated, given)
        setattr(classtype, name, _property(name))
    for name, member in {
        **vars(_Wrapper),
        "allParameters": fields,
        "_is_parameter_node_wrapper": True,
    }.items():
        if name.startswith("__") and name != "__init__":
            continue
        if hasattr(classtype, name) and name != "__init__":
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        setattr(classtype, name, member)
    return classtype


def isParameterNodeWrapper(candidate: Any) -> bool:
    """Whether a class or object was made by the decorator."""
    return getattr(candidate, "_is_parameter_node_wrapper", False)


def findChildWidgetForParameter(widget: Any, parameter: str) -> Any:
    """The widget below ``widget`` that shows ``parameter``, or None."""
    children = widget.findChildren(qt.QWidget)
    return next((w for w in children if w.property(SlicerParameterNamePropertyName) == parameter), None)
