"""nnU-Net's own planner and trainer in this process, fold by fold, each step kept once it is finished.

Everything lies below one folder with nnU-Net's `raw`, `preprocessed` and `results`. Only the width of the network, the
length of the training and the split are this library's. A killed fold continues from nnU-Net's last checkpoint, without
its place in the random numbers: it ends close to an unbroken run, not equal to it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from VirtualContrastLib.events import CancelledError, InputError, VirtualContrastError
from VirtualContrastLib.files import atomic_file, sha256_of
from VirtualContrastLib.models.import_checkpoint import import_nnunet
from VirtualContrastLib.models.package import ModelPackage
from VirtualContrastLib.models.safe_torch_load import load_nnunet
from VirtualContrastLib.synthesis.device import choose_device

from ...training.checkpoints import DivergedError
from ...training.run_files import STOP, Progress
from .recipe import NNUNetRecipe

_DATASET_ID = 501
_DATASET = f"Dataset{_DATASET_ID}_Lesions"
_FINAL = "checkpoint_final.pth"
_LATEST = "checkpoint_latest.pth"
_DONE = "preprocessing_done.json"
_PLANS = "nnUNetPlans.json"
_PROCESSES = max(1, min(8, (os.cpu_count() or 1) // 2))
_AUGMENTATION = max(1, min(12, (os.cpu_count() or 1) - 1))


def raw_folder(folder: Path) -> Path:
    """Where the data set's `dataset.json` (and images, if it names none) belongs."""
    return folder / "raw" / _DATASET


def plan_and_preprocess(
    recipe: NNUNetRecipe, folder: Path, splits: Sequence[Mapping[str, Sequence[str]]], plans_of: Path | None = None
) -> None:
    """Let nnU-Net plan a network of the recipe's width and preprocess a data set.

    It is kept where it was done for the same images, splits and sizes.

    Args:
        recipe: The recipe.
        folder: Folder of the data set.
        splits: Names of the images to train and to validate on, one mapping per fold.
        plans_of: Folder of a planned data set whose plans are taken, so that its networks can be trained on here; None
            to make own ones.
    """
    preprocessed = folder / "preprocessed" / _DATASET
    sizes = {"base_features": recipe.base_features, "max_features": recipe.max_features, "gb": recipe.memory_gb}
    content: dict[str, Any] = {"configuration": recipe.configuration, "sizes": sizes, "splits": splits}
    plans = None if plans_of is None else plans_of / "preprocessed" / _DATASET / _PLANS
    if plans is not None:
        content["plans"] = sha256_of(plans)
    wanted = json.dumps(content)
    if (preprocessed / _DONE).is_file() and (preprocessed / _DONE).read_text(encoding="utf-8") == wanted:
        return
    with _nnunet_in(folder, augmentation_processes=1):
        _plan(recipe, plans)
    (preprocessed / "splits_final.json").write_text(json.dumps(splits), encoding="utf-8")
    (preprocessed / _DONE).write_text(wanted, encoding="utf-8")


def finished_folds(recipe: NNUNetRecipe, folder: Path) -> list[int]:
    """Numbers of the folds in `folder` that are trained to the end by a recipe."""
    return sorted(int(path.parent.name[5:]) for path in _results(recipe, folder).glob(f"fold_*/{_FINAL}"))


def trained_fold(recipe: NNUNetRecipe, folder: Path, fold: int) -> Path | None:
    """The checkpoint of a fold that is trained to the end.

    Args:
        recipe: The recipe.
        folder: Folder of the data set.
        fold: Number of the fold, from 0.

    Returns:
        The file; None where the fold is not finished.
    """
    path = _results(recipe, folder) / f"fold_{fold}" / _FINAL
    return path if path.is_file() else None


def train_fold(
    recipe: NNUNetRecipe,
    folder: Path,
    fold: int,
    *,
    run: Path | None = None,
    max_minutes: float | None = None,
    pretrained: Path | None = None,
) -> bool:
    """Train one fold of a preprocessed data set. A finished fold is kept; a started one continues from nnU-Net's last
    checkpoint.

    Args:
        recipe: The recipe.
        folder: Folder of the data set.
        fold: Number of the fold, from 0.
        run: Folder in which it can be watched and stopped, see `run_files`.
        max_minutes: Time after which it ends with the current epoch, with a checkpoint.
        pretrained: Checkpoint of a network of the same plans, whose weights but for the last layers it starts from, as
            nnU-Net's own `-pretrained_weights`; None for random ones.

    Returns:
        Whether it is finished.

    Raises:
        DivergedError: The loss is not finite.
        CancelledError: It was stopped.
    """
    place = _results(recipe, folder) / f"fold_{fold}"
    if (place / _FINAL).is_file():
        return True
    device = choose_device("auto").device
    # On a CPU the network itself needs the cores: 0 means "augment in this process" (planning does not accept it).
    workers = _AUGMENTATION if device.startswith("cuda") else 0
    with _nnunet_in(folder, augmentation_processes=workers):
        trainer = _trainer(recipe, folder, fold, device, resume=(place / _LATEST).is_file(), pretrained=pretrained)
        _save_whole(trainer)
        _watch_loss(trainer)
        _watch_epochs(trainer, run, max_minutes)
        # nnU-Net trains in float32 on a CPU and chooses by itself on a GPU.
        half = trainer.device.type == "cpu" and recipe.precision == "bf16-mixed"
        if half:
            trainer.loss = _in_float32(trainer.loss)
        try:
            with half_precision(half), contextlib.suppress(_TimeIsUpError):
                trainer.run_training()
        finally:
            _end_workers(trainer)
    return (place / _FINAL).is_file()


