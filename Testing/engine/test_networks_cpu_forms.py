"""Layers in forms that a CPU computes faster give what the layers give, for every shape a network may meet."""

import copy

import pytest
import torch
from torch import nn
from VirtualContrastLib.networks import cpu_forms
from VirtualContrastLib.networks.cpu_forms import (
    FewOutputsConv,
    PlaneNorm,
    SampleNorm,
    SplitTransposedConv,
    StackedConv3d,
    WinogradConv,
    in_channels_last,
    in_cpu_forms,
    transformed_bytes,
)
from VirtualContrastLib.networks.pix2pixhd import build_generator


def agree(layer, form, x, tolerance=2e-5):
    with torch.inference_mode():
        expected, found = copy.deepcopy(layer).double()(x.double()), form(x)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < tolerance


@pytest.mark.parametrize("size", [(6, 6), (7, 9), (10, 3), (18, 18)])
@pytest.mark.parametrize("bias", [True, False])
def test_winograd_convolution_of_any_size_is_the_convolution(size, bias):
    conv = nn.Conv2d(8, 5, 3, bias=bias)
    agree(conv, WinogradConv(conv), torch.randn(2, 8, *size))


@pytest.mark.parametrize("size", [(7, 7), (9, 12)])
@pytest.mark.parametrize("kernel", [(7, 7), (3, 5)])
def test_convolution_to_few_channels(size, kernel):
    conv = nn.Conv2d(6, 3, kernel)
    agree(conv, FewOutputsConv(conv), torch.randn(2, 6, *size))


@pytest.mark.parametrize("size", [(1, 1), (4, 7)])
def test_transposed_convolution_by_parity(size):
    conv = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1)
    agree(conv, SplitTransposedConv(conv), torch.randn(2, 6, *size))


@pytest.mark.parametrize(
    "kernel, stride, padding", [(3, 1, 1), (3, 2, 1), ((1, 3, 3), (1, 2, 2), (0, 1, 1)), (1, 1, 0)]
)
@pytest.mark.parametrize("size", [(4, 6, 7), (5, 5, 3)])
def test_3d_convolution_of_stacked_planes(kernel, stride, padding, size):
    conv = nn.Conv3d(4, 3, kernel, stride, padding)
    agree(conv, StackedConv3d(conv), torch.randn(2, 4, *size))


def test_normalization_of_planes_is_instance_normalization():
    agree(nn.InstanceNorm2d(4), PlaneNorm(1e-5), 5 + 3 * torch.randn(2, 4, 9, 7))


@pytest.mark.parametrize("count", [1, 3])
def test_normalization_of_samples_is_instance_normalization_and_keeps_the_order_of_memory(count):
    x = (5 + 3 * torch.randn(count, 4, 9, 7)).to(memory_format=torch.channels_last)
    agree(nn.InstanceNorm2d(4), SampleNorm(1e-5), x)
    assert SampleNorm(1e-5)(x).is_contiguous(memory_format=torch.channels_last)


def test_a_generator_in_channels_last_keeps_its_output_and_its_own_layers():
    torch.manual_seed(0)
    network = build_generator(
        {"input_nc": 3, "output_nc": 3, "ngf": 8, "n_downsample_global": 2, "n_blocks_global": 2}
    ).eval()
    fast = in_channels_last(network, torch.float32)
    kinds = [type(layer) for layer in fast.modules()]
    assert SampleNorm in kinds and nn.InstanceNorm2d not in kinds
    assert nn.InstanceNorm2d in [type(layer) for layer in network.modules()]
    agree(network, fast, torch.rand(2, 3, 32, 40) * 2 - 1)


def test_a_whole_generator_keeps_its_output_and_its_own_layers(monkeypatch):
    monkeypatch.setattr(cpu_forms, "_WINOGRAD_CHANNELS", 8)
    monkeypatch.setattr(cpu_forms, "_SPLIT_CHANNELS", 8)
    torch.manual_seed(0)
    network = build_generator(
        {"input_nc": 3, "output_nc": 3, "ngf": 8, "n_downsample_global": 2, "n_blocks_global": 2}
    ).eval()
    before = copy.deepcopy(network.state_dict())
    fast = in_cpu_forms(network)
    kinds = [type(layer) for layer in fast.modules()]
    assert kinds.count(WinogradConv) == 4
    assert kinds.count(SplitTransposedConv) == 2
    assert kinds.count(FewOutputsConv) == 1
    assert nn.InstanceNorm2d not in kinds
    assert fast.model[1].weight is network.model[1].weight  # what stays as it is is not stored twice
    agree(network, fast, torch.rand(2, 3, 32, 40) * 2 - 1)
    after = network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert transformed_bytes(network) == 4 * 4 * 4 * 32 * 32 * 9


def test_layers_with_other_options_stay():
    network = nn.Sequential(
        nn.Conv2d(512, 512, 3, stride=2),
        nn.Conv2d(512, 512, 3, padding=1),
        nn.InstanceNorm2d(512, affine=True),
        nn.ConvTranspose2d(512, 512, 2, stride=2),
    )
    assert [type(layer) for layer in in_cpu_forms(network)] == [type(layer) for layer in network]


def test_a_layer_of_two_names_is_replaced_under_both():
    """nnU-Net's blocks hold each convolution as an attribute and in the list that they run."""
    network = nn.Module()
    network.conv = nn.Conv3d(2, 3, 3, padding=1)
    network.all_modules = nn.Sequential(network.conv, nn.ReLU())
    fast = in_cpu_forms(network)
    assert isinstance(fast.conv, StackedConv3d)
    assert fast.all_modules[0] is fast.conv
    assert isinstance(network.conv, nn.Conv3d)
