"""A run watched and stopped through files, and the pictures it makes: none of it changes what is trained."""

import csv
import json
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from test_training_resume import CHANGES, assert_same_bits, checkpoint_of, recipe_of
from VirtualContrastLib.events import CancelledError
from VirtualContrastTrainingLib.systems.pix2pixhd.trainer import Pix2PixHDTrainer
from VirtualContrastTrainingLib.systems.recipes import load_recipe
from VirtualContrastTrainingLib.systems.registry import train
from VirtualContrastTrainingLib.training import base, samples
from VirtualContrastTrainingLib.training import progress as watching
from VirtualContrastTrainingLib.training.base import RunOptions
from VirtualContrastTrainingLib.training.run_files import STOP, Progress
from VirtualContrastTrainingLib.training.samples import Sample, SampleImages, picture_of
from VirtualContrastTrainingLib.training.slice_sets import slice_sets
from VirtualContrastTrainingLib.training.smoke import smoke_cases


@pytest.fixture(scope="module")
def changes(tmp_path_factory):
    cases = smoke_cases(tmp_path_factory.mktemp("cases"), 2)
    return [*CHANGES, f"data.train={cases}", f"data.validation={cases}"]


class NoCallback(samples.L.Callback):
    def __init__(self, *_arguments):
        pass


@pytest.fixture(scope="module")
def unwatched(changes, tmp_path_factory):
    """The checkpoint of a run without pictures and without a watcher."""
    folder = tmp_path_factory.mktemp("unwatched")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "SampleImages", NoCallback)
        patch.setattr(base, "Watched", NoCallback)
        train(recipe_of(changes), folder)
    assert not (folder / "samples").exists()
    return checkpoint_of(folder)


@pytest.fixture(scope="module")
def watched(changes, tmp_path_factory):
    """A run into a folder with an old stop file: its folder, what progress it told, and whether pictures changed it."""
    folder, told, changed = tmp_path_factory.mktemp("watched"), [], []
    original = SampleImages.on_validation_epoch_end

    def state(module):
        random_state = torch.get_rng_state().numpy().tobytes(), repr(np.random.get_state()), repr(random.getstate())
        return *random_state, [part.training for part in module.modules()]

    def spied(self, trainer, module):
        before = state(module)
        original(self, trainer, module)
        changed.append(before != state(module) or module.training)

    (folder / STOP).touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SampleImages, "on_validation_epoch_end", spied)
        patch.setattr(Progress, "write", lambda self, run: told.append((run, self)))
        patch.setattr(watching, "_LOOK_EVERY_S", 0.0)
        train(recipe_of(changes), folder)
    return folder, told, changed


# ---- stop and progress --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epoch", "batch", "position"),
    [
        (1, 4, {"epoch": 1, "batch": 5}),  # in the middle of an epoch
        (0, 7, {"epoch": 1, "batch": 0}),  # after the last step of an epoch, whose end comes first
        (2, 6, {"epoch": 2, "batch": 7}),
    ],
)
def test_a_run_stopped_by_a_file_goes_on_to_the_same_bits(
    changes, unwatched, tmp_path, monkeypatch, epoch, batch, position
):
    original = Pix2PixHDTrainer.training_step

    def asking(self, data, batch_idx):
        if (self.current_epoch, batch_idx) == (epoch, batch):
            (tmp_path / STOP).touch()
        return original(self, data, batch_idx)

    monkeypatch.setattr(watching, "_LOOK_EVERY_S", 0.0)
    with monkeypatch.context() as patch, pytest.raises(CancelledError, match=r"Stopped.*--resume"):
        patch.setattr(Pix2PixHDTrainer, "training_step", asking)
        train(recipe_of(changes), tmp_path)
    assert checkpoint_of(tmp_path)["position"] == position
    assert not (tmp_path / STOP).exists()
    assert not (tmp_path / "model").exists()
    train(recipe_of(changes), tmp_path, RunOptions(resume=True))
    assert_same_bits(checkpoint_of(tmp_path), unwatched)
    assert len(list((tmp_path / "samples").glob("*.png"))) == 3


def test_a_stop_left_from_an_earlier_start_does_not_count(watched):
    assert (watched[0] / "model" / "model.json").is_file()
    assert not (watched[0] / STOP).exists()


