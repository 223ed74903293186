"""Layers in forms that a CPU computes faster give what the layers give, for every shape a network may meet."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from VirtualContrastLib.networks import cpu_forms
from VirtualContrastLib.networks.cpu_forms import (
    Bfloat16,
    ChannelsLastConv,
    FewOutputsConv,
    SampleNorm,
    StackedConv3d,
    in_channels_last,
    in_cpu_forms,
    transformed_bytes,
)
from VirtualContrastLib.networks.pix2pixhd import build_generator
from VirtualContrastLib.networks.winograd import WinogradConv, matrices
from VirtualContrastLib.synthesis.backends import HIGH_BOUND_255, MEAN_BOUND_255


def small_generator(blocks=2):
    torch.manual_seed(0)
    return build_generator(
        {"input_nc": 3, "output_nc": 3, "ngf": 8, "n_downsample_global": 2, "n_blocks_global": blocks}
    ).eval()


def agree(layer, form, x, tolerance=2e-5):
    with torch.inference_mode():
        expected, found = copy.deepcopy(layer).double()(x.double()), form(x)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < tolerance


@pytest.mark.parametrize("tile", [2, 3, 4])
def test_winograd_matrices_give_the_correlation(tile):
    to_tile, to_weight, to_pixels = matrices(tile)
    rng = np.random.default_rng(0)
    d, g = rng.normal(size=tile + 2), rng.normal(size=3)
    assert to_pixels @ ((to_weight @ g) * (to_tile @ d)) == pytest.approx(np.correlate(d, g, "valid"), abs=1e-12)


@pytest.mark.parametrize("size", [(6, 6), (7, 9), (10, 3), (18, 18)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tile", [2, 3, 4])
@pytest.mark.parametrize("products, tolerance", [(torch.float32, 2e-5), (torch.bfloat16, 0.1)])
def test_winograd_convolution_of_any_size_is_the_convolution(size, bias, tile, products, tolerance):
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 5, 3, bias=bias)
    agree(conv, WinogradConv(conv, products, tile), torch.randn(2, 8, *size), tolerance)


def test_winograd_convolution_keeps_the_type_of_maps():
    conv = nn.Conv2d(8, 5, 3)
    x = torch.randn(2, 8, 7, 9)
    half = WinogradConv(conv, torch.bfloat16, 4)
    with torch.inference_mode():
        assert half(x).dtype == torch.float32
        assert half(x.bfloat16()).dtype == torch.bfloat16
    assert conv.weight.dtype == torch.float32


@pytest.mark.parametrize("tile, percent", [(2, 0.45), (3, 0.75), (4, 1.4)])
def test_what_the_points_of_winograd_convolutions_round_in_bfloat16(tile, percent):
    """Of the standard deviation of the result; with the points 0, 1, -1, 2, -2 a tile of 4 gives 2.9 %."""
    torch.manual_seed(0)
    conv = nn.Conv2d(256, 16, 3, bias=False)
    x = torch.randn(4, 256, 26, 26).relu()
    with torch.inference_mode():
        expected = copy.deepcopy(conv).double()(x.double())
        difference = WinogradConv(conv, torch.bfloat16, tile)(x) - expected
    assert 0.2 < 100 * float(difference.std() / expected.std()) < percent


def test_winograd_convolution_of_small_whole_numbers_is_exact_in_bfloat16():
    """F(2, 3) halves weights twice at most: what bfloat16 holds exactly it computes exactly, where larger tiles err."""
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 3)
    conv.weight.data = 4.0 * torch.randint(-1, 2, conv.weight.shape)
    agree(conv, WinogradConv(conv, torch.bfloat16, 2), torch.randint(-1, 2, (1, 2, 12, 13)).float(), 1e-6)


@pytest.mark.parametrize("size", [(7, 7), (9, 12)])
@pytest.mark.parametrize("kernel", [(7, 7), (3, 5)])
def test_convolution_to_few_channels(size, kernel):
    conv = nn.Conv2d(6, 3, kernel)
    agree(conv, FewOutputsConv(conv), torch.randn(2, 6, *size))


def test_convolution_channels_last_takes_maps_of_any_type():
    torch.manual_seed(0)
    x = torch.randn(2, 6, 4, 7)
    for conv in (nn.Conv2d(6, 4, 3), nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1)):
        agree(conv, ChannelsLastConv(conv, torch.float32), x)
        half = ChannelsLastConv(conv, torch.bfloat16)
        agree(conv, half, x, 0.05)
        assert half(x).dtype == torch.bfloat16 and conv.weight.dtype == torch.float32
        assert ChannelsLastConv(conv, torch.float32)(x.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(
    "kernel, stride, padding", [(3, 1, 1), (3, 2, 1), ((1, 3, 3), (1, 2, 2), (0, 1, 1)), (1, 1, 0)]
)
@pytest.mark.parametrize("size", [(4, 6, 7), (5, 5, 3)])
def test_3d_convolution_of_stacked_planes(kernel, stride, padding, size):
    conv = nn.Conv3d(4, 3, kernel, stride, padding)
    agree(conv, StackedConv3d(conv), torch.randn(2, 4, *size))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("affine", [False, True])
def test_normalization_of_samples_is_instance_normalization_and_keeps_the_order_of_memory(count, affine):
    norm = nn.InstanceNorm2d(4, affine=affine)
    if affine:
        norm.weight.data, norm.bias.data = torch.rand(4) + 0.5, torch.rand(4)
    x = (5 + 3 * torch.randn(count, 4, 9, 7)).to(memory_format=torch.channels_last)
    agree(norm, SampleNorm(norm), x)
    assert SampleNorm(norm)(x).is_contiguous(memory_format=torch.channels_last)


def test_a_generator_in_channels_last_keeps_its_output_and_its_own_layers():
    network = small_generator()
    fast = in_channels_last(network, torch.float32)
    kinds = [type(layer) for layer in fast.modules()]
    assert SampleNorm in kinds and nn.InstanceNorm2d not in kinds
    assert nn.InstanceNorm2d in [type(layer) for layer in network.modules()]
    agree(network, fast, torch.rand(2, 3, 32, 40) * 2 - 1)


def test_a_whole_generator_keeps_its_output_and_its_own_layers(monkeypatch):
    monkeypatch.setattr(cpu_forms, "_WINOGRAD_CHANNELS", 8)
    network = small_generator()
    before = copy.deepcopy(network.state_dict())
    fast = in_cpu_forms(network)
    kinds = [type(layer) for layer in fast.modules()]
    assert kinds.count(WinogradConv) == 4
    assert kinds.count(ChannelsLastConv) == 5
    assert kinds.count(FewOutputsConv) == 1
    assert nn.InstanceNorm2d not in kinds
    agree(network, fast, (torch.rand(2, 3, 32, 40) * 2 - 1).contiguous(memory_format=torch.channels_last))
    after = network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    winograd, others = 4 * 32 * 32 * 9, 9 * (2 * 8 * 16 + 2 * 16 * 32) + 2 * 49 * 3 * 8
    assert transformed_bytes(network) == 4 * (4 * winograd + others)


def test_a_generator_with_bfloat16_products_keeps_its_output_within_the_bounds_of_backends(monkeypatch):
    """The first layers and sums stay in float32: it differs, but less than in bfloat16 throughout."""
    monkeypatch.setattr(cpu_forms, "_WINOGRAD_CHANNELS", 8)
    network = small_generator(blocks=4)
    mixed = in_cpu_forms(network, Bfloat16.LATER_PRODUCTS)
    types = [layer.weight.dtype for layer in mixed.modules() if isinstance(layer, WinogradConv)]
    assert types == 2 * [torch.float32] + 6 * [torch.bfloat16]
    x = (torch.rand(1, 3, 64, 64) * 2 - 1).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = network(x)
        difference, throughout = (
            (fast(x.to(dtype)).float() - expected).abs() * 127.5
            for fast, dtype in (
                (mixed, torch.float32),
                (in_channels_last(network, torch.bfloat16), torch.bfloat16),
            )
        )
    assert 0 < difference.mean() < MEAN_BOUND_255
    assert difference.flatten().quantile(0.999) < HIGH_BOUND_255
    assert difference.mean() < 0.7 * throughout.mean()
    sizes = [transformed_bytes(network, kind) for kind in (Bfloat16.LATER_PRODUCTS, Bfloat16.ALL, Bfloat16.NOTHING)]
    assert sizes == sorted(sizes) and len(set(sizes)) == 3


def test_a_generator_in_bfloat16_has_maps_and_weights_of_that_type_alone(monkeypatch):
    monkeypatch.setattr(cpu_forms, "_WINOGRAD_CHANNELS", 8)
    network = nn.Sequential(nn.BatchNorm2d(3), small_generator()).eval()
    fast = in_cpu_forms(network, Bfloat16.ALL)
    forms = [layer for layer in fast.modules() if isinstance(layer, WinogradConv | FewOutputsConv)]
    assert len(forms) == 5
    assert {layer.weight.dtype for layer in forms} == {torch.bfloat16}
    assert {tensor.dtype for tensor in fast.parameters()} == {torch.bfloat16}
    assert {tensor.dtype for tensor in network.parameters()} == {torch.float32}
    maps = []
    for block in (fast[0], *fast[1].model[:-3]):  # the last convolution adds in float32
        block.register_forward_hook(lambda _, __, output: maps.append(output.dtype))
    x = (torch.rand(1, 3, 64, 64) * 2 - 1).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        difference = (fast(x.bfloat16()).float() - network(x)).abs().mean()
    assert len(maps) > 10 and set(maps) == {torch.bfloat16}
    assert 0 < float(difference) < 0.05


def test_layers_with_other_options_stay():
    network = nn.Sequential(
        nn.Conv2d(512, 512, 3, stride=2),
        nn.Conv2d(512, 512, 3, padding=1),
        nn.InstanceNorm2d(512, track_running_stats=True),
    )
    kinds = [type(layer) for layer in in_cpu_forms(network)]
    assert kinds == [ChannelsLastConv, ChannelsLastConv, nn.InstanceNorm2d]


def test_a_layer_of_two_names_is_replaced_under_both():
    """nnU-Net's blocks hold each convolution as an attribute and in the list that they run."""
    network = nn.Module()
    network.conv = nn.Conv3d(2, 3, 3, padding=1)
    network.all_modules = nn.Sequential(network.conv, nn.ReLU())
    fast = in_cpu_forms(network)
    assert isinstance(fast.conv, StackedConv3d)
    assert fast.all_modules[0] is fast.conv
    assert isinstance(network.conv, nn.Conv3d)
