"""The iterU-Net's loss terms against numpy and scikit-image."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import nn
from VirtualContrastLib.events import InputError
from VirtualContrastTrainingLib.systems.iter_unet.losses import enhancement_weight, gradient_difference, series_losses
from VirtualContrastTrainingLib.systems.iter_unet.medicalnet import (
    ON_THIS_MACHINE,
    ResNet10Features,
    VolumePerceptual,
    found_perceptual,
    load_perceptual,
)
from VirtualContrastTrainingLib.systems.recipes import load_recipe
from VirtualContrastTrainingLib.training.ssim import volume_ssim


@pytest.fixture
def pair():
    torch.set_num_threads(1)
    rng = np.random.default_rng(3)
    target = rng.normal(size=(2, 3, 16, 18, 20)).cumsum(axis=-1) / 4
    output = target + 0.3 * rng.normal(size=target.shape)
    return torch.tensor(output, dtype=torch.float32), torch.tensor(target, dtype=torch.float32)


def test_gradient_difference_is_the_mean_absolute_difference_of_absolute_steps_over_three_axes(pair):
    a, b = (x.numpy().astype(np.float64) for x in pair)
    expected = sum(np.mean(np.abs(np.abs(np.diff(a, axis=n)) - np.abs(np.diff(b, axis=n)))) for n in (2, 3, 4))
    assert float(gradient_difference(*pair)) == pytest.approx(expected, rel=1e-5)


def test_gradient_difference_ignores_the_sign_of_an_edge():
    volume = torch.randn(1, 1, 8, 8, 8)
    assert float(gradient_difference(volume, 5 - volume)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("width", [4.0, 255.0])
def test_ssim_is_that_of_scikit_image_away_from_the_border(pair, width):
    a, b = (x[:, :1] for x in pair)
    found = volume_ssim(a, b, width)
    for item in range(2):
        _, local = structural_similarity(
            a[item, 0].double().numpy(), b[item, 0].double().numpy(), data_range=width, full=True,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )  # fmt: skip
        inner = local[5:-5, 5:-5, 5:-5]
        assert float(found[item]) == pytest.approx(inner.mean(), abs=2e-5)


def test_a_data_range_of_255_makes_ssim_nearly_inert_on_normalized_volumes(pair):
    a, b = (x[:, :1] for x in pair)
    assert float(1 - volume_ssim(a, b, 4.0).mean()) > 20 * float(1 - volume_ssim(a, b, 255.0).mean())


def test_each_item_has_its_own_data_range(pair):
    a, b = (x[:, :1] for x in pair)
    both = volume_ssim(a, b, torch.tensor([4.0, 9.0]))
    assert float(both[1]) == pytest.approx(float(volume_ssim(a[1:], b[1:], 9.0)[0]), abs=1e-6)


def test_ssim_refuses_volumes_thinner_than_its_window():
    with pytest.raises(ValueError, match="11 voxels"):
        volume_ssim(torch.zeros(1, 1, 8, 20, 20), torch.zeros(1, 1, 8, 20, 20), 1.0)


def test_terms_are_summed_over_phases_and_weighted_as_published(pair):
    output, target = pair
    perceptual = VolumePerceptual(nn.Conv3d(1, 4, 3))
    options = {"data_range": torch.tensor([4.0, 6.0]), "perceptual": perceptual}
    losses = series_losses(output, target, **options)
    single = [
        series_losses(
            output[:, n : n + 1], target[:, n : n + 1], data_range=torch.tensor([4.0, 6.0]), perceptual=perceptual
        )
        for n in range(3)
    ]
    for name in ("L1", "SSIM", "PERCEPTUAL", "GDL", "TOTAL"):
        assert float(losses[name]) == pytest.approx(sum(float(s[name]) for s in single), rel=1e-4)
    l1 = sum(np.abs(output[:, n] - target[:, n]).mean() for n in range(3))
    assert float(losses["L1"]) == pytest.approx(float(l1), rel=1e-5)
    expected = 0.1 * losses["L1"] + losses["SSIM"] + losses["PERCEPTUAL"] + 0.1 * losses["GDL"]
    assert float(losses["TOTAL"]) == pytest.approx(float(expected), rel=1e-6)


def test_equal_series_cost_nothing_and_without_features_there_is_no_perceptual_term(pair):
    losses = series_losses(pair[1], pair[1], data_range=4.0)
    assert "PERCEPTUAL" not in losses
    assert all(abs(float(value)) < 1e-5 for value in losses.values())


def test_gradients_reach_the_output_and_stay_finite_where_features_are_zero(pair):
    output = torch.zeros_like(pair[0]).requires_grad_()
    perceptual = VolumePerceptual(nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU()))
    series_losses(output, pair[1], data_range=4.0, perceptual=perceptual)["TOTAL"].backward()
    assert torch.isfinite(output.grad).all()
    assert output.grad.abs().max() > 0


def test_the_enhancement_weight_is_the_root_of_the_late_change():
    first, last = torch.tensor([1.0, 4.0, 2.0]), torch.tensor([5.0, 0.0, 2.0])
    assert enhancement_weight(first, last).tolist() == [2.0, 2.0, 0.0]


def test_medicalnet_weights_load_from_a_path_with_its_prefix_and_head(tmp_path):
    torch.manual_seed(0)
    network = ResNet10Features()
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    state["module.conv_seg.0.weight"] = torch.zeros(1)
    torch.save({"state_dict": state}, tmp_path / "resnet_10.pth")
    loaded = load_perceptual(tmp_path / "resnet_10.pth").train()
    assert not loaded.features.training
    a, b = torch.randn(1, 1, 16, 24, 16), torch.randn(1, 1, 16, 24, 16)
    assert network.eval()(a).shape == (1, 512, 2, 3, 2)
    assert float(loaded(a, a)) == pytest.approx(0, abs=1e-6)
    # Features of unit length: two of them are at most a squared distance of 4 apart, and 2 where none is negative.
    assert 0 < float(loaded(a, b)) <= 2 + 1e-5
    # Each volume is z-scored: units and offset do not matter.
    assert float(loaded(3 * a + 7, b)) == pytest.approx(float(loaded(a, b)), rel=1e-3)


def test_weights_where_torch_keeps_its_own_switch_the_term_on(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("chung2025-iter-unet-as-published-code", "chung2025-iter-unet-as-published-paper"):
        losses = load_recipe(name).losses
        assert losses.perceptual == 1 and losses.perceptual_weights == ON_THIS_MACHINE
    assert found_perceptual(ON_THIS_MACHINE) is None and found_perceptual(None) is None
    network = ResNet10Features()
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(network.state_dict(), tmp_path / "hub" / "checkpoints" / "resnet_10_23dataset.pth")
    found = found_perceptual(ON_THIS_MACHINE).features.state_dict()
    assert torch.equal(found["conv1.weight"], network.state_dict()["conv1.weight"])


def test_the_feature_network_has_the_names_of_medicalnets_resnet_10():
    names = set(ResNet10Features().state_dict())
    batch_norm = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    expected = {"conv1.weight"} | {f"bn1.{n}" for n in batch_norm}
    for layer in (1, 2, 3, 4):
        for number in (1, 2):
            expected |= {f"layer{layer}.0.conv{number}.weight"}
            expected |= {f"layer{layer}.0.bn{number}.{n}" for n in batch_norm}
        if layer > 1:
            expected |= {f"layer{layer}.0.downsample.0.weight"}
            expected |= {f"layer{layer}.0.downsample.1.{n}" for n in batch_norm}
    assert names == expected


def test_missing_or_wrong_weights_are_said_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match="perceptual_weights: null"):
        load_perceptual(tmp_path / "nothing.pth")
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"conv1\.weight"):
        load_perceptual(tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(InputError, match="not a file of network weights"):
        load_perceptual(tmp_path / "text.pth")
