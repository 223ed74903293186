"""What a kind is, and the images that many are made of."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from io_samples import oblique_image
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.io.volumes import like

IMAGE = oblique_image()
STORED = sitk.GetArrayFromImage(IMAGE)
LABELS = np.zeros(STORED.shape, np.uint8)
LABELS[2:5, 3:8, 4:9], LABELS[5:8, 10:14, 12:17] = 1, 2
MASK = like(LABELS, IMAGE)


@dataclass(frozen=True)
class Kind:
    """One kind of input: the group that it belongs to, and what is done with it."""

    group: str
    name: str
    command: str
    outcome: Callable[[Path], str]
    wanted: str


KINDS: list[Kind] = []


def kind(group: str, name: str, command: str, wanted: str) -> Callable[[Callable[[Path], str]], None]:
    """Decorator: registers a function as a kind."""

    def register(outcome: Callable[[Path], str]) -> None:
        KINDS.append(Kind(group, name, command, outcome, wanted))

    return register


def told(outcome: Callable[[Path], str], folder: Path) -> str:
    """The outcome of a kind; a refusal is its sentence with exit code 2."""
    try:
        return outcome(folder)
    except InputError as error:
        return f"2: {str(error).replace(str(folder) + '/', '')}"


def fits(one: Kind, outcome: str) -> bool:
    return re.fullmatch(one.wanted, outcome, re.DOTALL) is not None


def with_warnings(text: str, events: Events) -> str:
    warnings = [text for text in events.warnings if not ("modality" in text and "file format" in text)]
    return f"{text} | warned: {' / '.join(warnings)}" if warnings else text


def in_breast(fat: float, enhancement: float = 0.0) -> sitk.Image:
    """A breast of glands in fat: its glands have 300, and 120 more times the enhancement."""
    rng, values = np.random.default_rng(5), np.zeros((9, 60, 50))
    values[:, 12:, 8:42], values[2:7, 25:50, 15:35] = fat, 300 + 120 * enhancement
    values[4:6, 30:36, 20:26] += 300 * enhancement
    image = sitk.GetImageFromArray(np.hypot(values + rng.normal(0, 6, values.shape), 5).astype(np.int16))
    image.SetSpacing((1.2, 1.2, 2.5))
    return image
