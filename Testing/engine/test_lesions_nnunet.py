"""LesionNet with tiny random networks against nnU-Net's own predictor called directly."""

import dataclasses
import json
import threading

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from VirtualContrastLib.events import CancelledError, Events, ExitCode, InputError, Stage, VirtualContrastError
from VirtualContrastLib.lesions.nnunet import LesionNet
from VirtualContrastLib.models.package import ModelCard, save_package

pytest.importorskip("nnunetv2")

SPACING_KJI = (2.0, 1.0, 1.0)
DATASET = {
    "channel_names": {"0": "pre", "1": "subtraction"},
    "labels": {"background": 0, "lesion": 1},
    "numTraining": 1,
    "file_ending": ".nii.gz",
}


def plans_of(patch, spacing):
    """Plans of a two-stage PlainConvUNet for 2-D or 3-D patches."""
    dimension = len(patch)
    conv = f"torch.nn.modules.conv.Conv{dimension}d"
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [4, 8],
            "conv_op": conv,
            "kernel_sizes": [[3] * dimension] * 2,
            "strides": [[1] * dimension, [2] * dimension],
            "n_conv_per_stage": [1, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimension}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "tiny",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(patch),
        "median_image_size_in_voxels": list(patch),
        "spacing": list(spacing),
        "normalization_schemes": ["ZScoreNormalization"] * 2,
        "use_mask_for_norm": [False, False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True},
        "resampling_fn_probabilities_kwargs": resampling,
        "architecture": architecture,
        "batch_dice": False,
    }
    name = "2d" if dimension == 2 else "3d_fullres"
    return {
        "dataset_name": "Dataset999_Tiny",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(SPACING_KJI),
        "original_median_shape_after_transp": [16, 32, 32],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}, "1": {}},
        "configurations": {name: configuration},
    }


def build_network(plans, name):
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    architecture = plans["configurations"][name]["architecture"]
    return get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        2,
        2,
        allow_init=True,
        deep_supervision=False,
    )


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def make_package(folder, patch=(8, 16, 16), spacing=SPACING_KJI, folds=2, channels=("pre", "subtraction_1"), **config):
    """A model package of random networks, written as an imported nnU-Net is."""
    torch.manual_seed(1)
    plans = plans_of(patch, spacing)
    (name,) = plans["configurations"]
    state = {}
    for fold in range(folds):
        state |= {f"fold_{fold}.{key}": value for key, value in build_network(plans, name).state_dict().items()}
    card = ModelCard(
        id="tiny",
        version="1",
        title="random network",
        architecture={
            "name": "nnunet",
            "config": {"configuration": name, "folds": list(range(folds)), **config},
        },
        inputs={"phases": [0, 1], "channels": list(channels)},
        trained_on_phantoms=False,
        license="none",
    )
    files = {"plans.json": json.dumps(plans), "dataset.json": json.dumps(DATASET)}
    return save_package(folder / "model", card, state, model_card_md="test", extra_files=files)


def phases(size_kji=(14, 28, 30), spacing=SPACING_KJI):
    rng = np.random.default_rng(0)
    images = {}
    for index in (0, 1):
        picture = sitk.GetImageFromArray(rng.normal(100 * (index + 1), 20, size_kji).astype(np.float32))
        picture.SetSpacing(spacing[::-1])
        picture.SetOrigin((3.0, -4.0, 5.0))
        images[index] = picture
    return images


