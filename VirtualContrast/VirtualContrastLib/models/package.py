"""A model package: a folder (or zip) with model.json, weights.safetensors, LICENSE and MODEL_CARD.md."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import time
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ..events import InputError
from ..files import atomic_folder, sha256_of
from ..networks.architectures import architecture
from . import strict_json
from .card import ArchitectureSpec, InPlane, Inputs, IntensitySpec, Metric, ModelCard, Outputs
from .nnunet_plans import check_plans
from .paths import CARD_NAME, DATASET_NAME, PLANS_NAME, WEIGHTS_NAME, cache_dir, cache_folder
from .zips import check_unpacked_size, opened_zip

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "CARD_NAME",
    "WEIGHTS_NAME",
    "ArchitectureSpec",
    "InPlane",
    "Inputs",
    "IntensitySpec",
    "Metric",
    "ModelCard",
    "ModelPackage",
    "Outputs",
    "cache_dir",
    "load_package",
    "save_package",
]


_UNUSED_S = 30 * 24 * 3600.0


@dataclass(frozen=True)
class ModelPackage:
    """A model on disk.

    Attributes:
        card: Its validated card.
        folder: Folder that holds the files.
    """

    card: ModelCard
    folder: Path

    @property
    def weights_path(self) -> Path:
        """Path of weights.safetensors."""
        return self.folder / WEIGHTS_NAME

    def verify(self) -> None:
        """Check that the package holds the files of its card, each with its SHA-256, and no other.

        Hidden files, as file managers leave them, do not count. An nnU-Net's plans must name nothing but known parts of
        nnU-Net. Raises InputError otherwise.
        """
        self._verify_weights()
        for name in self.card.files:
            self._verified_bytes(name)
        unknown = set(_files_of(self.folder)) - {CARD_NAME, WEIGHTS_NAME, *self.card.files}
        if self.card.files and unknown:
            raise InputError(f"{self.folder} holds {min(unknown)}, which its card does not list; remove it.")
        if self.card.architecture.name == "nnunet":
            self.nnunet_plans()
            self.read_json(DATASET_NAME)

    def nnunet_plans(self) -> dict[str, Any]:
        """plans.json, hashed and checked for what it names; raises InputError."""
        plans = self.read_json(PLANS_NAME)
        check_plans(plans, f"The {PLANS_NAME} of the model '{self.card.id}'")
        return plans

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON object of the package from the very bytes whose SHA-256 is that of the card; raises InputError."""
        return strict_json.read_object(self._verified_bytes(name), self.folder / name)

    def _verified_bytes(self, name: str) -> bytes:
        if name not in self.card.files:
            raise InputError(
                f"The card of the model '{self.card.id}' has no SHA-256 of {name}, as older packages have none; "
                "import or fetch the model again."
            )
        path = _inside(self.folder, name)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"The model file {path} is missing or unreadable; fetch the model again.") from error
        if hashlib.sha256(data).hexdigest() != self.card.files[name]:
            raise InputError(f"The model file {path} does not match the card; remove the model and fetch it again.")
        return data

    def _verify_weights(self) -> None:
        if not self.weights_path.is_file():
            raise InputError(
                f"The model '{self.card.id}' lacks {WEIGHTS_NAME}: looked for {self.weights_path}; "
                "download or import the model again."
            )
        found = sha256_of(self.weights_path)
        if not self.card.weights_sha256 or found != self.card.weights_sha256:
            expected = self.card.weights_sha256 or "none"
            raise InputError(
                f"The weights {self.weights_path} do not match the card (SHA-256 {found[:12]}..., "
                f"{CARD_NAME} says {expected[:12]}...); remove the model and fetch it again."
            )

    def load_state(self) -> dict[str, Tensor]:
        """Weights on the CPU by state-dict key, after `verify`.

        Keys, shapes and kinds of numbers are those of the architecture's network, where it builds one. Raises
        InputError where the file is missing, differs from its hash, or does not fit.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        self.verify()
        try:
            state = load_file(self.weights_path)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{self.weights_path} is not a safetensors file: {error}") from error
        if architecture(self.card.architecture.name).build is not None:
            check_state(state, self.card.architecture.name, self.card.architecture.config, str(self.weights_path))
        return state

    def load_network(self) -> nn.Module:
        """The network of the card with its weights, on the CPU; raises InputError as `load_state`."""
        state = self.load_state()
        network = architecture(self.card.architecture.name).build_network(self.card.architecture.config)
        network.load_state_dict(state, strict=True)
        return network.eval()

    def fold_states(self) -> list[dict[str, Tensor]]:
        """Weights of an nnU-Net package, one state dict per fold in the card's order, without `fold_{n}.`."""
        state = self.load_state()
        prefixes = [f"fold_{fold}." for fold in self.card.architecture.config["folds"]]
        states = [
            {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            for prefix in prefixes
        ]
        if not all(states):
            raise InputError(f"{self.weights_path} lacks one of the folds {prefixes}; import the model again.")
        return states


def check_state(state: Mapping[str, Tensor], name: str, config: Mapping[str, Any], where: str) -> None:
    """Check that `state` holds the weights of a network, without making the network.

    Args:
        state: weights by state-dict key.
        name: id of the network's architecture.
        config: options of the network.
        where: what messages call the weights.

    Raises:
        InputError: names the first keys, shape or kind of numbers that do not fit.
    """
    import torch

    try:
        with torch.device("meta"):
            expected = architecture(name).build_network(config).state_dict()
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
    misfit = f"{where} does not fit the {name} network of its card"
    missing = sorted(set(expected) - set(state))
    unknown = sorted(set(state) - set(expected))
    if missing or unknown:
        raise InputError(f"{misfit}: {len(missing)} keys missing {missing[:3]}, {len(unknown)} unknown {unknown[:3]}.")
    for key, tensor in expected.items():
        if state[key].shape != tensor.shape:
            raise InputError(f"{misfit}: {key} has shape {tuple(state[key].shape)}, expected {tuple(tensor.shape)}.")
        if state[key].is_floating_point() != tensor.is_floating_point():
            raise InputError(f"{misfit}: {key} holds {state[key].dtype}, expected {tensor.dtype}.")


def load_package(path: str | Path) -> ModelPackage:
    """Open a package folder or zip and validate its card; the weights are read and hashed by `load_state`.

    A zip is unpacked once into the user's cache, in a folder named by its SHA-256. Raises InputError.
    """
    path = Path(path)
    if path.is_dir():
        return ModelPackage(_read_card(path / CARD_NAME), path)
    if path.is_file() and path.suffix.lower() == ".zip":
        return load_package(_unpacked(path))
    what = "is neither a folder nor a zip" if path.exists() else "does not exist"
    raise InputError(f"The model package {path} {what}; give a folder with {CARD_NAME} or a zip of one.")


def save_package(
    folder: str | Path,
    card: ModelCard,
    state_dict: Mapping[str, Tensor],
    *,
    model_card_md: str,
    extra_files: Mapping[str, str | bytes] | None = None,
) -> ModelPackage:
    """Write a package atomically; its card carries the SHA-256 of all files written.

    Args:
        folder: Its folder; a package that stands there is replaced.
        card: The card, without hashes.
        state_dict: Weights by name.
        model_card_md: The model card as Markdown.
        extra_files: Contents of further files by name; LICENSE defaults to the card's license.

    Returns:
        The package.

    Raises:
        InputError: The folder holds something other than a package.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and ((folder / CARD_NAME).is_file() or _is_empty(folder))):
        raise InputError(f"{folder} exists and is not a model package; choose another place.")
    with atomic_folder(folder) as staging:
        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state_dict.items()}
        save_file(tensors, staging / WEIGHTS_NAME)
        (staging / WEIGHTS_NAME).chmod(0o644)  # safetensors makes private files
        files = {"LICENSE": card.license + "\n", **(extra_files or {}), "MODEL_CARD.md": model_card_md}
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            _inside(staging, name).write_bytes(data)
        card = write_card(staging, card)
    return ModelPackage(card, folder)


def write_card(folder: Path, card: ModelCard) -> ModelCard:
    """Write `card` into a package folder with the SHA-256 of every other file that lies there; returns that card."""
    hashes = {name: sha256_of(folder / name) for name in _files_of(folder) if name != CARD_NAME}
    card = card.model_copy(update={"weights_sha256": hashes.pop(WEIGHTS_NAME), "files": hashes})
    (folder / CARD_NAME).write_bytes((card.model_dump_json(indent=2) + "\n").encode())
    return card


def _files_of(folder: Path) -> list[str]:
    """Names of all files below `folder` with forward slashes, without hidden ones, in order."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    return sorted(path.as_posix() for path in paths if not path.name.startswith("."))


def _is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


def _read_card(path: Path) -> ModelCard:
    if not path.is_file():
        raise InputError(f"{path.parent} is not a model package: it has no {CARD_NAME}.")
    try:
        return ModelCard.model_validate(strict_json.read_object(path.read_bytes(), path))
    except ValidationError as error:
        raise InputError(f"{path} is not a valid model card: {first_problem(error)}") from error


def first_problem(error: ValidationError) -> str:
    """The first finding of a pydantic error in one line: where, and what."""
    found = error.errors()[0]
    where = ".".join(str(part) for part in found["loc"])
    return f"{where}: {found['msg']}" if where else found["msg"]


def _unpacked(archive: Path) -> Path:
    """Folder of the unpacked zip, unpacking it where that was not done before or was changed since."""
    folder = cache_folder("packages") / sha256_of(archive)
    if _holds_all(folder, archive):
        os.utime(folder)
    else:
        with atomic_folder(folder) as staging:
            _extract(archive, staging)
        _remove_unused(folder.parent)
    if (folder / CARD_NAME).is_file():
        return folder
    inner = [entry for entry in folder.iterdir() if (entry / CARD_NAME).is_file()]
    if len(inner) != 1:
        raise InputError(f"{archive} is not a model package: it has no {CARD_NAME}.")
    return inner[0]


def _remove_unused(packages: Path) -> None:
    """Remove what was unpacked of zips that nobody has used for a month: it takes as much of the disk as they do."""
    for entry in packages.iterdir():
        with contextlib.suppress(OSError):
            if re.fullmatch("[0-9a-f]{64}", entry.name) and time.time() - entry.stat().st_mtime > _UNUSED_S:
                shutil.rmtree(entry)


def forget_unpacked(archive: Path) -> None:
    """Remove what was unpacked of a zip into the user's cache."""
    shutil.rmtree(cache_dir() / "packages" / sha256_of(archive), ignore_errors=True)


def _extract(archive: Path, folder: Path) -> None:
    """Unpack regular files below `folder`; one entry that is a link or would land elsewhere refuses all."""
    with opened_zip(archive) as source:
        entries = [entry for entry in source.infolist() if not entry.is_dir()]
        check_unpacked_size(archive, sum(entry.file_size for entry in entries), folder)
        for entry in entries:
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise InputError(f"{archive} holds a link ({entry.filename}); it is not unpacked.")
            target = _inside(folder, entry.filename)
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open(entry) as stream, target.open("wb") as out:
                shutil.copyfileobj(stream, out, 2**20)


def _holds_all(folder: Path, archive: Path) -> bool:
    """Every file of the zip lies below `folder` as it is in the zip, by size and checksum."""
    if not folder.is_dir():
        return False
    with opened_zip(archive) as source:
        entries = [entry for entry in source.infolist() if not entry.is_dir()]
    return all(_is_entry(_inside(folder, entry.filename), entry) for entry in entries)


def _is_entry(path: Path, entry: zipfile.ZipInfo) -> bool:
    if not path.is_file() or path.stat().st_size != entry.file_size:
        return False
    checksum = 0
    with path.open("rb") as stream:
        while chunk := stream.read(2**20):
            checksum = zlib.crc32(chunk, checksum)
    return checksum == entry.CRC


def _inside(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or any(":" in part for part in parts):
        raise InputError(f"The file name {name!r} would land outside the model package; refused.")
    return folder.joinpath(*parts)
