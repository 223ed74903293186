"""pix2pixHD generators and multi-scale discriminator (Wang et al., CVPR 2018, arXiv:1711.11585).

Options carry the names of NVIDIA's release, and state-dict keys and shapes equal that release's, so that
checkpoints of its layout load strictly. All tensors are [batch, channel, row, column], float, generator range
-1..1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .options import Pix2PixHDDiscriminatorOptions, Pix2PixHDOptions

MAX_DISCRIMINATOR_CHANNELS = 512


def build_generator(config: Mapping[str, Any] | Pix2PixHDOptions) -> nn.Module:
    """Generator of the options `config`: `input_nc` and `output_nc` required, the rest as in `Pix2PixHDOptions`.

    `netG` is "global" (GlobalGenerator) or "local" (LocalEnhancer). Weights are torch's default
    initialization; apply `init_weights` before training. Raises ValueError for a missing, unknown or
    impossible option.
    """
    options = Pix2PixHDOptions.of(config)
    backbone = {
        "input_nc": options.input_nc,
        "output_nc": options.output_nc,
        "n_downsample": options.n_downsample_global,
        "n_blocks": options.n_blocks_global,
    }
    if options.netG == "global":
        return GlobalGenerator(ngf=options.ngf, **backbone)
    return LocalEnhancer(
        ngf=options.ngf,
        n_local_enhancers=options.n_local_enhancers,
        n_blocks_local=options.n_blocks_local,
        **backbone,
    )


def build_discriminator(config: Mapping[str, Any]) -> nn.Module:
    """Multi-scale discriminator of the options `config`, see `Pix2PixHDDiscriminatorOptions`.

    `input_nc`, the channels of label and image together, is required. Raises ValueError for a missing,
    unknown or impossible option.
    """
    options = Pix2PixHDDiscriminatorOptions.of(config)
    return MultiscaleDiscriminator(
        options.input_nc,
        options.ndf,
        n_layers=options.n_layers_D,
        num_scales=options.num_D,
        use_sigmoid=options.use_sigmoid,
        feature_maps=options.getIntermFeat,
    )


def init_weights(module: nn.Module) -> None:
    """Draw the weights of all (transposed) convolutions below `module` from N(0, 0.02).

    Biases keep torch's default. Uses torch's global random generator: seed it first for a reproducible start.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)


class ResidualBlock(nn.Module):
    """x + (pad, conv 3x3, norm, ReLU, pad, conv 3x3, norm)(x), reflecting; no activation after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            _norm(channels),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            _norm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of `x`."""
        return x + self.conv_block(x)


class GlobalGenerator(nn.Module):
    """Encoder, residual blocks, decoder in one Sequential `model` (paper section 3.2, network G1).

    The output has the input's height and width when both are multiples of 2**n_downsample, else the next
    multiple.
    """

    def __init__(self, input_nc: int, output_nc: int, ngf: int, n_downsample: int, n_blocks: int) -> None:
        super().__init__()
        layers = [*_stem(input_nc, ngf)]
        for level in range(n_downsample):
            layers += _down(ngf * 2**level)
        layers += [ResidualBlock(ngf * 2**n_downsample) for _ in range(n_blocks)]
        for level in reversed(range(n_downsample)):
            layers += _up(ngf * 2**level)
        self.model = nn.Sequential(*layers, *_head(ngf, output_nc))

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, input_nc, row, column] to [batch, output_nc, row, column] in -1..1."""
        return self.model(x)


class LocalEnhancer(nn.Module):
    """Global generator on a down-sampled input, refined by finer networks (paper section 3.2, network G2).

    The global part, `model`, has ngf * 2**n_local_enhancers base channels and lacks its last three modules
    (padding, 7x7 convolution, tanh). Enhancer n adds its own features (`model{n}_1`) to those of the coarser
    level and continues with `model{n}_2`; only the last one maps to output_nc channels.
    """

    def __init__(
        self,
        input_nc: int,
        output_nc: int,
        ngf: int,
        n_downsample: int,
        n_blocks: int,
        n_local_enhancers: int,
        n_blocks_local: int,
    ) -> None:
        super().__init__()
        self.n_local_enhancers = n_local_enhancers
        coarse = GlobalGenerator(input_nc, output_nc, ngf * 2**n_local_enhancers, n_downsample, n_blocks)
        self.model = coarse.model[:-3]
        self.downsample = _pyramid_pool()
        for n in range(1, n_local_enhancers + 1):
            width = ngf * 2 ** (n_local_enhancers - n)
            refine = [ResidualBlock(2 * width) for _ in range(n_blocks_local)]
            head = _head(width, output_nc) if n == n_local_enhancers else []
            self.add_module(f"model{n}_1", nn.Sequential(*_stem(input_nc, width), *_down(width)))
            self.add_module(f"model{n}_2", nn.Sequential(*refine, *_up(width), *head))

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, input_nc, row, column] to [batch, output_nc, row, column] in -1..1.

        Height and width must be multiples of 2**(n_downsample + n_local_enhancers).
        """
        pyramid = [x]
        for _ in range(self.n_local_enhancers):
            pyramid.append(self.downsample(pyramid[-1]))
        features = self.model(pyramid.pop())
        for n in range(1, self.n_local_enhancers + 1):
            own = self.get_submodule(f"model{n}_1")(pyramid.pop())
            features = self.get_submodule(f"model{n}_2")(own + features)
        return features


