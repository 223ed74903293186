"""The VirtualContrast engine: a pre-contrast breast study in, a result folder of synthetic contrast out.

    from VirtualContrastLib import synthesize
    study = synthesize("pre.nii.gz")
    for phase in study.phases:
        print(phase.index, phase.time_s, phase.image.GetSize())

Research only. Nothing in this package but `slicer_app` imports slicer, vtk or qt. The names of `__all__` are the public
interface; they are imported when first used, so that the package opens where nothing else is installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .events import CancelledError, InputError, VirtualContrastError
    from .results.manifest import load_result, verify_result
    from .run.api import SynthesizedStudy, synthesize
    from .run.settings import RunSettings

__all__ = [
    "CancelledError",
    "InputError",
    "RunSettings",
    "SynthesizedStudy",
    "VirtualContrastError",
    "__version__",
    "load_result",
    "synthesize",
    "verify_result",
]

_PLACES = {
    "events": ("CancelledError", "InputError", "VirtualContrastError"),
    "results.manifest": ("load_result", "verify_result"),
    "run.api": ("SynthesizedStudy", "synthesize"),
    "run.settings": ("RunSettings",),
}


def __getattr__(name: str) -> Any:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
