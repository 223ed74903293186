"""The subtraction U-Net baseline: shape, loss against other code, and learning on tiny phantoms."""

import csv
import warnings

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import nn
from VirtualContrastLib.networks.subtraction_unet import PhasesFromUNet, build_subtraction_unet
from VirtualContrastTrainingLib.systems.recipes import load_recipe
from VirtualContrastTrainingLib.systems.subtraction_unet.losses import (
    phase_targets,
    subtraction_losses,
    subtraction_targets,
)
from VirtualContrastTrainingLib.systems.subtraction_unet.smoke import smoke_recipe
from VirtualContrastTrainingLib.systems.subtraction_unet.trainer import SubtractionUNetTrainer
from VirtualContrastTrainingLib.training.base import FitPlan, RunOptions, fit
from VirtualContrastTrainingLib.training.slice_sets import slice_sets

RECIPE = "osuala2025-subtraction-unet"


def test_the_network_has_the_published_levels():
    network = build_subtraction_unet(load_recipe(RECIPE).network)
    assert [down.out_channels for down in network.down] == [128, 256, 512]
    assert all(down.stride == (2, 2) and down.kernel_size == (2, 2) for down in network.down)
    assert {m.kernel_size for m in network.stem.modules() if isinstance(m, nn.Conv2d)} == {(1, 1)}
    assert {m.negative_slope for m in network.modules() if isinstance(m, nn.LeakyReLU)} == {0.01}
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.5] * 3  # 256, 512, and 256 on the way up
    small = build_subtraction_unet({"input_nc": 1, "output_nc": 3, "widths": [4, 8, 16, 32]})
    out = small(torch.rand(2, 1, 32, 40))
    assert out.shape == (2, 3, 32, 40)
    assert 0 < out.min() < out.max() < 1


@pytest.mark.parametrize("config", [{"input_nc": 1}, {"input_nc": 1, "output_nc": 1, "width": [4, 8]}])
def test_unfit_options_are_refused(config):
    with pytest.raises(ValueError, match="subtraction U-Net option"):
        build_subtraction_unet(config)


def test_targets_are_the_differences_of_the_pictures_without_what_falls():
    pre, post = np.array([0, 10, 200, 255]), np.array([[0, 40, 100, 255], [255, 10, 201, 0]])
    as_network = [torch.tensor(a / 127.5 - 1, dtype=torch.float32).reshape(1, -1, 1, 4) for a in (pre, post)]
    expected = np.clip(post / 255 - pre / 255, 0, None)
    assert np.allclose(subtraction_targets(*as_network).numpy().reshape(2, 4), expected, atol=1e-6)


def test_targets_of_the_direct_network_are_the_pictures():
    post = np.array([[0, 40, 100, 255]])
    as_network = torch.tensor(post / 127.5 - 1, dtype=torch.float32)
    assert np.allclose(phase_targets(as_network).numpy(), post / 255, atol=1e-6)


def test_the_loss_is_that_of_scikit_image_and_numpy():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 2, 1, 40, 48)).astype(np.float32)
    losses = subtraction_losses(torch.from_numpy(a), torch.from_numpy(b))
    similarity = [
        structural_similarity(x[0], y[0], data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
        for x, y in zip(a, b, strict=True)
    ]
    assert losses["SSIM"].item() == pytest.approx(1 - np.mean(similarity), abs=1e-4)
    assert losses["MAE"].item() == pytest.approx(10 * np.abs(a - b).mean(), rel=1e-5)


def test_as_a_generator_it_adds_its_subtraction_to_the_slice():
    network = PhasesFromUNet(build_subtraction_unet({"input_nc": 1, "output_nc": 3, "widths": [4, 8]})).eval()
    pre = torch.rand(1, 1, 16, 16) * 2 - 1
    with torch.no_grad():
        phases, subtraction = network(pre), network.unet((pre + 1) / 2)
    assert torch.allclose(phases, torch.clamp(pre + 2 * subtraction, max=1), atol=1e-6)


def test_without_subtraction_the_output_is_the_phase():
    options = {"input_nc": 1, "output_nc": 3, "predicts": "phase", "widths": [4, 8]}
    network = PhasesFromUNet(build_subtraction_unet(options)).eval()
    pre = torch.rand(1, 1, 16, 16) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(network(pre), 2 * network.unet((pre + 1) / 2) - 1, atol=1e-6)


@pytest.mark.parametrize("system", ["osuala2025", "ispy", "phantom"])
def test_the_recipe_of_the_direct_network_differs_in_its_target_alone(system):
    names = (f"{system}-subtraction-unet", f"{system}-direct-unet")
    subtraction, direct = (load_recipe(name).model_dump(exclude={"id", "title"}) for name in names)
    assert direct.pop("network") == {**subtraction.pop("network"), "predicts": "phase"}
    assert direct == subtraction


def test_the_direct_network_is_trained_towards_the_phases():
    recipe = load_recipe("phantom-direct-unet", ["network.widths=[4,8]"])
    torch.manual_seed(0)
    module = SubtractionUNetTrainer(recipe).eval()
    phases = torch.tensor([0.3, 0.5, 0.4])[:, None, None].expand(1, 3, 32, 32)
    batch = {"source": torch.rand(1, 1, 32, 32) * 2 - 1, "target": 2 * phases - 1}
    batch["lesions"] = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    with torch.no_grad():
        module.network.head.weight.zero_()
        module.network.head.bias.copy_(torch.logit(phases[0, :, 0, 0]))
        sample = module.sample(batch)
    assert torch.allclose(sample.output, sample.target, atol=1e-6)
    assert sample.names == ["phase 1", "phase 2", "phase 3"]


def test_a_short_training_lowers_the_error_and_resumes_bit_identical(tmp_path):
    changes = ["learning_rate=0.01", "epochs=4", "intensity={recipe: pre_percentile, constants: {max_ratio: 4.0}}"]
    changes += [
        "data.target_scale=pre",
        "data.slice_margin=null",
    ]  # all slices: those of tumors are too few to learn from
    recipe = smoke_recipe(load_recipe(RECIPE, changes), tmp_path / "c")

    def run(folder, epochs, resume=False):
        torch.manual_seed(0)
        module = SubtractionUNetTrainer(recipe)
        plan = FitPlan(1, epochs, 4, "32-true", recipe.checkpoints, shuffle=True)
        fit(module, *slice_sets(recipe, None), tmp_path / folder, plan, RunOptions(resume=resume))
        return module.network.state_dict()

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        through = run("through", 4)
    assert [str(one.message) for one in told if issubclass(one.category, FutureWarning)] == []
    with (tmp_path / "through" / "logs" / "version_0" / "metrics.csv").open() as stream:
        errors = [float(row["val_mae"]) for row in csv.DictReader(stream) if row["val_mae"]]
    assert errors[-1] < 0.8 * errors[0]
    run("broken", 2)
    resumed = run("broken", 4, resume=True)  # dropout draws the same masks, batch norm has the same averages
    assert all(torch.equal(value, resumed[name]) for name, value in through.items())
