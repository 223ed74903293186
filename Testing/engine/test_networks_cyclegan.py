"""The CycleGAN networks of both descriptions."""

import pytest
import torch
from torch import nn
from VirtualContrastLib.networks.cyclegan import build_discriminator, build_generator, init_weights, meta_shapes


def layers(network, kind):
    return [module for module in network.modules() if isinstance(module, kind)]


@pytest.mark.parametrize("config", [{}, {"ngf": 8, "affine_norm": True, "padding": "zero", "n_blocks": 2}])
def test_the_generator_keeps_size_and_range(config):
    torch.manual_seed(0)
    network = build_generator({"ngf": 4, **config})
    x = torch.randn(2, 1, 36, 64)
    with torch.no_grad():
        y = network(x)
    assert y.shape == x.shape
    assert y.abs().max() <= 1


def test_the_papers_generator_has_its_layers():
    network = build_generator({})
    convs = layers(network, nn.Conv2d)
    assert [(c.out_channels, c.kernel_size[0], c.stride[0]) for c in convs[:3]] == [
        (64, 7, 1),
        (128, 3, 2),
        (256, 3, 2),
    ]
    assert len(convs) == 1 + 2 + 2 * 9 + 1
    assert [c.out_channels for c in layers(network, nn.ConvTranspose2d)] == [128, 64]
    assert isinstance(network.model[-1], nn.Tanh)
    assert len(layers(network, nn.ReflectionPad2d)) == 2 * 9 + 2
    weights = sum(p.numel() for p in network.parameters())
    # 1-channel ResNet-9 of Zhu et al. (11,378,179 parameters with 3 channels in and out, biases included).
    assert weights == 11_378_179 - 2 * 2 * 64 * 49 - 2


def test_affine_norms_own_two_numbers_a_channel():
    plain, affine = meta_shapes({}), meta_shapes({"affine_norm": True})
    assert set(plain) < set(affine)
    extra = sum(shape[0] for name, shape in affine.items() if name not in plain)
    assert extra == 2 * (64 + 128 + 256 + 18 * 256 + 128 + 64)


@pytest.mark.parametrize(
    ("layout", "channels", "patches"), [("paper", [64, 128, 256, 1], 15), ("ancestor", [64, 128, 256, 512, 1], 14)]
)
def test_the_discriminator_judges_patches_with_probabilities(layout, channels, patches):
    network = build_discriminator({"layout": layout})
    assert [c.out_channels for c in layers(network, nn.Conv2d)] == channels
    normed = [isinstance(after, nn.InstanceNorm2d) for after in list(network.model)[1::3]]
    assert normed[0] == (layout == "paper") and sum(isinstance(m, nn.InstanceNorm2d) for m in network.model) == 3
    judged = network(torch.randn(1, 1, 128, 128))
    assert judged.shape == (1, 1, patches, patches)
    assert 0 <= judged.min() <= judged.max() <= 1


def test_a_pixel_far_away_does_not_reach_a_patch():
    """The receptive field of three strided and one plain 4x4 convolution is 46 pixels, without the norms' reach."""
    network = build_discriminator({"ndf": 4})
    without_norms = nn.Sequential(*[m for m in network.model if not isinstance(m, nn.InstanceNorm2d)])
    x = torch.randn(1, 1, 128, 128, requires_grad=True)
    without_norms(x)[0, 0, 7, 7].backward()
    reached = x.grad[0, 0].abs().sum(dim=0).nonzero()
    assert int(reached.max() - reached.min()) + 1 == 46


def test_initial_weights_have_the_published_spread():
    torch.manual_seed(0)
    network = build_generator({"ngf": 16})
    init_weights(network)
    weights = network.model[16].block[1].weight
    assert weights.std().item() == pytest.approx(0.02, rel=0.05)
    assert not network.model[16].block[1].bias.any()


@pytest.mark.parametrize("config", [{"ngf": 0}, {"widths": 3}, {"padding": "same"}, {"n_blocks": 2.5}])
def test_impossible_generator_options_are_refused(config):
    with pytest.raises(ValueError, match="CycleGAN option"):
        build_generator(config)


def test_an_unknown_discriminator_layout_is_refused():
    with pytest.raises(ValueError, match="layout"):
        build_discriminator({"layout": "pix2pix"})
