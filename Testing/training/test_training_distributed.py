"""Two processes on one host (gloo): the same result as one, and a clear end when one of them dies."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from VirtualContrastLib.events import InputError
from VirtualContrastTrainingLib.data.batches import EpochBatches
from VirtualContrastTrainingLib.data.mammogram_phantom import write_phantom_pair
from VirtualContrastTrainingLib.training.launch import needs_launch
from VirtualContrastTrainingLib.training.smoke import smoke_cases

CHANGES = [
    "generator.ngf=4",
    "generator.n_blocks_global=1",
    "discriminator.ndf=4",
    "schedule.batch_size=4",
    "schedule.slices_per_epoch=16",
    "schedule.constant_epochs=2",
    "schedule.decay_epochs=0",
    "losses.l1_only_epochs=1",
    "losses.lesion_weight=1",  # a weighted mean of each process's part is not that of the whole
    "precision=32-true",
]


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return smoke_cases(tmp_path_factory.mktemp("cases"), 2)


CYCLE_CHANGES = [
    "generator.ngf=4",
    "generator.n_blocks=1",
    "discriminator.ndf=4",
    "data.patch=32",
    "schedule.batch_size=4",
    "schedule.iterations_per_epoch=2",
    "schedule.epochs=1",
]


def started(cases, output, *options, recipe="phantom-joint-p1-p3", changes=CHANGES):
    changes = [*changes, f"data.train={cases}", f"data.validation={cases}"]
    line = [sys.executable, "-m", "VirtualContrastTrainingLib", "train", recipe, "-o", str(output)]
    line += [part for change in changes for part in ("--set", change)]
    return subprocess.Popen(
        [*line, *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def end(process):
    """End a run that is still going. By SIGTERM, since the launcher then ends its workers, too."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=600)


def metrics_of(folder):
    """Logged value by (epoch, name)."""
    with (folder / "logs" / "version_0" / "metrics.csv").open() as stream:
        rows = [{name: value for name, value in row.items() if value} for row in csv.DictReader(stream)]
    return {(int(row["epoch"]), n): float(v) for row in rows for n, v in row.items() if n not in ("epoch", "step")}


def children_of(pid):
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in listed.stdout.split()]


def both_runs(folder, cases, **run):
    """Last checkpoint of a run in one process, and of the same in two; they may share the cores."""
    runs = {
        "one": started(cases, folder / "one", **run),
        "two": started(cases, folder / "two", "--devices", "2", **run),
    }
    try:
        for process in runs.values():
            output, _ = process.communicate(timeout=1200)
            assert process.returncode == 0, output
    finally:
        for process in runs.values():
            end(process)
    return [torch.load(folder / name / "checkpoints" / "last.ckpt", weights_only=True) for name in runs]


def mean_differences(one, two):
    """Mean absolute difference of each weight of two checkpoints; biases before a normalization hold only noise."""
    weights = [name for name in one["state_dict"] if name.endswith("weight")]
    return {name: (one["state_dict"][name] - two["state_dict"][name]).abs().mean().item() for name in weights}


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one(cases, tmp_path):
    one, two = both_runs(tmp_path, cases)
    assert one["global_step"] == two["global_step"] == 4 + 4 * 2
    # Adam turns rounding noise of small gradients into steps of full size (5e-4), hence the mean; without averaged
    # gradients it would be above 1e-3.
    differences = mean_differences(one, two)
    assert max(differences.values()) < 1.5e-4, differences
    logged = [metrics_of(tmp_path / name) for name in ("one", "two")]
    assert logged[0].keys() == logged[1].keys() >= {(0, "G_L1"), (1, "G_GAN"), (1, "val_mae")}
    for key, value in logged[0].items():
        assert logged[1][key] == pytest.approx(value, rel=1e-5 if key[0] == 0 else 1e-2), key
    assert (tmp_path / "two" / "model" / "weights.safetensors").is_file()


