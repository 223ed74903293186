"""A real nnU-Net experiment of seconds on small phantoms, end to end, stopped and gone on with."""

import csv
import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from segment_samples import TINY, command, rewrite, write_cases
from VirtualContrastLib.events import InputError
from VirtualContrastLib.lesions.nnunet import LesionNet
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.models.safe_torch_load import load_nnunet
from VirtualContrastTrainingLib.papers.scenarios import load_experiment
from VirtualContrastTrainingLib.systems.nnunet import folds
from VirtualContrastTrainingLib.training.checkpoints import DivergedError

pytest.importorskip("nnunetv2")
pytestmark = pytest.mark.slow
SCENARIO = "pre+post"
RESULTS = "nnunet/results/Dataset501_Lesions/nnUNetTrainer__nnUNetPlans__3d_fullres"


def settings(*extra):
    return [word for value in (*TINY, *extra) for word in ("--set", value)]


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Four training cases, one of them without a lesion mask beside them, and a test case."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("segment")
    write_cases(folder / "train", range(5))
    write_cases(folder / "test", [5])
    rewrite(folder / "train" / "case_4" / "lesions.nrrd", np.zeros_like)
    shutil.copytree(folder / "test-results", folder / "train-results", dirs_exist_ok=True)
    return folder


def prepare(cases, *extra, scenario=SCENARIO):
    arguments = [cases / "train", "--test", cases / "test", "--synthetic", cases / "train-results", "--folds", 2]
    arguments += ["-o", cases / "out", "--recipe", "phantom-lesion-nnunet", "--scenarios", scenario]
    return command("prepare", *arguments, *settings("epochs=3", *extra))


@pytest.fixture(scope="module")
def prepared(cases):
    """The prepared experiment."""
    assert prepare(cases) == 4  # one case has no lesion
    return cases / "out"


def losses(checkpoint):
    return load_nnunet(checkpoint)["logging"]["train_losses"]


def test_prepare_lists_the_broken_case_and_plans_for_half_volumes(prepared):
    experiment = load_experiment(prepared)
    assert list(experiment.failed) == ["case_4"] and "mask is empty" in experiment.failed["case_4"]
    assert sorted(c for fold in experiment.folds for c in fold) == [f"case_{n}" for n in range(4)]
    preprocessed = prepared / "scenarios" / SCENARIO / "nnunet" / "preprocessed" / "Dataset501_Lesions"
    plans = json.loads((preprocessed / "nnUNetPlans.json").read_text())
    assert plans["original_median_spacing_after_transp"] == [15.0, 4.0, 4.0]
    assert plans["original_median_shape_after_transp"][2] <= 32
    names = {path.stem for path in (preprocessed / "nnUNetPlans_3d_fullres").glob("*.pkl")}
    assert names == {f"case_{n}_{domain}" for n in range(4) for domain in ("pre", "post")}


def test_a_fold_that_was_stopped_goes_on_where_it_was(prepared):
    fold = prepared / "scenarios" / SCENARIO / RESULTS / "fold_0"
    assert command("train", prepared, SCENARIO, "--fold", "0", "--max-minutes", "1e-4") == 0
    before = losses(fold / "checkpoint_latest.pth")
    assert len(before) == 1 and not (fold / "checkpoint_final.pth").exists()
    with pytest.raises(InputError, match="No fold of"):
        command("predict", prepared)
    assert command("train", prepared) == 0
    after = losses(fold / "checkpoint_final.pth")
    assert len(after) == 3 and after[0] == before[0]
    written = (fold / "checkpoint_final.pth").stat().st_mtime_ns
    assert command("train", prepared) == 0
    assert (fold / "checkpoint_final.pth").stat().st_mtime_ns == written
    with pytest.raises(InputError, match="no fold 2"):
        command("train", prepared, SCENARIO, "--fold", "2")


def test_the_folds_are_one_package_whose_predictions_make_the_table(prepared, capsys):
    assert command("predict", prepared) == 0
    package = load_package(prepared / "scenarios" / SCENARIO / "model")
    config = package.card.architecture.config
    assert config["folds"] == [0, 1] and config["mirroring"] and config["minimum_volume_mm3"] == 0
    assert package.card.trained_on_phantoms and package.card.training["scenario"] == SCENARIO
    for domain in ("pre", "post", "synthetic"):
        image = sitk.ReadImage(str(prepared / "cases" / "case_5" / f"{domain}.nii.gz"))
        found = LesionNet(package).segment({0: image, 1: image})
        kept = sitk.ReadImage(str(prepared / "predictions" / SCENARIO / domain / "case_5.nii.gz"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(kept), sitk.GetArrayFromImage(found))
    capsys.readouterr()
    assert command("table", prepared, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(prepared / "cases" / "case_5" / "lesions.nii.gz"))) > 0
    mask = sitk.GetArrayFromImage(kept) > 0
    dice = 2 * (truth & mask).sum() / (truth.sum() + mask.sum())
    assert result["scenarios"][SCENARIO]["synthetic"]["dice"]["mean"] == pytest.approx(dice)
    (row,) = csv.DictReader((prepared / "table" / "osuala2025-table3.csv").open())
    assert float(row["Dice on synthetic mean"]) == pytest.approx(dice)


def test_other_settings_do_not_replace_trained_networks(cases, prepared):
    assert prepare(cases) == 4
    with pytest.raises(InputError, match="trained on other cases or by another recipe"):
        prepare(cases, "base_features=6")


def test_a_scenario_can_be_added_and_the_table_says_that_it_waits(cases, prepared, capsys):
    assert prepare(cases, scenario="post") == 4
    assert load_experiment(prepared).scenarios == ("post", SCENARIO)
    capsys.readouterr()
    assert command("table", prepared) == 0
    assert "Not predicted yet: post." in capsys.readouterr().out


def test_a_loss_that_is_not_finite_ends_the_fold_before_its_weights_are_saved(prepared, tmp_path, monkeypatch):
    shutil.copytree(prepared / "scenarios" / SCENARIO / "nnunet", tmp_path / "nnunet")
    shutil.rmtree(tmp_path / "nnunet" / "results")
    recipe = load_experiment(prepared).recipe()
    build = folds._trainer

    def with_broken_loss(*arguments, **options):
        trainer = build(*arguments, **options)
        loss = trainer.loss
        trainer.loss = lambda *a: loss(*a) * float("nan")
        return trainer

    monkeypatch.setattr(folds, "_trainer", with_broken_loss)
    with pytest.raises(DivergedError, match="not finite at epoch 1"):
        folds.train_fold(recipe, tmp_path / "nnunet", 0)
    assert not list((tmp_path / "nnunet" / "results").rglob("*.pth"))


def test_a_checkpoint_that_holds_code_is_not_loaded(prepared, tmp_path):
    shutil.copytree(prepared / "scenarios" / SCENARIO / "nnunet", tmp_path / "nnunet")
    fold = tmp_path / RESULTS / "fold_0"
    (fold / "checkpoint_final.pth").unlink()
    torch.save({"network_weights": {}, "trainer_name": print, "init_args": {}}, fold / "checkpoint_latest.pth")
    with pytest.raises(InputError, match="checkpoint_latest"):
        folds.train_fold(load_experiment(prepared).recipe(), tmp_path / "nnunet", 0)
