"""How much memory this process may still take, of the machine, its container and its own limit; and giving it back, or
keeping it.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import sys
from collections.abc import Iterator
from pathlib import Path

_V1, _V2 = "memory.limit_in_bytes", "memory.max"
_USED = {_V1: "memory.usage_in_bytes", _V2: "memory.current"}
_CACHE = {_V1: "total_inactive_file", _V2: "inactive_file"}

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_LARGEST_KEPT, _MOST_KEPT = 32 << 20, 256 << 20
"""Bytes: larger blocks go back to the system whenever they are freed, the library takes no larger limit; and all that
is kept together.
"""


def free_memory() -> float:
    """Bytes that this process may still take, infinite where nothing is known.

    The least of what the machine has, what the control groups of a container or a cluster's job allow (Linux, versions
    1 and 2), and what the limit of the process's address space leaves (`ulimit -v`).
    """
    return min(_of_machine(), group_room(), _of_address_space())


def return_freed() -> None:
    """Give memory that was freed back to the system, where the C library (GNU's) keeps it for the next array.

    It keeps arrays of up to 32 MiB, and between them those of a study of that size, in pieces that fit nothing.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # AttributeError: another C library
            ctypes.CDLL(None).malloc_trim(0)


def keep_freed() -> None:
    """Keep memory that was freed for the next array (GNU's C library), for a stream of images of one size.

    Else it gives the end of its heap back after every image, and the system hands it out again page by page, emptied:
    a third of the time of an evaluation.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # AttributeError: another C library
            library = ctypes.CDLL(None)
            library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
            library.mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)


def group_room(root: Path = Path("/")) -> float:
    """Bytes that the control groups of this process allow; files that the system keeps in memory do not count.

    Args:
        root: Where `proc` and `sys` are.

    Returns:
        The room in the narrowest of the groups around the process, infinite where none has a limit.
    """
    return min((_room(folder, limit) for folder, limit in _groups(root)), default=math.inf)


def _of_machine() -> float:
    try:
        import psutil
    except ImportError:
        return math.inf
    return float(psutil.virtual_memory().available)


def _of_address_space() -> float:
    if sys.platform != "linux":  # Windows knows no such limit, macOS does not hold to it
        return math.inf
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return math.inf
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    return float(max(0, limit - used))


def _groups(root: Path) -> Iterator[tuple[Path, str]]:
    """Folder of every group around this process, and the file in it that holds the limit.

    Within a container the path of the group may be that of the host; its own group is then the top of the mount.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            top, limit = (root / "sys/fs/cgroup", _V2) if not controllers else (root / "sys/fs/cgroup/memory", _V1)
            own = top / path.lstrip("/")
            while own != top:
                yield own, limit
                own = own.parent
            yield top, limit


def _room(folder: Path, limit: str) -> float:
    """Bytes left in one group; infinite where it has no limit or cannot be read."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: "max"
        most = int((folder / limit).read_text(encoding="ascii"))
        used = int((folder / _USED[limit]).read_text(encoding="ascii"))
        stat = (line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
        kept = {name: int(count) for name, count in stat}.get(_CACHE[limit], 0)
        return float(max(0, most - max(0, used - kept)))
    return math.inf
