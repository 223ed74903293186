"""A perceptual distance of volumes on the features of a 3-D network (MedicalNet's ResNet-10, Chen et al. 2019).

The network's parameter names and shapes are those of MedicalNet's release, so that its `resnet_10_23dataset.pth` (or
`resnet_10.pth`) loads from a path or from where torch keeps its own. Nothing is downloaded.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from VirtualContrastLib.events import InputError

from ...metrics.weights import hub_checkpoints

ON_THIS_MACHINE = "medicalnet"
"""In the place of a path: the file where torch keeps its own, without which the term is left out."""
_FILES = ("resnet_10_23dataset.pth", "resnet_10.pth")
_WIDTHS = (64, 128, 256, 512)
_STRIDES = (1, 2, 1, 1)
_DILATIONS = (1, 1, 2, 4)
_EPSILON = 1e-10


class _Block(nn.Module):
    """Residual block of two 3x3x3 convolutions; the shortcut is projected where shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn1 = nn.BatchNorm3d(outputs)
        self.conv2 = nn.Conv3d(outputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm3d(outputs)
        self.downsample = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv3d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm3d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class ResNet10Features(nn.Module):
    """MedicalNet's ResNet-10 without its segmentation head: [batch, 1, k, j, i] to [batch, 512, k/8, j/8, i/8]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(1, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        inputs = 64
        for number, (width, stride, dilation) in enumerate(zip(_WIDTHS, _STRIDES, _DILATIONS, strict=True), start=1):
            self.add_module(f"layer{number}", nn.Sequential(_Block(inputs, width, stride, dilation)))
            inputs = width

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps of the last stage."""
        x = functional.max_pool3d(functional.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        for number in range(1, len(_WIDTHS) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return x


class VolumePerceptual(nn.Module):
    """Distance of two volumes on `features`, any network from [n, 1, k, j, i] to [n, channel, ...].

    Each volume is z-scored, each feature vector scaled to length 1; the squared difference is summed over channels and
    averaged over places.
    """

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> VolumePerceptual:
        """Keep the feature network in evaluation mode: its batch statistics are part of the measure."""
        super().train(mode)
        self.features.eval()
        return self

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean distance, a scalar, of two batches [n, 1, k, j, i]; no gradient flows to `target`."""
        with torch.no_grad():
            wanted = _unit(self.features(_zscore(target)))
        return (_unit(self.features(_zscore(output))) - wanted).square().sum(dim=1).mean()


def found_perceptual(wanted: str | None) -> VolumePerceptual | None:
    """The distance with the weights of a recipe's `perceptual_weights`; None where there are none."""
    if wanted == ON_THIS_MACHINE:
        places = (hub_checkpoints() / name for name in _FILES)
        path = next((path for path in places if path.is_file()), None)
        return None if path is None else load_perceptual(path)
    return load_perceptual(Path(wanted)) if wanted else None


def load_perceptual(weights: Path) -> VolumePerceptual:
    """The perceptual distance with MedicalNet's ResNet-10 weights; raises InputError where they are missing or differ.

    A `module.` prefix and a segmentation head in the file are accepted.
    """
    if not weights.is_file():
        raise InputError(
            f"The weights {weights} of the perceptual term do not exist; give the path of MedicalNet's "
            "resnet_10_23dataset.pth, or train without that term (losses.perceptual_weights: null)."
        )
    try:
        content = torch.load(weights, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"{weights} is not a file of network weights.") from error
    state = content.get("state_dict", content)
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    network = ResNet10Features()
    wanted = network.state_dict()
    wrong = [name for name in wanted if name not in state or state[name].shape != wanted[name].shape]
    if wrong:
        raise InputError(f"{weights} is not MedicalNet's ResNet-10: {wrong[0]} is missing or of another shape.")
    network.load_state_dict({name: state[name] for name in wanted})
    return VolumePerceptual(network)


def _zscore(volumes: Tensor) -> Tensor:
    mean = volumes.mean(dim=(1, 2, 3, 4), keepdim=True)
    sd = volumes.std(dim=(1, 2, 3, 4), keepdim=True)
    return (volumes - mean) / sd.clamp_min(_EPSILON)


def _unit(features: Tensor) -> Tensor:
    # The root of 0 has no finite gradient, and a rectified feature vector may well be all 0.
    return features / (features.square().sum(dim=1, keepdim=True) + _EPSILON).sqrt()
