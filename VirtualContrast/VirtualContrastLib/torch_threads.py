"""How the threads of torch wait for one another."""

from __future__ import annotations

import os

_SPINS = "1000"  # some microseconds


def let_waiting_threads_sleep() -> None:
    """Let OpenMP threads (GNU's library) that wait spin shortly and then sleep; what the user has set stands.

    Counts only before torch is first imported. With another program busy on one of two cores, spinning on and on made a
    synthesis of 5 s take 61 s, because the thread that the other one waited for could not run. On an idle machine it
    takes 2.8 s either way, and 3.3 s without spinning at all.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
