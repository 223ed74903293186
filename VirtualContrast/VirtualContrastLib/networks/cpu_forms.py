"""The same network in forms that a CPU computes faster: equal up to rounding of float32.

torch computes most layers of a pix2pixHD near the CPU's peak already, so that only fewer operations help (Winograd) or
other forms of the layers that it computes badly: the last 7x7 convolution to a few channels, whose vectors stay mostly
empty, transposed convolutions of large maps, instance normalization, and 3-D convolutions of few channels, which reach
2 to 8 of 50 billion operations a second on one core where 2-D ones reach 20 to 35. Numbers: Testing/benchmarks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

_TILE = 4  # output pixels a side of a Winograd tile: 36 products for 16 pixels instead of 144
_WINOGRAD_CHANNELS = 256  # below, bringing the tiles into place costs more than the products saved
_SPLIT_CHANNELS = 128
_NARROW_CHANNELS = 48
_FEW_OUTPUTS = 4

# Winograd's F(4, 3) for the points 0, 1, -1, 2, -2 and infinity (Lavin and Gray, CVPR 2016):
# y = A^T [(G g) * (B^T d)] is the correlation of 6 values d with 3 weights g.
_B = (
    (4.0, 0.0, -5.0, 0.0, 1.0, 0.0),
    (0.0, -4.0, -4.0, 1.0, 1.0, 0.0),
    (0.0, 4.0, -4.0, -1.0, 1.0, 0.0),
    (0.0, -2.0, -1.0, 2.0, 1.0, 0.0),
    (0.0, 2.0, -1.0, -2.0, 1.0, 0.0),
    (0.0, 4.0, 0.0, -5.0, 0.0, 1.0),
)
_G = (
    (1 / 4, 0.0, 0.0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0.0, 0.0, 1.0),
)
_A = (
    (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    (0.0, 1.0, -1.0, 2.0, -2.0, 0.0),
    (0.0, 1.0, 1.0, 4.0, 4.0, 0.0),
    (0.0, 1.0, -1.0, 8.0, -8.0, 1.0),
)


def in_cpu_forms(network: nn.Module) -> nn.Module:
    """A copy of `network` for inference with equal, faster layers; weights that are not transformed are shared."""
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    result = copy.deepcopy(network, shared)
    _replace(result, _form_of)
    return result


def in_channels_last(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of `network` with weights of `dtype` and channels last, for inputs that are so too.

    Its instance normalizations keep that order of memory; torch's own turns each map around and back.
    """
    result = copy.deepcopy(network).to(dtype)
    _replace(result, lambda layer: SampleNorm(layer.eps) if _is_plain_norm(layer) else None)
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


def transformed_bytes(network: nn.Module) -> int:
    """Bytes of weights that `in_cpu_forms` adds: Winograd's are four times as large as the originals."""
    return sum(4 * m.weight.numel() * m.weight.element_size() for m in network.modules() if _is_winograd(m))


def _form_of(layer: nn.Module) -> nn.Module | None:
    if _is_plain_norm(layer):
        return PlaneNorm(layer.eps)
    if _is_winograd(layer):
        return WinogradConv(layer)
    if isinstance(layer, nn.Conv2d) and _is_plain(layer) and layer.out_channels <= _FEW_OUTPUTS:
        return FewOutputsConv(layer) if layer.kernel_size[1] >= 5 and layer.padding == (0, 0) else None
    if isinstance(layer, nn.Conv3d) and _is_narrow(layer):
        return StackedConv3d(layer)
    if isinstance(layer, nn.ConvTranspose2d) and _is_doubling(layer) and layer.in_channels >= _SPLIT_CHANNELS:
        return SplitTransposedConv(layer)
    return None


def _is_plain_norm(layer: nn.Module) -> TypeGuard[nn.InstanceNorm2d]:
    return isinstance(layer, nn.InstanceNorm2d) and not layer.affine and not layer.track_running_stats


def _is_plain(conv: nn.Conv2d) -> bool:
    return (conv.stride, conv.dilation, conv.groups, conv.padding_mode) == ((1, 1), (1, 1), 1, "zeros")


def _is_winograd(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        isinstance(layer, nn.Conv2d)
        and _is_plain(layer)
        and layer.kernel_size == (3, 3)
        and layer.padding == (0, 0)
        and min(layer.in_channels, layer.out_channels) >= _WINOGRAD_CHANNELS
    )


def _is_narrow(conv: nn.Conv3d) -> bool:
    plain = (conv.dilation, conv.groups, conv.padding_mode) == ((1, 1, 1), 1, "zeros")
    return plain and not isinstance(conv.padding, str) and max(conv.in_channels, conv.out_channels) <= _NARROW_CHANNELS


