"""Recursive 3-D U-Net that goes from early phases to any number of later ones (Chung et al. 2025, iterU-Net).

Each step sees the pre-contrast volume and the current post-contrast volume and gives the next one. A ConvLSTM at full
resolution carries state from step to step, so that of several acquired phases each is seen; a sinusoidal embedding
gives the network the time of the step. Parameter names and shapes are those of the published system. Volumes are
[batch, 1, k, j, i], series [batch, phase, k, j, i], float, in the units of TI-norm (`synthesis.ti_norm`). Every side
needs at least 16 voxels and one side at least 32; sides need not be multiples of 16.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .options import IterUNetOptions, SingleTimePointOptions, VolumetricOptions, series_options
from .unet_3d import LEVELS, Backbone, UNet3D, check_sides

TIME_CHANNELS = 128

State = tuple[Tensor, Tensor]


def build_series_network(config: Mapping[str, Any]) -> IterUNet | SingleTimePointUNets:
    """The recursive network, or with `recursive` False its baseline; the other options are those of the two builders.

    Raises ValueError for a missing, unknown or impossible option.
    """
    options = series_options(config)
    if isinstance(options, IterUNetOptions):
        return build_iter_unet(options)
    return build_single_time_point_unets(options)


def build_of_card(options: VolumetricOptions) -> IterUNet | SingleTimePointUNets:
    """The network of a model card."""
    return build_series_network(options.network_options)


def build_iter_unet(config: Mapping[str, Any] | IterUNetOptions) -> IterUNet:
    """The recursive network of the options `config`, see `IterUNetOptions`; ValueError for an impossible one."""
    options = IterUNetOptions.of(config)
    return IterUNet(options)


def build_single_time_point_unets(config: Mapping[str, Any] | SingleTimePointOptions) -> SingleTimePointUNets:
    """Baseline of independent 3-D U-Nets, see `SingleTimePointOptions`; ValueError for an impossible option."""
    options = SingleTimePointOptions.of(config)
    return SingleTimePointUNets(options.features, options.time_points)


def time_embedding(t: Tensor) -> Tensor:
    """Sinusoidal embedding [..., 128] of times `t` [...]: 64 sines, then 64 cosines of t * 10000^(-k / 63)."""
    half = TIME_CHANNELS // 2
    k = torch.arange(half, dtype=torch.float32, device=t.device)
    angles = t[..., None].float() * torch.exp(-math.log(10000.0) * k / (half - 1))
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class _ConvLSTM(nn.Module):
    """Convolutional LSTM cell (Shi et al. 2015, without peepholes): one 3x3x3 convolution gives the gates i, f, g, o.

    Written out: c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c').
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2 * channels, 4 * channels, 3, padding=1)

    def forward(self, x: Tensor, state: State | None) -> State:
        """New (h, c), each of the shape of `x`; without a state both start at 0."""
        h, c = state if state is not None else (torch.zeros_like(x), torch.zeros_like(x))
        i, f, g, o = self.conv(torch.cat([x, h], dim=1)).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class IterUNet(Backbone):
    """The recursive network. `times_s` of every mode are seconds after injection of the phases to make, in order.

    Of `times_s` only the number of entries counts unless the network embeds seconds. Without memory states are None.
    """

    def __init__(self, options: IterUNetOptions) -> None:
        features = options.features
        super().__init__(features)
        self.time, self._origin_s, self._unit_s = options.time, options.time_origin_s, options.time_unit_s
        self.conv_lstm = _ConvLSTM(features[0]) if options.memory == "conv_lstm" else None
        if self.time != "none":
            for level in range(LEVELS):
                self.add_module(f"mtp{level}", nn.Linear(TIME_CHANNELS, TIME_CHANNELS))
                self.add_module(f"time_projection{level}", nn.Linear(TIME_CHANNELS, features[level]))

    def step(self, pre: Tensor, post: Tensor, t: Tensor, state: State | None) -> tuple[Tensor, State | None]:
        """One step: the next volume from the last one.

        Args:
            pre: Pre-contrast volume [batch, 1, k, j, i].
            post: The last post-contrast volume, of the same shape.
            t: Scaled time of the step [batch], as `step_times` gives it.
            state: Hidden and cell state of the ConvLSTM; None for zero.

        Returns:
            The next volume [batch, 1, k, j, i] and the new state.
        """
        x, state = self._seen(pre, post, state)
        return post + self.change(x, self._projected(t)), state

    def forward(self, pre: Tensor, acquired: Tensor, times_s: Tensor) -> Tensor:
        """Recursive inference from one or more acquired phases.

        The state sees every acquired phase, as in teacher forcing; the first phase made is a change of the last one.

        Args:
            pre: Pre-contrast volume [batch, 1, k, j, i].
            acquired: Acquired phases [batch, phase, k, j, i], the first post-contrast phase and those after it.
            times_s: Times after injection in seconds [batch, phase] of all phases after the first: the other acquired
                ones, then those to make, any number.

        Returns:
            The series [batch, phase, k, j, i] at the times of `times_s` that follow the acquired phases.

        Raises:
            ValueError: There is no phase to make, or a side is too short for the network's levels.
        """
        check_sides(pre.shape[2:])
        earlier, state = acquired.shape[1] - 1, None
        if times_s.shape[1] <= earlier:
            raise ValueError("Synthesis needs at least one phase to make after the acquired ones.")
        for n in range(earlier):
            state = self._seen(pre, acquired[:, n : n + 1], state)[1]
        return self._recursive(pre, acquired[:, -1:], self.step_times(times_s)[:, earlier:], state)

    def teacher_forced(self, pre: Tensor, real: Tensor, times_s: Tensor) -> tuple[Tensor, State | None]:
        """Warm-up mode: step n starts from the real phase n, not from an output.

        Args:
            pre: Pre-contrast volume [batch, 1, k, j, i].
            real: Acquired phases [batch, phase, k, j, i].
            times_s: Times after injection in seconds [batch, phase].

        Returns:
            The series of the next phases [batch, phase, k, j, i], and the state after the last step.

        Raises:
            ValueError: There is no phase to make, or a side is too short.
        """
        check_sides(pre.shape[2:])
        times, outputs = self.step_times(times_s), []
        state: State | None = None
        for n in range(times.shape[1]):
            output, state = self.step(pre, real[:, n : n + 1], times[:, n], state)
            outputs.append(output)
        if not outputs:
            raise ValueError("Teacher forcing needs at least one phase to make.")
        return torch.cat(outputs, dim=1), state

    def optimization(self, pre: Tensor, real: Tensor, times_s: Tensor, *, carry_state: bool = True) -> Tensor:
        """Second training stage: n teacher-forced steps, then n - 1 recursive ones from the FIRST output.

        The recursive steps make the second and later phases again.

        Args:
            pre: Pre-contrast volume [batch, 1, k, j, i].
            real: Acquired phases [batch, phase, k, j, i].
            times_s: Times after injection in seconds [batch, phase].
            carry_state: Whether the recursive steps continue from the ConvLSTM state of the last teacher-forced step,
                as the published code does; otherwise they start from zero.

        Returns:
            [batch, 2 n - 1, k, j, i]: the phases of `times_s` in order, then all but the first of them once more.
        """
        forced, state = self.teacher_forced(pre, real, times_s)
        if times_s.shape[1] == 1:
            return forced
        later = self.step_times(times_s)[:, 1:]
        recursive = self._recursive(pre, forced[:, :1], later, state if carry_state else None)
        return torch.cat([forced, recursive], dim=1)

    def step_times(self, times_s: Tensor) -> Tensor:
        """What is embedded for phases at `times_s` [batch, phase]: the step counter, or scaled seconds."""
        if self.time == "seconds":
            return (times_s - self._origin_s) / self._unit_s
        return torch.arange(times_s.shape[1], device=times_s.device).expand(times_s.shape)

    def _seen(self, pre: Tensor, post: Tensor, state: State | None) -> tuple[Tensor, State | None]:
        """Features of a step before its time is added, and the state after it; the time does not enter the state."""
        x = self.conv_0(torch.cat([pre, post], dim=1))
        if self.conv_lstm is None:
            return x, None
        state = self.conv_lstm(x, state)
        return state[0], state

    def _recursive(self, pre: Tensor, current: Tensor, times: Tensor, state: State | None) -> Tensor:
        outputs = []
        for n in range(times.shape[1]):
            current, state = self.step(pre, current, times[:, n], state)
            outputs.append(current)
        return torch.cat(outputs, dim=1)

    def _projected(self, t: Tensor) -> list[Tensor | None]:
        """The embedding of `t` [batch] for each level, [batch, channel, 1, 1, 1]."""
        if self.time == "none":
            return [None] * LEVELS
        embedded = time_embedding(t)
        levels: list[Tensor | None] = []
        for level in range(LEVELS):
            hidden = functional.gelu(self.get_submodule(f"mtp{level}")(embedded))
            levels.append(self.get_submodule(f"time_projection{level}")(hidden)[:, :, None, None, None])
        return levels


class SingleTimePointUNets(nn.Module):
    """Independent 3-D U-Nets `phase_0`, `phase_1`, ...: each makes one later phase straight from the first one."""

    def __init__(self, features: Sequence[int], time_points: int) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({f"phase_{n}": UNet3D(features) for n in range(time_points)})

    def forward(self, pre: Tensor, first: Tensor, times_s: Tensor) -> Tensor:
        """Each network makes its own phase.

        Args:
            pre: Pre-contrast volume [batch, 1, k, j, i].
            first: First post-contrast phase, of the same shape.
            times_s: Times [batch, phase], an entry for each network; their values are not used.

        Returns:
            The series [batch, phase, k, j, i].

        Raises:
            ValueError: There is more than one acquired phase, or the number of times is not the number of networks.
        """
        if first.shape[1] != 1:
            raise ValueError("single-time-point networks read one acquired phase.")
        if times_s.shape[1] != len(self.networks):
            raise ValueError(f"there are {len(self.networks)} single-time-point networks, not {times_s.shape[1]}.")
        return torch.cat([network(pre, first) for network in self.networks.values()], dim=1)
