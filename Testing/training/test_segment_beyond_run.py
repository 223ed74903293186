"""Several channels, a ratio of synthetic images, pretraining and bilateral cases with a real nnU-Net of seconds."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from segment_samples import TINY, command, rewrite, write_cases
from VirtualContrastLib.cli.main import main as engine
from VirtualContrastLib.events import InputError
from VirtualContrastLib.lesions.nnunet import LesionNet
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.models.safe_torch_load import load_nnunet
from VirtualContrastLib.synthesis.breast_region import find_breasts
from VirtualContrastTrainingLib.data.segmentation_cases import read_halves
from VirtualContrastTrainingLib.papers.scenarios import load_experiment
from VirtualContrastTrainingLib.systems.nnunet import folds

pytest.importorskip("nnunetv2")
pytestmark = pytest.mark.slow
MIXED, PRETRAINED = "real+synthetic@0.5", "synthetic-then-real"
PREPROCESSED = "nnunet/preprocessed/Dataset501_Lesions"
RESULTS = "nnunet/results/Dataset501_Lesions/nnUNetTrainer__nnUNetPlans__3d_fullres"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Four training cases and two test cases, one of them with a lesion in either breast."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("segment")
    train, test = write_cases(folder / "train", range(4)), write_cases(folder / "test", [5, 6])
    for case in sorted((folder / "test-results").iterdir()):
        case.rename(folder / "train-results" / case.name)
    rewrite(test / "case_6" / "lesions.nrrd", lambda mask: (mask > 0).astype("uint8") | (mask[..., ::-1] > 0))
    words = [train, "--test", test, "--synthetic", folder / "train-results", "--folds", 2, "-o", folder / "out"]
    words += ["--recipe", "phantom-lesion-nnunet", "--channels", "pre", "subtraction_1", "--keep-multifocal"]
    words += ["--scenarios", MIXED, PRETRAINED]
    settings = [word for value in (*TINY, "epochs=1") for word in ("--set", value)]
    assert command("prepare", *words, *settings) == 0
    return folder / "out"


def test_the_scenario_to_be_pretrained_on_is_prepared_with_the_same_plans(prepared):
    experiment = load_experiment(prepared)
    assert experiment.scenarios == ("synthetic", MIXED, PRETRAINED)
    assert (experiment.test, experiment.apart) == (["case_5"], {"multifocal": [], "bilateral": ["case_6"]})
    first, second = (
        (prepared / "scenarios" / name / PREPROCESSED / "nnUNetPlans.json").read_bytes()
        for name in ("synthetic", PRETRAINED)
    )
    assert first == second
    split = json.loads((prepared / "scenarios" / MIXED / PREPROCESSED / "splits_final.json").read_text())[0]
    assert [sum(name.endswith(domain) for name in split["train"]) for domain in ("real", "synthetic")] == [2, 1]


def test_fine_tuning_starts_from_the_network_of_the_same_fold(prepared, monkeypatch):
    with pytest.raises(InputError, match=r"Fold 1 of synthetic.*'segment train .* synthetic --fold 1' first"):
        command("train", prepared, PRETRAINED, "--fold", 1)
    assert command("train", prepared, "synthetic") == 0
    starts = []
    watch = folds._watch_epochs

    def remembered(trainer, *arguments):
        starts.append({key: value.clone() for key, value in trainer.network.state_dict().items()})
        watch(trainer, *arguments)

    monkeypatch.setattr(folds, "_watch_epochs", remembered)
    assert command("train", prepared, PRETRAINED) == 0
    for fold, start in enumerate(starts):
        place = prepared / "scenarios" / "synthetic" / RESULTS / f"fold_{fold}"
        trained = load_nnunet(place / "checkpoint_final.pth")["network_weights"]
        same = {key for key in start if torch.equal(start[key], trained[key])}
        # As nnU-Net's: all but the layers that make the segmentation.
        assert {key for key in start if ".seg_layers." in key} - same
        assert {key for key in start if ".seg_layers." not in key} <= same
    assert len(starts) == 2
    made = prepared / "scenarios" / PRETRAINED / RESULTS / "fold_0" / "checkpoint_final.pth"
    assert not torch.equal(load_nnunet(made)["network_weights"][key := next(iter(starts[0]))], starts[0][key])


def test_test_cases_are_predicted_from_the_channels_that_were_trained_on(prepared):
    assert command("train", prepared, MIXED) == 0 and command("predict", prepared) == 0
    package = load_package(prepared / "scenarios" / PRETRAINED / "model")
    assert package.card.inputs.channels == ["pre", "subtraction_1"] and package.card.inputs.phases == [0, 1]
    assert package.card.training["scenario"] == PRETRAINED and "after synthetic images" in package.card.title
    net = LesionNet(package)
    for domain in ("real", "synthetic"):
        for case in ("case_5", "case_6"):
            place = prepared / "cases" / case
            files = {0: place / "pre.nii.gz", 1: place / f"{domain}_phase_1.nii.gz"}
            phases = {number: sitk.ReadImage(str(path)) for number, path in files.items()}
            trained = sitk.GetArrayFromImage(sitk.ReadImage(str(place / f"{domain}_subtraction_1.nii.gz")))
            np.testing.assert_array_equal(net._channel("subtraction_1", phases), trained)
            halves = read_halves(place)
            assert len(halves) == {"case_5": 1, "case_6": 2}[case]
            kept = sitk.ReadImage(str(prepared / "predictions" / PRETRAINED / domain / f"{case}.nii.gz"))
            assert kept.GetSize() == phases[0].GetSize()
            for half in halves if len(halves) == 2 else [None]:
                seen = phases if half is None else {n: half.crop(image) for n, image in phases.items()}
                part = kept if half is None else half.crop(kept)
                found = sitk.GetArrayFromImage(net.segment(seen)) > 0
                np.testing.assert_array_equal(sitk.GetArrayFromImage(part) > 0, found)


def test_the_table_counts_the_bilateral_case_apart(prepared, capsys):
    capsys.readouterr()
    assert command("table", prepared, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    groups = {(row["trained on"], row["tested on"], row["lesions"]): row for row in result["by_focality"]}
    assert len(groups) == 3 * 2 * 3 and not result["by_scenario"]
    kept, truth = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(path))) > 0
        for path in (
            prepared / "predictions" / MIXED / "synthetic" / "case_6.nii.gz",
            prepared / "cases" / "case_6" / "lesions.nii.gz",
        )
    )
    dice = 2 * (kept & truth).sum() / (kept.sum() + truth.sum())
    bilateral = groups[MIXED, "synthetic", "bilateral"]
    assert bilateral["cases"] == 1 and bilateral["Dice mean"] == pytest.approx(dice)
    assert result["scenarios"][MIXED]["synthetic"]["cases"] == groups[MIXED, "real", "unifocal"]["cases"] == 1
    notes = " ".join(result["notes"])
    assert "Input channels: pre, subtraction_1." in notes and "Evaluated apart: 1 bilateral cases." in notes


def test_the_engine_finds_lesions_by_the_package_of_several_channels(prepared, tmp_path):
    package = prepared / "scenarios" / PRETRAINED / "model"
    pre = prepared.parent / "test" / "case_5" / "pre.nrrd"
    words = ["synthesize", str(pre), "-o", str(tmp_path / "out"), "--model", "phantom-joint-p1-p3"]
    assert engine([*words, "--segmentation", str(package)]) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    loaded = load_package(package)
    assert loaded.card.weights_sha256 in {model["weights_sha256"] for model in manifest["models"]}
    phases = {n: sitk.ReadImage(str(path)) for n, path in ((0, pre), (1, tmp_path / "out" / "phases" / "phase_1.nrrd"))}
    found = LesionNet(loaded).segment(phases, region=find_breasts(phases[0]).weight() > 0)
    assert manifest["summary"]["lesions"] == int(sitk.GetArrayFromImage(found).max())
