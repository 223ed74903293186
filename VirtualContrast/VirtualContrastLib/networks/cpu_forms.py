"""The same network in forms that a CPU computes faster: equal up to rounding.

Two-dimensional layers keep their maps channels last, which oneDNN's convolutions want: otherwise each one reorders its
maps, and a transposed convolution to 512 x 512 pixels takes two to four times as long. What is left of a pix2pixHD then
runs near the CPU's peak, so that only fewer operations help (Winograd) or another form of the last 7x7 convolution to a
few channels, whose vectors stay mostly empty. 3-D convolutions of few channels reach 2 to 8 of 50 billion operations a
second on one core where 2-D ones reach 20 to 35. Numbers: Testing/benchmarks.

Products in bfloat16 are twice as fast. How much their rounding shows is up to the weights, here of a generator of the
published size. Random ones respond to noise as to all else: what one layer rounds away, all later ones carry on, 2 % of
the standard deviation of the maps before the residual blocks, 5 % after, 7 % in the picture, mean difference 3 of 255.
By layers: 1.5 for the first convolution alone, 1.1 for the four that halve the maps, 0.4 for the eighteen of the
residual blocks, which hold four fifths of the work, 0.25 for the transposed ones and 0.1 for the last. So there the
first ones stay in float32, and of the residual blocks the first, whose rounding counts about as much as that of the
third to the last together. After sixty steps of training the filters look for what hangs together, and noise averages
out in them: 0.9 % before and after the residual blocks, 0.4 % in the picture, 0.1 of 255 with all in bfloat16.
"""

from __future__ import annotations

import copy
import enum
from collections.abc import Callable
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

from .winograd import WinogradConv

_WINOGRAD_CHANNELS = 256  # below, bringing the tiles into place costs more than the products saved
_NARROW_CHANNELS = 48
_FEW_OUTPUTS = 4

_Wide = dict[nn.Module, tuple[torch.dtype, int]]


class Bfloat16(enum.Enum):
    """What of a network is computed in bfloat16; the rest is in float32."""

    NOTHING = enum.auto()
    LATER_PRODUCTS = enum.auto()
    ALL = enum.auto()


# By what is in bfloat16: of the convolutions in Winograd's form in order, the last one standing for all later ones, the
# type of the products and the side of a tile; smaller tiles round less.
_WINOGRAD: dict[Bfloat16, tuple[tuple[torch.dtype, int], ...]] = {
    Bfloat16.NOTHING: ((torch.float32, 4),),
    Bfloat16.LATER_PRODUCTS: (*2 * [(torch.float32, 4)], *2 * [(torch.bfloat16, 2)], (torch.bfloat16, 3)),
    Bfloat16.ALL: ((torch.bfloat16, 4),),
}


def in_cpu_forms(network: nn.Module, bfloat16: Bfloat16 = Bfloat16.NOTHING) -> nn.Module:
    """A copy of `network` for inference with equal, faster layers, for inputs that are channels last.

    Args:
        network: with weights in float32; those of layers that stay are shared.
        bfloat16: LATER_PRODUCTS for the products of wide convolutions of stride 1 after the first two, of transposed
            convolutions and of one to a few channels; other convolutions and the sums of residual blocks stay in
            float32. ALL for these too and for the maps between layers: the input must be of that type.

    Returns:
        The copy; its output may be in bfloat16.
    """
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    result = copy.deepcopy(network, shared)
    wide = _wide(result, bfloat16)
    _replace(result, lambda layer: _form_of(layer, bfloat16, wide))
    return result