def test_progress_is_told_step_by_step(watched):
    folder, told, _ = watched
    assert {run for run, _ in told} == {folder}
    places = [(progress.epoch, progress.step) for _, progress in told]
    assert places == [(1, 0), *((epoch, step) for epoch in (1, 2, 3) for step in range(1, 9))]
    last = told[-1][1]
    assert (last.stage, last.epochs, last.steps, last.left_s, last.device) == ("", 3, 8, 0.0, "cpu")
    fractions = [progress.fraction for _, progress in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert told[4][1].left_s > 0


def test_stages_tell_in_one_place_and_a_stop_in_the_last_step_of_one_keeps_the_next_from_starting(
    tmp_path, monkeypatch
):
    original, told = Progress.write, []

    def asking(self, run):
        original(self, run)
        told.append((run, self.stage))
        if self.stage and self.fraction == 1:
            (run / STOP).touch()

    monkeypatch.setattr(Progress, "write", asking)
    with pytest.raises(CancelledError, match=r"warm_up.*--resume"):
        train(load_recipe("phantom-iter-unet"), tmp_path, smoke=True)
    assert {run for run, _ in told} == {tmp_path}
    assert {stage for _, stage in told} == {"warm_up"}
    assert not (tmp_path / "checkpoints").exists()
    assert not (tmp_path / STOP).exists()
    told.clear()
    train(load_recipe("phantom-iter-unet"), tmp_path, RunOptions(resume=True), smoke=True)
    assert set(told) == {(tmp_path, "")}
    assert (tmp_path / "model" / "model.json").is_file()
    for stage in ("warm_up", "."):
        assert (tmp_path / stage / "samples" / "epoch_0001.png").is_file()


@pytest.mark.slow
def test_two_processes_stop_after_the_same_step_and_go_on(changes, tmp_path):
    """Whichever of them sees the file; the resumed run logs every epoch."""
    two = [c for c in changes if "pool_size" not in c]
    line = [sys.executable, "-m", "VirtualContrastTrainingLib", "train", "phantom-joint-p1-p3", "-o", str(tmp_path)]
    line += [part for change in [*two, "schedule.decay_epochs=7"] for part in ("--set", change)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen([*line, "--devices", "2"], env=environment, stderr=subprocess.PIPE, text=True)
    while (Progress.read(tmp_path) or Progress("", 0, 0, 0, 0)).epoch < 2:
        assert run.poll() is None
        time.sleep(0.1)
    (tmp_path / STOP).touch()
    _, errors = run.communicate(timeout=600)
    assert run.returncode != 0
    assert errors.count("Error: Stopped; the checkpoint") == 2
    assert not (tmp_path / STOP).exists()
    place = checkpoint_of(tmp_path)["position"]
    assert 1 <= place["epoch"] < 8
    done = subprocess.run([*line, "--devices", "2", "--resume"], env=environment, capture_output=True, check=False)
    assert done.returncode == 0
    epochs = set()
    for path in tmp_path.glob("logs/version_*/metrics.csv"):
        epochs |= {int(row["epoch"]) for row in csv.DictReader(path.open())}
    assert epochs == set(range(8))


# ---- pictures -----------------------------------------------------------------------------------------------------


def test_pictures_draw_no_random_numbers_and_leave_the_mode_alone(watched):
    assert watched[2] == [False, False, False]


def test_the_watched_run_ends_with_the_bits_of_the_unwatched(watched, unwatched):
    assert_same_bits(checkpoint_of(watched[0]), unwatched)


def test_the_picture_is_of_the_first_held_out_slice_with_a_lesion_and_always_the_same(changes, watched):
    recipe = recipe_of(changes)
    _, held_out = slice_sets(recipe, recipe.schedule.slices_per_epoch)
    item = next(item for item in map(held_out.__getitem__, range(96)) if item["lesions"].any())
    pictures = [np.asarray(Image.open(path)) for path in sorted((watched[0] / "samples").glob("*.png"))]
    third = (pictures[0].shape[1] - 2 * 4) // 3
    for picture in pictures[1:]:  # source and target stay, the output changes
        assert np.array_equal(picture[:, :third], pictures[0][:, :third])
        assert np.array_equal(picture[:, -third:], pictures[0][:, -third:])
        assert not np.array_equal(picture, pictures[0])
    target = item["target"][0].numpy()
    low, high = np.percentile(item["target"].numpy(), [0.5, 99.5])
    expected = np.round(255 * np.clip((target - low) / (high - low), 0, 1))
    factor = third // target.shape[1]
    bar = samples.bar_height(third)
    shown = pictures[0][bar : bar + factor * target.shape[0] : factor, -third::factor]
    assert np.abs(shown.astype(float) - expected).max() <= 1


def test_output_and_target_share_the_targets_window():
    target = torch.linspace(0, 1, 200 * 200).reshape(1, 200, 200)
    sample = Sample(torch.zeros(1, 200, 200), target * 2, target, ["x"], same_scale=False)
    picture = picture_of(sample)
    made, wanted = picture[25:225, 204:404], picture[25:225, 408:608]
    assert picture.shape == (229, 608)
    assert (wanted[0, 0], wanted[-1, -1]) == (0, 255)
    assert (made[99:] >= 254).all()  # everything above the target's brightest value
    assert made[50, 0] == pytest.approx(2 * float(wanted[50, 0]), abs=3)


def test_a_picture_of_values_that_are_not_finite_is_still_a_picture():
    nan = torch.full((1, 8, 8), float("nan"))
    picture = picture_of(Sample(nan, nan, torch.zeros(1, 8, 8), ["x"]))
    assert picture.dtype == np.uint8


def test_progress_in_a_file_is_whole_or_not_there(tmp_path):
    Progress("warm_up", 2, 4, 3, 10, None, "cpu").write(tmp_path)
    assert json.loads((tmp_path / "progress.json").read_text())["stage"] == "warm_up"
    assert Progress.read(tmp_path).fraction == pytest.approx(1.3 / 4)
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]
    Progress("", 1, 1, 1, 1).write(tmp_path / "gone")  # a folder that was deleted ends no training