@pytest.mark.slow
def test_two_processes_train_the_cyclegan_of_one(tmp_path):
    for seed in range(2):
        write_phantom_pair(seed, tmp_path / "pairs" / f"pair_{seed}", (96, 64))
    run = {"recipe": "phantom-cem-cyclegan", "changes": CYCLE_CHANGES}
    one, two = both_runs(tmp_path, tmp_path / "pairs", **run)
    assert one["global_step"] == two["global_step"] == 2 * 2
    # Few steps: rounding noise grows tenfold with each of them. A step is as large as 5e-4.
    differences = mean_differences(one, two)
    assert {name.partition(".")[0] for name in differences} == {"to_high", "to_low", "judge_high", "judge_low"}
    assert max(differences.values()) < 5e-6, differences
    logged = [metrics_of(tmp_path / name) for name in ("one", "two")]
    assert logged[0].keys() == logged[1].keys() >= {(0, "G_cycle_low"), (0, "D_high"), (0, "val_mae")}
    for key, value in logged[0].items():
        assert logged[1][key] == pytest.approx(value, rel=1e-4), key
    assert (tmp_path / "two" / "model" / "weights.safetensors").is_file()


@pytest.mark.slow
def test_a_killed_process_ends_the_run_with_one_sentence_and_the_run_resumes(cases, tmp_path):
    long = ("--devices", "2", "--set", "schedule.constant_epochs=400")
    process = started(cases, tmp_path, *long)
    last = tmp_path / "checkpoints" / "last.ckpt"
    try:
        deadline = time.monotonic() + 1200
        while not (last.is_file() and torch.load(last, weights_only=True)["position"]["epoch"] >= 2):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        (launcher,) = children_of(process.pid)
        os.kill(children_of(launcher)[-1], signal.SIGKILL)
        output, _ = process.communicate(timeout=1200)
    finally:
        end(process)
    assert process.returncode == 1, output
    sentence = output.strip().splitlines()[-1]
    assert sentence.startswith("Error: One of the 2 training processes failed or was killed")
    assert "--resume" in sentence
    epoch = torch.load(last, weights_only=True)["position"]["epoch"]
    again = started(cases, tmp_path, "--devices", "2", "--resume", "--set", f"schedule.constant_epochs={epoch + 1}")
    output, _ = again.communicate(timeout=1200)
    assert again.returncode == 0, output
    assert torch.load(last, weights_only=True)["position"] == {"epoch": epoch + 1, "batch": 0}


def test_processes_share_each_batch_of_one_process():
    one = list(EpochBatches(11, 4, shuffle_seed=3))
    parts = [list(EpochBatches(11, 4, shuffle_seed=3, rank=rank, world_size=2)) for rank in range(2)]
    assert [len(batch) for batch in one] == [4, 4]  # the incomplete batch is dropped, as the published loader does
    for whole, first, second in zip(one, *parts, strict=True):
        assert len(first) == len(second) == 2
        assert sorted(first + second) == sorted(whole)


def test_epochs_are_shuffled_anew_and_can_be_entered_at_any_batch():
    batches = EpochBatches(12, 4, shuffle_seed=3)
    first = list(batches)
    batches.epoch, batches.first_batch = 1, 0
    second = list(batches)
    assert sorted(item for batch in second for _, item in batch) == list(range(12))
    assert [item for batch in first for _, item in batch] != [item for batch in second for _, item in batch]
    batches.first_batch = 2
    assert list(batches) == second[2:]
    assert len(batches) == 3


def test_a_batch_that_cannot_be_shared_equally_is_refused():
    with pytest.raises(InputError, match="multiple of 2"):
        EpochBatches(10, 1, rank=0, world_size=2)
    with pytest.raises(InputError, match="fewer than a batch"):
        EpochBatches(3, 4, shuffle_seed=1)


def test_more_hosts_need_a_launcher(monkeypatch):
    for name in ("WORLD_SIZE", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    assert not needs_launch(1, 1)
    assert needs_launch(2, 1)
    with pytest.raises(InputError, match="torchrun or srun"):
        needs_launch(1, 2)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert not needs_launch(2, 2)
