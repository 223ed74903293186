"""PythonQt semantics on top of PySide6.

Slicer's Python sees Qt through PythonQt, which differs from PySide6 in ways that module code meets daily. This
file changes the PySide6 classes in place, once, so that the module code under test runs unmodified, and so that code
which only PySide6 would accept fails:

* a Q_PROPERTY is an attribute (``button.enabled = True``, ``label.text``), and wins over the getter of the same name;
* ``widget.name`` is the objectName; a string list comes back as a tuple;
* what is assigned to a property is converted as PythonQt does (anything to a string or a truth value, no string to a
  number), and string lists are lists or tuples of anything, never other iterables;
* constructors take no keywords, and enumerators equal and print as their numbers;
* ``sender.connect("signal(types)", function)`` and ``disconnect``; a slot gets at most the arguments it declares, and
  a connection keeps no sender alive: an object without a parent goes with its last Python name;
* assigning an unknown attribute to a Qt object raises AttributeError (Python subclasses may have new ones);
* an exception in a slot, timer or VTK observer is printed and never raised: it is collected in ``slot_errors``,
  which a test asserts to be empty.
"""

import ctypes
import enum
import inspect
import numbers
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

QT_MODULES = (QtCore, QtGui, QtWidgets)
slot_errors: list[BaseException] = []
_busy = threading.local()  # .reading: properties being read, .loading: QUiLoader at work
_connections: dict[int, list[tuple[str, Any, Callable]]] = {}  # C++ address -> (signal, receiver, slot)


def qt_classes() -> list[type]:
    """All QObject classes of the three Qt modules (``dir``, because PySide6 creates its classes on first use)."""
    found = [getattr(module, name) for module in QT_MODULES for name in dir(module)]
    return [cls for cls in found if isinstance(cls, type) and issubclass(cls, QtCore.QObject)]


def _refusal(name: str, wanted: str, value: Any) -> str:
    return f"Property '{name}' of type '{wanted}' does not accept an object of type {type(value).__name__} ({value!r})"


def converted(name: str, value: Any, wanted: str) -> Any:
    """``value`` as PythonQt hands it to a property of the C++ type ``wanted``; AttributeError where it refuses."""
    if wanted == "QString":
        return str(value)
    if wanted == "bool":
        return bool(value)
    if wanted in ("int", "double"):
        if not isinstance(value, numbers.Real | np.bool_):
            raise AttributeError(_refusal(name, wanted, value))
        return int(value) if wanted == "int" else float(value)
    if wanted == "QStringList":
        if not isinstance(value, list | tuple):
            raise AttributeError(_refusal(name, wanted, value))
        return [str(element) for element in value]
    return value


class QtProperty:
    """Descriptor that reads and writes a Q_PROPERTY as an attribute.

    While C++ reads a property it may ask Python for an override of the virtual getter of the same name (sizeHint,
    spacing...), which leads back here: the original method is what it must get then.
    """

    def __init__(self, name: str, original: Any = None) -> None:
        self.name, self.original = name, original

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self if self.original is None else self.original
        reading = _busy.__dict__.setdefault("reading", set())
        key = (id(instance), self.name)
        if key in reading:
            return None if self.original is None else self.original.__get__(instance, owner)
        reading.add(key)
        try:
            value = QtCore.QObject.property(instance, self.name)
        finally:
            reading.discard(key)
        return tuple(value) if isinstance(value, list) else value

    def __set__(self, instance: Any, value: Any) -> None:
        meta = instance.metaObject()
        declared = meta.property(meta.indexOfProperty(self.name))
        if not declared.isWritable():
            raise AttributeError(f"Property '{self.name}' of {type(instance).__name__} object is not writable")
        wanted = declared.typeName()
        if not QtCore.QObject.setProperty(instance, self.name, converted(self.name, value, wanted)):
            raise AttributeError(_refusal(self.name, wanted, value))


