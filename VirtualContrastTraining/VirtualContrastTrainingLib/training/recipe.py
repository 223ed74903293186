"""A recipe: everything that decides a training run, in one YAML file named after the experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.package import InPlane, Inputs, IntensitySpec, Outputs

from ..systems.registry import system_of


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SliceData(_Strict):
    """Folders of prepared cases, and how slices are made of them.

    `lesion_share` of randomly drawn slices cross a lesion. `flip` (left-right) and `rotation_90` (a quarter turn) are
    probabilities. `target_scale`: intensities of the phases by the constants of the pre-contrast volume, or of each
    phase by its `own`, as published. `pixel_mm`, then `size` (rows = columns): slices are resampled as the published
    tools do; left out, they stay as they are. `workers`: processes that make batches. `copies`: folder for uncompressed
    copies to read from, where the cases are more than the memory holds; without it they are kept in memory.
    """

    train: str
    validation: str
    lesion_share: float = Field(default=0.5, ge=0, le=1)
    flip: float = Field(default=0.5, ge=0, le=1)
    rotation_90: float = Field(default=0.0, ge=0, le=1)
    target_scale: Literal["pre", "own"] = "pre"
    pixel_mm: float | None = Field(default=None, gt=0)
    size: int | None = Field(default=None, ge=16)
    workers: int = Field(default=0, ge=0)
    copies: str | None = None


class Losses(_Strict):
    """Weights of the generator's terms; 0 leaves a term out. The defaults are the published ones.

    `vgg_weights` is the path of torchvision's vgg19 file, or "download"; without it there is no perceptual term.
    `pool_size` generated images are kept and shown again to the discriminator (0: none).
    """

    lambda_gan: float = 1.0
    lambda_feat: float = 10.0
    vgg_weights: str | None = None
    pool_size: int = Field(default=0, ge=0)
    lambda_l1: float = 0.0
    lambda_temporal: float = 0.0
    lesion_weight: float = 1.0
    l1_only_epochs: int = 0


class Checkpoints(_Strict):
    """When `last.ckpt` is rewritten beside the end of each epoch, and which epochs are kept for good (0: none)."""

    every_steps: int = Field(default=1000, ge=1)
    keep_every_epochs: int = Field(default=0, ge=0)


class Schedule(_Strict):
    """Adam and its learning rate: constant, then falling linearly to 0.

    `batch_size` is that of one step over all processes. Without `slices_per_epoch` an epoch is every slice once, in
    random order, less an incomplete last batch.
    """

    learning_rate: float = 2e-4
    beta1: float = 0.5
    batch_size: int = Field(default=1, ge=1)
    slices_per_epoch: int | None = Field(default=None, ge=1)
    constant_epochs: int = 100
    decay_epochs: int = 100

    @property
    def epochs(self) -> int:
        """Epochs of the whole run."""
        return self.constant_epochs + self.decay_epochs


class GlobalStage(_Strict):
    """The trained global generator that a local enhancer (netG: local) starts from.

    `weights`: a model package, one of our checkpoints, or a state dict in NVIDIA's layout. The global part stays as it
    is for `fix_epochs`; then both parts train with a fresh Adam, as the original does.
    """

    weights: str
    fix_epochs: int = Field(default=0, ge=0)


class DescribedRecipe(_Strict):
    """What every recipe says of the model it makes. `system` names the entry of `trainers.registry`."""

    system: str
    id: str
    title: str
    seed: int = 1
    trained_on_phantoms: bool
    license: str = Field(validation_alias=AliasChoices("license", "licence"))
    citation: str
    intended_use: str


class Pix2PixHDRecipe(DescribedRecipe):
    """One training run of a pix2pixHD generator."""

    system: Literal["pix2pixhd"]
    global_stage: GlobalStage | None = None
    generator: dict[str, Any]
    discriminator: dict[str, Any]
    inputs: Inputs
    outputs: Outputs
    intensity: IntensitySpec
    in_plane: InPlane
    data: SliceData
    losses: Losses = Losses()
    schedule: Schedule
    checkpoints: Checkpoints = Checkpoints()
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.data.rotation_90 and self.data.size is None:
            raise ValueError("data.rotation_90 turns rows into columns: set data.size")
        if self.global_stage is not None and self.generator.get("netG") != "local":
            raise ValueError("global_stage needs generator.netG: local")
        return self


class SubtractionUNetRecipe(DescribedRecipe):
    """One training run of the subtraction U-Net baseline: Adam, learning rate times `gamma` after every epoch."""

    system: Literal["subtraction_unet"]
    network: dict[str, Any]
    inputs: Inputs
    outputs: Outputs
    intensity: IntensitySpec
    in_plane: InPlane
    data: SliceData
    lambda_mae: float = 10.0
    learning_rate: float = 1e-3
    gamma: float = 0.99
    epochs: int = Field(default=35, ge=1)
    batch_size: int = Field(default=16, ge=1)
    slices_per_epoch: int | None = Field(default=None, ge=1)
    checkpoints: Checkpoints = Checkpoints()
    precision: Literal["32-true", "bf16-mixed"] = "32-true"


class LesionData(_Strict):
    """Prepared cases for segmentation. `images` chooses real phases, those of `synthesis_model`, or both."""

    train: str
    validation: str
    images: list[Literal["real", "synthetic"]] = Field(min_length=1)
    synthesis_model: str | None = None


class NNUNetRecipe(DescribedRecipe):
    """One nnU-Net 3d_fullres training run; `channels` are its inputs: pre, phase_N or subtraction_N.

    `base_features`, `max_features` and `memory_gb` steer nnU-Net's own planner. `lesions_in_every_patch`: every patch
    is drawn around a lesion and the Dice loss is of the batch together, for small lesions in a short run.
    `minimum_volume_mm3` and `tile_step_size` (step between tiles, in tiles) go into the package.
    """

    system: Literal["nnunet"]
    channels: list[str] = Field(min_length=1)
    data: LesionData
    base_features: int = 32
    max_features: int = 320
    memory_gb: float = 8.0
    epochs: int = 1000
    iterations_per_epoch: int = 250
    lesions_in_every_patch: bool = False
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    minimum_volume_mm3: float = 0.0
    tile_step_size: float = Field(default=0.5, gt=0, le=1)


def recipes_dir() -> Path:
    """Folder of the shipped recipes."""
    return Path(__file__).resolve().parents[2] / "Resources" / "Recipes"


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(path.stem for path in recipes_dir().glob("*.yaml"))


def load_recipe(name_or_path: str, overrides: list[str] | None = None) -> DescribedRecipe:
    """Read a shipped recipe by name or one by path, with `key.sub=value` overrides (values are YAML).

    Raises InputError for an unknown name, an unknown key or a value that does not fit.
    """
    import yaml

    path = Path(name_or_path)
    if not path.is_file():
        path = recipes_dir() / f"{name_or_path}.yaml"
    if not path.is_file():
        raise InputError(f"There is no recipe {name_or_path}; the recipes are {', '.join(recipe_names())}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for override in overrides or []:
            key, separator, value = override.partition("=")
            if not separator:
                raise InputError(f"--set {override} is not of the form key=value.")
            _set(content, key.split("."), yaml.safe_load(value))
        return _validated(content, path)
    except yaml.YAMLError as error:
        raise InputError(f"The recipe {path} is not valid YAML: {str(error).splitlines()[0]}.") from error


def write_recipe(recipe: DescribedRecipe, path: Path) -> None:
    """Write a recipe as a YAML file that `load_recipe` reads back to the same."""
    import yaml

    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding="utf-8")


def _validated(content: Any, path: Path) -> DescribedRecipe:
    """The recipe of the class that its `system` names."""
    try:
        system = content["system"]
    except (TypeError, KeyError) as error:
        raise InputError(f"The recipe {path.name} does not fit: it has no 'system'.") from error
    try:
        return system_of(system).recipe_class().model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"The recipe {path.name} does not fit at {where or 'top'}: {first['msg']}.") from error


def _set(content: dict[str, Any], keys: list[str], value: object) -> None:
    for key in keys[:-1]:
        content = content.setdefault(key, {})
    content[keys[-1]] = value
