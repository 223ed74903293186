"""The resident worker process: runs, cancels, crashes, idles; and the words it is spoken to with."""

import contextlib
import os
import subprocess
import sys
import time

import psutil
import pytest
from host_samples import HOST_FOLDER
from module_samples import CRASHING, HANGING, LEAVING, PATIENT, run_samples, worker_command
from VirtualContrastLib.events import Stage
from VirtualContrastLib.results.manifest import load_result
from VirtualContrastLib.run.settings import RunSettings
from VirtualContrastLib.slicer_app.run.engine_process import EngineProcess
from VirtualContrastLib.worker.estimate import Estimate, duration_text
from VirtualContrastLib.worker.protocol import LineSplitter, RunRequest, Warned, decode, encode


class Listener:
    def __init__(self):
        self.steps, self.warnings, self.ends = [], [], []

    def progress(self, stage, done, total):
        self.steps.append((stage, done, total))

    def warning(self, message):
        self.warnings.append(message)

    def done(self, message):
        self.ends.append(("done", message))

    def failed(self, sentence):
        self.ends.append(("failed", sentence))

    def cancelled(self):
        self.ends.append(("cancelled", None))


@pytest.fixture
def make_worker(host):
    """Makes workers that are ended after the test."""
    made = []

    def make(code=None, **options):
        made.append(EngineProcess(worker_command(code) if code else None, **options))
        return made[-1]

    yield make
    for worker in made:
        worker.shutdown()


@pytest.fixture
def study(tmp_path):
    return run_samples.write_study(tmp_path / "study")


STARTLESS = f"""
import sys
sys.path[:0] = [{str(HOST_FOLDER)!r}, *{sys.path!r}]
import slicer_host
host = slicer_host.boot(main_window=False)
from pathlib import Path
from VirtualContrastLib.run.settings import RunSettings
from VirtualContrastLib.slicer_app.run.engine_process import EngineProcess
from VirtualContrastLib.worker.protocol import RunRequest
from VirtualContrastTrainingLib.slicer_app.process import Process

class Listener:
    def failed(self, sentence):
        print("worker:", sentence)

worker = EngineProcess(["/no/such/program"])
worker.run(RunRequest(Path("pre.nrrd"), Path("no_out"), RunSettings()), Listener())
host.wait_until(lambda: not worker.busy)
process = Process(lambda code, sentence: print("training:", code, sentence))
process.command = ["/no/such/program"]
process.start([])
host.wait_until(lambda: not process.busy)
host.process_events(0.1)
"""


