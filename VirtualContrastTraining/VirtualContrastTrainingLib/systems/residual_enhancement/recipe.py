"""Recipe of the residual network's training: everything that decides the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from VirtualContrastLib.models.package import InPlane, Inputs, IntensitySpec, Outputs
from VirtualContrastLib.networks.residual_enhancement import build_residual_enhancement

from ...data.crops import fold_of
from ...data.prepared import read_description
from ...training.recipe import Checkpoints, DescribedRecipe


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CropData(_Strict):
    """Prepared crops (`prepare crops`), and which patients of them this member sees.

    Attributes:
        prepared: Folder of the prepared crops.
        cohorts: Cohorts that are used.
        folds: Folds of the cross-validation.
        fold: The fold that this member never sees; null trains on every patient.
        size: Rows and columns of a training window, in pixels.
        negatives: Share of the windows that show tissue beside the lesion's box alone, where a patient has enough of
            it. There are no studies without contrast among them: from the same pre-contrast image the network would be
            asked for two answers, and would learn their mean.
        workers: Processes that make batches.
    """

    prepared: str
    cohorts: list[str] = Field(min_length=1)
    folds: int = Field(default=3, ge=2)
    fold: int | None = Field(ge=0)
    size: int = Field(default=96, ge=32)
    negatives: float = Field(default=0.0, ge=0, lt=1)
    workers: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _fold_exists(self) -> Self:
        if self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"there are {self.folds} folds, 0 to {self.folds - 1}")
        return self


class EnhancementLosses(_Strict):
    """Weights of the terms of `losses.enhancement_losses`.

    Attributes:
        harm: Weight of the share by which the output is worse than no change.
        lesion: Weight of the relative error over enhancing pixels.
        ranking: Weight of the class-balanced cross-entropy of enhancing pixels.
    """

    harm: float = Field(default=2.0, ge=0)
    lesion: float = Field(default=0.3, ge=0)
    ranking: float = Field(default=0.3, ge=0)


class CosineSchedule(_Strict):
    """AdamW: a linear rise, then a half cosine to zero at the last of `epochs` x `steps`.

    Attributes:
        learning_rate: The highest rate.
        weight_decay: AdamW's weight decay.
        batch_size: Windows of one step over all processes.
        warm_up: Steps of the linear rise.
        epochs: Epochs of the whole run.
        steps: Steps of an epoch.
        average: Share that the running average of the weights keeps in a step.
    """

    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.02, ge=0)
    batch_size: int = Field(default=16, ge=1)
    warm_up: int = Field(default=200, ge=0)
    epochs: int = Field(ge=1)
    steps: int = Field(ge=1)
    average: float = Field(default=0.998, ge=0, lt=1)

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.epochs * self.steps


class ResidualEnhancementRecipe(DescribedRecipe):
    """One member of an ensemble; its package holds the running average of the weights.

    Attributes:
        system: Id of the system.
        initial: A package of this network, by id or path, whose weights the training starts from; of one that joins a
            cross-validation, the member of `data.fold`.
        network: Options as in `networks.residual_enhancement`.
        inputs: What the network reads.
        outputs: Phases that it makes.
        intensity: How input units become network units.
        in_plane: Pixels that it sees.
        data: What it is trained on.
        losses: Weights of the terms.
        schedule: Optimizer, batches and epochs.
        checkpoints: When checkpoints are written.
        precision: Lightning's name of the precision.
    """

    system: Literal["residual_enhancement"]
    initial: str | None = None
    network: dict[str, Any]
    inputs: Inputs
    outputs: Outputs
    intensity: IntensitySpec
    in_plane: InPlane
    data: CropData
    losses: EnhancementLosses = EnhancementLosses()
    schedule: CosineSchedule
    checkpoints: Checkpoints = Checkpoints()
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        with torch.device("meta"):
            build_residual_enhancement(self.network)
        if len(self.outputs.channel_phases) != 2:
            raise ValueError("outputs.channel_phases must be [1, 2]: early and late")
        return self

    def held_out_cases(self) -> list[Path]:
        """Folders of the patients of `data.fold`, in name order; [] where all are trained on."""
        data = self.data
        if data.fold is None:
            return []
        folders = sorted(path.parent for path in Path(data.prepared).glob("*/case.json"))
        mine = [folder for folder in folders if fold_of(folder.name, data.folds) == data.fold]
        return [folder for folder in mine if (read_description(folder) or {}).get("cohort") in data.cohorts]


def smoke_recipe(recipe: ResidualEnhancementRecipe, folder: Path) -> ResidualEnhancementRecipe:
    """The recipe with a small network and two short epochs on six made-up patients, written to `folder`."""
    _write_crops(folder)
    short = {"epochs": 2, "steps": 2, "batch_size": 2, "warm_up": 1}
    data = {"prepared": str(folder), "cohorts": ["made up"], "folds": 2, "fold": 0, "size": 32, "workers": 0}
    return recipe.model_copy(
        update={
            "title": recipe.title + " (smoke test: a few steps on simulated crops, of no use)",
            "trained_on_phantoms": True,
            "initial": None,
            "network": {"widths": [4, 8], "encode": [1, 1], "decode": [1]},
            "data": recipe.data.model_copy(update=data),
            "schedule": recipe.schedule.model_copy(update=short),
        }
    )


def _write_crops(folder: Path) -> None:
    """Six patients of noise with a bright square that enhances."""
    import csv

    import SimpleITK as sitk

    from ...data.crops import find_crops
    from ...data.prepare import prepare

    source = folder / "source"
    source.mkdir(parents=True)
    rng = np.random.default_rng(0)
    fields = ["file", "patient", "cohort", "box_column", "box_row", "box_columns", "box_rows"]
    with (source / "slices.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, fields)
        table.writeheader()
        for n in range(12):
            pre = rng.integers(20, 60, (48, 48))
            lesion = np.zeros((48, 48), int)
            lesion[16:32, 20:34] = 1
            picture = np.stack([pre, pre + 50 * lesion, pre + 40 * lesion], axis=-1).astype(np.uint8)
            sitk.WriteImage(sitk.GetImageFromArray(picture, isVector=True), str(source / f"{n}.png"))
            row = {"file": f"{n}.png", "patient": f"made_up_{n // 2}", "cohort": "made up"}
            table.writerow({**row, **dict(zip(fields[3:], (20, 16, 14, 16), strict=True))})
    list(prepare(find_crops(source / "slices.csv"), folder))
