"""The nnU-Net trainer: half precision, and a run of seconds on small phantoms that is stopped and gone on with."""

import dataclasses

import pytest
import torch
from segment_samples import write_cases
from VirtualContrastLib.events import CancelledError, InputError
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.models.safe_torch_load import load_nnunet
from VirtualContrastTrainingLib.systems.nnunet.folds import half_precision
from VirtualContrastTrainingLib.systems.recipes import load_recipe
from VirtualContrastTrainingLib.systems.registry import train
from VirtualContrastTrainingLib.training.base import RunOptions
from VirtualContrastTrainingLib.training.run_files import STOP, Progress

RESULTS = "nnunet/results/Dataset501_Lesions/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0"


def test_weights_that_change_within_a_half_precision_run_are_used():
    layer = torch.nn.Linear(1, 1, bias=False)
    one = torch.ones(1, 1)
    with half_precision(True):
        layer.weight.data.fill_(1.0)
        before = layer(one)
        layer.weight.data.fill_(3.0)
        after = layer(one)
    assert before.dtype == torch.bfloat16
    assert (before.item(), after.item()) == (1.0, 3.0)


def test_several_processes_and_a_missing_run_are_told_in_a_sentence(tmp_path):
    recipe = load_recipe("phantom-lesion-nnunet")
    with pytest.raises(InputError, match="one process"):
        train(recipe, tmp_path / "run", RunOptions(devices=2))
    with pytest.raises(InputError, match="no nnU-Net run to resume"):
        train(recipe, tmp_path / "run", RunOptions(resume=True))


@pytest.mark.slow
def test_a_stopped_run_is_exported_resumed_and_watched(tmp_path, monkeypatch):
    pytest.importorskip("nnunetv2")
    torch.set_num_threads(1)
    folder = write_cases(tmp_path / "cases", range(2))
    small = [f"data.train={folder}", f"data.validation={folder}", "data.images=[real]", "data.synthesis_model=null"]
    small += ["base_features=4", "max_features=8", "memory_gb=0.2", "epochs=3", "iterations_per_epoch=2"]
    recipe = load_recipe("phantom-lesion-nnunet", small)
    run = tmp_path / "run"
    package = load_package(train(recipe, run, RunOptions(max_minutes=0)))
    assert package.card.architecture.config["folds"] == [0] and package.card.inputs.channels == ["pre", "subtraction_1"]
    first = load_nnunet(run / RESULTS / "checkpoint_latest.pth")["logging"]["train_losses"]
    assert len(first) == 1 and Progress.read(run).fraction == pytest.approx(1 / 3)
    with pytest.raises(InputError, match="already holds a run; give --resume"):
        train(recipe, run, RunOptions())
    with monkeypatch.context() as patch:  # somebody asks to stop while the second epoch runs
        write = Progress.write

        def written(progress, place):
            (place / STOP).touch()
            write(progress, place)

        patch.setattr(Progress, "write", written)
        with pytest.raises(CancelledError, match="continue from it with --resume"):
            train(recipe, run, RunOptions(resume=True))
    assert len(load_nnunet(run / RESULTS / "checkpoint_latest.pth")["logging"]["train_losses"]) == 2
    before = package.load_state()
    after = load_package(train(recipe, run, RunOptions(resume=True))).load_state()
    final = load_nnunet(run / RESULTS / "checkpoint_final.pth")
    losses = final["logging"]["train_losses"]
    assert len(losses) == 3 and losses[0] == first[0]
    assert Progress.read(run).fraction == 1 and not (run / STOP).exists()
    assert any(not torch.equal(before[key], after[key]) for key in before)
    key = next(iter(after)).removeprefix("fold_0.")
    assert torch.equal(after[f"fold_0.{key}"], final["network_weights"][key])


@pytest.mark.slow
def test_a_half_written_data_set_is_written_anew(tmp_path):
    pytest.importorskip("nnunetv2")
    torch.set_num_threads(1)
    recipe = load_recipe("phantom-lesion-nnunet", ["epochs=1"])
    raw = tmp_path / "run" / "nnunet" / "raw" / "Dataset501_Lesions" / "imagesTr"
    raw.mkdir(parents=True)
    (raw / "left_over_0000.nii.gz").touch()
    package = train(recipe, tmp_path / "run", dataclasses.replace(RunOptions(), resume=True), smoke=True)
    assert load_package(package).card.trained_on_phantoms
    assert not (raw / "left_over_0000.nii.gz").exists()
