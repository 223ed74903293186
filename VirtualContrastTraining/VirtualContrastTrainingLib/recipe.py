"""A recipe: everything that decides a training run, in one YAML file named after the experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.package import InPlane, Inputs, IntensitySpec, Outputs


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SliceData(_Strict):
    """Folders of prepared cases, and how slices are drawn from them."""

    train: str
    validation: str
    lesion_share: float = Field(0.5, ge=0, le=1)


class Losses(_Strict):
    """Weights of the generator's terms; 0 leaves a term out. The defaults are the published ones."""

    lambda_gan: float = 1.0
    lambda_feat: float = 10.0
    vgg_weights: str | None = None
    lambda_l1: float = 0.0
    lesion_weight: float = 1.0
    l1_only_epochs: int = 0


class Schedule(_Strict):
    """Adam and its learning rate: constant, then falling linearly to 0."""

    learning_rate: float = 2e-4
    beta1: float = 0.5
    batch_size: int = 1
    slices_per_epoch: int
    constant_epochs: int = 100
    decay_epochs: int = 100


class _Described(_Strict):
    """What every recipe says of the model it makes."""

    id: str
    title: str
    seed: int = 1
    trained_on_phantoms: bool
    licence: str
    citation: str
    intended_use: str


class Pix2PixHDRecipe(_Described):
    """One training run of a pix2pixHD generator."""

    system: Literal["pix2pixhd"]
    generator: dict[str, Any]
    discriminator: dict[str, Any]
    inputs: Inputs
    outputs: Outputs
    intensity: IntensitySpec
    in_plane: InPlane
    data: SliceData
    losses: Losses = Losses()
    schedule: Schedule
    precision: Literal["32-true", "bf16-mixed"] = "32-true"


class LesionData(_Strict):
    """Prepared cases for segmentation. `images` chooses real phases, those of `synthesis_model`, or both."""

    train: str
    validation: str
    images: list[Literal["real", "synthetic"]] = Field(min_length=1)
    synthesis_model: str | None = None


class NNUNetRecipe(_Described):
    """One nnU-Net 3d_fullres training run; `channels` are its inputs: pre, phase_N or subtraction_N.

    `base_features`, `max_features` and `memory_gb` steer nnU-Net's own planner. `minimum_volume_mm3` is what the
    package's user discards smaller components by.
    """

    system: Literal["nnunet"]
    channels: list[str] = Field(min_length=1)
    data: LesionData
    base_features: int = 32
    max_features: int = 320
    memory_gb: float = 8.0
    epochs: int = 1000
    iterations_per_epoch: int = 250
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    minimum_volume_mm3: float = 0.0


Recipe = Pix2PixHDRecipe | NNUNetRecipe

_ANY_RECIPE: TypeAdapter[Recipe] = TypeAdapter(Annotated[Recipe, Field(discriminator="system")])


def recipes_dir() -> Path:
    """Folder of the shipped recipes."""
    return Path(__file__).resolve().parent.parent / "Resources" / "Recipes"


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(path.stem for path in recipes_dir().glob("*.yaml"))


def load_recipe(name_or_path: str, overrides: list[str] | None = None) -> Recipe:
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
        return _ANY_RECIPE.validate_python(content)
    except yaml.YAMLError as error:
        raise InputError(f"The recipe {path} is not valid YAML: {str(error).splitlines()[0]}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"The recipe {path.name} does not fit at {where}: {first['msg']}.") from error


def _set(content: dict[str, Any], keys: list[str], value: object) -> None:
    for key in keys[:-1]:
        content = content.setdefault(key, {})
    content[keys[-1]] = value