def export_folds(
    recipe: NNUNetRecipe,
    folder: Path,
    package: Path,
    *,
    model_id: str,
    title: str,
    channels: Sequence[str],
    options: Mapping[str, Any],
    training: Mapping[str, Any],
    trained_on_phantoms: bool,
) -> ModelPackage:
    """A model package of all finished folds, or of the last checkpoint of a single one that is not finished.

    Several folds are an ensemble.

    Args:
        recipe: The recipe.
        folder: Folder of the data set.
        package: Folder of the package.
        model_id: Id of the model.
        title: Title of the model.
        channels: What each input channel is, as `import_nnunet` takes it.
        options: Options of `LesionNet`.
        training: Added to what the recipe says of the training.
        trained_on_phantoms: Whether the training images were simulated.

    Returns:
        The package.
    """
    described = recipe.model_dump(mode="json", include={"system", "seed", "epochs", "iterations_per_epoch"})
    return import_nnunet(
        _results(recipe, folder),
        package,
        model_id=model_id,
        title=title,
        channels=channels,
        options=options,
        checkpoint=_FINAL if finished_folds(recipe, folder) else _LATEST,
        trained_on_phantoms=trained_on_phantoms,
        training={**described, **training},
        license=recipe.license,
        citation=recipe.citation,
    )


def half_precision(enabled: bool) -> AbstractContextManager[Any]:
    """bf16 on the CPU for a whole run. With the cache on, the first cast of each weight would serve all later steps."""
    import torch

    return torch.autocast("cpu", torch.bfloat16, enabled=enabled, cache_enabled=False)


class _TimeIsUpError(Exception):
    """Leaves nnU-Net's loop between two epochs."""


def _results(recipe: NNUNetRecipe, folder: Path) -> Path:
    return folder / "results" / _DATASET / f"nnUNetTrainer__nnUNetPlans__{recipe.configuration}"


