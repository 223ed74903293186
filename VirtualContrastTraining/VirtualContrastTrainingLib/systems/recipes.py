"""Reads recipes: the shipped ones by name, others by path, each by the class of the system that it names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.package import first_problem

from ..paths import resources_dir
from ..training.recipe import DescribedRecipe
from .registry import system_of


def recipes_dir() -> Path:
    """Folder of the shipped recipes."""
    return resources_dir() / "Recipes"


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(path.stem for path in recipes_dir().glob("*.yaml"))


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> DescribedRecipe:
    """Read a shipped recipe by name or one by path, with `key.sub=value` overrides (values are YAML).

    Raises InputError for an unknown name, an unknown key or a value that does not fit.
    """
    import yaml

    path = Path(name_or_path)
    if not path.is_file():
        path = recipes_dir() / f"{name_or_path}.yaml"
    if not path.is_file():
        raise InputError(f"There is no recipe {name_or_path}; the recipes are {', '.join(recipe_names())}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"The recipe {path} is not text in UTF-8; save it as such.") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"The recipe {path} is not valid YAML: {(str(error).splitlines() or ['?'])[0]}.") from error
    if not isinstance(content, dict):
        raise InputError(f"The recipe {path} is not a list of `key: value` lines.")
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise InputError(f"--set {override} is not of the form key=value.")
        _set(content, key.split("."), _yaml_value(override, value))
    return _validated(content, path)


def _yaml_value(override: str, value: str) -> object:
    import yaml

    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"The value of --set {override} is not valid YAML.") from error


def _set(content: dict[str, Any], keys: list[str], value: object) -> None:
    for position, key in enumerate(keys[:-1]):
        inner = content.setdefault(key, {})
        if not isinstance(inner, dict):
            place = ".".join(keys[: position + 1])
            raise InputError(f"--set {'.'.join(keys)}=...: {place} is the value {inner!r} and has no parts.")
        content = inner
    content[keys[-1]] = value


def _validated(content: dict[str, Any], path: Path) -> DescribedRecipe:
    """The recipe of the class that its `system` names."""
    if "system" not in content:
        raise InputError(f"The recipe {path.name} does not fit: it has no 'system'.")
    try:
        return system_of(content["system"]).recipe_class.model_validate(content)
    except ValidationError as error:
        raise InputError(f"The recipe {path.name} does not fit at {first_problem(error)}.") from error
