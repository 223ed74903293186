"""Segmentation scenarios on crops of patients: labels from boxes, cases as they are, synthesis out of fold."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from segment_samples import command
from VirtualContrastLib.events import ExitCode
from VirtualContrastLib.models.package import ModelCard, save_package
from VirtualContrastLib.networks.residual_enhancement import HEADS, build_residual_enhancement
from VirtualContrastTrainingLib.cli import main
from VirtualContrastTrainingLib.data.crops import fold_of
from VirtualContrastTrainingLib.data.enhancing_labels import area_agreement
from VirtualContrastTrainingLib.data.segmentation_cases import (
    ModelPhases,
    SegmentationSource,
    prepare_segmentation_case,
)
from VirtualContrastTrainingLib.papers.scenarios import load_experiment

SPACING_MM = 0.5
"""So that a pixel is 0.25 mm2."""
LARGE, SMALL, OUTSIDE = (slice(10, 16), slice(8, 14)), (slice(20, 23), slice(20, 23)), (slice(28, 31), slice(0, 3))
"""Enhancing squares of 36, 9 and 9 pixels [row, column]; the last lies outside of the box."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Six patients of two slices; the table asks for 8 mm2 = 32 pixels in the first slice, 10 = 40 in the second."""
    torch.set_num_threads(1)
    source = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    with (source / "slices.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        boxes = (f"box_{n}" for n in ("column", "row", "columns", "rows"))
        table.writerow(["file", "patient", "mm_per_px", *boxes, "tumor_area_mm2"])
        for n in range(12):
            pre = rng.integers(40, 60, (32, 32)).astype(float)
            post = pre * 1.3
            for place in (LARGE, SMALL, OUTSIDE):
                post[place] = 2 * pre[place]
            picture = np.stack([pre, post, post], axis=-1).round().astype(np.uint8)
            sitk.WriteImage(sitk.GetImageFromArray(picture, isVector=True), str(source / f"{n}.png"))
            table.writerow([f"{n}.png", f"patient_{n // 2}", SPACING_MM, 6, 8, 20, 18, (8, 10)[n % 2]])
    out = source / "prepared"
    assert main(["prepare", "crops", str(source / "slices.csv"), "-o", str(out)]) == ExitCode.DONE
    return out


@pytest.fixture(scope="module")
def labels(prepared):
    out = prepared.with_name("labels")
    assert command("labels", prepared, "-o", out) == 0
    return out


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_the_largest_enhancing_parts_of_the_box_are_taken_until_the_tables_area_is_reached(prepared, labels):
    expected = np.zeros((2, 32, 32), bool)
    expected[0][LARGE] = expected[1][LARGE] = expected[1][SMALL] = True
    found = [read(labels / f"patient_{n}.nii.gz") for n in range(6)]
    assert all(np.array_equal(label > 0, expected) for label in found)


def test_the_agreement_of_areas_is_printed_and_right(prepared, tmp_path, capsys):
    assert command("labels", prepared, "-o", tmp_path, "--json") == 0
    areas = json.loads(capsys.readouterr().out)["areas"]
    assert areas["slices"] == 12 and areas["spearman"] == pytest.approx(1)
    low, middle, high = areas["ratio_quartiles"]
    ratios = np.repeat([36 * 0.25 / 8, 45 * 0.25 / 10], 6)
    assert (low, middle, high) == pytest.approx(tuple(np.percentile(ratios, [25, 50, 75])))
    assert area_agreement([(1.0, 1.0), (2.0, 2.0)]) is None


def model(folder, members):
    """Members that each predict one enhancement everywhere, 0.1 + 0.1 times their number of the scale."""
    config = {"widths": [4, 8], "encode": [1, 1], "decode": [1], "members": members}
    network = build_residual_enhancement(config)
    for number, one in enumerate(network.members):
        one.last.bias.data = torch.full((HEADS,), 0.1 + 0.1 * number).repeat_interleave(4)
    card = ModelCard.model_validate(
        {
            "id": "members",
            "version": "1",
            "title": "Members",
            "architecture": {"name": "residual_enhancement", "config": config},
            "inputs": {"phases": [0]},
            "outputs": {"channel_phases": [1, 2], "times_s": [150.0, 450.0]},
            "intensity": {"recipe": "tissue_percentile"},
            "in_plane": {"pad_multiple": 4},
            "trained_on_phantoms": False,
            "license": "Apache-2.0",
        }
    )
    return save_package(folder, card, network.state_dict(), model_card_md="# Members\n")


def test_crops_are_used_whole_and_made_by_the_member_that_never_saw_them(prepared, labels, tmp_path):
    phases = ModelPhases(model(tmp_path / "model", members=2), unseen=True)
    made = {}
    for folder in sorted(prepared.glob("patient_*")):
        source = SegmentationSource(folder, labels / f"{folder.name}.nii.gz")
        assert prepare_segmentation_case(source, tmp_path / "cases", phases).state == "prepared"
        case = tmp_path / "cases" / folder.name
        for name, original in (("pre", "pre"), ("post", "phase_1")):  # two parts, no N4, no half
            np.testing.assert_array_equal(read(case / f"{name}.nii.gz"), read(folder / f"{original}.nrrd"))
        change = read(case / "synthetic.nii.gz").astype(float) - read(case / "pre.nii.gz")
        made.setdefault(fold_of(folder.name, 2), []).append(np.median(change))
    assert set(made) == {0, 1} and min(made[1]) > 1.5 * max(made[0])


@pytest.mark.slow
def test_scenarios_run_on_crops_slice_by_slice_and_the_table_says_so(prepared, labels, tmp_path, capsys):
    pytest.importorskip("nnunetv2")
    small = ("base_features=4", "max_features=8", "memory_gb=0.02", "epochs=1", "iterations_per_epoch=2")
    train, test = tmp_path / "train", tmp_path / "test"
    for number, folder in enumerate(sorted(prepared.glob("patient_*"))):
        place = test if number == 5 else train
        place.mkdir(exist_ok=True)
        (place / folder.name).symlink_to(folder)
    words = [train, "--test", test, "--masks", labels, "--model", model(tmp_path / "model", members=2).folder]
    words += ["--out-of-fold", "--recipe", "ispy-lesion-nnunet-2d", "--folds", 2, "--scenarios", "post"]
    out = tmp_path / "out"
    assert command("prepare", *words, "-o", out, *(w for value in small for w in ("--set", value))) == 0
    assert load_experiment(out).crops == 6
    assert command("train", out, "--fold", 0) == 0 and command("predict", out, "--no-mirroring") == 0
    plans = json.loads((out / "scenarios" / "post" / "model" / "plans.json").read_text())
    assert len(plans["configurations"]["2d"]["patch_size"]) == 2
    capsys.readouterr()
    assert command("table", out, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    notes = " ".join(result["notes"])
    assert "Training: 2d, 1 epochs" in notes and "neither N4 nor halves" in notes and "post 1." in notes
    truth, found = (
        read(labels / "patient_5.nii.gz") > 0,
        read(out / "predictions" / "post" / "post" / "patient_5.nii.gz") > 0,
    )
    expected = 2 * (truth & found).sum() / (truth.sum() + found.sum())
    assert result["scenarios"]["post"]["post"]["dice"]["mean"] == pytest.approx(expected)
