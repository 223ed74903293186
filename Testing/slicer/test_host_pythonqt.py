"""The host's Qt answers Python as PythonQt does: 143 probes whose answers real PythonQt gave."""

import gc
import json
import threading
import time
import weakref

import pytest
import pythonqt_probes
import qt
from host_samples import HOST_FOLDER

REAL = json.loads((HOST_FOLDER / "pythonqt_answers.json").read_text(encoding="utf-8"))
STRICTER = {
    "setProperty then attribute": "a dynamic property is no attribute here",
    "timer.timeout.connect": "a signal of an object that nobody keeps",
    "connect unknown signal": "PythonQt says no and goes on, which hides a misspelt signal",
    "connect clicked(int)": "the same",
    'connect "clicked"': "the same",
    "clicked.emit(True)": "PySide6 knows the signal without its default argument",
    "clicked()": "PySide6's signals cannot be called",
    "QIcon(Path)": "a path must be a string here",
}
"""What PythonQt accepts and the host refuses: a product that passes here passes there."""
ANOTHER = {
    "clicked.emit()": "without the default argument",
    "isinstance(b, QWidget)": "always false in PythonQt",
    "isinstance(b, QAbstractButton)": "always false in PythonQt",
    "issubclass(QPushButton, QWidget)": "always false in PythonQt",
    "signal attribute type": "the name of PySide6's class",
}
"""What the host cannot do; test_host_signatures sees to it that the product does without."""


def wrong_answer(name, told):
    """What is wrong with the host's answer to a probe, "" where nothing is."""
    real = REAL[name]
    if name in ANOTHER:
        return "now as in PythonQt: take it off the list" if told == real else ""
    if real.startswith("RAISES") or name in STRICTER:
        return "" if told.startswith("RAISES") else f"accepts, {told}"
    return "" if told == real else f"{told}, not {real}"


@pytest.mark.slicer_errors
def test_the_host_answers_as_pythonqt_does(host):
    told = {name: wrong_answer(name, answer) for name, answer in pythonqt_probes.answers().items()}
    assert {name: wrong for name, wrong in told.items() if wrong} == {}


def test_every_answer_is_asked_for():
    assert set(pythonqt_probes.PROBES) == set(REAL)


def test_a_connection_keeps_neither_sender_alive_nor_its_slot_from_being_called(host):
    heard, timer = [], qt.QTimer()
    timer.setInterval(0)
    timer.connect("timeout()", lambda: heard.append(1))
    timer.start()
    host.wait_until(lambda: heard)
    gone = weakref.ref(timer)
    del timer
    gc.collect()
    assert gone() is None
    heard.clear()
    host.process_events(0.02)
    assert heard == []


def test_threads_stand_still_while_the_event_loop_idles(host):
    """As in Slicer, whose loop keeps Python's lock."""
    longest_s, begun, end = [0.0], threading.Event(), threading.Event()

    def watch():
        last = time.monotonic()
        begun.set()
        ended = False
        while not ended:
            ended = end.is_set()
            now = time.monotonic()  # read once a round: a standstill between two readings would not be seen
            longest_s[0], last = max(longest_s[0], now - last), now

    thread = threading.Thread(target=watch)
    thread.start()
    begun.wait()
    try:
        host.process_events(0.4)
    finally:
        end.set()
        thread.join()
    assert longest_s[0] > 0.3
