"""What the host needs of the machine, and the one command that supplies it."""

import ctypes
import importlib.util

SYSTEM_LIBRARIES = {  # file -> Debian package
    "libOSMesa.so.8": "libosmesa6",
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libglib-2.0.so.0": "libglib2.0-0",
}
PYTHON_PACKAGES = {"vtkmodules": "slicer-core==5.12.4.0", "slicer_core": "slicer-core==5.12.4.0",
                   "PySide6": "'PySide6-Essentials<6.12'", "SimpleITK": "SimpleITK"}  # fmt: skip


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def missing() -> str:
    """Empty, or one sentence with the command that installs what is missing."""
    libraries = [package for library, package in SYSTEM_LIBRARIES.items() if not _loads(library)]
    if libraries:
        return (
            "the Slicer test host lacks system libraries, install them with: sudo apt-get install "
            f"--no-install-recommends {' '.join(libraries)}"
        )
    packages = {wheel for name, wheel in PYTHON_PACKAGES.items() if importlib.util.find_spec(name) is None}
    if packages:
        wheels = " ".join(sorted(packages))
        return f"the Slicer test host lacks Python packages, install them with: pip install {wheels}"
    return ""
