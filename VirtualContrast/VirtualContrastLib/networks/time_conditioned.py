"""A generator that gives the slice at any second after injection, in one pass for any number of times.

Encoder, residual blocks and decoder as in pix2pixHD's global generator, with skip connections; they see the
pre-contrast slices alone and run once. What they give are `bases` maps of the slice, which the time turns into a phase:

    phase(t) = pre + g(t) * sum_b w_b(t) * map_b,    g(t) = 1 - exp(-t / rise_s)

The weights w(t) are a small network of a smooth embedding of log(1 + t / rise_s). So phase(0) is the pre-contrast slice
itself and phases change smoothly with time. Uptake curves of tissue form a family of few dimensions, which is why few
maps are enough. Tensors are [batch, channel, row, column], float, in the network range where -1 is black.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .options import TimeConditionedOptions
from .pix2pixhd import ResidualBlock, init_weights

_HARMONICS = 3
_HIDDEN = 32


def build_time_conditioned(config: Mapping[str, Any] | TimeConditionedOptions) -> TimeConditionedGenerator:
    """Network of the options `config`, see `TimeConditionedOptions`; weights are ready for training.

    Raises ValueError for a missing, unknown or impossible option.
    """
    return TimeConditionedGenerator(**TimeConditionedOptions.of(config).model_dump())


class TimeConditionedGenerator(nn.Module):
    """Pre-contrast slices to the phases at given times; `time_range_s` is where it was trained."""

    def __init__(
        self,
        input_nc: int,
        ngf: int,
        n_downsample: int,
        n_blocks: int,
        bases: int,
        rise_s: float,
        time_range_s: tuple[float, float],
    ) -> None:
        super().__init__()
        self.time_range_s = time_range_s
        widths = [ngf * 2**level for level in range(n_downsample + 1)]
        self.stem = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(input_nc, ngf, 7), *_norm_relu(ngf))
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(w, 2 * w, 3, stride=2, padding=1), *_norm_relu(2 * w)) for w in widths[:-1]
        )
        self.blocks = nn.Sequential(*(ResidualBlock(widths[-1]) for _ in range(n_blocks)))
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(2 * w, w, 3, stride=2, padding=1, output_padding=1),
                *_norm_relu(w),
            )
            for w in reversed(widths[:-1])
        )
        # The slices themselves reach the head beside the features, whose scale normalization has removed.
        self.head = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(ngf + input_nc, bases, 7))
        self.time = TimeWeights(bases, rise_s, time_range_s[1])
        init_weights(self)

    def maps(self, slices: Tensor) -> Tensor:
        """The maps [batch, bases, row, column] of `slices` [batch, input_nc, row, column].

        Height and width must be multiples of 2**n_downsample.
        """
        levels = [self.stem(slices)]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = self.blocks(levels.pop())
        for up in self.up:
            x = up(x) + levels.pop()
        return self.head(torch.cat((x, slices), dim=1))

    def forward(self, slices: Tensor, times_s: Tensor) -> Tensor:
        """Phases [batch, time, row, column] at `times_s` [batch, time], seconds after injection, 0 or more.

        The middle channel of `slices` is the slice itself. Values are not clipped to the network range. Time and sum
        are float32 under autocast too: half precision would make steps of neighboring times.
        """
        own = slices[:, slices.shape[1] // 2, None]
        maps = self.maps(slices)
        with torch.autocast(slices.device.type, enabled=False):
            return own.float() + torch.einsum("ntb,nbhw->nthw", self.time(times_s.float()), maps.float())


class TimeWeights(nn.Module):
    """g(t) w(t): one weight a map for each time, 0 at t = 0; infinitely smooth in t."""

    def __init__(self, bases: int, rise_s: float, last_s: float) -> None:
        super().__init__()
        self.rise_s, self.last_s = rise_s, last_s
        self.layers = nn.Sequential(
            nn.Linear(1 + 2 * _HARMONICS, _HIDDEN), nn.SiLU(), nn.Linear(_HIDDEN, _HIDDEN), nn.SiLU()
        )
        self.out = nn.Linear(_HIDDEN, bases)

    def forward(self, times_s: Tensor) -> Tensor:
        """[batch, time] in seconds to [batch, time, bases]."""
        gate = -torch.expm1(-times_s / self.rise_s)
        return gate[..., None] * self.out(self.layers(self.embedding(times_s)))

    def embedding(self, times_s: Tensor) -> Tensor:
        """[..., 7]: s = log(1 + t / rise_s), 0 at injection and 1 at the last trained time; sines and cosines of it.

        Their slowest half wave spans the range, so that no two times in it look alike.
        """
        s = torch.log1p(times_s / self.rise_s) / math.log1p(self.last_s / self.rise_s)
        waves = [f(n * math.pi * s) for n in range(1, _HARMONICS + 1) for f in (torch.sin, torch.cos)]
        return torch.stack([s, *waves], dim=-1)


class AtTimes(nn.Module):
    """A `TimeConditionedGenerator` at fixed times: slices to phases [batch, time, row, column], clipped to -1..1."""

    times_s: Tensor

    def __init__(self, generator: TimeConditionedGenerator, times_s: Sequence[float]) -> None:
        super().__init__()
        self.generator = generator
        self.register_buffer("times_s", torch.tensor([list(times_s)], dtype=torch.float32))

    def forward(self, slices: Tensor) -> Tensor:
        """Map [batch, input_nc, row, column] to [batch, time, row, column]."""
        return self.generator(slices, self.times_s.expand(len(slices), -1)).clamp(-1, 1)


def _norm_relu(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]