class MultiscaleDiscriminator(nn.Module):
    """`num_scales` patch discriminators of equal shape on an image pyramid (paper section 3.2).

    The full-resolution image goes to the highest index, `scale{num_scales-1}_layer*`; scale 0 sees the
    smallest. With `feature_maps` False each discriminator is one Sequential `layer{i}`. The release builds
    its sigmoid but drops it when feature maps are on; here `use_sigmoid` always acts, on the last map, and
    owns no weights.
    """

    def __init__(
        self,
        input_nc: int,
        ndf: int,
        *,
        n_layers: int,
        num_scales: int,
        use_sigmoid: bool,
        feature_maps: bool,
    ) -> None:
        super().__init__()
        self.num_scales = num_scales
        self.n_stages = n_layers + 2
        self.feature_maps = feature_maps
        self.downsample = _pyramid_pool()
        for scale in range(num_scales):
            stages = _patch_stages(input_nc, ndf, n_layers, use_sigmoid)
            if feature_maps:
                for j, stage in enumerate(stages):
                    self.add_module(f"scale{scale}_layer{j}", nn.Sequential(*stage))
            else:
                flat = [layer for stage in stages for layer in stage]
                self.add_module(f"layer{scale}", nn.Sequential(*flat))

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Feature maps per scale, full resolution first; the last map of each list holds the patch logits.

        Each inner list has n_layers + 2 maps, or only the logits when `feature_maps` is False.
        """
        result = []
        for scale in reversed(range(self.num_scales)):
            result.append(self._maps_at(scale, x))
            if scale > 0:
                x = self.downsample(x)
        return result

    def _maps_at(self, scale: int, x: Tensor) -> list[Tensor]:
        if not self.feature_maps:
            return [self.get_submodule(f"layer{scale}")(x)]
        maps = []
        for j in range(self.n_stages):
            x = self.get_submodule(f"scale{scale}_layer{j}")(x)
            maps.append(x)
        return maps


def _norm(channels: int) -> nn.Module:
    # Affine-free and without running statistics: it owns no state-dict keys and works on the image at hand.
    return nn.InstanceNorm2d(channels, eps=1e-5, affine=False, track_running_stats=False)


def _stem(input_nc: int, channels: int) -> list[nn.Module]:
    return [nn.ReflectionPad2d(3), nn.Conv2d(input_nc, channels, 7), _norm(channels), nn.ReLU(inplace=True)]


def _down(channels: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)
    return [conv, _norm(2 * channels), nn.ReLU(inplace=True)]


def _up(channels: int) -> list[nn.Module]:
    conv = nn.ConvTranspose2d(2 * channels, channels, 3, stride=2, padding=1, output_padding=1)
    return [conv, _norm(channels), nn.ReLU(inplace=True)]


def _head(channels: int, output_nc: int) -> list[nn.Module]:
    return [nn.ReflectionPad2d(3), nn.Conv2d(channels, output_nc, 7), nn.Tanh()]


def _pyramid_pool() -> nn.AvgPool2d:
    return nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)


def _patch_stages(input_nc: int, ndf: int, n_layers: int, use_sigmoid: bool) -> list[list[nn.Module]]:
    """Stages of one patch discriminator: 4x4 convolutions with padding 2, the last two of stride 1."""
    stages: list[list[nn.Module]] = [
        [nn.Conv2d(input_nc, ndf, 4, stride=2, padding=2), nn.LeakyReLU(0.2, inplace=True)]
    ]
    channels = ndf
    for stage in range(1, n_layers + 1):
        wider = min(2 * channels, MAX_DISCRIMINATOR_CHANNELS)
        conv = nn.Conv2d(channels, wider, 4, stride=2 if stage < n_layers else 1, padding=2)
        stages.append([conv, _norm(wider), nn.LeakyReLU(0.2, inplace=True)])
        channels = wider
    last: list[nn.Module] = [nn.Conv2d(channels, 1, 4, padding=2)]
    stages.append([*last, nn.Sigmoid()] if use_sigmoid else last)
    return stages


def meta_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """State-dict keys and shapes of the generator of `config`, without allocating its weights."""
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in build_generator(config).state_dict().items()}
