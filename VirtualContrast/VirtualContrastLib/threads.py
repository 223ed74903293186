"""How threads of torch and ITK are made and wait for one another, and how torch asks the system for memory."""

from __future__ import annotations

import os

_SPINS = "1000"  # some microseconds


def set_up_threads() -> None:
    """Set what counts only before torch and SimpleITK are first imported; what the user has set stands.

    A pool of threads for ITK: else each filter starts threads of its own, and where the system has no memory for one it
    waits for ever for a thread that is none.

    Memory in huge pages (Linux): the maps of a 512 x 512 slice are tens of megabytes, new for each layer, and the first
    touch of their small pages took longer than the arithmetic of the cheap layers. An instance normalization of 64 such
    maps takes 35 ms with huge pages and 76 ms without.
    """
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_THREADER", "Pool")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    _let_waiting_threads_sleep()


def _let_waiting_threads_sleep() -> None:
    """Let OpenMP threads (GNU's library) that wait spin shortly and then sleep.

    With another program busy on one of two cores, spinning on and on made a
    synthesis of 5 s take 61 s, because the thread that the other one waited for could not run. On an idle machine it
    takes 2.8 s either way, and 3.3 s without spinning at all.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
