"""The command line inside Slicer's application, or under any Python; always ends with an explicit exit code.

    Slicer --no-splash --no-main-window --python-script synthesize.py -- INPUT -o OUT [options]
    PythonSlicer synthesize.py INPUT -o OUT [options]
    PythonSlicer synthesize.py --install      installs the packages that a run needs, into Slicer's Python

`--` keeps Slicer from taking the options for its own. Another command of `virtual-contrast` (batch, compare,
models, info) may stand before its arguments. Without an explicit end Slicer would stay open after the script.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

COMMANDS = ("synthesize", "batch", "compare", "models", "info")


def run(arguments: Sequence[str]) -> int:
    """Run `virtual-contrast`, its command `synthesize` unless `arguments` name one; returns the exit code."""
    library = str(Path(__file__).resolve().parents[1])
    if library not in sys.path:
        sys.path.insert(0, library)
    try:
        from VirtualContrastLib import installation
        from VirtualContrastLib.cli.main import main
    except ImportError as error:
        name = error.name or "VirtualContrastLib"
        print(f"Error: The Python package {name} cannot be imported ({error}); install it.", file=sys.stderr)
        return 1
    rest = list(arguments)
    if rest[:1] == ["--"]:
        rest = rest[1:]
    if rest == ["--install"]:
        return installation.install()
    return main(rest if rest[:1] and rest[0] in COMMANDS else ["synthesize", *rest])


def leave(code: int) -> None:
    """End Slicer's application with `code` where this runs in it, else the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    slicer = sys.modules.get("slicer")
    if type(getattr(slicer, "app", None)).__name__ == "qSlicerApplication":
        import slicer.util

        slicer.util.exit(code)
    else:
        sys.exit(code)


if __name__ == "__main__":
    exit_code = 1
    try:
        exit_code = run(sys.argv[1:])
    finally:
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        leave(exit_code)
