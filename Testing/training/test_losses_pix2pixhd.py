"""The pix2pixHD losses against their formulas on tensors small enough to reckon by hand."""

import pytest
import torch
from torch import nn
from VirtualContrastLib.networks.pix2pixhd import build_discriminator, build_generator
from VirtualContrastTrainingLib.systems.pix2pixhd.losses import (
    feature_matching_loss,
    lesion_weighted_l1,
    lsgan_loss,
    step_losses,
    temporal_l1,
)
from VirtualContrastTrainingLib.systems.pix2pixhd.vgg import vgg_features


def test_lsgan_is_summed_over_scales_and_looks_at_the_last_map_only():
    maps = [
        [torch.full((1, 1, 2, 2), 9.0), torch.full((1, 1, 2, 2), 0.5)],
        [torch.zeros(1), torch.tensor([3.0])],
    ]
    assert lsgan_loss(maps, is_real=True) == pytest.approx(0.25 + 4.0)
    assert lsgan_loss(maps, is_real=False) == pytest.approx(0.25 + 9.0)


def test_feature_matching_weighs_eight_maps_by_five_and_leaves_the_logits_out():
    fake = [[torch.full((1,), float(j)) for j in range(5)] for _ in range(2)]
    real = [[torch.zeros(1) for _ in range(5)] for _ in range(2)]
    # The published network: 2 scales of 5 maps, each of the 8 terms weighs 10 * 1/2 * 4/4 = 5.
    assert feature_matching_loss(fake, real) == pytest.approx(5.0 * 2 * (0 + 1 + 2 + 3))


def test_feature_matching_does_not_train_on_the_real_image():
    real = [[torch.ones(1, requires_grad=True), torch.ones(1)]]
    fake = [[torch.zeros(1, requires_grad=True), torch.ones(1)]]
    feature_matching_loss(fake, real).backward()
    assert real[0][0].grad is None
    assert fake[0][0].grad is not None


def test_step_losses_equal_a_plain_recomputation():
    torch.manual_seed(0)
    generator = build_generator(
        {"input_nc": 1, "output_nc": 1, "ngf": 4, "n_downsample_global": 1, "n_blocks_global": 1}
    )
    discriminator = build_discriminator({"input_nc": 2, "ndf": 4, "n_layers_D": 2, "num_D": 2})
    source, target = torch.rand(2, 1, 32, 32) * 2 - 1, torch.rand(2, 1, 32, 32) * 2 - 1
    losses = step_losses(generator, discriminator, source, target, perceptual=lambda a, b: (a - b).abs().mean())
    fake = generator(source)
    on_fake, on_real = (
        discriminator(torch.cat([source, fake], 1)),
        discriminator(torch.cat([source, target], 1)),
    )
    mse = nn.MSELoss()
    expected = {
        "G_GAN": sum(mse(m[-1], torch.ones_like(m[-1])) for m in on_fake),
        "D_fake": sum(mse(m[-1], torch.zeros_like(m[-1])) for m in on_fake),
        "D_real": sum(mse(m[-1], torch.ones_like(m[-1])) for m in on_real),
        "G_GAN_Feat": sum(
            10 * 0.5 * (4 / 3) * (a - b).abs().mean()
            for f, r in zip(on_fake, on_real, strict=True)
            for a, b in zip(f[:-1], r[:-1], strict=True)
        ),
        "G_VGG": 10 * (fake - target).abs().mean(),
    }
    assert set(losses) == set(expected)
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-5)


def test_the_discriminator_loss_does_not_reach_the_generator():
    generator = build_generator(
        {"input_nc": 1, "output_nc": 1, "ngf": 4, "n_downsample_global": 1, "n_blocks_global": 1}
    )
    discriminator = build_discriminator({"input_nc": 2, "ndf": 4, "n_layers_D": 1, "num_D": 1})
    image = torch.rand(1, 1, 16, 16)
    losses = step_losses(generator, discriminator, image, image)
    (losses["D_fake"] + losses["D_real"]).backward()
    assert all(p.grad is None for p in generator.parameters())


def test_lesion_pixels_count_as_often_as_told():
    fake, target = torch.zeros(1, 1, 1, 4), torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])
    lesions = torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])
    assert lesion_weighted_l1(fake, target, lesions, 1.0).item() == pytest.approx(1 / 4)
    assert lesion_weighted_l1(fake, target, lesions, 5.0).item() == pytest.approx(5 / 8)


def test_the_vgg_stack_has_the_layers_of_the_published_slices():
    features = vgg_features()
    assert len(features) == 30
    assert [type(features[i - 1]) for i in (2, 7, 12, 21, 30)] == [nn.ReLU] * 5
    assert [features[i].out_channels for i in (0, 5, 10, 19, 28)] == [64, 128, 256, 512, 512]


def test_the_temporal_term_sees_changes_between_phases_and_not_their_level():
    target = torch.tensor([0.0, 1.0, 3.0]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2)
    nowhere = torch.zeros(1, 1, 2, 2)
    assert temporal_l1(target + 7, target, nowhere, 8.0).item() == pytest.approx(0)
    assert temporal_l1(target * 0, target, nowhere, 8.0).item() == pytest.approx((1 + 2) / 2)
