"""The U-Net baseline of Osuala et al., J. Med. Imaging 2025: subtractions, or phases, from the pre-contrast slice.

Four levels of 64, 128, 256 and 512 channels joined by strided 2x2 convolutions, the first of 1x1 kernels only, batch
normalization and leaky ReLU, dropout at the two deepest levels, transposed convolutions on the way up, a sigmoid at
the end. The paper does not give the convolutions of a level; here they are two. Tensors are [batch, channel, row,
column], float.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from .options import SubtractionUNetOptions

_SLOPE = 0.01
_LEVELS_WITH_DROPOUT = 2


def build_subtraction_unet(config: Mapping[str, Any] | SubtractionUNetOptions) -> SubtractionUNet:
    """Network of the options `config`: `input_nc` and `output_nc` required, the rest as in `SubtractionUNetOptions`.

    Raises ValueError for a missing, unknown or impossible option.
    """
    options = SubtractionUNetOptions.of(config)
    return SubtractionUNet(options)


class SubtractionUNet(nn.Module):
    """Pre-contrast slice in 0..1 to subtraction images (phase less pre-contrast, not below 0), or phases, in 0..1."""

    def __init__(self, options: SubtractionUNetOptions) -> None:
        super().__init__()
        self.predicts = options.predicts
        widths, dropout = options.widths, options.dropout
        depth = len(widths)
        shares = [dropout if level >= depth - _LEVELS_WITH_DROPOUT else 0.0 for level in range(depth)]
        self.stem = _block(options.input_nc, widths[0], kernel=1, dropout=shares[0])
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.encode = nn.ModuleList(_block(w, w, 3, share) for w, share in zip(widths[1:], shares[1:], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in reversed(pairs))
        self.decode = nn.ModuleList(
            _block(2 * w, w, 3, share) for w, share in zip(reversed(widths[:-1]), reversed(shares[:-1]), strict=True)
        )
        self.head = nn.Conv2d(widths[0], options.output_nc, 1)

    def forward(self, pre: Tensor) -> Tensor:
        """Map [batch, input_nc, row, column] to [batch, output_nc, row, column].

        Height and width must be multiples of 2**(levels - 1).
        """
        levels = [self.stem(pre)]
        for down, encode in zip(self.down, self.encode, strict=True):
            levels.append(encode(down(levels[-1])))
        x = levels.pop()
        for up, decode in zip(self.up, self.decode, strict=True):
            x = decode(torch.cat((levels.pop(), up(x)), dim=1))
        return torch.sigmoid(self.head(x))


class PhasesFromUNet(nn.Module):
    """A `SubtractionUNet` as a generator of phases, with pre-contrast and phases in -1..1.

    Where it predicts subtractions, phase = pre + subtraction: of several input channels the middle one is the slice
    itself, and phases end at 1, the top of the network's range.
    """

    def __init__(self, unet: SubtractionUNet) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, pre: Tensor) -> Tensor:
        """Map [batch, input_nc, row, column] to [batch, output_nc, row, column], both in -1..1."""
        pre = (pre + 1) / 2
        phases = self.unet(pre)
        if self.unet.predicts == "subtraction":
            phases = (pre[:, pre.shape[1] // 2, None] + phases).clamp(max=1)
        return phases * 2 - 1


def _block(channels_in: int, channels_out: int, kernel: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (channels_in, channels_out):
        layers += [
            nn.Conv2d(channels, channels_out, kernel, padding=kernel // 2),
            nn.BatchNorm2d(channels_out),
            nn.LeakyReLU(_SLOPE, inplace=True),
        ]
    return nn.Sequential(*layers, *([nn.Dropout(dropout)] if dropout else []))