def _install_properties() -> None:
    for cls in qt_classes():
        meta = cls.staticMetaObject
        for index in range(meta.propertyCount()):
            name = meta.property(index).name()
            inherited = index < meta.propertyOffset() and name not in cls.__dict__
            # QTimer.singleShot is a property in Qt and a static function in Slicer.
            if inherited or name == "singleShot" or isinstance(cls.__dict__.get(name), QtProperty):
                continue
            setattr(cls, name, QtProperty(name, cls.__dict__.get(name) or getattr(cls, name, None)))
            _convert_argument(cls, "set" + name[0].upper() + name[1:], meta.property(index).typeName())
    QtCore.QObject.name = QtProperty("objectName")


def _convert_argument(cls: type, setter: str, wanted: str) -> None:
    """A setter converts as its property does. (QWidget.setVisible... keep their own where the class has none.)"""
    original = cls.__dict__.get(setter)
    if original is None or wanted not in ("QString", "bool", "int", "double"):
        return

    def converting(self: Any, value: Any) -> Any:
        return original.__get__(self, cls)(converted(setter, value, wanted))

    setattr(cls, setter, converting)


def _install_string_lists() -> None:
    """Methods that take or give a QStringList."""
    takers = (
        (QtWidgets.QComboBox, "addItems", 0), (QtWidgets.QComboBox, "insertItems", 1),
        (QtWidgets.QListWidget, "addItems", 0), (QtWidgets.QTableWidget, "setHorizontalHeaderLabels", 0),
        (QtWidgets.QTableWidget, "setVerticalHeaderLabels", 0), (QtCore.QProcess, "setArguments", 0),
        (QtCore.QProcess, "start", 1),
    )  # fmt: skip
    for cls, name, place in takers:
        setattr(cls, name, _taking_strings(cls, name, place))
    detached = QtCore.QProcess.startDetached
    QtCore.QProcess.startDetached = staticmethod(
        lambda program, arguments=(), *rest: detached(program, _strings("startDetached", arguments), *rest)
    )
    arguments = QtCore.QProcess.arguments
    QtCore.QProcess.arguments = lambda self: tuple(arguments(self))


def _strings(method: str, value: Any) -> list[str]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"Called {method}(QStringList) with wrong arguments: ({value!r},)")
    return [str(element) for element in value]


def _taking_strings(cls: type, name: str, place: int) -> Callable:
    original = getattr(cls, name)

    def method(self: Any, *args: Any) -> Any:
        if len(args) > place:
            args = (*args[:place], _strings(name, args[place]), *args[place + 1 :])
        return original(self, *args)

    return method


# ---- signals ------------------------------------------------------------------------------------------------------


def normalized(signature: str) -> str:
    """``signature`` as Qt's meta-object spells it (no ``const``, ``&`` or blanks)."""
    return QtCore.QMetaObject.normalizedSignature(signature).data().decode()


def find_signal(sender: QtCore.QObject, signature: str) -> tuple[Any, int]:
    """The signal object and number of arguments for a signature like ``"clicked(bool)"``.

    Raises:
        ValueError: the class has no signal of exactly that signature.
    """
    match = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", signature)
    if not match:
        raise ValueError(f"not a signal signature: {signature!r}")
    name, wanted = match.group(1), normalized(signature)
    arguments = wanted[len(name) + 1 : -1]
    arity = len(arguments.split(",")) if arguments else 0
    stand_in = getattr(type(sender), "_host_signals", {})  # signals of stand-ins with types PySide6 cannot name
    if any(known.startswith(name + "(") for known in stand_in):
        if wanted not in stand_in:
            raise ValueError(f"{type(sender).__name__} has no signal {wanted}, only {sorted(stand_in)}")
        return getattr(sender, stand_in[wanted]), arity
    if sender.metaObject().indexOfSignal(wanted) < 0:
        raise ValueError(f"{sender.metaObject().className()} has no signal {wanted}")
    signal = getattr(sender, name)
    try:
        return signal[arguments], arity
    except (KeyError, IndexError):  # not overloaded
        return signal, arity