def in_channels_last(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of `network` with weights of `dtype` and channels last, for inputs that are so too.

    Its instance normalizations keep that order of memory; torch's own turns each map around and back.
    """
    result = copy.deepcopy(network).to(dtype)
    _replace(result, lambda layer: SampleNorm(layer) if _is_sample_norm(layer) else None)
    return result.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _replace(network: nn.Module, form_of: Callable[[nn.Module], nn.Module | None]) -> None:
    forms: dict[int, nn.Module | None] = {}
    for name, layer in list(network.named_modules(remove_duplicate=False)):  # a layer may have several names
        if id(layer) not in forms:
            forms[id(layer)] = form_of(layer)
        form = forms[id(layer)]
        if form is not None:
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, form)


def transformed_bytes(network: nn.Module, bfloat16: Bfloat16 = Bfloat16.NOTHING) -> int:
    """Bytes of weights that `in_cpu_forms` adds: Winograd's are four times as large as the originals in float32."""
    wide = _wide(network, bfloat16)
    growth = {conv: (tile + 2) ** 2 / 9 * kind.itemsize for conv, (kind, tile) in wide.items()}
    convs = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    return round(sum(conv.weight.numel() * growth.get(conv, conv.weight.element_size()) for conv in convs))


def _form_of(layer: nn.Module, bfloat16: Bfloat16, wide: _Wide) -> nn.Module | None:
    first, later = (
        torch.bfloat16 if bfloat16 in kinds else torch.float32
        for kinds in ((Bfloat16.ALL,), (Bfloat16.LATER_PRODUCTS, Bfloat16.ALL))
    )
    if _is_sample_norm(layer):
        return SampleNorm(layer)
    if _is_winograd(layer):
        return WinogradConv(layer, *wide[layer])
    if isinstance(layer, nn.Conv2d) and _has_few_outputs(layer):
        return FewOutputsConv(layer, later)
    if isinstance(layer, nn.ConvTranspose2d):
        return ChannelsLastConv(layer, later)
    if isinstance(layer, nn.Conv2d):
        return ChannelsLastConv(layer, first)
    if isinstance(layer, nn.Conv3d) and _is_narrow(layer):
        return StackedConv3d(layer)
    if first == torch.bfloat16 and not list(layer.children()) and list(layer.parameters()):
        return copy.deepcopy(layer).to(first)
    return None


def _is_sample_norm(layer: nn.Module) -> TypeGuard[nn.InstanceNorm2d]:
    return isinstance(layer, nn.InstanceNorm2d) and not layer.track_running_stats


def _is_plain(conv: nn.Conv2d) -> bool:
    return (conv.stride, conv.dilation, conv.groups, conv.padding_mode) == ((1, 1), (1, 1), 1, "zeros")


def _wide(network: nn.Module, bfloat16: Bfloat16) -> _Wide:
    """Convolutions for Winograd's form, in order: the type of their products and the side of a tile."""
    convs = [layer for layer in network.modules() if _is_winograd(layer)]
    return {conv: _WINOGRAD[bfloat16][min(number, len(_WINOGRAD[bfloat16]) - 1)] for number, conv in enumerate(convs)}


def _is_winograd(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        isinstance(layer, nn.Conv2d)
        and _is_plain(layer)
        and layer.kernel_size == (3, 3)
        and layer.padding == (0, 0)
        and min(layer.in_channels, layer.out_channels) >= _WINOGRAD_CHANNELS
    )


def _has_few_outputs(conv: nn.Conv2d) -> bool:
    wide = conv.kernel_size[1] >= 5 and conv.padding == (0, 0)
    return wide and _is_plain(conv) and conv.out_channels <= _FEW_OUTPUTS


def _is_narrow(conv: nn.Conv3d) -> bool:
    plain = (conv.dilation, conv.groups, conv.padding_mode) == ((1, 1, 1), 1, "zeros")
    return plain and not isinstance(conv.padding, str) and max(conv.in_channels, conv.out_channels) <= _NARROW_CHANNELS


class SampleNorm(nn.Module):
    """Instance normalization as batch normalization of one sample after the other, which keeps the order of memory."""

    def __init__(self, norm: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.eps, self.weight, self.bias = norm.eps, norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        """Zero mean and unit variance of every plane of [n, c, row, column], then weight and bias where it has them."""
        normed = [
            functional.batch_norm(one, None, None, self.weight, self.bias, training=True, eps=self.eps)
            for one in x.split(1)
        ]
        return normed[0] if len(normed) == 1 else torch.cat(normed)


class ChannelsLastConv(nn.Module):
    """A convolution or transposed one with weights of `products`, channels last; its output is of that type."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d, products: torch.dtype) -> None:
        super().__init__()
        self.products = products
        self.conv = copy.deepcopy(conv).to(products).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """What the convolution gives for a map of any type."""
        return self.conv(x.to(self.products))


class FewOutputsConv(nn.Module):
    """A wide convolution to a few channels: one output channel for each column of the kernel, shifted and added."""

    def __init__(self, conv: nn.Conv2d, products: torch.dtype = torch.float32) -> None:
        super().__init__()
        weight = conv.weight.detach()
        self.outputs, self.width = weight.shape[0], weight.shape[3]
        weight = weight.permute(3, 0, 1, 2).reshape(-1, *weight.shape[1:3], 1)
        self.weight = weight.to(products, memory_format=torch.channels_last)
        self.bias = None if conv.bias is None else conv.bias.detach()[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """What the convolution gives, without padding, in float32."""
        parts = functional.conv2d(x.to(self.weight.dtype), self.weight).float().split(self.outputs, dim=1)
        columns = x.shape[3] - self.width + 1
        y = parts[0][..., :columns].clone()
        for shift, part in enumerate(parts[1:], start=1):
            y += part[..., shift : shift + columns]
        return y if self.bias is None else y + self.bias


class StackedConv3d(nn.Module):
    """A 3-D convolution as a 2-D one, whose input channels are those of neighboring planes."""

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        weight = conv.weight.detach()
        self.depth = weight.shape[2]
        self.weight = weight.transpose(1, 2).reshape(weight.shape[0], -1, *weight.shape[3:]).contiguous()
        self.bias = None if conv.bias is None else conv.bias.detach()
        self.step, *self.in_plane_stride = conv.stride
        self.pad, *self.in_plane_pad = (int(side) for side in conv.padding)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, c, k, j, i] to what the convolution gives."""
        count, _, planes = x.shape[:3]
        padded = functional.pad(x, (0, 0, 0, 0, self.pad, self.pad)).transpose(1, 2)
        last = planes + 2 * self.pad - self.depth + 1
        stacked = torch.cat([padded[:, k : k + last : self.step] for k in range(self.depth)], dim=2)
        y = functional.conv2d(
            stacked.flatten(0, 1), self.weight, self.bias, stride=self.in_plane_stride, padding=self.in_plane_pad
        )
        return y.unflatten(0, (count, -1)).transpose(1, 2).contiguous()
