"""What the manifest records of inputs, models and versions, without a name or a path of the user's."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import SimpleITK as sitk

from ..study import Source, Study
from ..version import __version__

if TYPE_CHECKING:
    from ..models.package import ModelPackage

_PACKAGES = (
    "numpy", "scipy", "SimpleITK", "torch", "nnunetv2", "pydicom", "highdicom", "scikit-image",
    "pyradiomics", "pyradiomics-cuda",
)  # fmt: skip


def describe_inputs(
    study: Study, lesions: tuple[sitk.Image, Source] | None, *, read: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """Role, hash, format, modality, geometry and time of every image that went in.

    Args:
        study: The study.
        lesions: Lesion labels that were given, with their source, or None.
        read: Indices of the real phases that the model read; they carry "model_input": true.

    Returns:
        One entry of the manifest per image, the pre-contrast volume first.
    """
    entries = [describe("pre", study.source, study.pre.image, 0.0)]
    for phase, source in zip(study.real, study.real_sources, strict=True):
        entry = describe(f"real_{phase.index}", source, phase.image, phase.time_s)
        entry["time_zero"] = study.time_zero if phase.time_s is not None else None
        entries.append(entry | {"model_input": True} if phase.index in read else entry)
    if lesions is not None:
        entries.append(describe("lesions", lesions[1], lesions[0], None))
    return entries


def describe_model(package: ModelPackage, role: str) -> dict[str, Any]:
    """Which weights were used for `role`, identified by their hash."""
    card = package.card
    return {
        "role": role,
        "id": card.id,
        "version": card.version,
        "weights_sha256": card.weights_sha256,
        "trained_on_phantoms": card.trained_on_phantoms,
    }


def versions() -> dict[str, str]:
    """Versions of the engine, Python, the system and the packages whose numbers enter the result."""
    found = {
        "virtual-contrast": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


class Redactor:
    """Replaces the user's paths and file names, which may hold a patient's name, in any text.

    Args:
        paths: files and folders; each goes with its folder, as it is written and as an absolute path.
        names: further words, such as the names of cases.
    """

    def __init__(self, paths: Iterable[str | Path], names: Iterable[str] = ()) -> None:
        words = set(names)
        for path in map(Path, paths):
            words |= {str(path), str(path.absolute()), str(path.parent.absolute()), path.name, path.parent.name}
        hidden = sorted((word for word in words if len(word) > 2), key=len, reverse=True)
        pattern = "|".join(rf"(?<![\w-]){re.escape(word)}(?![\w-])" for word in hidden)
        self._pattern = re.compile(pattern or r"(?!)")

    def __call__(self, text: str) -> str:
        """The text with "(input)" in the place of each."""
        return self._pattern.sub("(input)", text)


def without_names(messages: Iterable[str], sources: Iterable[Source], places: Iterable[str | Path]) -> list[str]:
    """Messages without the user's paths and file names, which may hold a patient's name.

    Args:
        messages: The messages.
        sources: Their files' names are replaced.
        places: Further paths to replace.

    Returns:
        The messages in order.
    """
    redact = Redactor([*(file for source in sources for file in source.files), *places])
    return [redact(message) for message in messages]


def describe(role: str, source: Source, image: sitk.Image, time_s: float | None) -> dict[str, Any]:
    """The manifest's entry for one image that went in.

    Args:
        role: "pre", "real_N" or "lesions".
        source: The files it was read from.
        image: The image.
        time_s: Seconds after injection; None where it has none.

    Returns:
        The entry, ready for JSON.
    """
    return {
        "role": role,
        "sha256": source.sha256,
        "format": source.format,
        "modality": source.modality,
        "time_s": time_s,
        "geometry": {
            "size": list(image.GetSize()),
            "spacing_mm": list(image.GetSpacing()),
            "origin_mm": list(image.GetOrigin()),
            "direction": list(image.GetDirection()),
        },
    }
