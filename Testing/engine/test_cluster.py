"""Cases on the workers of a Dask cluster: real schedulers and workers, one worker killed with a case in its hand."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import run_samples
import SimpleITK as sitk
import torch
from VirtualContrastLib.cli.main import main
from VirtualContrastLib.events import CancelledError, Events, ExitCode, InputError
from VirtualContrastLib.models.package import ModelPackage
from VirtualContrastLib.results.manifest import load_result, verify_result
from VirtualContrastLib.run import write_outputs
from VirtualContrastLib.run.batch import Status, run_batch
from VirtualContrastLib.run.batch_cases import BatchCase
from VirtualContrastLib.run.cluster import LostError, spread
from VirtualContrastLib.run.settings import RunSettings
from VirtualContrastTrainingLib.cli import main as training

distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed (extra: cluster)")
REPOSITORY = Path(__file__).resolve().parents[2]
GOING_ON = threading.Event()
"""What `here` works on may wait for it: its worker is in this process."""
DASK = [sys.executable, "-m", "dask"]


@pytest.fixture(scope="module")
def here():
    """The address of a scheduler with one worker in this process, as far as faults of processes do not matter."""
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None)
    yield cluster.scheduler_address
    cluster.close()


@pytest.fixture
def chosen(tmp_path):
    return RunSettings(model=str(run_samples.write_model(tmp_path / "tiny")), segmentation="threshold", device="cpu")


def double(number):
    if number == 3:
        raise ValueError("three\nis refused")
    return 2 * number


def test_every_item_comes_back_with_its_number_and_an_error_as_its_sentence(here):
    found = dict(spread(here, double, range(5)))
    assert isinstance(found[3], LostError)
    assert "ValueError (three is refused)" in str(found.pop(3))
    assert found == {0: 0, 1: 2, 2: 4, 4: 8}


def wait_but_for_the_first(number):
    assert number == 0 or GOING_ON.wait(300)


def test_cancelling_is_heard_of_between_items(here):
    events = Events()
    GOING_ON.clear()
    with pytest.raises(CancelledError):
        for _ in spread(here, wait_but_for_the_first, range(5), events):
            events.cancel()
    GOING_ON.set()


def test_without_a_scheduler_there_one_sentence_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("VirtualContrastLib.run.cluster.CONNECT_S", 0.5)
    for place in ("tcp://127.0.0.1:9", "not an address", str(tmp_path / "missing.json")):
        with pytest.raises(InputError, match="No Dask scheduler answers"):
            list(spread(place, double, [1]))


def test_a_batch_ends_as_it_does_here_with_weights_loaded_once(here, chosen, tmp_path, monkeypatch):
    monkeypatch.setattr(write_outputs, "_pages", lambda task: ([], []))
    loads, load_state = [], ModelPackage.load_state
    monkeypatch.setattr(ModelPackage, "load_state", lambda self: loads.append(1) or load_state(self))
    study = run_samples.write_study(tmp_path / "study")
    (tmp_path / "empty.nrrd").write_bytes(b"")
    cases = [BatchCase(name, str(study / "pre.nrrd")) for name in ("DOE", "b", "c")]
    cases.insert(1, BatchCase("bad", str(tmp_path / "empty.nrrd")))
    outcome = run_batch(cases, tmp_path / "out", chosen, scheduler=here)
    assert outcome.exit_code is ExitCode.SOME_CASES_FAILED
    assert [case.status for case in outcome.cases] == [Status.DONE, Status.FAILED, Status.DONE, Status.DONE]
    assert len(loads) == 1
    assert outcome.cases[0].warnings == outcome.cases[2].warnings != ()
    log = (tmp_path / "out" / "batch.log").read_text(encoding="utf-8")
    assert "synthesize: " in log and "case 4: done" in log
    assert "DOE" not in log and str(tmp_path) not in log
    again = run_batch([*cases[2:], cases[0]], tmp_path / "out", RunSettings(**{**vars(chosen), "resume": True}))
    assert {case.status for case in again.cases} == {Status.KEPT}, "the same results as of a run without a cluster"


def test_a_batch_that_is_cancelled_names_the_cases_that_were_not_run(here, chosen, tmp_path, monkeypatch):
    study, events, begun = run_samples.write_study(tmp_path / "study"), Events(), []

    def figures(task):  # of the first case at once, of what is in hand then when all is over here
        begun.append(task)
        assert len(begun) == 1 or GOING_ON.wait(300)
        return [], []

    GOING_ON.clear()
    monkeypatch.setattr(write_outputs, "_pages", figures)

    class Stopper:
        def case_started(self, case, number, total):
            raise AssertionError("nobody here knows when a case starts there")

        def case_ended(self, outcome):
            events.cancel()

    cases = [BatchCase(str(number), str(study / "pre.nrrd")) for number in range(6)]
    outcome = run_batch(cases, tmp_path / "out", chosen, events=events, listener=Stopper(), scheduler=here)
    GOING_ON.set()
    assert outcome.exit_code is ExitCode.CANCELLED
    assert (outcome.count(Status.DONE), outcome.count(Status.NOT_RUN)) == (1, 5)


@pytest.fixture
def cluster(tmp_path):
    """(scheduler file, two worker processes), started by the lines of docs/how-to/cluster.md."""
    file = tmp_path / "scheduler.json"
    python_path = os.pathsep.join(str(REPOSITORY / part) for part in ("VirtualContrast", "VirtualContrastTraining"))
    environment = {**os.environ, "PYTHONPATH": python_path, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    options = ["--scheduler-file", str(file), "--no-dashboard"]
    worker = [*DASK, "worker", *options, "--nthreads", "1", "--memory-limit", "0", "--no-nanny"]
    commands = [[*DASK, "scheduler", "--host", "127.0.0.1", "--port", "0", *options], worker, worker]
    with (tmp_path / "dask.log").open("w") as log:
        processes = [subprocess.Popen(command, env=environment, stderr=log, cwd=tmp_path) for command in commands]
    try:
        with distributed.Client(scheduler_file=str(file), timeout=300, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=300)
        yield file, processes[1:]
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def in_hand(out, pid):
    """Case and run id that process `pid` is working on, None where it has none."""
    for note in out.glob("*.partial-*/.owner.json"):
        if note.stat().st_size and json.loads(note.read_text(encoding="utf-8"))["pid"] == pid:
            return note.parent.name.split(".partial-")
    return None


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_loses_the_case_in_its_hand_and_the_batch_completes(cluster, chosen, tmp_path):
    file, (victim, other) = cluster
    out = tmp_path / "out"
    run_samples.write_study(tmp_path / "study", phases=3)
    rows = [
        f"{number},study/pre.nrrd,study/phase_1.nrrd,study/phase_2.nrrd,study/phase_3.nrrd,90 220 350"
        for number in range(6)
    ]
    (tmp_path / "cases.csv").write_text("\n".join(["case,input,real1,real2,real3,real_times", *rows, ""]))
    command = [sys.executable, "-m", "VirtualContrastLib", "batch", str(tmp_path / "cases.csv"), "-o", str(out)]
    command += ["--model", chosen.model, "--segmentation", "threshold", "--device", "cpu", "--scheduler", str(file)]
    batch = subprocess.Popen(command, cwd=REPOSITORY / "VirtualContrast", stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 600
    while not ((lost := in_hand(out, victim.pid)) and len(list(out.glob("*/manifest.json"))) >= 2):
        assert batch.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(victim.pid, signal.SIGKILL)
    case, run_id = lost
    _, told = batch.communicate(timeout=900)
    assert batch.returncode == 0, told
    assert victim.wait() == -signal.SIGKILL and other.poll() is None
    counts = json.loads((out / "summary.json").read_text())["counts"]
    assert counts["done"] + counts["kept"] == 6, counts
    assert counts["kept"] <= 1, "a case that the victim had ended and not yet told of is kept"
    assert [verify_result(out / str(number)) for number in range(6)] == [[]] * 6
    assert load_result(out / case).manifest.run_id != run_id, "another worker ran the case that was lost"
    assert not list(out.glob("*.partial-*")), "what the killed worker left is cleared away"


@pytest.mark.slow
def test_an_item_whose_workers_all_die_is_given_up(cluster):
    file, workers = cluster
    ((number, lost),) = spread(str(file), os._exit, [7])
    assert (number, type(lost)) == (0, LostError)
    assert "given to 2 workers and each of them died" in str(lost)
    assert [worker.wait() for worker in workers] == [7, 7]


def random_resnet50():
    """Weights of ResNet-50 as torchvision names them."""
    state, width = {}, 64
    generator = torch.Generator().manual_seed(0)

    def layer(conv, norm, out, size, kernel):
        scale = (2 / (size * kernel**2)) ** 0.5
        state[f"{conv}.weight"] = scale * torch.randn((out, size, kernel, kernel), generator=generator)
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            state[f"{norm}.{name}"] = torch.full((out,), value)

    layer("conv1", "bn1", 64, 3, 7)
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        inner = 32 * 2**stage
        for n in range(blocks):
            block = f"layer{stage}.{n}"
            for number, (out, size, kernel) in enumerate(
                ((inner, width, 1), (inner, inner, 3), (4 * inner, inner, 1)), start=1
            ):
                layer(f"{block}.conv{number}", f"{block}.bn{number}", out, size, kernel)
            if n == 0:
                layer(f"{block}.downsample.0", f"{block}.downsample.1", 4 * inner, width, 1)
            width = 4 * inner
    return state


@pytest.mark.slow
def test_an_evaluation_on_two_workers_gives_the_numbers_of_one_machine(cluster, tmp_path):
    file, _ = cluster
    for number in range(4):
        for kind in ("real", "synthetic"):
            (tmp_path / kind).mkdir(exist_ok=True)
            array = run_samples.make_real(1 + number % 3) * (1.0 if kind == "real" else 0.9)
            sitk.WriteImage(run_samples.make_image(array), str(tmp_path / kind / f"P{number}.nrrd"))
    (tmp_path / "real" / "P1.nrrd").write_bytes(b"")
    lesions = run_samples.make_image(run_samples.make_mask())
    (tmp_path / "lesions").mkdir()
    for number in range(4):
        sitk.WriteImage(lesions, str(tmp_path / "lesions" / f"P{number}.nrrd"))
    torch.save(random_resnet50(), tmp_path / "resnet50.pth")
    measures = ["--lesions", str(tmp_path / "lesions"), "--fid", f"random={tmp_path / 'resnet50.pth'}", "--radiomics"]
    found = []
    for more in ([], ["--scheduler", str(file)]):
        out = tmp_path / f"out{len(found)}"
        arguments = ["--real", str(tmp_path / "real"), "--synthetic", str(tmp_path / "synthetic"), "-o", str(out)]
        assert training(["evaluate", *arguments, *measures, *more]) == ExitCode.SOME_CASES_FAILED
        found.append([(out / name).read_text() for name in ("metrics.json", "slices.csv")])
    assert found[0] == found[1]
    values = json.loads(found[0][0])
    assert values["failed"][0]["pair"] == 1
    assert values["distances"]["random"]["synthetic_against_real"]["n"] == [18, 18]
    assert values["radiomics"]["n"] == [3, 3]


def test_what_cannot_go_to_a_cluster_is_refused(capsys):
    assert training(["evaluate", "--scheduler", "tcp://127.0.0.1:9"]) == ExitCode.UNUSABLE
    assert "--scheduler spreads the pairs" in capsys.readouterr().err
    assert main(["batch", "missing.csv", "-o", "x", "--scheduler", "tcp://127.0.0.1:9"]) == ExitCode.UNUSABLE