def _accepted_arguments(function: Callable) -> int | None:
    """How many positional arguments a Python function declares (defaults count); None: any number."""
    plain = function.__func__ if inspect.ismethod(function) else function
    if not inspect.isfunction(plain) or plain.__code__.co_flags & inspect.CO_VARARGS:
        return None
    return plain.__code__.co_argcount - (1 if inspect.ismethod(function) else 0)


def connect(sender: QtCore.QObject, signature: str, receiver: Any, slot_name: str | None = None) -> bool:
    """PythonQt's ``sender.connect(signature, function)`` or ``(signature, receiver, "slot()")``."""
    if slot_name is not None:
        receiver = getattr(receiver, slot_name.split("(")[0])
    signal, arity = find_signal(sender, signature)
    accepted = _accepted_arguments(receiver)
    count = arity if accepted is None else min(arity, accepted)

    def slot(*args: Any) -> None:
        receiver(*args[:count])

    signal.connect(slot)
    address = shiboken6.getCppPointer(sender)[0]
    if address not in _connections:
        _connections[address] = []
        sender.destroyed.connect(lambda: _connections.pop(address, None))
    _connections[address].append((normalized(signature), receiver, slot))
    return True


def disconnect(sender: QtCore.QObject, signature: str, receiver: Any = None, slot_name: str | None = None) -> bool:
    """Undo ``connect``; without a receiver all connections of the signal. True if something was disconnected."""
    if slot_name is not None:
        receiver = getattr(receiver, slot_name.split("(")[0])
    existing = _connections.get(shiboken6.getCppPointer(sender)[0], [])
    wanted = [c for c in existing if c[0] == normalized(signature) and (receiver is None or c[1] == receiver)]
    for connection in wanted:
        find_signal(sender, signature)[0].disconnect(connection[2])
        existing.remove(connection)
    return bool(wanted)


def _getattribute(original_get: Callable) -> Callable:
    def getattribute(self: Any, name: str) -> Any:
        if name not in ("connect", "disconnect"):
            return original_get(self, name)
        original, ours = original_get(self, name), connect if name == "connect" else disconnect

        def dispatch(*args: Any, **kwargs: Any) -> Any:
            # PySide6 itself calls obj.connect("2signal()", ...): that one starts with a digit.
            from_slicer = args and isinstance(args[0], str) and not args[0][:1].isdigit()
            return ours(self, *args, **kwargs) if from_slicer else original(*args, **kwargs)

        return dispatch

    return getattribute


def _install_connect() -> None:
    """PySide6 resolves ``instance.connect`` itself, so only ``__getattribute__`` can replace it."""
    for cls in qt_classes():
        if cls is QtCore.QObject or "__getattribute__" in cls.__dict__:  # QProcess, QMenu... have their own
            cls.__getattribute__ = _getattribute(cls.__getattribute__)


# ---- attributes ---------------------------------------------------------------------------------------------------


def _install_strict_attributes() -> None:
    # object.__setattr__ refuses Shiboken's types, whose own slot has just been replaced.
    original_set = ctypes.pythonapi.PyObject_GenericSetAttr
    original_set.argtypes, original_set.restype = [ctypes.py_object] * 3, ctypes.c_int

    def strict_set(self: Any, name: str, value: Any) -> None:
        cls = type(self)
        wraps_cpp = cls.__module__.startswith("PySide6") or "_host_signals" in cls.__dict__
        if not wraps_cpp or name.startswith("_") or isinstance(value, QtCore.SignalInstance):
            original_set(self, name, value)
            return
        if getattr(_busy, "loading", False) and isinstance(value, QtCore.QObject):
            return  # PySide6's loader stores each child as an attribute of the top widget; PythonQt does not
        static = inspect.getattr_static(cls, name, None)
        if isinstance(static, QtCore.Property):
            static.fset(self, value)
        elif isinstance(static, QtProperty | property):
            original_set(self, name, value)
        elif name.encode() in [known.data() for known in self.dynamicPropertyNames()]:
            self.setProperty(name, value)
        elif static is None:
            raise AttributeError(f"'{name}' does not exist on {cls.__name__} and a C++ object takes no new attributes")
        else:
            raise AttributeError(f"Slot or signal '{name}' can not be overwritten on {cls.__name__} object")

    for cls in qt_classes():
        cls.__setattr__ = strict_set