def direct_probability(package, images, **options):
    """Foreground probability of nnU-Net's predictor used as its documentation shows."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = json.loads((package.folder / "plans.json").read_text())
    (name,) = plans["configurations"]
    manager = PlansManager(plans)
    predictor = nnUNetPredictor(
        perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False, **options
    )
    predictor.manual_initialization(
        build_network(plans, name),
        manager,
        manager.get_configuration(name),
        package.fold_states(),
        DATASET,
        "nnUNetTrainer",
        (0, 1, 2),
    )
    pre, post = (sitk.GetArrayFromImage(images[index]) for index in (0, 1))
    channels = np.stack([pre, post - pre])
    spacing = list(images[0].GetSpacing()[::-1])
    return predictor.predict_single_npy_array(channels, {"spacing": spacing}, save_or_return_probabilities=True)[1][1]


class Log:
    def __init__(self):
        self.steps = []

    def progress(self, stage, done, total):
        self.steps.append((stage, done, total))

    def warning(self, message):
        raise AssertionError(message)


def agree(labels, probability):
    """Lesions are where the probability is 0.5; nnU-Net sums in half precision and loses the corners of the volume."""
    labels = labels if isinstance(labels, np.ndarray) else sitk.GetArrayFromImage(labels)
    decided = np.abs(probability - 0.5) > 0.002
    assert decided.mean() > 0.9
    return ((labels > 0) == (probability >= 0.5))[decided].mean() > 0.998


@pytest.mark.parametrize("mirroring", [False, True])
def test_the_labels_are_those_of_nnunets_own_predictor(tmp_path, mirroring):
    package = make_package(tmp_path, mirroring=mirroring, mirror_axes=[0, 1, 2])
    images = phases()
    probability = direct_probability(package, images, use_mirroring=mirroring)
    assert 0.02 < (probability >= 0.5).mean() < 0.98
    labels = LesionNet(package, "cpu").segment(images)
    assert agree(labels, probability)
    assert labels.GetOrigin() == images[0].GetOrigin() and labels.GetSpacing() == images[0].GetSpacing()


def test_a_volume_of_another_spacing_is_resampled_and_brought_back(tmp_path):
    package = make_package(tmp_path, spacing=(3.0, 1.4, 1.4), folds=1)
    images = phases()
    probability = direct_probability(package, images, use_mirroring=False)
    labels = sitk.GetArrayFromImage(LesionNet(package, "cpu").segment(images))
    assert labels.shape == (14, 28, 30)
    assert agree(labels, probability)


@pytest.mark.parametrize("spacing", [(2.0, 1.0, 1.0), (3.0, 1.4, 1.4)])
def test_in_a_region_the_labels_are_those_of_the_whole_volume_at_fewer_tiles(tmp_path, spacing):
    network, images = LesionNet(make_package(tmp_path, spacing=spacing, folds=1), "cpu"), phases((14, 56, 60))
    region = np.zeros((14, 56, 60), bool)
    region[3:8, 10:25, 5:20] = True
    whole, part = Log(), Log()
    everywhere = sitk.GetArrayFromImage(network.segment(images, Events([whole])))
    inside = sitk.GetArrayFromImage(network.segment(images, Events([part]), region))
    np.testing.assert_array_equal(inside[region] > 0, everywhere[region] > 0)
    assert 0 < (everywhere[region] > 0).mean() < 1
    assert part.steps[-1][2] < 0.7 * whole.steps[-1][2]
    assert (everywhere[~region] > 0).any(), "the whole volume has lesions that the region leaves out"
    assert not inside[~region].any(), "beside the region a voxel has a part of its tiles only"


def test_no_region_no_lesions(tmp_path):
    network = LesionNet(make_package(tmp_path, folds=1), "cpu")
    assert not sitk.GetArrayFromImage(network.segment(phases(), region=np.zeros((14, 28, 30), bool))).any()


def test_threshold_and_minimum_volume_come_from_the_card(tmp_path):
    package = make_package(tmp_path, folds=1, probability_threshold=0.6, minimum_volume_mm3=40.0)
    images = phases()
    probability = direct_probability(package, images, use_mirroring=False)
    labels = sitk.GetArrayFromImage(LesionNet(package, "cpu").segment(images))
    assert ((labels > 0) <= (probability >= 0.598)).mean() > 0.998
    sizes = np.bincount(labels.ravel())[1:] * 2.0
    assert len(sizes) > 0 and (sizes >= 40).all() and (np.diff(sizes) <= 0).all()


def test_progress_counts_every_tile_of_every_fold(tmp_path):
    log = Log()
    LesionNet(make_package(tmp_path), "cpu").segment(phases(), Events([log]))
    done, totals = [done for _, done, _ in log.steps], {total for _, _, total in log.steps}
    assert {stage for stage, _, _ in log.steps} == {Stage.SEGMENT}
    assert done == sorted(set(done)) and totals == {done[-1]} and done[-1] >= 2 * 8


def test_a_cancel_stops_at_the_next_tile_leaves_no_thread_and_the_network_usable(tmp_path):
    package, images = make_package(tmp_path), phases()
    network = LesionNet(package, "cpu")
    threads = threading.active_count()

    class StopAtFirst(Log):
        def progress(self, stage, done, total):
            super().progress(stage, done, total)
            if len(self.steps) == 1:
                events.cancel()

    log = StopAtFirst()
    events = Events([log])
    with pytest.raises(CancelledError):
        network.segment(images, events)
    assert len(log.steps) == 1
    assert threading.active_count() == threads
    again = sitk.GetArrayFromImage(network.segment(images))
    np.testing.assert_array_equal(again, sitk.GetArrayFromImage(LesionNet(package, "cpu").segment(images)))


def test_a_single_slice_is_refused_by_a_3d_network_and_taken_by_a_2d_one(tmp_path):
    images = phases((1, 28, 30))
    network = LesionNet(make_package(tmp_path / "three", folds=1), "cpu")
    assert network.needs_volume
    with pytest.raises(InputError, match="single slice"):
        network.segment(images)
    flat = LesionNet(make_package(tmp_path / "two", patch=(16, 16), spacing=(1.0, 1.0), folds=1), "cpu")
    assert not flat.needs_volume
    assert sitk.GetArrayFromImage(flat.segment(images)).shape == (1, 28, 30)


def test_missing_phases_and_misfitting_packages_are_told_in_a_sentence(tmp_path):
    package = make_package(tmp_path, folds=1)
    images = phases()
    network = LesionNet(package, "cpu")
    with pytest.raises(InputError, match="needs phase 1"):
        network.segment({0: images[0]})
    images[1].SetOrigin((50.0, 0.0, 0.0))
    with pytest.raises(InputError, match="grid"):
        network.segment(images)
    with pytest.raises(InputError, match="1 input channels"):
        LesionNet(make_package(tmp_path / "one", channels=["pre"]), "cpu")
    with pytest.raises(InputError, match="configuration '2d'"):
        LesionNet(make_package(tmp_path / "flat", configuration="2d"), "cpu")
    (package.folder / "plans.json").write_text("{")
    with pytest.raises(InputError, match=r"plans\.json"):
        LesionNet(package, "cpu")


def test_a_network_that_gives_no_numbers_says_so_and_never_no_lesions(tmp_path):
    package = make_package(tmp_path, folds=1)
    state = package.load_state()
    last = next(key for key in state if key.endswith("seg_layers.0.bias"))
    state[last] = state[last].clone()
    state[last][-1] = float("nan")
    files = {name: (package.folder / name).read_bytes() for name in ("plans.json", "dataset.json")}
    package = save_package(package.folder, package.card, state, model_card_md="test", extra_files=files)
    with pytest.raises(VirtualContrastError, match="not numbers") as caught:
        LesionNet(package, "cpu").segment(phases())
    assert caught.value.exit_code is ExitCode.FAILED


@pytest.mark.parametrize("option", ["probability_threshold", "minimum_volume_mm3", "tile_step_size"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, "0.5", True, None])
def test_an_option_that_is_no_number_in_its_limits_is_refused(tmp_path, option, value):
    package = make_package(tmp_path, folds=1)
    config = {**package.card.architecture.config, option: value}
    architecture = package.card.architecture.model_copy(update={"config": config})
    package = dataclasses.replace(package, card=package.card.model_copy(update={"architecture": architecture}))
    with pytest.raises(InputError, match=option):
        LesionNet(package, "cpu")


def test_nothing_is_printed_to_standard_output(tmp_path, capsys):
    LesionNet(make_package(tmp_path, folds=1), "cpu").segment(phases())
    assert capsys.readouterr().out == ""


def test_weights_of_another_network_are_refused(tmp_path):
    package = make_package(tmp_path, folds=1)
    foreign = {"fold_0.weight": torch.zeros(3)}
    files = {name: (package.folder / name).read_text() for name in ("plans.json", "dataset.json")}
    package = save_package(package.folder, package.card, foreign, model_card_md="test", extra_files=files)
    with pytest.raises(InputError, match="do not fit"):
        LesionNet(package, "cpu")


def test_a_package_that_stores_each_tensor_once_gives_the_same_labels(tmp_path):
    import torch
    from VirtualContrastLib.lesions.nnunet import _with_aliases
    from VirtualContrastLib.models.import_checkpoint import _without_aliases

    class Shared(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv3d(1, 2, 3)
            self.all_modules = torch.nn.Sequential(self.conv, torch.nn.InstanceNorm3d(2, affine=True))
            self.again = self.all_modules

    network = Shared()
    file = tmp_path / "checkpoint.pth"
    torch.save(network.state_dict(), file)
    whole = torch.load(file, weights_only=True)
    once = _without_aliases(whole)
    assert len(whole) == 10
    assert len(once) == 4
    restored = _with_aliases(once, Shared())
    assert set(restored) == set(whole)
    assert all(torch.equal(restored[key], whole[key]) for key in whole)


@pytest.mark.parametrize("patch", [(4, 4, 4), (4, 8, 4)], ids=["grid", "grid grown to a tile"])
def test_a_region_reaches_every_voxel_of_the_resampled_grid_that_its_result_is_interpolated_from(tmp_path, patch):
    """Against nnU-Net's own way back: one impulse per voxel of the resampled grid, looked for in the region."""
    predictor = LesionNet(make_package(tmp_path, patch=patch, folds=1), "cpu")._predictor
    plans = predictor.plans_manager
    plans.plans["transpose_forward"], plans.plans["transpose_backward"] = [1, 0, 2], [1, 0, 2]
    # Even to odd sizes, finer and coarser: no voxel lies exactly on another, where a weight would be zero.
    whole, cropped, shape = (10, 8, 6), (10, 6, 4), (7, 5, 9)
    properties = {
        "shape_before_cropping": whole,
        "bbox_used_for_cropping": [[0, 10], [1, 7], [2, 6]],
    }
    impulses = np.eye(np.prod(shape), dtype=np.float32).reshape(-1, *shape)
    back = predictor.configuration_manager.resampling_fn_probabilities(impulses, cropped, SPACING_KJI, SPACING_KJI)
    uncropped = np.zeros((len(impulses), *whole), np.float32)
    uncropped[:, :, 1:7, 2:6] = back
    reads = uncropped.transpose(0, 2, 1, 3) > 0  # voxel [k, j, i] of the study from each voxel of the resampled grid
    for place in [(1, 0, 2), (6, 9, 5), (3, 4, 3), (4, 5, 4), (2, 8, 2), np.s_[2:5, 3:7, 1:3]]:
        region = np.zeros((8, 10, 6), bool)
        region[place] = True
        expected = reads[:, region].any(axis=1).reshape(shape)
        assert 0 < expected.sum() < expected.size / 2
        if patch[1] > shape[1]:
            expected = np.pad(expected, [(0, 0), (1, 2), (0, 0)])
        np.testing.assert_array_equal(predictor._on_tiles(region, shape, properties), expected, err_msg=str(place))
