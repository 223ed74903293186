"""Children forked from a process that has the engine loaded: what they say, how they end, and for how long they may."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

MEMORY_BYTES = 6 << 30


def load_engine() -> None:
    """Import what a run needs, with one thread: a forked child cannot use the threads of its parent."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalDefaultThreader("Pool")  # as the commands do before they import it
    import VirtualContrastTrainingLib.cli  # noqa: F401


@dataclass
class Child:
    """A running child: its pid, its lines so far, its exit code (negative: the signal that ended it)."""

    pid: int
    handle: int
    lines: list[str] = field(default_factory=list)
    code: int | None = None
    _rest: bytes = b""

    def read(self, limit_s: float) -> Iterator[str]:
        """Lines of its standard output and error together, as they come, until it ends; kills it after `limit_s`."""
        end = time.monotonic() + limit_s
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.handle], [], [], left)[0]:
                break
            chunk = os.read(self.handle, 65536)
            if not chunk:
                self._end()
                return
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                self.lines.append(line.decode("utf-8", "replace"))
                yield self.lines[-1]
        self.lines.append(f"did not end within {limit_s:g} s")
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._end()

    def finish(self, limit_s: float) -> int:
        """Wait until it ends; returns its exit code."""
        for _ in self.read(limit_s):
            pass
        return self.code if self.code is not None else -int(signal.SIGKILL)

    def _end(self) -> None:
        os.close(self.handle)
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def fork(action: Callable[[], int], *, before: Callable[[], None] = lambda: None) -> Child:
    """Run `action` in a child whose output comes here; `before` sets limits in the child first."""
    out, into = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 120
        try:
            os.close(out)
            os.dup2(into, 1)
            os.dup2(into, 2)
            sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="surrogateescape", buffering=1)
            sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="surrogateescape", buffering=1)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            _limit_memory()
            before()
            code = action()
        except BaseException:  # noqa: BLE001  a child tells of whatever ended it
            import traceback

            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    os.close(into)
    return Child(pid, out)


def _limit_memory() -> None:
    used = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) << 10  # noqa: PTH123, SIM115
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))