@contextmanager
def loading_ui() -> Iterator[None]:
    """Inside, QUiLoader's own attribute assignments are ignored."""
    _busy.loading = True
    try:
        yield
    finally:
        _busy.loading = False


def _collect_errors(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """PySide6 and VTK hand exceptions of slots and observers to sys.excepthook and go on, as PythonQt does."""
    slot_errors.append(error)
    traceback.print_exception(kind, error, trace)


def _install_names() -> None:
    QtCore.QObject.className = lambda self: self.metaObject().className()
    for cls in (QtWidgets.QDialog, QtWidgets.QMenu, QtCore.QEventLoop, QtWidgets.QApplication):
        if not hasattr(cls, "exec_"):
            cls.exec_ = cls.exec
    for name in ("getOpenFileName", "getSaveFileName"):  # PythonQt returns the path only, not (path, filter)
        original = getattr(QtWidgets.QFileDialog, name)
        setattr(QtWidgets.QFileDialog, name, staticmethod(lambda *a, _f=original, **k: _f(*a, **k)[0]))


# ---- what PySide6 allows and PythonQt does not ----------------------------------------------------------------------


def _install_refusals() -> None:
    for cls in {*qt_classes(), *_value_classes()}:
        if "__init__" in cls.__dict__:
            cls.__init__ = _without_keywords(cls)
    value = QtCore.QSettings.value

    def without_type(self: Any, *args: Any) -> Any:
        return value(self, *args)

    QtCore.QSettings.value = without_type

    def no_bytes(self: Any) -> bytes:
        raise TypeError("cannot convert 'QByteArray' object to bytes")

    def no_length(self: Any) -> int:
        raise TypeError("object of type 'QByteArray' has no len()")

    QtCore.QByteArray.__bytes__, QtCore.QByteArray.__len__ = no_bytes, no_length
    for name in ("__enter__", "__exit__"):
        delattr(QtCore.QSignalBlocker, name)


def _value_classes() -> list[type]:
    """Classes of Qt without signals that panels make: items, icons, keys..."""
    names = ("QTableWidgetItem", "QIcon", "QPixmap", "QKeySequence", "QColor", "QUrl", "QByteArray")
    return [getattr(module, name) for name in names for module in QT_MODULES if hasattr(module, name)]


def _without_keywords(cls: type) -> Callable:
    original = cls.__init__

    def init(self: Any, *args: Any, **keywords: Any) -> None:
        if keywords:
            raise ValueError(f"Called {cls.__name__} with keyword arguments, but called slot does not support them")
        original(self, *args)

    return init


def _install_enumerators() -> None:
    """Enumerators equal and print as their numbers."""
    for owner in {*qt_classes(), *_value_classes(), QtCore.Qt, QtWidgets.QSizePolicy, QtGui.QFont, QtGui.QPalette}:
        for kind in vars(owner).values():
            if isinstance(kind, type) and issubclass(kind, enum.Enum):
                kind.__eq__ = _same_number
                kind.__hash__ = lambda self: hash(self.value)
                kind.__repr__ = kind.__str__ = lambda self: str(self.value)
                kind.__format__ = lambda self, spec: format(self.value, spec)


def _same_number(self: Any, other: Any) -> bool:
    return self.value == (other.value if isinstance(other, enum.Enum) else other)


def install() -> None:
    """Change the PySide6 classes; once in a process."""
    if hasattr(QtCore.QObject, "name"):
        return
    _install_properties()
    _install_connect()
    _install_strict_attributes()
    _install_names()
    _install_string_lists()
    _install_refusals()
    _install_enumerators()
    sys.excepthook = _collect_errors
