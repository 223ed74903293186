"""Runs every file of this folder in a process of its own, two at a time: the host is one application a process.

    python Testing/slicer/run.py [FILE ...]

The processes are forked from one that has imported what nearly all of them import (torch, VTK and so on), because five
seconds of imports a file are most of what a small file takes. Nothing of the host or of the libraries under test is
imported before the fork. Ends with 1 where a file failed. Where a process cannot fork, call pytest file by file.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
AT_ONCE = 2
PLUGINS = ("no:hypothesispytest", "no:anyio", "no:jaxtyping")
"""What these tests do not use and what takes seconds to import."""


def main(files: list[Path]) -> int:
    """Run all files, print the output of each as it ends, and return how many failed."""
    _import_what_all_import()
    waiting, failed = list(files), []
    running: dict[int, tuple[Path, float]] = {}
    with tempfile.TemporaryDirectory() as logs:
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                path = waiting.pop(0)
                running[_start(path, Path(logs, path.stem))] = path, time.monotonic()
            pid, status = os.wait()
            path, began = running.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            print(f"--- {path.name}: exit code {code}, {time.monotonic() - began:.0f} s", flush=True)
            print(Path(logs, path.stem).read_text(encoding="utf-8", errors="replace"), end="", flush=True)
            if code:
                failed.append(path.name)
    print(f"{len(files)} files, failed: {', '.join(failed) or 'none'}")
    return len(failed)


def _import_what_all_import() -> None:
    import matplotlib.pyplot
    import pydicom
    import scipy.ndimage
    import SimpleITK
    import torch
    import vtk

    del matplotlib, pydicom, scipy, SimpleITK, torch, vtk


def _start(path: Path, log: Path) -> int:
    """Fork a process that runs pytest on one file and writes what it prints to `log`; returns its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        import pytest

        arguments = [argument for plugin in PLUGINS for argument in ("-p", plugin)]
        code = int(pytest.main([*arguments, str(path)]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    chosen = [Path(name).resolve() for name in sys.argv[1:]] or sorted(FOLDER.glob("test_*.py"))
    sys.exit(1 if main(chosen) else 0)
