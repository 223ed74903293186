"""The checkpoints and packages of a training run, each as a model package that the engine runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.card import Metric
from VirtualContrastLib.models.package import CARD_NAME, ModelPackage, load_package, save_package

if TYPE_CHECKING:
    from torch import Tensor

    from ..training.recipe import DescribedRecipe

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Candidate:
    """A checkpoint (.ckpt) or a package folder of a run.

    Attributes:
        name: Unique among the run's.
        path: Where it is.
    """

    name: str
    path: Path

    @property
    def folder_name(self) -> str:
        """The name as a folder name."""
        return _UNSAFE.sub("-", self.name)


def find_candidates(run: Path) -> list[Candidate]:
    """Every checkpoint and every synthesis package below `run`, in natural order of their paths, checkpoints first."""
    checkpoints = sorted(run.rglob("*.ckpt"), key=_natural)
    packages = [path.parent for path in sorted(run.rglob(CARD_NAME), key=_natural)]
    packages = [folder for folder in packages if load_package(folder).card.kind == "synthesis"]
    found = [*checkpoints, *packages]
    stems = [path.stem if path.suffix == ".ckpt" else path.name for path in found]
    names = [
        stem if stems.count(stem) == 1 else path.relative_to(run).with_suffix("").as_posix()
        for stem, path in zip(stems, found, strict=True)
    ]
    return [Candidate(name, path) for name, path in zip(names, found, strict=True)]


def package_of(candidate: Candidate, run: Path, folder: Path, recipe: DescribedRecipe | None = None) -> ModelPackage:
    """The candidate as a package; a candidate that is a package stays where it is.

    A checkpoint takes its card from the recipe; or from a package of the same run, whose weights show which of the
    checkpoint's tensors are the network's; or from the recipe.yaml that its run wrote.

    Args:
        candidate: The checkpoint or package.
        run: Folder of the run.
        folder: Where a package is made.
        recipe: The recipe of the run, where it is known.

    Returns:
        The package.

    Raises:
        InputError: Nothing fits the checkpoint.
    """
    if candidate.path.is_dir():
        return load_package(candidate.path)
    if recipe is not None:
        return _exported(recipe, candidate.path, folder)
    tensors = _tensors(candidate.path)
    for place in _packages_near(candidate.path, run):
        package = load_package(place)
        state = _same_network(tensors, package.load_state())
        if state is not None:
            text = f"# {package.card.title}\n\nWeights of the checkpoint {candidate.name} of the run.\n"
            unmeasured = package.card.model_copy(update={"metrics": [], "against_copying": []})
            return save_package(folder, unmeasured, state, model_card_md=text)
    written = _recipe_near(candidate.path, run)
    if written is not None:
        return _exported(written, candidate.path, folder)
    raise InputError(
        f"{candidate.path} fits no model package of its run; name the recipe that it was trained with (--recipe)."
    )


def _exported(recipe: DescribedRecipe, checkpoint: Path, folder: Path) -> ModelPackage:
    from ..systems.registry import packaging_of
    from ..training.packaging import export_checkpoint

    return load_package(export_checkpoint(packaging_of(recipe), recipe, checkpoint, folder))


def _recipe_near(checkpoint: Path, run: Path) -> DescribedRecipe | None:
    """The recipe.yaml in the nearest folder from the checkpoint up to the run's."""
    from ..systems.recipes import load_recipe

    for folder in checkpoint.parents:
        if (folder / "recipe.yaml").is_file():
            return load_recipe(str(folder / "recipe.yaml"), [])
        if folder == run:
            break
    return None


def without_duplicates(packages: Mapping[str, ModelPackage]) -> tuple[dict[str, ModelPackage], dict[str, str]]:
    """Packages of different weights, and for those left out (the last checkpoint's export, say) the one they equal."""
    kept: dict[str, ModelPackage] = {}
    seen: dict[str, str] = {}
    same = {}
    for name, package in packages.items():
        digest = _digest(package.load_state())
        if digest in seen:
            same[name] = seen[digest]
        else:
            seen[digest], kept[name] = name, package
    return kept, same


def export_winner(package: ModelPackage, name: str, metrics: Sequence[Metric], folder: Path) -> Path:
    """Write the chosen package with its figures of merit in the card.

    Args:
        package: The chosen package.
        name: Name of its checkpoint.
        metrics: Its figures of merit.
        folder: Folder of the new package.

    Returns:
        The folder.
    """
    card = package.card.model_copy(update={"metrics": list(metrics)})
    lines = "\n".join(f"- {metric.name}: {metric.value:.6g} ({metric.definition}; {metric.data})" for metric in metrics)
    text = f"# {card.title}\n\nCheckpoint {name}, chosen by SAMe among those of its run.\n\n{lines}\n"
    license = package.folder / "LICENSE"
    extra = {"LICENSE": license.read_bytes()} if license.is_file() else None
    save_package(folder, card, package.load_state(), model_card_md=text, extra_files=extra)
    return folder


def _natural(path: Path) -> list[Any]:
    """Sort key under which epoch 9 comes before epoch 10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.as_posix())]


def _packages_near(checkpoint: Path, run: Path) -> list[Path]:
    """Package folders of the run, those that share most of their path with the checkpoint first."""
    folders = [path.parent for path in sorted(run.rglob(CARD_NAME))]

    def shared(folder: Path) -> int:
        return sum(folder.is_relative_to(parent) for parent in checkpoint.parents)

    return sorted(folders, key=shared, reverse=True)


def _tensors(checkpoint: Path) -> dict[str, Tensor]:
    import pickle

    import torch

    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        return dict(content["state_dict"])
    except (OSError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{checkpoint} is not a checkpoint of a training run ({reason}).") from error


def _same_network(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The checkpoint's tensors that have the names (behind one common prefix) and shapes of `expected`, or None."""
    first = next(iter(expected))
    for prefix in (key.removesuffix(first) for key in tensors if key.endswith(first)):
        own = {key: tensors.get(prefix + key) for key in expected}
        if all(value is not None and value.shape == expected[key].shape for key, value in own.items()):
            return {
                key: value.float() if value.is_floating_point() else value
                for key, value in own.items()
                if value is not None
            }
    return None


def _digest(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(state[key].contiguous().numpy().tobytes())
    return digest.hexdigest()
