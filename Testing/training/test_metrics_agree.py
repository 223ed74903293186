"""A run's comparison.csv and `evaluate` on the same files give the same numbers, to the last digit."""

import csv
import json

import pytest
import SimpleITK as sitk
import torch
from VirtualContrastLib.metrics.image_pairs import compare_images
from VirtualContrastLib.models.package import ModelCard, save_package
from VirtualContrastLib.networks.pix2pixhd import build_generator
from VirtualContrastLib.run.pipeline import RunSettings, run
from VirtualContrastTrainingLib.cli import main
from VirtualContrastTrainingLib.data.phantom import make_phantom
from VirtualContrastTrainingLib.data.phantom.writing import write_phantom
from VirtualContrastTrainingLib.training.smoke import PHANTOM

OPTIONS = {"input_nc": 1, "output_nc": 3, "ngf": 4, "n_downsample_global": 1, "n_blocks_global": 1}


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A phantom case and the result of a run on it with a model of random weights."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("agree")
    write_phantom(make_phantom(3, PHANTOM), folder / "case")
    fields = {"id": "random", "version": "1", "title": "Random", "inputs": {}, "license": "Apache-2.0"}
    fields |= {"architecture": {"name": "pix2pixhd", "config": OPTIONS}, "in_plane": {"pad_multiple": 4}}
    fields |= {"outputs": {"channel_phases": [1, 2, 3], "times_s": [90, 220, 350]}, "trained_on_phantoms": True}
    fields["intensity"] = {"recipe": "pre_percentile", "constants": {"max_ratio": 4.0}}
    torch.manual_seed(0)
    state = build_generator(OPTIONS).state_dict()
    package = save_package(folder / "model", ModelCard.model_validate(fields), state, model_card_md="# Random\n")
    settings = RunSettings(model=str(package.folder), segmentation="none", device="cpu")
    real = [folder / "case" / f"phase_{number}.nrrd" for number in (1, 2, 3)]
    run(folder / "case" / "pre.nrrd", folder / "out", settings, real=real)
    return folder


@pytest.mark.parametrize("phase", [1, 3])
def test_a_run_and_evaluate_agree_to_the_last_digit(case, phase, capsys):
    real, made = case / "case" / f"phase_{phase}.nrrd", case / "out" / "phases" / f"phase_{phase}.nrrd"
    assert main(["evaluate", "--real", str(real), "--synthetic", str(made), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    volume, slices = report["statistics"]["true_per_volume"], report["statistics"]["true"]
    found = {name: volume[name]["mean"] for name in ("mse", "mae", "psnr")} | {"ssim": slices["ssim"]["mean"]}

    (row,) = compare_images(sitk.ReadImage(str(made)), sitk.ReadImage(str(real)), {}, phase=phase)
    assert found == {name.partition("_")[0]: value for name, value in row.values.items()}

    with (case / "out" / "comparison.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["phase"] == str(phase) and row["region"] == "whole image"]
    (written,) = [row for row in rows if row["compared"] == "synthetic"]
    by_name = {column.partition("_")[0]: cell for column, cell in written.items()}
    assert {name: by_name[name] for name in found} == {name: f"{value:.6g}" for name, value in found.items()}
