"""Runs a 2-D generator on stacks of slices: padding, batches, phases, and what to do when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..events import Events, VirtualContrastError
from .backends import Chosen, choose, exact_inference
from .device import DeviceChoice
from .geometry import pad_to_multiple

if TYPE_CHECKING:
    from ..models.card import InPlane

MAX_BATCH = {"cpu": 4, "other": 32}
_CPU_PIXELS_PER_BATCH = 2**18  # larger batches do not make a CPU faster, they only take memory
_BYTES_PER_PIXEL_AND_WIDTH = 80  # activations and workspace; three full-size float32 maps alone are 12
_SHARE_OF_FREE_MEMORY = 0.6


class SliceNetwork:
    """A generator on its device; output channels of the same phase in `channel_phases` are averaged.

    It is computed by the reference way until `settle` has found a faster one.
    """

    def __init__(
        self,
        network: nn.Module,
        choice: DeviceChoice,
        in_plane: InPlane,
        channel_phases: Sequence[int],
    ) -> None:
        self.network = network.eval().to(choice.device)
        self.choice = choice
        self.chosen = Chosen.reference(self.network, choice)
        self._in_plane = in_plane
        self._groups = [
            [c for c, phase in enumerate(channel_phases) if phase == p] for p in sorted(set(channel_phases))
        ]

    def settle(
        self,
        sample: NDArray[np.float32],
        passes: int,
        weights_sha256: str,
        shown: Callable[[Tensor], Tensor] = Tensor.float,
    ) -> None:
        """Choose how the network is computed from now on, by one slice of the study; see `backends.choose`.

        Args:
            sample: the slice [1, channel, row, column], in network range.
            passes: slices still to compute.
            weights_sha256: of the model.
            shown: what is shown of the network's output.
        """
        padded, _ = self._padded(sample)
        self.chosen = choose(self.network, self.choice, padded, passes, weights_sha256, shown)

    def run(self, stack: NDArray[np.float32], events: Events) -> NDArray[np.float32]:
        """Map [n, channel, row, column] to [n, phase, row, column], both in network range.

        Where a GPU's memory runs out the stack is halved, and a single slice goes to the CPU with a warning;
        on the CPU that is VirtualContrastError.
        """
        try:
            return self._forward(stack)
        except torch.OutOfMemoryError:
            pass  # handled below, where the failed tensors are no longer held by the exception
        if len(stack) > 1:
            half = len(stack) // 2
            return np.concatenate([self.run(stack[:half], events), self.run(stack[half:], events)])
        if self.choice.device == "cpu":
            raise VirtualContrastError("There is too little memory for one slice; close other programs.")
        events.warn(
            f"The memory of {self.choice.device} is too small for one slice; continuing on the CPU, more slowly."
        )
        self.choice = DeviceChoice("cpu", "fp32", f"{self.choice.device} ran out of memory.")
        self.network.to("cpu")
        self.chosen = Chosen.reference(self.network, self.choice)
        return self.run(stack, events)

    def batch_size(self, size: tuple[int, ...], width: int) -> int:
        """Slices to give to `run` at once, by their size, the network's base width and free memory."""
        pixels = size[0] * size[1]
        if self.choice.device == "cpu":
            return int(np.clip(_CPU_PIXELS_PER_BATCH // pixels, 1, MAX_BATCH["cpu"]))
        free = (self.choice.free_bytes or 0) * _SHARE_OF_FREE_MEMORY
        return int(np.clip(free // (pixels * width * _BYTES_PER_PIXEL_AND_WIDTH), 1, MAX_BATCH["other"]))

    def _forward(self, stack: NDArray[np.float32]) -> NDArray[np.float32]:
        padded, window = self._padded(stack)
        y = self.chosen.compute(padded)
        with exact_inference(padded.device):
            y = y[..., window[0], window[1]].float()
            if any(len(group) > 1 for group in self._groups):
                y = torch.stack([y[:, group].mean(dim=1) for group in self._groups], dim=1)
            else:
                y = y[:, [channel for group in self._groups for channel in group]]
            return y.cpu().numpy()

    def _padded(self, stack: NDArray[np.float32]) -> tuple[Tensor, tuple[slice, slice]]:
        """The stack on the device, grown to what the network needs, and where the picture lies in it."""
        device = torch.device(self.choice.device)
        with exact_inference(device):
            x = torch.from_numpy(stack.copy(order="C"))
            if device.type == "cuda":  # from pinned memory the copy does not hold up the CPU
                x = x.pin_memory()
            x = x.to(device, non_blocking=device.type == "cuda")
            return pad_to_multiple(x, self._in_plane.pad_multiple, self._in_plane.pad_mode)
