"""Jobs shared with a thread beside: all are done, in whatever way that thread fails."""

import _thread
import threading
import time

import pytest
from VirtualContrastLib import side_work
from VirtualContrastLib.side_work import share


def test_results_are_in_the_order_of_the_jobs():
    assert share([lambda n=n: n * n for n in range(50)]) == [n * n for n in range(50)]
    assert share([]) == []


def test_two_jobs_run_at_once():
    both = threading.Barrier(2, timeout=300)
    share([both.wait, both.wait])  # each ends only when the other has begun


def test_the_first_job_is_done_by_the_thread_that_asks():
    """It is the one that a signal can interrupt."""
    both = threading.Barrier(2, timeout=300)

    def identity():
        both.wait()
        return _thread.get_ident()

    here, beside = share([identity, identity])
    assert here == _thread.get_ident() != beside


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_on_either_side_comes_back_and_waiting_jobs_are_left_out(failing):
    both, begun = threading.Barrier(2, timeout=300), []

    def fail():
        both.wait()
        raise OSError("disk")

    def last():
        both.wait()
        time.sleep(0.2)

    def further():
        begun.append(1)
        time.sleep(0.01)

    jobs = [fail, *[further] * 1000, last] if failing == 0 else [last, *[further] * 1000, fail]
    with pytest.raises(OSError, match="disk"):
        share(jobs)
    assert len(begun) < 1000


def test_a_request_to_stop_waits_for_the_job_beside():
    both, ended = threading.Barrier(2, timeout=300), []

    def here():
        both.wait()
        raise KeyboardInterrupt

    def beside():
        both.wait()
        time.sleep(0.2)
        ended.append(1)

    with pytest.raises(KeyboardInterrupt):
        share([here, beside])
    assert ended == [1]


def test_what_is_told_before_a_job_may_stop_all():
    def stop(begun):
        if begun >= 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        share([lambda: time.sleep(0.05)] * 20, stop)


@pytest.mark.parametrize("outcome", ["refused", "silent"])
def test_without_a_second_thread_all_is_done_here(monkeypatch, outcome):
    """Silent: the system makes the thread, which dies before it can say anything."""

    def start(*_given):
        if outcome == "refused":
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(side_work._thread, "start_new_thread", start)
    assert share([lambda n=n: n for n in range(5)]) == [0, 1, 2, 3, 4]


def test_a_job_lost_beside_is_told_as_lack_of_memory(monkeypatch):
    """A thread that takes a job and dies without a word, as one does that cannot even keep its error."""

    def start(work, arguments):
        arguments[1]()

    monkeypatch.setattr(side_work._thread, "start_new_thread", start)
    with pytest.raises(MemoryError):
        share([lambda: 1, lambda: 2])
