"""What all stand-in widgets have: property values, and the scene."""

# ruff: noqa: N801 (these are Slicer's names)

from typing import Any, ClassVar

from PySide6 import QtWidgets


def converted(name: str, value: Any, python_type: type) -> Any:
    """``value`` as PythonQt would hand it to a property of ``python_type``; AttributeError where it refuses."""
    if python_type is object or isinstance(value, python_type):
        return value
    number = python_type in (int, float, bool) and isinstance(value, int | float)
    if number or (python_type is list and isinstance(value, tuple)):
        return python_type(value)
    raise AttributeError(f"Property '{name}' does not accept an object of type {type(value).__name__} ({value!r})")


class StandIn:
    """Stored property values; ``defaults`` are those that differ from zero, and ``_changed`` reacts to a new one."""

    defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        self._values = dict(self.defaults)
        super().__init__(parent)

    def _read(self, name: str, python_type: type) -> Any:
        return self._values.get(name, None if python_type is object else python_type())

    def _write(self, name: str, value: Any) -> None:
        if name not in self._values or self._values[name] != value:
            self._values[name] = value
            self._changed(name, value)

    def _changed(self, name: str, value: Any) -> None:
        pass

    def _emit(self, signature: str, *args: Any) -> None:
        getattr(self, self._host_signals[signature]).emit(*args)


class qMRMLWidget(StandIn):
    """A widget that knows the scene."""

    _scene: Any = None

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self._scene_changed()
        if "mrmlSceneChanged(vtkMRMLScene*)" in self._host_signals:
            self._emit("mrmlSceneChanged(vtkMRMLScene*)", scene)

    def mrmlScene(self) -> Any:
        return self._scene

    def _scene_changed(self) -> None:
        pass


class qSlicerWidget(StandIn):
    """A widget that hears of the scene."""

    def setMRMLScene(self, scene: Any) -> None:
        self._emit("mrmlSceneChanged(vtkMRMLScene*)", scene)
