"""Inception-v3, ResNet-50, AlexNet and VGG16 as feature extractors, from weight files named as torchvision or
RadImageNet name them.

The networks are run straight from their state dict, so nothing but torch is needed. Known files: torchvision's
`inception_v3_google-*.pth` and `resnet50-*.pth`; `pt_inception-2015-12-05-6726825d.pth`, the TensorFlow network of
the original FID (its pooling differs, `fid_pooling`); RadImageNet's `InceptionV3.pt` and `ResNet50.pt`, whose keys
are `backbone.N...` with N the position of the layer; AlexNet and VGG16 of LPIPS (`lpips_weights`), whose distances are
no FID and are not called so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from VirtualContrastLib.events import InputError
from VirtualContrastLib.files import sha256_of

from . import plain_convolutions
from .lpips import load_state

if TYPE_CHECKING:
    import torch

_STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2")
_MIXED = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")
_INCEPTION_ORDER = (*_STEM, *(f"Mixed_{block}" for block in _MIXED))
_RESNET_ORDER = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
FID_WEIGHTS_SHA256 = "6726825d"
"""Start of the hash of the TensorFlow Inception weights that FID was defined on, as in their file name."""


_PLAIN = {"alexnet": plain_convolutions.ALEXNET, "vgg16": plain_convolutions.VGG16}


def distance_names(kind: str) -> tuple[str, str]:
    """What the Frechet and the kernel distance on the features of a kind of network are called.

    FID and KID are those of Inception; the papers call so that of RadImageNet's ResNet-50 too.
    """
    return ("Frechet distance", "kernel distance") if kind in _PLAIN else ("FID", "KID")


class FeatureNetwork:
    """Maps gray slices to vectors of features on one device: 2048, or 512 of VGG16 and 256 of AlexNet."""

    def __init__(
        self, kind: str, state: Mapping[str, torch.Tensor], *, fid_pooling: bool = False, device: str = "cpu"
    ) -> None:
        self.kind, self.device, self.fid_pooling = kind, device, fid_pooling
        self._state = {name: value.to(device) for name, value in state.items()}

    def features(self, slices: np.ndarray) -> np.ndarray:
        """Features [n, dimension], float64, of slices [n, j, i] with values in [-1, 1]: means over the last layer."""
        import torch

        images = torch.from_numpy(np.asarray(slices, dtype=np.float32)).to(self.device)
        with torch.inference_mode():
            x = images[:, None].expand(-1, 3, -1, -1)
            if self.kind in _PLAIN:
                x = plain_convolutions.activations(_PLAIN[self.kind], self._state, x)[-1]
            else:
                x = self._inception(x) if self.kind == "inception" else self._resnet(x)
            return x.mean(dim=(2, 3)).cpu().numpy().astype(np.float64)

    def _normed(self, x: torch.Tensor, name: str, eps: float) -> torch.Tensor:
        import torch.nn.functional as F

        s = self._state
        moments = s[f"{name}.running_mean"], s[f"{name}.running_var"], s[f"{name}.weight"], s[f"{name}.bias"]
        return F.batch_norm(x, *moments, training=False, eps=eps)

    def _conv(self, x: torch.Tensor, name: str, stride: int = 1, *, same: bool = True) -> torch.Tensor:
        """Convolution, batch norm and ReLU of Inception; `same` pads by half the kernel."""
        import torch.nn.functional as F

        weight = self._state[f"{name}.conv.weight"]
        padding = (weight.shape[2] // 2, weight.shape[3] // 2) if same else (0, 0)
        return F.relu(self._normed(F.conv2d(x, weight, None, stride, padding), f"{name}.bn", 1e-3))

    def _chain(self, x: torch.Tensor, block: str, *names: str) -> torch.Tensor:
        for name in names:
            x = self._conv(x, f"{block}.{name}")
        return x

    def _pool(self, x: torch.Tensor, block: str) -> torch.Tensor:
        """Pooling in front of a block's pool branch."""
        import torch.nn.functional as F

        if self.fid_pooling and block == "Mixed_7c":
            return F.max_pool2d(x, 3, 1, 1)
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=not self.fid_pooling)

    def _inception(self, x: torch.Tensor) -> torch.Tensor:
        import torch.nn.functional as F

        x = self._conv(x, "Conv2d_1a_3x3", 2, same=False)
        x = self._conv(x, "Conv2d_2a_3x3", same=False)
        x = F.max_pool2d(self._conv(x, "Conv2d_2b_3x3"), 3, 2)
        x = self._conv(self._conv(x, "Conv2d_3b_1x1"), "Conv2d_4a_3x3", same=False)
        x = F.max_pool2d(x, 3, 2)
        for name in ("5b", "5c", "5d"):
            x = self._block_35(x, f"Mixed_{name}")
        x = self._reduce_to_17(x, "Mixed_6a")
        for name in ("6b", "6c", "6d", "6e"):
            x = self._block_17(x, f"Mixed_{name}")
        x = self._reduce_to_8(x, "Mixed_7a")
        return self._block_8(self._block_8(x, "Mixed_7b"), "Mixed_7c")

    def _block_35(self, x: torch.Tensor, b: str) -> torch.Tensor:
        import torch

        small, middle = self._chain(x, b, "branch1x1"), self._chain(x, b, "branch5x5_1", "branch5x5_2")
        large = self._chain(x, b, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
        return torch.cat([small, middle, large, self._chain(self._pool(x, b), b, "branch_pool")], 1)

    def _reduce_to_17(self, x: torch.Tensor, b: str) -> torch.Tensor:
        import torch
        import torch.nn.functional as F

        double = self._chain(x, b, "branch3x3dbl_1", "branch3x3dbl_2")
        double = self._conv(double, f"{b}.branch3x3dbl_3", 2, same=False)
        return torch.cat([self._conv(x, f"{b}.branch3x3", 2, same=False), double, F.max_pool2d(x, 3, 2)], 1)

    def _block_17(self, x: torch.Tensor, b: str) -> torch.Tensor:
        import torch

        once = self._chain(x, b, *(f"branch7x7_{n}" for n in (1, 2, 3)))
        twice = self._chain(x, b, *(f"branch7x7dbl_{n}" for n in (1, 2, 3, 4, 5)))
        pooled = self._chain(self._pool(x, b), b, "branch_pool")
        return torch.cat([self._chain(x, b, "branch1x1"), once, twice, pooled], 1)

    def _reduce_to_8(self, x: torch.Tensor, b: str) -> torch.Tensor:
        import torch
        import torch.nn.functional as F

        small = self._conv(self._chain(x, b, "branch3x3_1"), f"{b}.branch3x3_2", 2, same=False)
        large = self._chain(x, b, "branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3")
        large = self._conv(large, f"{b}.branch7x7x3_4", 2, same=False)
        return torch.cat([small, large, F.max_pool2d(x, 3, 2)], 1)

    def _block_8(self, x: torch.Tensor, b: str) -> torch.Tensor:
        import torch

        single = self._chain(x, b, "branch3x3_1")
        double = self._chain(x, b, "branch3x3dbl_1", "branch3x3dbl_2")
        parts = [self._chain(x, b, "branch1x1")]
        parts += [self._chain(single, b, f"branch3x3_2{ab}") for ab in "ab"]
        parts += [self._chain(double, b, f"branch3x3dbl_3{ab}") for ab in "ab"]
        return torch.cat([*parts, self._chain(self._pool(x, b), b, "branch_pool")], 1)

    def _resnet(self, x: torch.Tensor) -> torch.Tensor:
        import torch.nn.functional as F

        x = F.conv2d(x, self._state["conv1.weight"], None, 2, 3)
        x = F.max_pool2d(F.relu(self._normed(x, "bn1", 1e-5)), 3, 2, 1)
        for layer, blocks in enumerate((3, 4, 6, 3), start=1):
            for block in range(blocks):
                x = self._bottleneck(x, f"layer{layer}.{block}", 2 if block == 0 and layer > 1 else 1)
        return x

    def _bottleneck(self, x: torch.Tensor, b: str, stride: int) -> torch.Tensor:
        import torch.nn.functional as F

        def step(y: torch.Tensor, conv: str, norm: str, stride: int = 1) -> torch.Tensor:
            weight = self._state[f"{b}.{conv}.weight"]
            return self._normed(F.conv2d(y, weight, None, stride, weight.shape[2] // 2), f"{b}.{norm}", 1e-5)

        y = F.relu(step(F.relu(step(x, "conv1", "bn1")), "conv2", "bn2", stride))
        shortcut = step(x, "downsample.0", "downsample.1", stride) if f"{b}.downsample.0.weight" in self._state else x
        return F.relu(step(y, "conv3", "bn3") + shortcut)


def load_feature_network(path: Path, *, device: str = "cpu") -> FeatureNetwork:
    """Load a feature network; which one shows in its keys, FID's pooling in its file hash.

    Raises InputError where the file is missing, damaged, or of no such network.
    """
    if not path.is_file():
        raise InputError(
            f"There is no weight file {path}; give Inception-v3 or ResNet-50 weights (torchvision or RadImageNet)."
        )
    state = _named(load_state(path))
    for plain, layers in _PLAIN.items():
        if not plain_convolutions.misfit(layers, state):
            return FeatureNetwork(plain, state, device=device)
    kind = "inception" if "Mixed_7c.branch1x1.conv.weight" in state else "resnet50"
    last = "Mixed_7c.branch_pool.conv.weight" if kind == "inception" else "layer4.2.conv3.weight"
    if last not in state:
        raise InputError(f"{path} holds the weights of none of Inception-v3, ResNet-50, AlexNet and VGG16 (no {last}).")
    return FeatureNetwork(kind, state, fid_pooling=sha256_of(path).startswith(FID_WEIGHTS_SHA256), device=device)


def _named(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """State dict under torchvision's names, whether it came so or with `backbone.N` in place of the layer's name."""
    if not any(name.startswith("backbone.") for name in state):
        return dict(state)
    order = _RESNET_ORDER if "backbone.4.0.conv1.weight" in state else _INCEPTION_ORDER
    named = {}
    for name, value in state.items():
        _, position, rest = name.split(".", 2)
        if int(position) < len(order):
            named[f"{order[int(position)]}.{rest}"] = value
    return named
