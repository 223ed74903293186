"""Training inside Slicer's application, or under any Python; always ends with an explicit exit code.

    Slicer --no-splash --no-main-window --python-script train.py -- --recipe RECIPE -o OUT [options]
    PythonSlicer train.py --recipe RECIPE -o OUT [options]
    PythonSlicer train.py --install      installs the packages that training needs, into Slicer's Python

`--` keeps Slicer from taking the options for its own. Another command of `virtual-contrast-training` (phantom, prepare,
evaluate, ...) may stand before its arguments.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve()
LIBRARIES = (HERE.parents[1], HERE.parents[2] / "VirtualContrast")
"""Installed, both libraries and their scripts stand in one folder; in the source tree in two."""


def run(arguments: Sequence[str]) -> int:
    """Run `virtual-contrast-training`, its command `train` unless `arguments` name one; returns the exit code."""
    from VirtualContrastLib import installation
    from VirtualContrastTrainingLib import cli

    rest = list(arguments)
    if rest[:1] == ["--"]:
        rest = rest[1:]
    if rest == ["--install"]:
        return installation.install()
    commands = [name.replace("_", "-") for name in cli.COMMANDS]
    return cli.main(rest if rest[:1] and rest[0] in commands else ["train", *rest])


if __name__ == "__main__":
    sys.path[:0] = [str(folder) for folder in LIBRARIES if str(folder) not in sys.path]
    from VirtualContrastScripts.synthesize import leave

    exit_code = 1
    try:
        exit_code = run(sys.argv[1:])
    finally:
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        leave(exit_code)
