"""A training command as a child process of the panel; runs without Slicer.

    python -m VirtualContrastTrainingLib.slicer_app.child train RECIPE -o DIR ...

It leads a process group of its own, so that the panel can end it with everything it started. When the panel closes its
standard input or dies, the run is asked to stop with a checkpoint, and is killed with its children if it has not
within GRACE_S.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence

from VirtualContrastLib.errors import SEE_LOG, explain

GRACE_S = 20.0


def main(argv: Sequence[str]) -> int:
    """Run the command line `argv` of `virtual-contrast-training`; returns its exit code.

    The last line on standard error is `Error: SENTENCE` where it fails.
    """
    faulthandler.enable()
    if os.name == "posix":
        with contextlib.suppress(OSError):
            os.setsid()
    threading.Thread(target=_outlive_nobody, args=[sys.stdin.fileno()], daemon=True).start()
    try:
        from ..cli import main as command

        return command(argv)
    except Exception as error:  # noqa: BLE001  the boundary of the process
        traceback.print_exc()
        message, code = explain(error, advice=SEE_LOG)
        print(f"Error: {message}", file=sys.stderr)
        return int(code)


def _outlive_nobody(handle: int) -> None:
    """Wait for the end of standard input, which the panel never writes to; then end this process."""
    with contextlib.suppress(OSError):
        while os.read(handle, 4096):
            pass
    for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        for pid in (*child_processes(os.getpid()), os.getpid()):
            with contextlib.suppress(OSError):
                os.kill(pid, number)  # at the first, Lightning writes a checkpoint after the step and ends
        time.sleep(GRACE_S)


def child_processes(pid: int) -> list[int]:
    """Ids of all descendants of a process, where psutil is there to find them."""
    try:
        import psutil
    except ImportError:
        return []
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
