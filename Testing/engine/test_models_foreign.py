"""Import of foreign checkpoints: what the tensors say is believed, what could execute is refused."""

import json
import pickle
import zipfile

import numpy as np
import pytest
import torch
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.models.card import InPlane
from VirtualContrastLib.models.import_checkpoint import import_nnunet, import_pix2pixhd, infer_generator_config
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.networks.pix2pixhd import build_generator, meta_shapes

TINY = {"input_nc": 3, "output_nc": 3, "ngf": 2, "n_downsample_global": 2, "n_blocks_global": 1}


def checkpoint(path, config=TINY, prefix=""):
    torch.manual_seed(0)
    state = {prefix + key: value for key, value in build_generator(config).state_dict().items()}
    torch.save(state, path)
    return state


def imported(path, out, **kwargs):
    return import_pix2pixhd(path, out, model_id="foreign", title="Foreign", **kwargs)


class Malicious:
    """Unpickling this with the full loader would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


# ---- pix2pixHD ----


@pytest.mark.parametrize(
    "config",
    [
        {"netG": "global", "n_downsample_global": downs, "n_blocks_global": blocks}
        for downs in (1, 2, 4)
        for blocks in (1, 2, 3, 9)
    ]
    + [
        {
            "netG": "local",
            "n_downsample_global": 2,
            "n_blocks_global": 2,
            "n_local_enhancers": n,
            "n_blocks_local": b,
        }
        for n in (1, 2)
        for b in (1, 3)
    ],
)
def test_the_options_are_read_off_the_tensors(config):
    config = config | {"input_nc": 5, "output_nc": 2, "ngf": 3}
    state = {key: torch.empty(shape, device="meta") for key, shape in meta_shapes(config).items()}
    assert infer_generator_config(state, "x.pth") == config


def test_a_single_phase_checkpoint_becomes_a_package_of_the_published_recipe(tmp_path):
    state = checkpoint(tmp_path / "30_net_G.pth")
    imported(tmp_path / "30_net_G.pth", tmp_path / "out")
    package = load_package(tmp_path / "out")
    loaded = package.load_state()
    assert all(torch.equal(loaded[key], state[key]) for key in state)
    card = package.card
    assert card.inputs.channel_offsets == [0, 0, 0]
    assert card.outputs.channel_phases == [1, 1, 1]
    assert card.outputs.times_s == [131.0]
    assert card.intensity.recipe == "minmax_8bit"
    assert (card.in_plane.policy, card.in_plane.pad_multiple) == ("native", 4)
    assert not card.trained_on_phantoms


def test_a_joint_checkpoint_has_its_phases_in_bgr_order(tmp_path):
    checkpoint(tmp_path / "n.pth")
    in_plane = InPlane(policy="resample", spacing_mm=0.7)
    card = imported(tmp_path / "n.pth", tmp_path / "out", layout="joint", in_plane=in_plane).card
    assert card.outputs.channel_phases == [3, 2, 1]
    assert card.outputs.times_s == [131.0, 262.0, 393.0]
    assert (card.in_plane.policy, card.in_plane.spacing_mm) == ("resample", 0.7)


def test_phase_times_can_be_given(tmp_path):
    checkpoint(tmp_path / "n.pth")
    card = imported(tmp_path / "n.pth", tmp_path / "out", times_s=[100.0]).card
    assert card.outputs.times_s == [100.0]
    with pytest.raises(InputError, match="2 values for 1 phases"):
        imported(tmp_path / "n.pth", tmp_path / "out2", times_s=[100.0, 200.0])


def test_a_prefix_of_a_parallel_wrapper_is_removed_with_a_note(tmp_path):
    state = checkpoint(tmp_path / "n.pth", prefix="module.")
    events = Events()
    loaded = imported(tmp_path / "n.pth", tmp_path / "out", events=events).load_state()
    assert set(loaded) == {key.removeprefix("module.") for key in state}
    assert "module." in events.warnings[0]


def test_a_published_zip_with_one_generator_is_taken_and_none_of_its_code(tmp_path):
    checkpoint(tmp_path / "30_net_G.pth")
    with zipfile.ZipFile(tmp_path / "00023.zip", "w") as archive:
        archive.write(tmp_path / "30_net_G.pth", "00023/30_net_G.pth")
        archive.writestr("00023/__init__.py", "raise SystemExit")
    package = imported(tmp_path / "00023.zip", tmp_path / "out")
    assert sorted(p.suffix for p in package.folder.iterdir()) == ["", ".json", ".md", ".safetensors"]
    with zipfile.ZipFile(tmp_path / "00023.zip", "a") as archive:
        archive.write(tmp_path / "30_net_G.pth", "00023/40_net_G.pth")
    with pytest.raises(InputError, match="2 files named"):
        imported(tmp_path / "00023.zip", tmp_path / "out2")


def test_a_pickle_that_would_execute_something_is_refused_and_executes_nothing(tmp_path):
    torch.save({"model.1.weight": Malicious(tmp_path / "owned")}, tmp_path / "n.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Malicious(tmp_path / "owned"), protocol=2))
    for name in ("n.pth", "plain.pth"):
        with pytest.raises(InputError, match="not a checkpoint that can be read safely"):
            imported(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "owned").exists()
    assert not (tmp_path / "out").exists()


def test_options_that_differ_from_the_tensors_are_refused(tmp_path):
    checkpoint(tmp_path / "n.pth")
    with pytest.raises(InputError, match="has shape"):
        imported(tmp_path / "n.pth", tmp_path / "out", config={**TINY, "ngf": 4})
    with pytest.raises(InputError, match="keys missing"):
        imported(tmp_path / "n.pth", tmp_path / "out", config={**TINY, "n_blocks_global": 2})
    with pytest.raises(InputError, match="unknown"):
        imported(tmp_path / "n.pth", tmp_path / "out", config={**TINY, "widht": 2})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"model.1.weight": torch.zeros(3, 3)}, "not a pix2pixHD generator"),
        ({"features.0.weight": torch.zeros(3, 3)}, "not a pix2pixHD generator"),
        ({"state_dict": {"model.1.weight": torch.zeros(1)}}, "no plain state dict"),
        ([1, 2], "no plain state dict"),
        ({}, "no plain state dict"),
    ],
)
def test_a_file_that_is_no_generator_is_refused(tmp_path, content, told):
    torch.save(content, tmp_path / "n.pth")
    with pytest.raises(InputError, match=told):
        imported(tmp_path / "n.pth", tmp_path / "out")


def test_an_extra_tensor_or_a_missing_one_is_refused(tmp_path):
    state = checkpoint(tmp_path / "n.pth")
    torch.save(state | {"model.99.weight": torch.zeros(1)}, tmp_path / "more.pth")
    torch.save({k: v for k, v in state.items() if k != "model.1.bias"}, tmp_path / "less.pth")
    for name in ("more.pth", "less.pth"):
        with pytest.raises(InputError, match="does not fit"):
            imported(tmp_path / name, tmp_path / "out")


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    state = checkpoint(tmp_path / "n.pth")
    state["model.4.bias"][0] = float("nan")
    torch.save(state, tmp_path / "n.pth")
    with pytest.raises(InputError, match=r"not finite, first in model\.4\.bias"):
        imported(tmp_path / "n.pth", tmp_path / "out")


def test_a_missing_or_truncated_file_is_refused_by_name(tmp_path):
    checkpoint(tmp_path / "n.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "n.pth").read_bytes()[:500])
    for name, told in (("none.pth", "does not exist"), ("cut.pth", "cannot be read|not a checkpoint")):
        with pytest.raises(InputError, match=told):
            imported(tmp_path / name, tmp_path / "out")


# ---- nnU-Net ----


def nnunet_checkpoint(path, seed, width=2, **changes):
    path.parent.mkdir(parents=True)
    torch.manual_seed(seed)
    content = {
        "network_weights": {
            "encoder.0.weight": torch.randn(width, 1, 3, 3),
            "encoder.0.bias": torch.randn(width),
        },
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01}]},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.25)], "epoch": [np.int64(3)]},
        "_best_ema": np.float64(0.6),
        "current_epoch": 3,
        "init_args": {"configuration": "3d_fullres", "fold": 0, "plans": {"x": 1}},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(content | changes, path)
    return content["network_weights"]


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    folder.mkdir()
    (folder / "plans.json").write_text(json.dumps({"configurations": {"3d_fullres": {}}}))
    (folder / "dataset.json").write_text(json.dumps({"channel_names": {"0": "pre", "1": "subtraction"}}))
    return folder


CHANNELS = ["pre", "subtraction_2"]


def nnunet(folder, out, **kwargs):
    return import_nnunet(folder, out, model_id="net", title="Net", **{"channels": CHANNELS, **kwargs})


def test_all_folds_of_an_nnunet_are_kept_apart_and_come_back(results, tmp_path):
    weights = {fold: nnunet_checkpoint(results / f"fold_{fold}" / "checkpoint_final.pth", fold) for fold in (3, 0)}
    nnunet(results, tmp_path / "out", options={"probability_threshold": 0.4})
    package = load_package(tmp_path / "out")
    config = package.card.architecture.config
    assert config["folds"] == [0, 3]
    assert config["configuration"] == "3d_fullres"
    assert config["mirror_axes"] == [0, 1, 2]
    assert config["probability_threshold"] == 0.4
    assert package.card.inputs.channels == CHANNELS
    assert package.card.inputs.phases == [0, 2]
    assert package.card.kind == "segmentation"
    for fold, state in zip((0, 3), package.fold_states(), strict=True):
        assert set(state) == set(weights[fold])
        assert all(torch.equal(state[key], weights[fold][key]) for key in state)
    for name in ("plans.json", "dataset.json"):
        assert (package.folder / name).read_text() == (results / name).read_text()


def test_one_fold_can_be_chosen(results, tmp_path):
    for fold in (0, 1):
        nnunet_checkpoint(results / f"fold_{fold}" / "checkpoint_final.pth", fold)
    assert nnunet(results, tmp_path / "out", folds=[1]).card.architecture.config["folds"] == [1]


def test_an_nnunet_checkpoint_that_would_execute_something_is_refused(results, tmp_path):
    nnunet_checkpoint(results / "fold_0" / "checkpoint_final.pth", 0, logging=Malicious(tmp_path / "owned"))
    with pytest.raises(InputError, match="read safely"):
        nnunet(results, tmp_path / "out")
    assert not (tmp_path / "owned").exists()


def test_the_numpy_types_are_allowed_for_nnunet_alone(tmp_path):
    torch.save({"model.1.weight": np.float64(1)}, tmp_path / "n.pth")
    with pytest.raises(InputError, match="read safely"):
        imported(tmp_path / "n.pth", tmp_path / "out")


def test_a_folder_that_lacks_something_is_refused_with_its_name(results, tmp_path):
    with pytest.raises(InputError, match=r"no fold_N/checkpoint_final\.pth"):
        nnunet(results, tmp_path / "out")
    nnunet_checkpoint(results / "fold_0" / "checkpoint_final.pth", 0)
    with pytest.raises(InputError, match="2 channels, but 1 are named"):
        nnunet(results, tmp_path / "out", channels=["pre"])
    with pytest.raises(InputError, match=r"fold_4.*does not exist"):
        nnunet(results, tmp_path / "out", folds=[4])
    with pytest.raises(InputError, match=r"inputs\.channels\.1"):
        nnunet(results, tmp_path / "out", channels=["pre", "post"])
    (results / "plans.json").unlink()
    with pytest.raises(InputError, match=r"plans\.json is missing"):
        nnunet(results, tmp_path / "out")


def test_folds_of_different_networks_and_an_unknown_configuration_are_refused(results, tmp_path):
    nnunet_checkpoint(results / "fold_0" / "checkpoint_final.pth", 0)
    nnunet_checkpoint(results / "fold_1" / "checkpoint_final.pth", 1, width=3)
    with pytest.raises(InputError, match="fold 1 differs"):
        nnunet(results, tmp_path / "out")
    (results / "plans.json").write_text(json.dumps({"configurations": {"2d": {}}}))
    with pytest.raises(InputError, match="no configuration '3d_fullres'"):
        nnunet(results, tmp_path / "out", folds=[0])
