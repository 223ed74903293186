"""Where models lie: packages shipped with the software and those of the user. Needs the standard library alone.

The panel lists models before any package is installed, so nothing here knows what a card means.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ..events import InputError

DEFAULT = "default"
"""Stands for the catalog's default model for patients wherever a model is named; no model can have it as its id."""
MODELS = "Models"
"""Folder of the cache with downloaded and imported packages, one per model id."""
CARD_NAME = "model.json"
WEIGHTS_NAME = "weights.safetensors"
PLANS_NAME, DATASET_NAME = "plans.json", "dataset.json"  # of an nnU-Net


def resources_dir() -> Path:
    """Folder `Resources` with Models below it.

    $VIRTUALCONTRAST_RESOURCES, else that of a wheel inside VirtualContrastLib, that of the source tree, or the one that
    Slicer has beside VirtualContrastLib. Raises InputError where there is none.
    """
    if own := os.environ.get("VIRTUALCONTRAST_RESOURCES"):
        candidates = [Path(own)]
    else:
        library = Path(__file__).resolve().parents[1]
        candidates = [folder / "Resources" for folder in (library, library.parents[1], library.parent)]
    for candidate in candidates:
        if (candidate / "Models").is_dir():
            return candidate
    looked = ", ".join(str(candidate) for candidate in candidates)
    raise InputError(f"The folder Resources/Models was not found; looked in {looked}. Reinstall VirtualContrast.")


def cache_dir() -> Path:
    """The user's cache: $VIRTUALCONTRAST_CACHE, else VirtualContrast below $XDG_CACHE_HOME or ~/.cache."""
    if own := os.environ.get("VIRTUALCONTRAST_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "VirtualContrast"


def cache_folder(name: str) -> Path:
    """Folder `name` of the user's cache to write into, made where it is missing; InputError where it cannot be."""
    folder = cache_dir() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise InputError(
            f"The cache {cache_dir()} cannot be written ({error.strerror}); set VIRTUALCONTRAST_CACHE to a folder that "
            "can."
        ) from error
    return folder


def downloaded_models_dir() -> Path:
    """Folder of downloaded and imported packages, one per model id."""
    return cache_dir() / MODELS


def catalog_path() -> Path:
    """The catalog shipped with the software; raises InputError where there are no resources."""
    return resources_dir() / "Models" / "catalog.json"


def installed_models() -> dict[str, Path]:
    """Folder of every package on this machine by id; embedded ones win over those of the user's cache."""
    found: dict[str, Path] = {}
    for root in (downloaded_models_dir(), resources_dir() / "Models"):
        if root.is_dir():
            cards = sorted(root.glob(f"*/{CARD_NAME}"))
            # A leading dot marks a folder that is being written.
            found |= {path.parent.name: path.parent for path in cards if path.parent.name[0] != "."}
    return dict(sorted(found.items()))
