"""Annotations of a parameter: what values it may have, how a widget shows it, what it is at first."""

# ruff: noqa: N815 (these are Slicer's names)

import dataclasses
from collections.abc import Sequence
from typing import Any


class Validator:
    """Base class; ``validate`` raises ValueError or TypeError for a forbidden value."""

    def validate(self, value: Any) -> None:
        """Raise if ``value`` is forbidden."""
        raise NotImplementedError


@dataclasses.dataclass
class NotNone(Validator):
    """None is forbidden."""

    def validate(self, value: Any) -> None:
        if value is None:
            raise ValueError("Value must not be None")


@dataclasses.dataclass
class IsInstance(Validator):
    """Only instances of a class (or None, which ``NotNone`` forbids)."""

    classtype: Any

    def validate(self, value: Any) -> None:
        if value is not None and not isinstance(value, self.classtype):
            raise TypeError(f"Value must be of type '{self.classtype}', is type '{type(value)}' value '{value}'")


@dataclasses.dataclass
class WithinRange(Validator):
    """minimum <= value <= maximum."""

    minimum: float
    maximum: float

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


@dataclasses.dataclass
class Minimum(Validator):
    """Value >= minimum."""

    minimum: float

    def validate(self, value: Any) -> None:
        if value < self.minimum:
            raise ValueError(f"Value must be at least {self.minimum}, is {value}")


@dataclasses.dataclass
class Maximum(Validator):
    """Value <= maximum."""

    maximum: float

    def validate(self, value: Any) -> None:
        if value > self.maximum:
            raise ValueError(f"Value must be at most {self.maximum}, is {value}")


@dataclasses.dataclass
class Choice(Validator):
    """One of some values."""

    choices: Sequence[Any]

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be in one of the following: {self.choices}")


@dataclasses.dataclass
class Exclude(Validator):
    """None of some values."""

    excludedValues: Sequence[Any]

    def validate(self, value: Any) -> None:
        if value in self.excludedValues:
            raise ValueError(f"Value is {value}, one of the excluded values {self.excludedValues}")


@dataclasses.dataclass
class Default:
    """The value of a parameter that was never set (``field: type = value`` says the same)."""

    value: Any


@dataclasses.dataclass
class Decimals:
    """Decimals shown by a spin box or slider."""

    value: int


@dataclasses.dataclass
class SingleStep:
    """Step of a spin box or slider."""

    value: float
