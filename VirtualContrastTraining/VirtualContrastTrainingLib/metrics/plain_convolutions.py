"""AlexNet and VGG16 up to their last convolution, run from state dicts with torchvision's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_MEAN = (-0.030, -0.088, -0.188)
_SD = (0.458, 0.448, 0.450)
"""ImageNet's, by channel, in the range -1..1."""


@dataclass(frozen=True)
class Convolution:
    """A convolution that a ReLU follows.

    Attributes:
        index: Its number in torchvision's `features`.
        inputs: Channels in.
        outputs: Channels out.
        kernel: Side of the kernel.
        stride: Step.
        padding: Zeros on each side.
        pool: Side of the maximum pooling of step 2 in front of it, 0 for none.
    """

    index: int
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    pool: int = 0

    @property
    def name(self) -> str:
        """Of its parameters in a state dict."""
        return f"features.{self.index}"


ALEXNET = (
    Convolution(0, 3, 64, kernel=11, stride=4, padding=2),
    Convolution(3, 64, 192, kernel=5, padding=2, pool=3),
    Convolution(6, 192, 384, pool=3),
    Convolution(8, 384, 256),
    Convolution(10, 256, 256),
)
VGG16 = (
    Convolution(0, 3, 64),
    Convolution(2, 64, 64),
    Convolution(5, 64, 128, pool=2),
    Convolution(7, 128, 128),
    Convolution(10, 128, 256, pool=2),
    Convolution(12, 256, 256),
    Convolution(14, 256, 256),
    Convolution(17, 256, 512, pool=2),
    Convolution(19, 512, 512),
    Convolution(21, 512, 512),
    Convolution(24, 512, 512, pool=2),
    Convolution(26, 512, 512),
    Convolution(28, 512, 512),
)


def misfit(layers: tuple[Convolution, ...], state: Mapping[str, torch.Tensor]) -> str:
    """The first convolution of `layers` that a state dict lacks or has in another shape, in words; else empty."""
    for layer in layers:
        found = tuple(state[f"{layer.name}.weight"].shape) if f"{layer.name}.weight" in state else None
        if found != (layer.outputs, layer.inputs, layer.kernel, layer.kernel) or f"{layer.name}.bias" not in state:
            return f"{layer.name}.weight has shape {found}"
    return ""


def activations(
    layers: tuple[Convolution, ...], state: Mapping[str, torch.Tensor], images: torch.Tensor
) -> list[torch.Tensor]:
    """Activations after each ReLU.

    Args:
        layers: The network.
        state: Its parameters, on the device of the images.
        images: Images [n, 3, j, i] in -1..1.

    Returns:
        Of each convolution, [n, channel, row, column].
    """
    import torch.nn.functional as F

    mean, sd = (images.new_tensor(c).view(1, 3, 1, 1) for c in (_MEAN, _SD))
    x, found = (images - mean) / sd, []
    for layer in layers:
        if layer.pool:
            x = F.max_pool2d(x, layer.pool, 2)
        weight, bias = state[f"{layer.name}.weight"], state[f"{layer.name}.bias"]
        x = F.relu(F.conv2d(x, weight, bias, layer.stride, layer.padding))
        found.append(x)
    return found
