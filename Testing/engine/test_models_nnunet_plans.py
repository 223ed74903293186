"""What nnU-Net's plans may name: its own parts, and nothing that runs other code."""

import hashlib
import json
import pydoc
import shutil
from pathlib import Path

import pytest
import run_samples
import torch
from VirtualContrastLib.cli.main import main
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.import_checkpoint import import_nnunet
from VirtualContrastLib.models.nnunet_plans import LAYERS, NETWORKS, check_plans
from VirtualContrastLib.models.package import load_package

EMBEDDED = Path(__file__).resolve().parents[2] / "Resources" / "Models" / "phantom-lesion-nnunet"
PLANS = json.loads((EMBEDDED / "plans.json").read_text())
RUNS_A_COMMAND = "torch.nn.parallel.distributed.os.system"


def changed(**changes):
    """The embedded model's plans with parts of its architecture replaced."""
    plans = json.loads(json.dumps(PLANS))
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    for key, value in changes.items():
        (architecture if key in architecture else architecture["arch_kwargs"])[key] = value
    return plans


def hostile(folder, trace):
    """Plans whose network would run a shell command that writes the file `trace`."""
    return changed(nonlin=RUNS_A_COMMAND, nonlin_kwargs={"command": f"id > {folder / trace}"})


def test_every_class_allowed_is_a_module_of_a_network():
    pytest.importorskip("dynamic_network_architectures")
    assert NETWORKS
    assert all(LAYERS.values())
    for name in NETWORKS.union(*LAYERS.values()):
        assert issubclass(pydoc.locate(name), torch.nn.Module), name


def test_plans_as_nnunet_writes_them_pass():
    check_plans(PLANS, "plans")
    check_plans(changed(dropout_op="torch.nn.modules.dropout.Dropout3d", nonlin="torch.nn.ReLU"), "plans")
    encoder = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    check_plans(changed(network_class_name=encoder), "plans")


@pytest.mark.parametrize(
    "name",
    [
        RUNS_A_COMMAND,
        "os.system",
        "dynamic_network_architectures.os.system",
        "dynamic_network_architectures.architectures.unet.np.load",
        "torch.nn.Module",
        "torch.nn.modules.conv.Conv3d.__init__",
        "torch.nn.utils.skip_init",
        "torch.nn.LeakyReLU ",
        ["torch.nn.LeakyReLU"],
        7,
    ],
)
@pytest.mark.parametrize("place", ["network_class_name", "conv_op", "norm_op", "dropout_op", "nonlin"])
def test_any_other_name_is_refused(name, place):
    with pytest.raises(InputError, match="names"):
        check_plans(changed(**{place: name}), "plans")


def test_arguments_that_nnunet_itself_does_not_import_cannot_be_made_to_be():
    plans = changed(_kw_requires_import=["conv_op", "norm_op", "dropout_op", "nonlin", "block"], block="torch.nn.ReLU")
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["block"] = "torch.nn.ReLU"
    with pytest.raises(InputError, match="names"):
        check_plans(plans, "plans")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("preprocessor_name", "shutil"),
        ("resampling_fn_data", "np"),
        ("resampling_fn_probabilities", "zoom"),
        ("normalization_schemes", ["ZScoreNormalization", "ABC"]),
        ("UNet_class_name", "os"),
    ],
)
def test_what_nnunet_looks_up_in_its_own_modules_is_known_too(key, value):
    plans = json.loads(json.dumps(PLANS))
    plans["configurations"]["2d"][key] = value  # a configuration that is not used here
    with pytest.raises(InputError, match="names"):
        check_plans(plans, "plans")
    with pytest.raises(InputError, match="names"):
        check_plans({**PLANS, "label_manager": "np"}, "plans")


@pytest.mark.parametrize("plans", [[], {}, {"configurations": []}, {"configurations": {"2d": []}}, None])
def test_what_is_no_plans_file_is_told(plans):
    with pytest.raises(InputError, match="not a plans file"):
        check_plans(plans, "plans")


def test_a_package_that_would_run_a_command_is_refused_by_every_command_and_runs_nothing(tmp_path, capsys):
    pytest.importorskip("nnunetv2")
    package = tmp_path / "package"
    shutil.copytree(EMBEDDED, package)
    (package / "plans.json").write_text(json.dumps(hostile(tmp_path, "PWNED")))
    study, model = run_samples.write_study(tmp_path / "study"), run_samples.write_model(tmp_path / "model")
    line = ["synthesize", study / "pre.nrrd", "-o", tmp_path / "out", "--model", model, "--segmentation", package]

    def refused():
        assert main(["models", "verify", str(package)]) == 2
        assert main(["models", "import", str(package)]) == 2
        with pytest.raises(InputError, match=r"plans\.json"):
            load_package(package).fold_states()
        with pytest.raises(InputError, match=r"plans\.json"):
            load_package(package).nnunet_plans()

    refused()  # by its hash
    card = json.loads((package / "model.json").read_text())
    card["files"]["plans.json"] = hashlib.sha256((package / "plans.json").read_bytes()).hexdigest()
    (package / "model.json").write_text(json.dumps(card))
    refused()  # by the name
    capsys.readouterr()
    assert main([*map(str, line), "--device", "cpu"]) == 2
    assert f"names '{RUNS_A_COMMAND}'" in capsys.readouterr().err
    del card["files"]
    (package / "model.json").write_text(json.dumps(card))
    refused()  # for want of a hash
    assert not (tmp_path / "PWNED").exists()


def test_a_foreign_folder_that_would_run_a_command_is_not_imported(tmp_path):
    source = tmp_path / "nnunet"
    (source / "fold_0").mkdir(parents=True)
    (source / "plans.json").write_text(json.dumps(hostile(tmp_path, "PWNED")))
    shutil.copy(EMBEDDED / "dataset.json", source)
    with pytest.raises(InputError, match=r"torch\.nn\.parallel"):
        import_nnunet(source, tmp_path / "out", model_id="x", title="x", channels=["pre", "subtraction_1"])
    line = ["models", "import", str(source), "--channels", "pre", "subtraction_1", "--id", "x"]
    assert main(line) == 2
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "PWNED").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"n_conv_per_stage": [1_000_000] * 4},
        {"n_conv_per_stage_decoder": 1_000_000},
        {"features_per_stage": [8, 16, 32, 1e12]},
        {"n_stages": 1_000_000},
        {"n_conv_per_stage": [2] * 1_000_000},
        {"features_per_stage": [8, 16, 32, float("nan")]},
    ],
)
def test_plans_of_a_network_that_nobody_could_build_are_refused_before_it_is_built(changes):
    with pytest.raises(InputError, match="no network of nnU-Net"):
        check_plans(changed(**changes), "plans")
