"""3-D U-Net that predicts a change of one volume: the backbone of the iterU-Net and its single-time-point baseline.

Parameter names and shapes are those of the published system (a MONAI BasicUNet's). Volumes are [batch, 1, k, j, i].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 5
MIN_SIDE = 16
MIN_LONGEST_SIDE = 32


class _ConvNormAct(nn.Module):
    """Convolution 3x3x3, then `adn`: affine instance normalization and LeakyReLU(0.1)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.adn = nn.Sequential()
        self.adn.add_module("N", nn.InstanceNorm3d(outputs, affine=True))
        self.adn.add_module("A", nn.LeakyReLU(0.1))

    def forward(self, x: Tensor) -> Tensor:
        return self.adn(self.conv(x))


class _TwoConv(nn.Sequential):
    """Two convolution blocks `conv_0` and `conv_1`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.add_module("conv_0", _ConvNormAct(inputs, outputs))
        self.add_module("conv_1", _ConvNormAct(outputs, outputs))


class _Down(nn.Module):
    """Max-pool by 2, then two convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convs = _TwoConv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(functional.max_pool3d(x, 2))


class _UpCat(nn.Module):
    """Transposed convolution by 2, repeated edge where the skip is larger by one, skip in front, two convolutions."""

    def __init__(self, inputs: int, skip: int, outputs: int, *, halve: bool) -> None:
        super().__init__()
        raised = inputs // 2 if halve else inputs
        self.upsample = nn.Sequential()
        self.upsample.add_module("deconv", nn.ConvTranspose3d(inputs, raised, 2, stride=2))
        self.convs = _TwoConv(skip + raised, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.upsample(x)
        missing = [have - got for have, got in zip(skip.shape[2:], x.shape[2:], strict=True)]
        if any(missing):
            x = functional.pad(x, (0, missing[2], 0, missing[1], 0, missing[0]), mode="replicate")
        return self.convs(torch.cat([skip, x], dim=1))


class Backbone(nn.Module):
    """The layers of the U-Net, without the order in which a subclass calls them. Two channels in, one out."""

    def __init__(self, features: Sequence[int]) -> None:
        super().__init__()
        f = features
        self.conv_0 = _TwoConv(2, f[0])
        self.down_1 = _Down(f[0], f[1])
        self.down_2 = _Down(f[1], f[2])
        self.down_3 = _Down(f[2], f[3])
        self.down_4 = _Down(f[3], f[4])
        self.upcat_4 = _UpCat(f[4], f[3], f[3], halve=True)
        self.upcat_3 = _UpCat(f[3], f[2], f[2], halve=True)
        self.upcat_2 = _UpCat(f[2], f[1], f[1], halve=True)
        self.upcat_1 = _UpCat(f[1], f[0], f[5], halve=False)
        self.final_conv = nn.Conv3d(f[5], 1, 1)

    def change(self, x: Tensor, added: Sequence[Tensor | None]) -> Tensor:
        """The rest of the network after `conv_0`; `added` are [batch, channel, 1, 1, 1] per level, or None."""
        skips = [_plus(x, added[0])]
        for level, down in enumerate((self.down_1, self.down_2, self.down_3, self.down_4), start=1):
            skips.append(_plus(down(skips[-1]), added[level]))
        x = skips.pop()
        for level, up in ((3, self.upcat_4), (2, self.upcat_3), (1, self.upcat_2), (0, self.upcat_1)):
            x = _plus(up(x, skips[level]), added[level])
        return self.final_conv(x)


class UNet3D(Backbone):
    """The U-Net with a residual: pre-contrast and first post-contrast volume in, a later post-contrast volume out."""

    def forward(self, pre: Tensor, post: Tensor) -> Tensor:
        """`post` plus the change that the network predicts; all [batch, 1, k, j, i]."""
        check_sides(pre.shape[2:])
        return post + self.change(self.conv_0(torch.cat([pre, post], dim=1)), [None] * LEVELS)


def check_sides(sides: Sequence[int]) -> None:
    """Raise ValueError where a volume is too small for four halvings and instance normalization."""
    if min(sides) < MIN_SIDE or max(sides) < MIN_LONGEST_SIDE:
        raise ValueError(
            f"a volume of {' x '.join(map(str, sides))} voxels is too small: every side needs {MIN_SIDE}, "
            f"one of them {MIN_LONGEST_SIDE}."
        )


def _plus(x: Tensor, added: Tensor | None) -> Tensor:
    return x if added is None else x + added
