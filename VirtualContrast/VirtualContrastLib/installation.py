"""What has to be installed besides the library itself, and the command that does it.

In Slicer the panel asks and installs; this is for the command line. The requirement files stand in `Resources` of the
source tree and of the extension; a wheel has its extras instead.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

DISTRIBUTION = "virtual-contrast"
REQUIREMENTS = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"
TORCH = "torch>=2.6,!=2.9.*"
"""nnU-Net refuses 2.9."""
KEPT = ("SimpleITK", "numpy", "scipy", "requests", "torch", "torchvision")
"""Never replaced where they are there: what Slicer ships, and what its extension PyTorch has installed."""


_parts = {"engine": REQUIREMENTS}


def needs(extra: str, requirements: Path) -> None:
    """A library that needs more than the engine names the wheel's extra and its requirement file."""
    _parts[extra] = requirements


def missing() -> list[str]:
    """The packages that the libraries in use need and that are not there; their versions are pip's business."""
    return [name for name in _needed() if not _installed(name)]


def advice(package: str | None = None) -> str:
    """The command to type: for all that is missing, or for one package that a single function needs."""
    python = "PythonSlicer" if "SLICER_HOME" in os.environ else Path(sys.executable).name
    parts = _pip() if package is None else ["-m", "pip", "install", package]
    return " ".join([python, *(part if part.isalnum() else shlex.quote(part) for part in parts)])


def install() -> int:
    """Install what is missing into this Python; returns pip's exit code. What is kept is pinned to what is there."""
    pins = [f"{name}=={version}" for name in KEPT if (version := _installed(name))]
    return subprocess.run([sys.executable, *_pip(), *pins], check=False).returncode


def _pip() -> list[str]:
    if _is_wheel():
        return ["-m", "pip", "install", f"{DISTRIBUTION}[{','.join(_parts)}]"]
    files = [argument for file in _parts.values() for argument in ("-r", str(file))]
    return ["-m", "pip", "install", *files, TORCH]


def _needed() -> list[str]:
    if _is_wheel():
        ends = tuple(f'extra == "{extra}"' for extra in _parts)
        lines = [line for line in importlib.metadata.requires(DISTRIBUTION) or () if line.endswith(ends)]
    else:
        lines = [TORCH, *(line for file in _parts.values() for line in file.read_text(encoding="utf-8").splitlines())]
    return [name.group() for line in lines if (name := re.match(r"[\w.-]+", line))]


def _is_wheel() -> bool:
    return not REQUIREMENTS.is_file()


def _installed(name: str) -> str:
    """The version of a package, "" where it is not there."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
