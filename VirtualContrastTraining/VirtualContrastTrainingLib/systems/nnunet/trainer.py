"""Trains the lesion segmentation network of a recipe with nnU-Net's own planner and trainer.

The split keeps all images of a case on one side. Every step of a run is kept when it is finished, so that a killed run
continues with `--resume`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import SimpleITK as sitk
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.lesions.subtraction import subtract
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.synthesizer import Synthesizer

from ...console import progress
from ...data.cases import case_folders
from ...training.options import RunOptions
from ...training.recipe import write_recipe
from .folds import export_folds, plan_and_preprocess, raw_folder, train_fold
from .recipe import NNUNetRecipe

_SPLIT = "split.json"


def train(recipe: NNUNetRecipe, output: Path, options: RunOptions) -> Path:
    """Train a recipe of nnU-Net.

    A resumed run continues from nnU-Net's last checkpoint; it ends close to an unbroken one, not with the same bits.

    Args:
        recipe: The recipe.
        output: Folder of the run.
        options: Time limit and precision, and whether to resume.

    Returns:
        The exported model package `<output>/model`.

    Raises:
        InputError: Several processes are asked for, `output` already holds a run, or none to resume, or synthetic
            images are wanted without a model.
    """
    if options.devices * options.num_nodes > 1:
        raise InputError("nnU-Net recipes train in one process; leave --devices and --num-nodes out.")
    if options.precision is not None:
        recipe = recipe.model_copy(update={"precision": options.precision})
    place = output / "nnunet"
    if options.resume and not raw_folder(place).is_dir():
        raise InputError(f"{output} holds no nnU-Net run to resume; leave --resume out to start one.")
    if not options.resume and place.exists():
        raise InputError(f"{output} already holds a run; give --resume to continue it, or another folder.")
    split = _dataset(recipe, raw_folder(place))
    write_recipe(recipe, output / "recipe.yaml")
    plan_and_preprocess(recipe, place, [split])
    train_fold(recipe, place, 0, run=output, max_minutes=options.max_minutes)
    export_folds(
        recipe,
        place,
        output / "model",
        model_id=recipe.id,
        title=recipe.title,
        channels=recipe.channels,
        options={"minimum_volume_mm3": recipe.minimum_volume_mm3, "tile_step_size": recipe.tile_step_size},
        training={"data": recipe.data.model_dump(mode="json")},
        trained_on_phantoms=recipe.trained_on_phantoms,
    )
    return output / "model"


def _dataset(recipe: NNUNetRecipe, folder: Path) -> dict[str, list[str]]:
    """The split of the data set in `folder`, which is written unless it is there whole."""
    if (folder / _SPLIT).is_file():
        return json.loads((folder / _SPLIT).read_text(encoding="utf-8"))
    shutil.rmtree(folder, ignore_errors=True)
    split = write_dataset(recipe, folder)
    (folder / _SPLIT).write_text(json.dumps(split), encoding="utf-8")
    return split


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
