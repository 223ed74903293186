"""How a typed value is kept in a vtkMRMLScriptedModuleNode; the texts are those of Slicer, so scenes are the same.

Types: int, float, str, bool, pathlib.Path, Enum, MRML nodes, list[T], A | B, A | None. Slicer knows more
(tuple, dict, parameterPack, FloatRange); here these raise.
"""

import enum
import pathlib
import types
import typing
from typing import Any

import slicer

from .validators import IsInstance, NotNone, Validator


def split_annotated(annotated: Any) -> tuple[Any, tuple]:
    """Type and annotations of ``Annotated[type, ...]``."""
    if typing.get_origin(annotated) is typing.Annotated:
        return typing.get_args(annotated)[0], annotated.__metadata__
    return annotated, ()


def make_serializer(annotated: Any) -> "Serializer":
    """The serializer of a (possibly annotated) type. TypeError for a type the host does not know."""
    plain, annotations = split_annotated(annotated)
    serializer = _serializer_of(plain)
    validators = [note for note in annotations if isinstance(note, Validator)]
    serializer.validators = [*serializer.validators, *validators]
    return serializer


def _serializer_of(plain: Any) -> "Serializer":
    if typing.get_origin(plain) in (typing.Union, types.UnionType):
        return UnionSerializer([make_serializer(option) for option in typing.get_args(plain)])
    if typing.get_origin(plain) is list:
        return ListSerializer(make_serializer(typing.get_args(plain)[0]))
    if plain is type(None):
        return NoneSerializer(plain)
    if isinstance(plain, type) and issubclass(plain, slicer.vtkMRMLNode):
        return NodeSerializer(plain)
    if isinstance(plain, type) and issubclass(plain, enum.Enum):
        return EnumSerializer(plain)
    if plain in TEXT_FORMS:
        return TextSerializer(plain)
    raise TypeError(f"the test host's parameterNodeWrapper has no serializer for {plain}")


class Serializer:
    """Writes, reads and removes one value under a name of the parameter node."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.validators: list[Validator] = [NotNone(), IsInstance(kind)]

    def accepts(self, value: Any) -> bool:
        return isinstance(value, self.kind)

    def default(self) -> Any:
        return self.kind()

    def write_valid(self, node: Any, name: str, value: Any) -> None:
        """Write, or raise without having written."""
        for validator in self.validators:
            validator.validate(value)
        self.write(node, name, value)

    def is_in(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(name))

    def write(self, node: Any, name: str, value: Any) -> None:
        raise NotImplementedError

    def read(self, node: Any, name: str) -> Any:
        raise NotImplementedError

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)


TEXT_FORMS: dict[Any, Any] = {  # type -> value of a text
    int: int,
    float: float,
    str: str,
    bool: lambda text: text == "True",
    pathlib.Path: pathlib.Path,
}


class TextSerializer(Serializer):
    """A value whose ``str`` says it all."""

    def __init__(self, kind: Any) -> None:
        super().__init__(kind)
        if kind is float:
            self.validators = [NotNone(), IsInstance((int, float))]

    def accepts(self, value: Any) -> bool:
        return type(value) is self.kind or (self.kind is pathlib.Path and isinstance(value, pathlib.Path))

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, str(value))

    def read(self, node: Any, name: str) -> Any:
        return TEXT_FORMS[self.kind](node.GetParameter(name))


class EnumSerializer(Serializer):
    """The name of the member; the first member is the default."""

    def default(self) -> Any:
        return next(iter(self.kind))

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, value.name)

    def read(self, node: Any, name: str) -> Any:
        return self.kind[node.GetParameter(name)]


class NodeSerializer(Serializer):
    """A node reference, and an empty parameter of the same name that says "has been set" (also to None)."""

    def __init__(self, kind: Any) -> None:
        super().__init__(kind)
        self.validators = [IsInstance(kind)]

    def default(self) -> None:
        return None

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, None if value is None else value.GetID())

    def read(self, node: Any, name: str) -> Any:
        return node.GetNodeReference(name)

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class NoneSerializer(Serializer):
    """Nothing but None."""

    def __init__(self, kind: Any) -> None:
        super().__init__(kind)
        self.validators = []

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, "True")

    def read(self, node: Any, name: str) -> None:
        return None


class UnionSerializer(Serializer):
    """One of several types, each under ``name.<index of the type>``."""

    def __init__(self, options: list[Serializer]) -> None:
        super().__init__(object)
        self.options, self.validators = options, []

    def default(self) -> Any:
        optional = len(self.options) == 2 and isinstance(self.options[1], NoneSerializer)
        return None if optional else self.options[0].default()

    def _present(self, node: Any, name: str) -> list[int]:
        return [i for i, option in enumerate(self.options) if option.is_in(node, f"{name}.{i}")]

    def is_in(self, node: Any, name: str) -> bool:
        return bool(self._present(node, name))

    def write(self, node: Any, name: str, value: Any) -> None:
        fitting = [i for i, option in enumerate(self.options) if option.accepts(value)]
        if not fitting:
            raise TypeError(f"Unable to write value '{value}' of type '{type(value)}'")
        chosen = self.options[fitting[0]]
        for validator in chosen.validators:
            validator.validate(value)
        self.remove(node, name)
        chosen.write(node, f"{name}.{fitting[0]}", value)

    def read(self, node: Any, name: str) -> Any:
        index = self._present(node, name)[0]
        return self.options[index].read(node, f"{name}.{index}")

    def remove(self, node: Any, name: str) -> None:
        for index, option in enumerate(self.options):
            option.remove(node, f"{name}.{index}")


class ObservedList(list):
    """A list whose changes reach the parameter node."""

    def _watch(self, save: Any) -> "ObservedList":
        self._save = save
        return self


def _saving(method_name: str) -> Any:
    def method(self: ObservedList, *args: Any) -> Any:
        result = getattr(list, method_name)(self, *args)
        self._save(list(self))
        return self if method_name == "__iadd__" else result

    return method


for _name in (
    "append",
    "extend",
    "insert",
    "remove",
    "pop",
    "clear",
    "__setitem__",
    "__delitem__",
    "__iadd__",
):
    setattr(ObservedList, _name, _saving(_name))


class ListSerializer(Serializer):
    """``name.len`` and one value each under ``name.<index>``."""

    def __init__(self, element: Serializer) -> None:
        super().__init__(list)
        self.element, self.validators = element, []

    def _length(self, node: Any, name: str) -> int:
        return int(node.GetParameter(f"{name}.len") or 0)

    def is_in(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(f"{name}.len"))

    def write(self, node: Any, name: str, value: Any) -> None:
        for item in value:
            for validator in self.element.validators:
                validator.validate(item)
        self.remove(node, name)
        for index, item in enumerate(value):
            self.element.write(node, f"{name}.{index}", item)
        node.SetParameter(f"{name}.len", str(len(value)))

    def read(self, node: Any, name: str) -> ObservedList:
        values = [self.element.read(node, f"{name}.{index}") for index in range(self._length(node, name))]
        return ObservedList(values)._watch(lambda items: self._save(node, name, items))

    def _save(self, node: Any, name: str, items: list) -> None:
        with slicer.util.NodeModify(node):
            self.write(node, name, items)

    def remove(self, node: Any, name: str) -> None:
        for index in range(self._length(node, name)):
            self.element.remove(node, f"{name}.{index}")
        node.UnsetParameter(f"{name}.len")
