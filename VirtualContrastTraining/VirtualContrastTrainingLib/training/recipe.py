"""A recipe: everything that decides a training run, in one YAML file named after the experiment."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from VirtualContrastLib.models.card import MODEL_ID_PATTERN

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A learning rate."""


class Strict(BaseModel):
    """A part of a recipe: unknown keys are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SliceData(Strict):
    """Folders of prepared cases, and how slices are made of them.

    Pixels are those of the recipe's `in_plane`, as the engine makes them.

    Attributes:
        train: Folder of the training cases.
        validation: Folder of the held-out cases.
        slice_margin: Only slices from the first to the last that a lesion crosses, and this share of the volume's
            slices more on either side, are used (0.05 as published for the joint model); without it every slice.
        lesion_share: Share of randomly drawn slices that cross a lesion.
        flip: Probability of a left-right flip.
        rotation_90: Probability of a quarter turn.
        target_scale: Intensities of the phases by the constants of the pre-contrast volume ("pre"), or of each phase by
            its own ("own"), as published.
        workers: Processes that make batches.
        copies: Folder for uncompressed copies to read from, where the cases do not fit in memory; without it they are
            kept in memory.
    """

    train: str
    validation: str
    slice_margin: float | None = Field(default=None, ge=0, le=1)
    lesion_share: float = Field(default=0.5, ge=0, le=1)
    flip: float = Field(default=0.5, ge=0, le=1)
    rotation_90: float = Field(default=0.0, ge=0, le=1)
    target_scale: Literal["pre", "own"] = "pre"
    workers: int = Field(default=0, ge=0)
    copies: str | None = None


class Checkpoints(Strict):
    """When checkpoints are written, and when a run ends early.

    Attributes:
        every_steps: Steps after which `last.ckpt` is rewritten, besides at the end of each epoch.
        keep_every_epochs: Every so many epochs, the checkpoint is kept for good (0: none).
        patience_epochs: The run ends when SAMe of the held-out measures has found no better epoch for so many, and the
            best epoch is what becomes the model; 0 trains to the end and takes the last.
    """

    every_steps: int = Field(default=1000, ge=1)
    keep_every_epochs: int = Field(default=0, ge=0)
    patience_epochs: int = Field(default=0, ge=0)


class Schedule(Strict):
    """Adam and its learning rate: constant, then falling to 0.

    Attributes:
        learning_rate: The rate while it is constant.
        beta1: Adam's first decay rate.
        batch_size: Slices of one step over all processes.
        slices_per_epoch: Slices drawn per epoch; without it an epoch is every slice once, in random order, less an
            incomplete last batch.
        constant_epochs: Epochs at the constant rate.
        decay_epochs: Epochs in which it falls to 0.
        fall: Shape of the fall: a straight line, or half a cosine.
    """

    learning_rate: Rate = 2e-4
    beta1: float = Field(default=0.5, ge=0, lt=1)
    batch_size: int = Field(default=1, ge=1)
    slices_per_epoch: int | None = Field(default=None, ge=1)
    constant_epochs: int = Field(default=100, ge=0)
    decay_epochs: int = Field(default=100, ge=0)
    fall: Literal["linear", "cosine"] = "linear"

    def share(self, left: float) -> float:
        """Share of the learning rate where the part `left` (1 to 0) of the fall is still to come."""
        left = min(1.0, max(0.0, left))
        return 0.5 * (1 - math.cos(math.pi * left)) if self.fall == "cosine" else left

    @property
    def epochs(self) -> int:
        """Epochs of the whole run."""
        return self.constant_epochs + self.decay_epochs


class DescribedRecipe(Strict):
    """What every recipe says of the model it makes.

    Attributes:
        system: Id of a `system.System`.
        id: Id of the model.
        title: Name that a user sees.
        seed: Seed of everything that is drawn at random.
        trained_on_phantoms: Whether the cases are simulated patients.
        license: Terms of use of the model.
        citation: What to cite.
        intended_use: What the model may be used for.
    """

    system: str
    id: str = Field(pattern=MODEL_ID_PATTERN)
    title: str = Field(min_length=1)
    seed: int = Field(default=1, ge=0, lt=2**32)
    trained_on_phantoms: bool
    license: str = Field(validation_alias=AliasChoices("license", "licence"))
    citation: str
    intended_use: str

    def held_out_cases(self) -> list[Path]:
        """Folders of the prepared cases that are not trained on, in name order; [] where they are not here."""
        validation = getattr(getattr(self, "data", None), "validation", None)
        return sorted(path.parent for path in Path(validation).glob("*/case.json")) if validation else []


def write_recipe(recipe: DescribedRecipe, path: Path) -> None:
    """Write a recipe as a YAML file that `load_recipe` reads back to the same."""
    import yaml

    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding="utf-8")
