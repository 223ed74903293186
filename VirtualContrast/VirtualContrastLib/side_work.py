"""Jobs shared with a second thread, which keeps nobody waiting where the system has no memory for it.

Python's own threads and pools wait until a new thread says that it runs. One that gets no memory at its start never
says so, and the program stands still. Here the calling thread works as well and waits only for a job that the other one
has taken: without a second thread it does them all.
"""

from __future__ import annotations

import _thread
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


def share(jobs: Sequence[Callable[[], T]], before: Callable[[int], object] = lambda begun: None) -> list[T]:
    """Do all jobs: this thread takes the first, one beside it the last, until they meet.

    Args:
        jobs: What is done; what may have to be interrupted stands first, as only this thread can be.
        before: Called in this thread before each job that it does, with the number of jobs begun so far; may raise.

    Returns:
        What each job returned.

    Raises:
        BaseException: The first that a job or `before` raised; jobs not begun by then are left out.
        MemoryError: The thread beside ended without a word.
    """
    shared = _Shared(jobs)
    if len(jobs) > 1:
        with contextlib.suppress(RuntimeError):  # the system has no thread for us
            _thread.start_new_thread(shared.work, (shared.beside, shared.take_last))
    try:
        shared.work(shared.here, shared.take_first, before)
    finally:
        shared.leave_out_the_rest()
        with shared.beside:  # until the job is done that it has taken
            pass
    return shared.results()


class _Shared(Generic[T]):
    """Jobs each of which is done by whoever takes it first."""

    def __init__(self, jobs: Sequence[Callable[[], T]]) -> None:
        self.here, self.beside = _thread.allocate_lock(), _thread.allocate_lock()
        self._count = len(jobs)
        self._waiting = deque(enumerate(jobs))
        self.take_first, self.take_last = self._waiting.popleft, self._waiting.pop
        self._done: dict[int, T] = {}
        self._errors: list[BaseException] = []

    def work(
        self,
        busy: _thread.LockType,
        take: Callable[[], tuple[int, Callable[[], T]]],
        before: Callable[[int], object] = lambda begun: None,
    ) -> None:
        """Take and do jobs until none is left or one has failed; `busy` is held meanwhile."""
        while self._waiting and not self._errors:
            with busy:
                try:
                    before(self._count - len(self._waiting))
                    self._do(take)
                except BaseException as error:  # noqa: BLE001  raised again in the thread that asked
                    self._errors.append(error)

    def leave_out_the_rest(self) -> None:
        """Begin no further job."""
        self._waiting.clear()

    def results(self) -> list[T]:
        """What the jobs returned, in their order; raises what stopped them."""
        if self._errors:
            raise self._errors[0]
        if len(self._done) < self._count:
            raise MemoryError
        return [self._done[number] for number in range(self._count)]

    def _do(self, take: Callable[[], tuple[int, Callable[[], T]]]) -> None:
        try:
            number, job = take()
        except IndexError:  # the other one was faster
            return
        self._done[number] = job()