@contextlib.contextmanager
def _nnunet_in(folder: Path, *, augmentation_processes: int) -> Iterator[None]:
    """nnU-Net's environment for `folder`; what it prints goes to standard error, standard output is the command's."""
    changed = {f"nnUNet_{name}": str((folder / name).resolve()) for name in ("raw", "preprocessed", "results")}
    changed |= {"nnUNet_n_proc_DA": str(augmentation_processes), "nnUNet_def_n_proc": str(_PROCESSES)}
    for name in ("raw", "preprocessed", "results"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _plan(recipe: NNUNetRecipe, plans: Path | None) -> None:
    """Plan, or take the file `plans`, and preprocess."""
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprint_dataset,
        plan_experiment_dataset,
        preprocess_dataset,
    )

    class SizedPlanner(ExperimentPlanner):
        """nnU-Net's planner for a network of the recipe's width."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.UNet_base_num_features = recipe.base_features
            self.UNet_max_features_2d = self.UNet_max_features_3d = recipe.max_features

    extract_fingerprint_dataset(_DATASET_ID, num_processes=_PROCESSES, clean=True, verbose=False)
    if plans is None:
        plan_experiment_dataset(_DATASET_ID, SizedPlanner, gpu_memory_target_in_gb=recipe.memory_gb)
    else:
        preprocessed = Path(os.environ["nnUNet_preprocessed"]) / _DATASET
        shutil.copy(plans, preprocessed / _PLANS)
        shutil.copy(Path(os.environ["nnUNet_raw"]) / _DATASET / "dataset.json", preprocessed)  # as the planner does
    preprocess_dataset(_DATASET_ID, Path(_PLANS).stem, (recipe.configuration,), (_PROCESSES,))


def _trainer(
    recipe: NNUNetRecipe, folder: Path, fold: int, device: str, *, resume: bool, pretrained: Path | None = None
) -> Any:
    """nnU-Net's trainer of one fold, with the weights of its last checkpoint where it continues, else `pretrained`."""
    import torch
    from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    preprocessed = folder / "preprocessed" / _DATASET
    # Another seed after a resume: the first epochs' patches would come again otherwise.
    seed = recipe.seed + fold + (int(time.time()) if resume else 0)
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    plans = json.loads((preprocessed / _PLANS).read_text(encoding="utf-8"))
    plans["continue_training"] = resume
    if recipe.lesions_in_every_patch:
        # A patch without lesion gives its whole Dice for predicting nothing, which a short run may settle for.
        plans["configurations"][recipe.configuration]["batch_dice"] = True
    dataset = json.loads((preprocessed / "dataset.json").read_text(encoding="utf-8"))
    trainer = nnUNetTrainer(plans, recipe.configuration, fold, dataset, torch.device(device))
    if recipe.lesions_in_every_patch:
        trainer.oversample_foreground_percent = 1.0
    trainer.num_epochs = recipe.epochs
    trainer.num_iterations_per_epoch = recipe.iterations_per_epoch
    trainer.num_val_iterations_per_epoch = max(1, recipe.iterations_per_epoch // 5)
    trainer.save_every = max(1, min(50, recipe.epochs // 20))
    trainer.initialize()
    if resume:
        _load_latest(trainer, _results(recipe, folder) / f"fold_{fold}" / _LATEST)
    elif pretrained is not None:
        load_nnunet(pretrained)  # as for the last checkpoint
        try:
            load_pretrained_weights(trainer.network, str(pretrained))
        except AssertionError as error:
            raise InputError(
                f"The checkpoint {pretrained} is of another network than the plans in {folder}."
            ) from error
    return trainer


def _end_workers(trainer: Any) -> None:
    """Nothing after a training that ran to its end, where nnU-Net does it itself."""
    for loader in (trainer.dataloader_train, trainer.dataloader_val):
        finish = getattr(loader, "_finish", None)
        if finish is not None:
            finish()


def _load_latest(trainer: Any, path: Path) -> None:
    load_nnunet(path)  # nnU-Net itself would unpickle anything: refuse a file that holds more than a checkpoint does
    try:
        trainer.load_checkpoint(str(path))
    except (RuntimeError, KeyError) as error:
        raise InputError(f"The checkpoint {path} is of another network; delete it to start the fold again.") from error


def _save_whole(trainer: Any) -> None:
    """Write checkpoints beside the old file and rename, so that a killed or failed write leaves the old one."""
    save = trainer.save_checkpoint

    def saved(filename: str) -> None:
        try:
            with atomic_file(Path(filename)) as partial:
                save(str(partial))
        except (OSError, RuntimeError) as error:  # torch reports a full disk by either
            raise VirtualContrastError(
                f"The checkpoint {filename} could not be written (is the disk full?); the one before it is kept."
            ) from error

    trainer.save_checkpoint = saved


def _watch_loss(trainer: Any) -> None:
    """Raise before weights of an epoch whose loss is not finite are saved."""
    end_of_training = trainer.on_train_epoch_end

    def checked(outputs: list[dict[str, Any]]) -> None:
        if not all(np.isfinite(output["loss"]).all() for output in outputs):
            raise DivergedError(
                f"Training diverged: the loss is not finite at epoch {trainer.current_epoch + 1}; the last good "
                "checkpoint is kept, continue from it with another seed, or start again with a smaller network."
            )
        end_of_training(outputs)

    trainer.on_train_epoch_end = checked


def _watch_epochs(trainer: Any, run: Path | None, max_minutes: float | None) -> None:
    """After each epoch report how far the run is, and leave the loop with a checkpoint when it is time or asked to."""
    end_of_epoch, started = trainer.on_epoch_end, time.monotonic()
    first = trainer.current_epoch

    def checked() -> None:
        end_of_epoch()
        done, seconds = trainer.current_epoch, time.monotonic() - started
        left = trainer.num_epochs - done
        if run is not None:
            steps, a_epoch = trainer.num_iterations_per_epoch, seconds / (done - first)
            Progress("", done, trainer.num_epochs, steps, steps, left * a_epoch, str(trainer.device)).write(run)
        asked = run is not None and (run / STOP).exists()
        if left == 0 or not (asked or (max_minutes is not None and seconds >= 60 * max_minutes)):
            return
        latest = Path(trainer.output_folder) / _LATEST
        trainer.current_epoch -= 1  # nnU-Net stores the number after the one it holds
        trainer.save_checkpoint(str(latest))
        if asked and run is not None:
            (run / STOP).unlink(missing_ok=True)
            raise CancelledError(f"Stopped; the checkpoint {latest} is kept, continue from it with --resume.")
        raise _TimeIsUpError

    if run is not None:
        (run / STOP).unlink(missing_ok=True)  # a stop that was meant for an earlier start does not count
    trainer.on_epoch_end = checked


def _in_float32(loss: Callable[..., Any]) -> Callable[..., Any]:
    """`loss` of float32 outputs without autocast: lesions are a thousandth of the voxels, too few for bf16 sums."""
    import torch

    def computed(outputs: Any, targets: Any) -> Any:
        with torch.autocast("cpu", enabled=False):
            return loss([o.float() for o in outputs] if isinstance(outputs, list | tuple) else outputs.float(), targets)

    return computed
