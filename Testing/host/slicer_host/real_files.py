"""Slicer's own Python files in place of the stand-ins, where there are sources to take them from.

``SLICER_SOURCE`` names a checkout of Slicer or a git directory of it (a bare clone will do; ``SLICER_BRANCH``, default
5.12, is then read). The files go into a temporary folder and are run from there; nothing of them is kept.
"""

import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SUBMODULES = ["parameterNodeWrapper", "ScriptedLoadableModule.py", "i18n.py"]
PATHS = [*(f"Base/Python/slicer/{name}" for name in SUBMODULES), "Modules/Scripted/SampleData/SampleData.py"]


def put_in_front() -> Path | None:
    """Let ``import slicer.x`` and ``import SampleData`` find Slicer's own files first; their folder, None for none."""
    source = os.environ.get("SLICER_SOURCE")
    if not source:
        return None
    import slicer

    folder = Path(tempfile.mkdtemp(prefix="slicer_source_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if (Path(source) / "Base").is_dir():
        for path in PATHS:
            copy = shutil.copytree if (Path(source) / path).is_dir() else shutil.copy
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            copy(Path(source) / path, folder / path)
    else:
        branch = os.environ.get("SLICER_BRANCH", "5.12")
        tar = subprocess.run(["git", "-C", source, "archive", branch, *PATHS], capture_output=True, check=True).stdout
        subprocess.run(["tar", "x", "-C", str(folder)], input=tar, check=True)
    slicer.__path__.insert(0, str(folder / "Base/Python/slicer"))
    sys.path.insert(0, str(folder / "Modules/Scripted/SampleData"))
    return folder


def name_other_widgets(folder: Path) -> None:
    """Empty classes for the widgets that Slicer's files name and the host has not."""
    import ctk
    import slicer

    for file in folder.rglob("*.py"):
        for module, name in re.findall(r"\b(ctk|slicer)\.((?:ctk|qMRML|qSlicer)\w+)", file.read_text(encoding="utf-8")):
            owner = ctk if module == "ctk" else slicer
            if not hasattr(owner, name):
                setattr(owner, name, type(name, (), {}))
