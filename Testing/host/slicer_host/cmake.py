"""Configure and install an extension with the mock Slicer CMake package."""

import subprocess
from pathlib import Path

MOCK = Path(__file__).resolve().parents[1] / "mock_slicer_cmake"
FLAT_FOLDER = Path("lib/Slicer-5.12/qt-scripted-modules")


class ExtensionError(RuntimeError):
    """CMake's messages about what is wrong with the extension's CMakeLists.txt."""


def install_extension(source: str | Path, work: str | Path) -> Path:
    """Install the extension at ``source`` below the empty folder ``work``; returns the flat folder of its modules.

    Raises:
        ExtensionError: a keyword is wrong, a file is missing or unlisted, or an EXTENSION_ variable is empty.
    """
    build, prefix = Path(work) / "build", Path(work) / "install"
    _cmake("-S", source, "-B", build, f"-DSlicer_DIR={MOCK}", "-Wno-dev")
    _cmake("--install", build, "--prefix", prefix)
    return prefix / FLAT_FOLDER


def _cmake(*arguments: str | Path) -> None:
    done = subprocess.run(["cmake", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ExtensionError(done.stderr.strip() or done.stdout.strip())
