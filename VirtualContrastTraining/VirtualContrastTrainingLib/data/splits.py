"""Which case is trained on, validated on or tested on, as published, and whether two splits leak into each other."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import InputError
from VirtualContrastLib.files import check_is_file

from ..paths import resources_dir

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Case ids by part.

    Attributes:
        name: Name of the split.
        train: Cases to train on; None: every case that is in no other part.
        validation: Cases to measure on while training.
        test: Cases to measure on at the end.
        minimum_post_phases: Cases with fewer post-contrast phases belong to no part.
    """

    name: str
    train: frozenset[str] | None
    validation: frozenset[str]
    test: frozenset[str]
    minimum_post_phases: int = 1

    def part_of(self, case: str) -> str | None:
        """`train`, `validation` or `test`; None for a case that the split does not know."""
        if case in self.test:
            return "test"
        if case in self.validation:
            return "validation"
        return "train" if self.train is None or case in self.train else None


@dataclass(frozen=True)
class HoldOut:
    """A share of the patients as validation cases, chosen by a hash of the patient's id: the same on every machine.

    Attributes:
        share: Share of the patients, 0 to 1.
        name: Name of the split.
        minimum_post_phases: Cases with fewer post-contrast phases belong to no part.
    """

    share: float
    name: str = "hold-out"
    minimum_post_phases: int = 1

    def part_of(self, case: str) -> str | None:
        """`train` or `validation`."""
        number = int.from_bytes(hashlib.sha256(case.encode()).digest()[:8], "big") / 2**64
        return "validation" if number < self.share else "train"


def splits_dir() -> Path:
    """Folder of the shipped splits."""
    return resources_dir() / "Splits"


def split_names() -> list[str]:
    """Names of the shipped splits; each fold of a cross-validation is one, as `name:0`."""
    names = []
    for path in sorted(splits_dir().glob("*.json")):
        folds = _read(path).get("folds")
        names += [f"{path.stem}:{n}" for n in range(len(folds))] if folds else [path.stem]
    return names


def load_split(name_or_path: str) -> Split:
    """A shipped split by name (a fold as `name:0`), or one of the same layout by path.

    A file holds `validation` and `test` (lists of case ids), `train` (a list or "rest") and `minimum_post_phases`, or
    `folds` (a list of lists: the validation cases of each fold, trained on the other folds). Raises InputError where it
    is unknown, damaged, or has a case in two parts.
    """
    match = re.fullmatch(r"(.+?)(?::(\d+))?", name_or_path)
    text, fold = match.groups("") if match else (name_or_path, "")
    path = Path(text)
    if not path.is_file():
        path = splits_dir() / f"{text}.json"
    if not path.is_file():
        raise InputError(f"There is no split {text}; the splits are {', '.join(split_names())}.")
    content = _read(path)
    try:
        split = _fold(content["folds"], fold, path) if "folds" in content else _parts(content, path)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"The split {path.name} lacks or misuses a part ({type(error).__name__}: {error}).") from error
    _check_disjoint(split)
    return split


def leaked_cases(trained: Split, evaluated: Split) -> list[str]:
    """Ids that a model of `trained` has seen in training and that `evaluated` tests on (validates on, without test)."""
    asked = evaluated.test or evaluated.validation
    return sorted(case for case in asked if trained.part_of(case) == "train")


def leak_warning(trained: Split, evaluated: Split) -> str | None:
    """One sentence where models of `trained` must not be evaluated on `evaluated`, else None."""
    leaked = leaked_cases(trained, evaluated)
    if not leaked:
        return None
    kind = "test" if evaluated.test else "validation"
    total = len(evaluated.test or evaluated.validation)
    return (
        f"{len(leaked)} of the {total} {kind} cases of {evaluated.name} are training cases of {trained.name}: "
        f"never evaluate a model trained on {trained.name} on them."
    )


def leak_warnings(splits: Iterable[Split]) -> list[str]:
    """All sentences of `leak_warning` over ordered pairs of splits; folds of one cross-validation are not compared."""
    pairs = [pair for a, b in combinations(splits, 2) if _family(a) != _family(b) for pair in ((a, b), (b, a))]
    return [warning for pair in pairs if (warning := leak_warning(*pair)) is not None]


def _family(split: Split) -> str:
    return split.name.partition(":")[0]


def _read(path: Path) -> dict[str, Any]:
    check_is_file(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"The split {path} cannot be read ({type(error).__name__}).") from error
    if not isinstance(content, dict):
        raise InputError(f"The split {path} is not a JSON object.")
    return content


def _parts(content: dict[str, Any], path: Path) -> Split:
    train = None if content["train"] == "rest" else _ids(content["train"])
    minimum = int(content.get("minimum_post_phases", 1))
    return Split(path.stem, train, _ids(content["validation"]), _ids(content["test"]), minimum)


def _fold(folds: list[list[str]], fold: str, path: Path) -> Split:
    if not fold or int(fold) >= len(folds):
        raise InputError(f"{path.stem} has {len(folds)} folds; choose one, as in {path.stem}:0.")
    parts = [_ids(part) for part in folds]
    validation = parts[int(fold)]
    everyone = frozenset().union(*parts)
    if sum(map(len, parts)) != len(everyone):
        raise InputError(f"The split {path.name} has a case in two folds.")
    return Split(f"{path.stem}:{fold}", everyone - validation, validation, frozenset())


def _ids(values: list[str]) -> frozenset[str]:
    if not isinstance(values, list):
        raise TypeError("a part is not a list of case ids")
    found = frozenset(str(value) for value in values)
    if len(found) != len(values):
        raise ValueError("a case id appears twice")
    return found


def _check_disjoint(split: Split) -> None:
    parts = {"train": split.train or frozenset(), "validation": split.validation, "test": split.test}
    for (a, first), (b, second) in combinations(parts.items(), 2):
        if first & second:
            raise InputError(f"The split {split.name} has {min(first & second)} in both {a} and {b}.")
