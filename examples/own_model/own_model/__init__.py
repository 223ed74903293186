"""A model of your own for VirtualContrast, in 60 lines: what it is (ARCHITECTURE) and how it is trained (SYSTEM).

pyproject.toml names both as entry points; nothing of VirtualContrast is changed.
"""

from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor, nn
from VirtualContrastLib.models.package import InPlane, Inputs, IntensitySpec, Outputs
from VirtualContrastLib.networks.architectures import Architecture
from VirtualContrastLib.networks.options import Count, SliceOptions
from VirtualContrastTrainingLib.training.base import FitPlan, Training, checked_losses
from VirtualContrastTrainingLib.training.packaging import Packaging, slice_fields
from VirtualContrastTrainingLib.training.recipe import Checkpoints, DescribedRecipe, Schedule, SliceData
from VirtualContrastTrainingLib.training.slice_sets import slice_sets
from VirtualContrastTrainingLib.training.smoke import described, short, slice_data, smoke_cases
from VirtualContrastTrainingLib.training.system import System


class Options(SliceOptions):  # what a model card says of the network
    output_nc: Count
    width: Count = 16


def build(options):  # pre-contrast slices [batch, input_nc, row, column] to phases, both in -1..1
    wide = nn.Conv2d(options.input_nc, options.width, 5, padding=2)
    return nn.Sequential(wide, nn.ReLU(), nn.Conv2d(options.width, options.output_nc, 5, padding=2), nn.Tanh())


class Recipe(DescribedRecipe):  # what a YAML file says of a training
    system: Literal["own_model"]
    network: dict[str, Any]
    inputs: Inputs
    outputs: Outputs
    intensity: IntensitySpec
    in_plane: InPlane
    data: SliceData
    schedule: Schedule


class Trainer(L.LightningModule):
    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe, self.network = recipe, ARCHITECTURE.build_network(recipe.network)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.recipe.schedule.learning_rate)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss = (self.network(batch["source"]) - batch["target"]).abs().mean()
        self.log_dict(checked_losses(self, {"L1": loss}), on_step=False, on_epoch=True, batch_size=1)
        return loss


def prepare(recipe):
    module, s = Trainer(recipe), recipe.schedule
    plan = FitPlan(recipe.seed, s.epochs, s.batch_size, "32-true", Checkpoints(), shuffle=s.slices_per_epoch is None)
    return Training(module, *slice_sets(recipe, s.slices_per_epoch), plan, module.network)


def smoke(recipe, folder):  # a trial of seconds
    schedule = recipe.schedule.model_copy(update={"constant_epochs": 2, "decay_epochs": 0, **short(recipe.schedule)})
    data = slice_data(recipe.data, smoke_cases(folder))
    return recipe.model_copy(update={**described(recipe), "data": data, "schedule": schedule})


PACKAGING = Packaging("network.", lambda recipe: slice_fields(recipe, recipe.network))
ARCHITECTURE = Architecture("own_model", options=Options, build=build)
SYSTEM = System("own_model", recipe=Recipe, smoke=smoke, prepare=prepare, packaging=PACKAGING)
