"""Trains the lesion segmentation network with nnU-Net's own planner and trainer, in this process.

Everything nnU-Net writes stays below the run's folder. Only the size of the network, the length of the training and the
split are ours: the split keeps all images of a case on one side.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.lesions.subtraction import subtract
from VirtualContrastLib.models.foreign import import_nnunet
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.synthesizer import Synthesizer

from ..console import progress
from ..data.cases import case_folders
from ..recipe import NNUNetRecipe

_DATASET_ID = 501
_DATASET = f"Dataset{_DATASET_ID}_Lesions"
_CONFIGURATION = "3d_fullres"


def train_lesion_net(recipe: NNUNetRecipe, output: Path) -> Path:
    """Train `recipe` into `output` and return the exported model package `<output>/model`.

    Raises InputError where `output` already holds a run, or where synthetic images are wanted without a model.
    """
    if (output / "nnunet" / "results").exists():
        raise InputError(f"{output} already holds a run; choose another folder.")
    _set_environment(output / "nnunet")
    split = write_dataset(recipe, output / "nnunet" / "raw" / _DATASET)
    plans = _plan(recipe)
    preprocessed = output / "nnunet" / "preprocessed" / _DATASET
    (preprocessed / "splits_final.json").write_text(json.dumps([split]), encoding="utf-8")
    results = _train(recipe, plans, preprocessed)
    return _export(recipe, results, output / "model")


def write_dataset(recipe: NNUNetRecipe, folder: Path) -> dict[str, list[str]]:
    """Write the raw nnU-Net dataset; returns the names of its training and validation images.

    A case gives one image set per entry of `data.images`: `<case>_real` with the acquired phases, `<case>_synthetic`
    with the pre-contrast volume and phases synthesized from it.
    """
    synthesizer = _synthesizer(recipe)
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    split: dict[str, list[str]] = {"train": [], "val": []}
    for part, root in (("train", recipe.data.train), ("val", recipe.data.validation)):
        folders = case_folders(Path(root))
        for case in progress(folders, len(folders), f"{part} images"):
            for kind in recipe.data.images:
                name = f"{case.name}_{kind}"
                _write_case(recipe, case, name, folder, synthesizer if kind == "synthetic" else None)
                split[part].append(name)
    description = {
        "channel_names": {str(number): name for number, name in enumerate(recipe.channels)},
        "labels": {"background": 0, "lesion": 1},
        "numTraining": len(split["train"]) + len(split["val"]),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return split


def _synthesizer(recipe: NNUNetRecipe) -> Synthesizer | None:
    if "synthetic" not in recipe.data.images:
        return None
    if recipe.data.synthesis_model is None:
        raise InputError(f"The recipe {recipe.id} trains on synthetic images: set data.synthesis_model.")
    return Synthesizer(load_package(recipe.data.synthesis_model), choose_device("auto"))


def _write_case(recipe: NNUNetRecipe, case: Path, name: str, folder: Path, synthesizer: Synthesizer | None) -> None:
    description = json.loads((case / "case.json").read_text(encoding="utf-8"))
    series = [sitk.ReadImage(str(case / file)) for file in description["images"]]
    if synthesizer is not None:
        series = [series[0], *synthesizer.synthesize(series[0], Events()).phases]
    for number, channel in enumerate(recipe.channels):
        image = sitk.Cast(_channel(channel, series), sitk.sitkFloat32)
        sitk.WriteImage(image, str(folder / "imagesTr" / f"{name}_{number:04d}.nii.gz"))
    lesions = sitk.Cast(sitk.ReadImage(str(case / "lesions.nrrd")) > 0, sitk.sitkUInt8)
    sitk.WriteImage(lesions, str(folder / "labelsTr" / f"{name}.nii.gz"))


def _channel(name: str, series: list[sitk.Image]) -> sitk.Image:
    """The volume that a channel name stands for: `pre`, `phase_N` or `subtraction_N`."""
    if name == "pre":
        return series[0]
    kind, _, number = name.partition("_")
    phase = series[int(number)]
    return subtract(phase, series[0]) if kind == "subtraction" else phase


def _set_environment(folder: Path) -> None:
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str((folder / name).resolve())
        (folder / name).mkdir(parents=True, exist_ok=True)
    os.environ["nnUNet_n_proc_DA"] = "1"
    os.environ["nnUNet_def_n_proc"] = "1"


def _plan(recipe: NNUNetRecipe) -> dict[str, Any]:
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
            self.UNet_max_features_3d = recipe.max_features

    extract_fingerprint_dataset(_DATASET_ID, num_processes=1, verbose=False)
    plans, identifier = plan_experiment_dataset(_DATASET_ID, SizedPlanner, gpu_memory_target_in_gb=recipe.memory_gb)
    preprocess_dataset(_DATASET_ID, identifier, (_CONFIGURATION,), (1,))
    return plans


def _train(recipe: NNUNetRecipe, plans: dict[str, Any], preprocessed: Path) -> Path:
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    # The environment variable 0 means "augment in this process"; planning does not accept it, so it is set only here.
    os.environ["nnUNet_n_proc_DA"] = "0"
    torch.manual_seed(recipe.seed)
    np.random.seed(recipe.seed)
    device = torch.device(choose_device("auto").device)
    dataset = json.loads((preprocessed / "dataset.json").read_text(encoding="utf-8"))
    plans = {**plans, "continue_training": False}
    if recipe.lesions_in_every_patch:
        # A patch without lesion gives its whole Dice for predicting nothing, which a short run may settle for.
        plans["configurations"][_CONFIGURATION]["batch_dice"] = True
    trainer = nnUNetTrainer(plans, _CONFIGURATION, 0, dataset, device)
    if recipe.lesions_in_every_patch:
        trainer.oversample_foreground_percent = 1.0
    trainer.num_epochs = recipe.epochs
    trainer.num_iterations_per_epoch = recipe.iterations_per_epoch
    trainer.num_val_iterations_per_epoch = max(1, recipe.iterations_per_epoch // 10)
    trainer.save_every = 5
    trainer.initialize()
    # nnU-Net trains in float32 on a CPU and chooses by itself on a GPU.
    half = device.type == "cpu" and recipe.precision == "bf16-mixed"
    if half:
        trainer.loss = _in_float32(trainer.loss)
    with half_precision(half):
        trainer.run_training()
    return Path(trainer.output_folder_base)


def half_precision(enabled: bool) -> AbstractContextManager[Any]:
    """bf16 on the CPU for a whole run. With the cache on, the first cast of each weight would serve all later steps."""
    import torch

    return torch.autocast("cpu", torch.bfloat16, enabled=enabled, cache_enabled=False)


def _in_float32(loss: Callable[..., Any]) -> Callable[..., Any]:
    """`loss` of float32 outputs without autocast: lesions are a thousandth of the voxels, too few for bf16 sums."""
    import torch

    def computed(outputs: Any, targets: Any) -> Any:
        with torch.autocast("cpu", enabled=False):
            return loss([o.float() for o in outputs] if isinstance(outputs, list | tuple) else outputs.float(), targets)

    return computed


def _export(recipe: NNUNetRecipe, results: Path, folder: Path) -> Path:
    import_nnunet(
        results,
        folder,
        model_id=recipe.id,
        title=recipe.title,
        channels=recipe.channels,
        options={"minimum_volume_mm3": recipe.minimum_volume_mm3, "tile_step_size": recipe.tile_step_size},
        trained_on_phantoms=recipe.trained_on_phantoms,
        training=recipe.model_dump(mode="json", include={"system", "seed", "data", "epochs", "iterations_per_epoch"}),
        licence=recipe.licence,
        citation=recipe.citation,
    )
    return folder
