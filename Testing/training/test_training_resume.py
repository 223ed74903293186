"""Exact resume, diverging losses, full disks: whatever ends a run, its last checkpoint leads to the same bits."""

import os
import resource
import signal
import subprocess
import sys

import pytest
import torch
from VirtualContrastLib.events import CancelledError
from VirtualContrastTrainingLib.systems.pix2pixhd import trainer
from VirtualContrastTrainingLib.systems.pix2pixhd.trainer import Pix2PixHDTrainer
from VirtualContrastTrainingLib.systems.recipes import load_recipe
from VirtualContrastTrainingLib.systems.registry import train
from VirtualContrastTrainingLib.training.base import RunOptions
from VirtualContrastTrainingLib.training.checkpoints import AtomicCheckpointIO, DiskFullError, DivergedError
from VirtualContrastTrainingLib.training.smoke import smoke_cases

# 8 batches an epoch, a checkpoint after every third; one epoch of L1 alone, one constant, one with a lower rate.
CHANGES = [
    "generator.ngf=4",
    "generator.n_blocks_global=1",
    "discriminator.ndf=4",
    "discriminator.n_layers_D=2",
    "schedule.batch_size=2",
    "schedule.slices_per_epoch=16",
    "schedule.constant_epochs=1",
    "schedule.decay_epochs=2",
    "losses.l1_only_epochs=1",
    "losses.pool_size=3",
    "checkpoints.every_steps=3",
    "precision=32-true",
]


@pytest.fixture(scope="module")
def changes(tmp_path_factory):
    cases = smoke_cases(tmp_path_factory.mktemp("cases"), 2)
    return [*CHANGES, f"data.train={cases}", f"data.validation={cases}"]


def recipe_of(changes):
    return load_recipe("phantom-joint-p1-p3", changes)