def test_where_python_cannot_be_started_both_panels_say_so_and_slicer_lives():
    """The QProcess goes inside its own signal; in a process of its own, because that may be a crash."""
    done = subprocess.run([sys.executable, "-c", STARTLESS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    worker, training = done.stdout.splitlines()
    assert worker.startswith("worker: Python for the computation could not be started")
    assert training.startswith("training: 1 Python for the training could not be started")


def request_for(study, out, **settings):
    return RunRequest(study / "pre.nrrd", out, RunSettings(**settings))


def gone(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def wait_for_partial(host, out):
    """Until the run has written something; returns the pid of the child it started."""

    def written():
        return "".join(file.read_text() for file in out.parent.glob(f"{out.name}.partial-*/child"))

    host.wait_until(written)
    return int(written())


# ---- words --------------------------------------------------------------------------------------------------------


def test_lines_come_whole_from_chunks_that_split_lines_and_characters():
    message = encode(Warned(1, "Größe 3 µm · 造影"))
    data = b"plain text\r\n" + message + b"no end"
    for size in range(1, len(data)):
        splitter = LineSplitter()
        lines = [line for start in range(0, len(data), size) for line in splitter.feed(data[start : start + size])]
        assert lines[0] == "plain text"
        assert decode(lines[1]) == Warned(1, "Größe 3 µm · 造影")
        assert (len(lines), splitter.flush(), splitter.flush()) == (2, ["no end"], [])


@pytest.mark.parametrize(
    "line", ["", "{", "{broken", "[1]", '{"no": "message"}', '{"message": 3}', '{"message": "Bye"}', "Traceback"]
)
def test_a_line_that_is_no_message_is_told_apart(line):
    assert decode(line) is None


def test_the_estimate_never_goes_back_and_learns_from_the_last_run():
    estimate = Estimate()
    estimate.begin(0.0, real=False)
    seen = [estimate.update(Stage.READ, 1, 1), estimate.update(Stage.SYNTHESIZE, 5, 10)]
    seen += [estimate.update(Stage.SYNTHESIZE, 4, 10), estimate.update(Stage.EXPORT, 1, 1)]
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)
    estimate.learn({"read": 0.0, "model": 0.0, "synthesize": 9.0, "segment": 1.0, "kinetics": 0, "export": 0})
    estimate.begin(100.0, real=False)
    assert estimate.seconds_left(100.5) is None
    assert estimate.update(Stage.SYNTHESIZE, 5, 10) == pytest.approx(0.45)
    assert estimate.seconds_left(104.5) == pytest.approx(4.5 * 0.55 / 0.45)


def test_times_are_told_as_people_do():
    assert [duration_text(seconds) for seconds in (0.2, 12.4, 89, 180, 500)] == [
        "1 s",
        "12 s",
        "89 s",
        "3 min",
        "8 min",
    ]


# ---- runs ---------------------------------------------------------------------------------------------------------


def test_two_runs_make_two_results_in_one_process(host, make_worker, study, tmp_path):
    model = str(run_samples.write_model(tmp_path / "model"))
    worker, pids = make_worker(), set()
    for number in (1, 2):
        listener = Listener()
        worker.run(request_for(study, tmp_path / f"out{number}", model=model, segmentation="threshold"), listener)
        with pytest.raises(RuntimeError, match="busy"):
            worker.run(request_for(study, tmp_path / "other"), listener)
        host.wait_until(lambda listener=listener: listener.ends)
        pids.add(worker._child[0])
        assert [kind for kind, _ in listener.ends] == ["done"], listener.ends
        assert len(load_result(tmp_path / f"out{number}").manifest.phases) == 3
        assert {stage for stage, *_ in listener.steps} >= {"read", "model", "synthesize", "kinetics", "export"}
        assert listener.warnings
    assert len(pids) == 1


def test_an_unusable_input_is_one_sentence_and_the_worker_stays(host, make_worker, study, tmp_path):
    worker, listener = make_worker(), Listener()
    worker.run(RunRequest(tmp_path / "none.nrrd", tmp_path / "out", RunSettings()), listener)
    host.wait_until(lambda: listener.ends)
    assert listener.ends[0][0] == "failed"
    assert "none.nrrd" in listener.ends[0][1]
    assert worker.alive
    assert listener.ends[0][1] in worker.log_text()


def test_the_device_is_told_with_its_reason(host, make_worker):
    worker, answers = make_worker(), []
    worker.ask_device("cpu", answers.append)
    worker.ask_device("mps", answers.append)
    host.wait_until(lambda: len(answers) == 2)
    assert (answers[0].device, answers[0].usable) == ("cpu", True)
    assert "threads" in answers[0].reason
    assert not answers[1].usable
    assert "MPS" in answers[1].reason


# ---- ends ---------------------------------------------------------------------------------------------------------


def test_a_polite_cancel_stops_the_run_and_keeps_the_worker(host, make_worker, study, tmp_path):
    worker, listener = make_worker("w.GRACE_S = 600\n" + PATIENT), Listener()
    worker._kill_timer.setInterval(600_000)  # nobody insists, so that only a run that listens ends
    worker.run(request_for(study, tmp_path / "out"), listener)
    host.wait_until(lambda: len(listener.steps) > 3)
    with host.promised(1.0):
        worker.cancel()
        worker.cancel()
        host.wait_until(lambda: listener.ends)
    assert listener.ends == [("cancelled", None)]
    assert worker.alive


def test_a_deaf_run_is_killed_with_its_children_within_two_seconds(host, make_worker, study, tmp_path):
    worker, listener, out = make_worker(HANGING), Listener(), tmp_path / "out"
    worker.run(request_for(study, out), listener)
    grandchild, child = wait_for_partial(host, out), worker._child[0]
    with host.watch_event_loop() as longest_s:
        with host.promised(2.0):
            worker.cancel()
            host.wait_until(lambda: listener.ends)
        assert longest_s() < host.patience(0.5)
    assert listener.ends == [("cancelled", None)]
    host.wait_until(lambda: gone(child) and gone(grandchild))  # a killed process takes a moment to end
    assert not list(tmp_path.glob("out*"))
    assert not worker.alive


def test_a_stopped_process_is_killed_by_the_panel_side(host, make_worker, study, tmp_path):
    """The worker cannot even insist by itself: only the parent's kill of the group helps."""
    stopped = HANGING.removesuffix("    time.sleep(600)\n") + "    os.kill(os.getpid(), signal.SIGSTOP)\n"
    worker, listener, out = make_worker(stopped), Listener(), tmp_path / "out"
    worker.run(request_for(study, out), listener)
    grandchild = wait_for_partial(host, out)
    with host.promised(2.0):
        worker.cancel()
        host.wait_until(lambda: listener.ends)
    assert listener.ends == [("cancelled", None)]
    host.wait_until(lambda: gone(grandchild))
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(("code", "how"), [(CRASHING, "crashed or was killed"), (LEAVING, "exit code 7")])
def test_a_worker_that_dies_is_reported_once_and_the_next_run_starts_anew(
    host, make_worker, study, tmp_path, code, how
):
    worker, listener = make_worker(code), Listener()
    for _attempt in range(2):
        worker.run(request_for(study, tmp_path / "out"), listener)
        host.wait_until(lambda: not worker.busy)
    assert [kind for kind, _ in listener.ends] == ["failed", "failed"]
    assert how in listener.ends[0][1]
    assert not list(tmp_path.glob("out*"))
    if code is CRASHING:
        assert "about to crash: Grüße" in worker.log_text()
        assert "Segmentation fault" in worker.log_text()


def test_a_worker_killed_from_outside_is_reported(host, make_worker, study, tmp_path):
    worker, listener = make_worker(HANGING), Listener()
    worker.run(request_for(study, tmp_path / "out"), listener)
    grandchild = wait_for_partial(host, tmp_path / "out")
    os.kill(worker._child[0], 9)
    host.wait_until(lambda: listener.ends)
    assert listener.ends[0][0] == "failed"
    assert "killed" in listener.ends[0][1]
    assert not list(tmp_path.glob("out*"))
    host.wait_until(lambda: gone(grandchild))


def test_a_program_that_cannot_be_started_is_reported(host, tmp_path, study):
    worker, listener = EngineProcess([str(tmp_path / "no-such-python")]), Listener()
    worker.run(request_for(study, tmp_path / "out"), listener)
    host.wait_until(lambda: listener.ends)
    assert [kind for kind, _ in listener.ends] == ["failed"]
    assert not worker.alive


def test_an_idle_worker_ends_by_itself_and_the_next_request_starts_another(host, make_worker):
    worker, answers = make_worker(idle_s=0.3), []
    worker.ask_device("cpu", answers.append)
    host.wait_until(lambda: answers)
    host.wait_until(lambda: not worker.alive)
    worker.ask_device("cpu", answers.append)
    host.wait_until(lambda: len(answers) == 2)


def test_what_is_asked_just_when_the_worker_ends_of_idleness_is_asked_again(host, make_worker, study, tmp_path):
    once = tmp_path / "once"
    code = PATIENT + (
        f"once = Path({str(once)!r})\n"
        "if not once.exists():\n"
        "    once.touch()\n"
        "    w.CommandLoop.work = lambda self: 'idle'\n"
    )
    worker, listener, answers = make_worker(code), Listener(), []
    worker.ask_device("cpu", answers.append)
    worker.run(request_for(study, tmp_path / "out"), listener)
    host.wait_until(lambda: answers and listener.steps)
    assert once.exists()
    assert listener.ends == []


def test_freeing_memory_ends_an_idle_worker_at_once(host, make_worker):
    worker, answers = make_worker(), []
    worker.ask_device("cpu", answers.append)
    host.wait_until(lambda: answers)
    pid = worker._child[0]
    worker.free()
    host.wait_until(lambda: not worker.alive)
    assert gone(pid)


def test_a_worker_whose_parent_is_gone_ends_with_its_children(host, make_worker, study, tmp_path):
    worker, listener, out = make_worker(HANGING), Listener(), tmp_path / "out"
    worker.run(request_for(study, out), listener)
    grandchild, child = wait_for_partial(host, out), worker._child[0]
    worker._process.closeWriteChannel()
    host.wait_until(lambda: gone(child) and gone(grandchild))


def test_shutting_down_clears_up_after_a_worker_whose_first_words_nobody_has_read(make_worker, study, tmp_path):
    worker, out = make_worker(HANGING), tmp_path / "out"
    worker.run(request_for(study, out), Listener())
    assert worker._process.waitForBytesWritten(300_000)
    while not (child := "".join(file.read_text() for file in tmp_path.glob("out.partial-*/child"))):
        time.sleep(0.01)  # while the event loop stands still
    assert not worker._child
    worker.shutdown()
    assert not list(tmp_path.glob("out*"))
    while not gone(int(child)):
        time.sleep(0.01)


def test_shutting_down_ends_a_run_without_a_word(host, make_worker, study, tmp_path):
    worker, listener = make_worker(HANGING), Listener()
    worker.run(request_for(study, tmp_path / "out"), listener)
    wait_for_partial(host, tmp_path / "out")
    pid = worker._child[0]
    worker.shutdown()
    host.process_events(0.1)
    assert listener.ends == []
    assert (worker.busy, worker.alive, gone(pid)) == (False, False, True)
    assert not list(tmp_path.glob("out*"))
