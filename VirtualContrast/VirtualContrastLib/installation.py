"""What has to be installed besides the library itself, and the command that does it.

In Slicer the panel asks and installs; this is for the command line. The requirement files stand in `Resources`.
"""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"
TORCH = "torch>=2.6,!=2.9.*"
"""nnU-Net refuses 2.9."""
KEPT = ("SimpleITK", "numpy", "scipy", "requests", "torch", "torchvision")
"""Never replaced where they are there: what Slicer ships, and what its extension PyTorch has installed."""


_files = [REQUIREMENTS]


def needs(requirements: Path) -> None:
    """A library that needs more than the engine names its requirement file, once."""
    if requirements not in _files:
        _files.append(requirements)


def advice() -> str:
    """The command to type."""
    python = "PythonSlicer" if "SLICER_HOME" in os.environ else Path(sys.executable).name
    return " ".join([python, *(part if part.isalnum() else shlex.quote(part) for part in _pip())])


def install() -> int:
    """Install what is missing into this Python; returns pip's exit code. What is kept is pinned to what is there."""
    pins = [f"{name}=={version}" for name in KEPT if (version := _installed(name))]
    return subprocess.run([sys.executable, *_pip(), *pins], check=False).returncode


def _pip() -> list[str]:
    files = [argument for file in _files for argument in ("-r", str(file))]
    return ["-m", "pip", "install", *files, TORCH]


def _installed(name: str) -> str:
    """The version of a package, "" where it is not there."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