@pytest.fixture(scope="module")
def unbroken(changes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    train(recipe_of(changes), folder)
    return checkpoint_of(folder)


def checkpoint_of(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def assert_same_bits(first, second):
    assert first["state_dict"].keys() == second["state_dict"].keys()
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name
    for one, other in zip(first["optimizer_states"], second["optimizer_states"], strict=True):
        assert one["param_groups"] == other["param_groups"]
        assert one["state"].keys() == other["state"].keys()
        for parameter, state in one["state"].items():
            assert all(torch.equal(value, other["state"][parameter][key]) for key, value in state.items())
    assert all(torch.equal(a, b) for a, b in zip(first["image_pool"], second["image_pool"], strict=True))
    assert first["global_step"] == second["global_step"]
    assert first["position"] == second["position"]


class BrokenError(Exception):
    """What ends the run in these tests."""


def break_at(monkeypatch, hook, epoch, batch):
    original = getattr(Pix2PixHDTrainer, hook)

    def breaking(self, data, batch_idx):
        result = original(self, data, batch_idx)
        if (self.current_epoch, batch_idx) == (epoch, batch):
            raise BrokenError
        return result

    monkeypatch.setattr(Pix2PixHDTrainer, hook, breaking)


@pytest.mark.parametrize(
    ("hook", "epoch", "batch"),
    [
        ("training_step", 0, 1),  # before any checkpoint but that of the start
        ("training_step", 0, 4),
        ("training_step", 1, 0),  # right after the end of an epoch
        ("training_step", 1, 6),  # right after a step checkpoint
        ("validation_step", 1, 2),
        ("training_step", 2, 7),  # the last step of all
    ],
)
def test_a_run_broken_anywhere_and_resumed_ends_bit_identical(
    changes, unbroken, tmp_path, monkeypatch, hook, epoch, batch
):
    recipe = recipe_of(changes)
    with monkeypatch.context() as patch, pytest.raises(BrokenError):
        break_at(patch, hook, epoch, batch)
        train(recipe, tmp_path)
    train(recipe, tmp_path, RunOptions(resume=True))
    assert_same_bits(checkpoint_of(tmp_path), unbroken)


def test_a_run_broken_twice_still_ends_bit_identical(changes, unbroken, tmp_path, monkeypatch):
    recipe = recipe_of(changes)
    for place, resume in (((1, 4), False), ((1, 7), True)):
        with monkeypatch.context() as patch, pytest.raises(BrokenError):
            break_at(patch, "training_step", *place)
            train(recipe, tmp_path, RunOptions(resume=resume))
    train(recipe, tmp_path, RunOptions(resume=True))
    assert_same_bits(checkpoint_of(tmp_path), unbroken)


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from VirtualContrastTrainingLib.systems.recipes import load_recipe
from VirtualContrastTrainingLib.systems.pix2pixhd.trainer import Pix2PixHDTrainer
from VirtualContrastTrainingLib.systems.registry import train
original = Pix2PixHDTrainer.training_step
def killing(self, batch, batch_idx):
    original(self, batch, batch_idx)
    if (self.current_epoch, batch_idx) == (1, 4):
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
Pix2PixHDTrainer.training_step = killing
train(load_recipe("phantom-joint-p1-p3", sys.argv[3:]), Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_killed_process_leaves_a_checkpoint_that_resumes_bit_identical(changes, unbroken, tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", KILLED, "SIGKILL", str(tmp_path), *changes],
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    assert checkpoint_of(tmp_path)["position"] == {"epoch": 1, "batch": 3}
    train(recipe_of(changes), tmp_path, RunOptions(resume=True))
    assert_same_bits(checkpoint_of(tmp_path), unbroken)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_asked_to_end_says_how_to_go_on(changes, unbroken, tmp_path, monkeypatch, number):
    original = Pix2PixHDTrainer.training_step

    def asking(self, data, batch_idx):
        if (self.current_epoch, batch_idx) == (1, 4):
            os.kill(os.getpid(), number)
        return original(self, data, batch_idx)

    recipe = recipe_of(changes)
    # A shell starts what it runs in the background with SIGINT ignored, and Lightning leaves it ignored.
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {asked: signal.signal(asked, handler) for asked, handler in usual.items()}
    try:
        with monkeypatch.context() as patch, pytest.raises(CancelledError, match="--resume"):
            patch.setattr(Pix2PixHDTrainer, "training_step", asking)
            train(recipe, tmp_path)
    finally:
        for asked, handler in before.items():
            signal.signal(asked, handler)
    # A polite request still gets a checkpoint of the very step; an interrupt keeps the one before.
    assert checkpoint_of(tmp_path)["position"] == {"epoch": 1, "batch": 5 if number == signal.SIGTERM else 3}
    train(recipe, tmp_path, RunOptions(resume=True))
    assert_same_bits(checkpoint_of(tmp_path), unbroken)


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(changes, tmp_path, monkeypatch):
    original = trainer.slice_sets

    def spoiled(*arguments):
        train_set, validation_set = original(*arguments)
        item = train_set.__getitem__

        class Spoiled(type(train_set)):
            def __getitem__(self, place):
                sample = item(place)
                return {**sample, "target": sample["target"] * float("nan")} if place == (1, 9) else sample

        train_set.__class__ = Spoiled
        return train_set, validation_set

    with (
        monkeypatch.context() as patch,
        pytest.raises(DivergedError, match=r"not finite.*last\.ckpt is kept.*--resume"),
    ):
        patch.setattr(trainer, "slice_sets", spoiled)
        train(recipe_of(changes), tmp_path)
    kept = checkpoint_of(tmp_path)
    assert kept["position"] == {"epoch": 1, "batch": 3}  # item 9 is in batch 4
    assert all(torch.isfinite(tensor).all() for tensor in kept["state_dict"].values())
    assert not (tmp_path / "model").exists()


def test_weights_that_are_not_finite_never_replace_a_checkpoint(changes, tmp_path, monkeypatch):
    original = Pix2PixHDTrainer.training_step

    def spoiling(self, data, batch_idx):
        original(self, data, batch_idx)
        if (self.current_epoch, batch_idx) == (1, 2):
            with torch.no_grad():
                next(self.discriminator.parameters()).fill_(float("inf"))

    with monkeypatch.context() as patch, pytest.raises(DivergedError, match=r"weights discriminator.*is kept"):
        patch.setattr(Pix2PixHDTrainer, "training_step", spoiling)
        train(recipe_of(changes), tmp_path)
    assert checkpoint_of(tmp_path)["position"] == {"epoch": 1, "batch": 0}


def test_a_full_disk_is_one_sentence_and_keeps_the_old_checkpoint(tmp_path):
    target = tmp_path / "last.ckpt"
    writer = AtomicCheckpointIO()
    writer.save_checkpoint({"weights": torch.ones(3)}, target)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(DiskFullError, match="the checkpoint before it is kept"):
            writer.save_checkpoint({"weights": torch.ones(1_000_000)}, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert torch.equal(torch.load(target, weights_only=True)["weights"], torch.ones(3))
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