def _is_doubling(layer: nn.ConvTranspose2d) -> bool:
    sizes = (layer.kernel_size, layer.stride, layer.padding, layer.output_padding, layer.dilation, layer.groups)
    return sizes == ((3, 3), (2, 2), (1, 1), (1, 1), (1, 1), 1)


class PlaneNorm(nn.Module):
    """Instance normalization without parameters, as layer normalization of each plane."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Zero mean and unit variance of every plane of [n, c, row, column]."""
        return functional.layer_norm(x, x.shape[-2:], eps=self.eps)


class SampleNorm(nn.Module):
    """Instance normalization without parameters, as batch normalization of one sample after the other."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Zero mean and unit variance of every plane of [n, c, row, column]."""
        normed = [functional.batch_norm(one, None, None, training=True, eps=self.eps) for one in x.split(1)]
        return normed[0] if len(normed) == 1 else torch.cat(normed)


class WinogradConv(nn.Module):
    """A 3x3 convolution of stride 1 without padding as 36 matrix products over tiles of 4x4 output pixels."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        a, b, g = (torch.tensor(matrix, dtype=torch.float64) for matrix in (_A, _B, _G))
        to_tile, to_weight, to_pixels = torch.kron(b, b), torch.kron(g, g), torch.kron(a, a)
        weight = conv.weight.detach()
        flat = weight.permute(2, 3, 0, 1).reshape(9, -1)
        self.weight = (to_weight.to(flat) @ flat).view(36, *weight.shape[:2])
        self.to_tile, self.to_pixels = to_tile.to(flat), to_pixels.to(flat)
        self.bias = None if conv.bias is None else conv.bias.detach()[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, c, row, column] to [n, output, row - 2, column - 2]."""
        count, channels, rows, columns = x.shape
        down, across = -(-(rows - 2) // _TILE), -(-(columns - 2) // _TILE)
        side = _TILE + 2
        x = functional.pad(x, (0, across * _TILE + 2 - columns, 0, down * _TILE + 2 - rows))
        tiles = x.unfold(2, side, _TILE).unfold(3, side, _TILE).permute(4, 5, 1, 0, 2, 3).reshape(36, -1)
        products = torch.bmm(self.weight, (self.to_tile @ tiles).view(36, channels, -1))
        outputs = self.weight.shape[1]
        pixels = (self.to_pixels @ products.view(36, -1)).view(_TILE, _TILE, outputs, count, down, across)
        y = pixels.permute(3, 2, 4, 0, 5, 1).reshape(count, outputs, down * _TILE, across * _TILE)
        y = y[..., : rows - 2, : columns - 2]
        return y if self.bias is None else y + self.bias


class FewOutputsConv(nn.Module):
    """A wide convolution to a few channels: one output channel for each column of the kernel, shifted and added."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        weight = conv.weight.detach()
        self.outputs, self.width = weight.shape[0], weight.shape[3]
        self.weight = weight.permute(3, 0, 1, 2).reshape(-1, *weight.shape[1:3], 1).contiguous()
        self.bias = None if conv.bias is None else conv.bias.detach()[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """What the convolution gives, without padding."""
        parts = functional.conv2d(x, self.weight).split(self.outputs, dim=1)
        columns = x.shape[3] - self.width + 1
        y = parts[0][..., :columns].clone()
        for shift, part in enumerate(parts[1:], start=1):
            y += part[..., shift : shift + columns]
        return y if self.bias is None else y + self.bias


class SplitTransposedConv(nn.Module):
    """A transposed 3x3 convolution that doubles the size, as one convolution for each parity of row and column."""

    def __init__(self, conv: nn.ConvTranspose2d) -> None:
        super().__init__()
        weight = conv.weight.detach().transpose(0, 1)
        taps = ([1], [2, 0])  # of the kernel, for even and for odd output rows or columns
        self.parts = [
            (row, column, weight[:, :, taps[row]][..., taps[column]].contiguous())
            for row in (0, 1)
            for column in (0, 1)
        ]
        self.bias = None if conv.bias is None else conv.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, c, row, column] to [n, output, 2 row, 2 column]."""
        rows, columns = x.shape[2:]
        padded = functional.pad(x, (0, 1, 0, 1))
        y = x.new_empty((len(x), self.parts[0][2].shape[0], 2 * rows, 2 * columns))
        for row, column, weight in self.parts:
            seen = padded[:, :, : rows + row, : columns + column]
            y[:, :, row::2, column::2] = functional.conv2d(seen, weight, self.bias)
        return y


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
