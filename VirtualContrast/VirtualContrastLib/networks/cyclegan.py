"""CycleGAN networks for contrast-enhanced mammography: ResNet generator and patch discriminator.

Zhu et al., ICCV 2017 (arXiv:1703.10593), with the options of the two descriptions that the published mammography system
rests on. All tensors are [batch, channel, row, column], float, images in -1..1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .options import CycleGANDiscriminatorOptions, CycleGANOptions, MammogramOptions


def build_generator(config: Mapping[str, Any] | CycleGANOptions) -> nn.Module:
    """ResNet generator of the options `config`, see `CycleGANOptions`; ValueError for an impossible option."""
    return ResNetGenerator(**CycleGANOptions.of(config).model_dump())


def build_of_card(options: MammogramOptions) -> nn.Module:
    """The generator of a model card."""
    return build_generator(options.generator)


def build_discriminator(config: Mapping[str, Any]) -> nn.Module:
    """Patch discriminator of the options `config`, see `CycleGANDiscriminatorOptions`; ValueError as above."""
    return PatchDiscriminator(**CycleGANDiscriminatorOptions.of(config).model_dump())


def init_weights(module: nn.Module) -> None:
    """Draw the weights of all (transposed) convolutions below `module` from N(0, 0.02); biases become 0.

    Uses torch's global random generator: seed it first for a reproducible start.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class ResNetGenerator(nn.Module):
    """Pad 3, conv 7x7; two strided convolutions; residual blocks; two transposed convolutions; pad 3, conv 7x7, tanh.

    Instance norm and ReLU follow every convolution but the last one.
    """

    def __init__(self, input_nc: int, output_nc: int, ngf: int, n_blocks: int, affine_norm: bool, padding: str) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), *_normalized(nn.Conv2d(input_nc, ngf, 7), ngf, affine_norm)]
        for width in (2 * ngf, 4 * ngf):
            conv = nn.Conv2d(width // 2, width, 3, stride=2, padding=1)
            layers += _normalized(conv, width, affine_norm)
        layers += [ResidualBlock(4 * ngf, affine_norm, padding) for _ in range(n_blocks)]
        for width in (2 * ngf, ngf):
            up = nn.ConvTranspose2d(2 * width, width, 3, stride=2, padding=1, output_padding=1)
            layers += _normalized(up, width, affine_norm)
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(ngf, output_nc, 7), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, input_nc, row, column] to [batch, output_nc, row, column] in -1..1; sides multiples of 4."""
        return self.model(x)


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), 3x3 convolutions; no activation after the sum."""

    def __init__(self, channels: int, affine_norm: bool, padding: str) -> None:
        super().__init__()
        pad = nn.ReflectionPad2d if padding == "reflect" else nn.ZeroPad2d
        self.block = nn.Sequential(
            pad(1),
            *_normalized(nn.Conv2d(channels, channels, 3), channels, affine_norm),
            pad(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=affine_norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of `x`."""
        return x + self.block(x)


class PatchDiscriminator(nn.Module):
    """Probability that each patch of an image is real."""

    def __init__(self, input_nc: int, ndf: int, layout: str) -> None:
        super().__init__()
        strides = (2, 2, 2, 1) if layout == "ancestor" else (2, 2, 2)
        layers: list[nn.Module] = []
        channels = input_nc
        for number, stride in enumerate(strides):
            width = ndf * 2**number
            layers.append(nn.Conv2d(channels, width, 4, stride=stride, padding=1))
            if number > 0 or layout == "paper":
                layers.append(nn.InstanceNorm2d(width))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            channels = width
        self.model = nn.Sequential(*layers, nn.Conv2d(channels, 1, 4, padding=1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, input_nc, row, column] to [batch, 1, rows of patches, columns of patches] in 0..1."""
        return self.model(x)


def meta_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """State-dict keys and shapes of the generator of `config`, without allocating its weights."""
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in build_generator(config).state_dict().items()}


def _normalized(conv: nn.Module, channels: int, affine: bool) -> list[nn.Module]:
    return [conv, nn.InstanceNorm2d(channels, affine=affine), nn.ReLU(inplace=True)]
