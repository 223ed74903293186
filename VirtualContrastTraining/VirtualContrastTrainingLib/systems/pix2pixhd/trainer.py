"""Trains a pix2pixHD generator against its multi-scale discriminator (manual optimization under Lightning)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.models.safe_torch_load import load_tensors, without_module_prefix
from VirtualContrastLib.networks.pix2pixhd import build_discriminator, build_generator, init_weights

from ...training.base import FitPlan, Training, checked_losses
from ...training.samples import Sample
from ...training.slice_sets import slice_sets
from ..cyclegan.image_pool import ImagePool
from .losses import lesion_weighted_l1, step_terms, temporal_l1
from .recipe import Pix2PixHDRecipe
from .vgg import VGGPerceptual, vgg_weights


class Pix2PixHDTrainer(L.LightningModule):
    """One step trains both networks from the same forward pass: first the generator, then the discriminator.

    A batch holds `source`, `target` [batch, channel, row, column] in -1..1 and `lesions` [batch, 1, row, column].
    """

    def __init__(self, recipe: Pix2PixHDRecipe) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.recipe = recipe
        self.generator = build_generator(recipe.generator)
        self.discriminator = build_discriminator(recipe.discriminator)
        init_weights(self.generator)
        init_weights(self.discriminator)
        if recipe.global_stage is not None:
            load_global_part(self.generator, Path(recipe.global_stage.weights))
        weights = recipe.losses.vgg_weights
        self.perceptual = VGGPerceptual(vgg_weights(weights)) if weights else None
        self.pool = ImagePool(recipe.losses.pool_size)

    def configure_optimizers(self) -> Any:
        """Two Adams; see `learning_rate` for the schedule, which is applied at the start of each epoch."""
        schedule = self.recipe.schedule
        betas = (schedule.beta1, 0.999)
        return [
            torch.optim.Adam(network.parameters(), lr=schedule.learning_rate, betas=betas)
            for network in (self.generator, self.discriminator)
        ]

    def on_train_epoch_start(self) -> None:
        """Set the epoch's learning rate on both optimizers, and free the global part when its time has come."""
        rate = learning_rate(self.recipe, self.current_epoch + 1)
        for optimizer in self._both_optimizers():
            for group in optimizer.param_groups:
                group["lr"] = rate
        stage = self.recipe.global_stage
        if stage is not None and self.current_epoch == stage.fix_epochs:
            self._both_optimizers()[0].optimizer.state.clear()  # the original makes a new Adam for both parts here

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the image pool (of this process) to the checkpoint."""
        checkpoint["image_pool"] = list(self.pool.images)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the image pool back; checkpoints of a run without one may lack it."""
        self.pool.images = list(checkpoint.get("image_pool", []))

    def _both_optimizers(self) -> list[Any]:
        """The generator's optimizer and the discriminator's; Lightning's own signature also allows a single one."""
        return list(self.optimizers())

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """One step of both networks, or of the generator alone during the L1-only epochs."""
        if self.current_epoch < self.recipe.losses.l1_only_epochs:
            self._reconstruction_step(batch)
        else:
            self._adversarial_step(batch)

    def _reconstruction_step(self, batch: dict[str, Tensor]) -> None:
        loss = self._l1(self.generator(batch["source"]), batch)
        self._log({"G_L1": loss})
        self._step_generator(loss)

    def _adversarial_step(self, batch: dict[str, Tensor]) -> None:
        _, discriminator_optimizer = self._both_optimizers()
        weights = self.recipe.losses
        terms = step_terms(
            self.generator,
            self.discriminator,
            batch["source"],
            batch["target"],
            lambda_feat=weights.lambda_feat,
            perceptual=self.perceptual,
            pool=self.pool,
        )
        losses = dict(terms.losses)
        generator_loss = weights.lambda_gan * losses["G_GAN"] + losses["G_GAN_Feat"]
        if "G_VGG" in losses:
            generator_loss = generator_loss + losses["G_VGG"]
        if weights.lambda_l1 > 0:
            losses["G_L1"] = self._l1(terms.fake, batch)
            generator_loss = generator_loss + losses["G_L1"]
        self._log(losses)
        self._step_generator(generator_loss)
        # The generator's backward pass left gradients in the discriminator; they must not reach its step.
        discriminator_optimizer.zero_grad()
        self.manual_backward((losses["D_fake"] + losses["D_real"]) / 2)
        discriminator_optimizer.step()

    def _step_generator(self, loss: Tensor) -> None:
        optimizer, _ = self._both_optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        stage = self.recipe.global_stage
        if stage is not None and self.current_epoch < stage.fix_epochs:
            for parameter in global_parameters(self.generator):
                parameter.grad = None  # Adam passes over it; requires_grad may not change under DDP
        optimizer.step()

    def _l1(self, fake: Tensor, batch: dict[str, Tensor]) -> Tensor:
        weights = self.recipe.losses
        arguments = fake, batch["target"], batch["lesions"], weights.lesion_weight
        loss = weights.lambda_l1 * lesion_weighted_l1(*arguments)
        return loss + weights.lambda_temporal * temporal_l1(*arguments) if weights.lambda_temporal > 0 else loss

    def _log(self, losses: dict[str, Tensor]) -> None:
        """Log, and end the run before broken losses reach the weights."""
        self.log_dict(checked_losses(self, losses), on_step=False, on_epoch=True, batch_size=1)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Mean absolute error on held-out slices, whole and in lesions, as shares of the network's 0..1 range."""
        error = (self.generator(batch["source"]) - batch["target"]).abs() / 2
        inside = batch["lesions"].expand_as(error)
        values = {
            "val_mae": error.mean(),
            "val_lesion_mae": (error * inside).sum() / inside.sum().clamp(min=1),
        }
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(error))

    def sample(self, batch: dict[str, Tensor]) -> Sample:
        """Pre-contrast slice, and each phase (the mean of its channels) as made and as it should be."""
        source, channels = batch["source"][0], self.recipe.outputs.channel_phases
        phases = sorted(set(channels))

        def of_phases(images: Tensor) -> Tensor:
            return torch.stack([images[[c == phase for c in channels]].mean(0) for phase in phases])

        return Sample(
            source[len(source) // 2, None],
            of_phases(self.generator(batch["source"])[0]),
            of_phases(batch["target"][0]),
            [f"phase {phase}" for phase in phases],
            same_scale=self.recipe.data.target_scale == "pre",
        )


def global_parameters(generator: nn.Module) -> list[nn.Parameter]:
    """Parameters of a local enhancer that are not its last, finest part."""
    finest = f"model{generator.n_local_enhancers}_"
    return [p for name, p in generator.named_parameters() if not name.startswith(finest)]


def load_global_part(generator: nn.Module, weights: Path) -> None:
    """Load a trained global generator into the coarse part of a local enhancer, all of it or nothing.

    `weights` is a model package, one of our checkpoints (.ckpt) or a state dict of NVIDIA's layout. The global
    generator's last convolution has no place in the enhancer and is left out. Raises InputError.
    """
    state = _generator_state(weights)
    wanted = {name: tensor for name, tensor in generator.state_dict().items() if name.startswith("model.")}
    for name, tensor in wanted.items():
        if name not in state or state[name].shape != tensor.shape:
            raise InputError(
                f"{weights} is not a global generator for this local enhancer: {name} is missing or of another shape; "
                "its ngf must be twice that of the enhancer, for each of its n_local_enhancers."
            )
    generator.load_state_dict({name: state[name] for name in wanted}, strict=False)


def _generator_state(weights: Path) -> dict[str, Tensor]:
    if weights.is_dir():
        return load_package(weights).load_state()
    if not weights.is_file():
        raise InputError(f"The global generator {weights} does not exist; train it first, or give another path.")
    if weights.suffix == ".ckpt":
        return generator_of_checkpoint(weights)
    return without_module_prefix(load_tensors(weights), weights, None)


def generator_of_checkpoint(path: Path) -> dict[str, Tensor]:
    """State dict of the generator in a checkpoint of a pix2pixHD run."""
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    prefix = "generator."
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def learning_rate(recipe: Pix2PixHDRecipe, epoch: int) -> float:
    """Learning rate of `epoch` (from 1): constant, then falling, as the original counts.

    The original subtracts learning_rate / decay_epochs at the END of every epoch beyond constant_epochs, so that the
    first lower rate is used in epoch constant_epochs + 2.
    """
    schedule = recipe.schedule
    falls = max(0, epoch - 1 - schedule.constant_epochs)
    return schedule.learning_rate * schedule.share(1 - falls / max(1, schedule.decay_epochs))


def training_of(recipe: Pix2PixHDRecipe) -> Training:
    """The recipe made ready: cases read, networks built from torch's current random state."""
    schedule = recipe.schedule
    module = Pix2PixHDTrainer(recipe)
    plan = FitPlan(
        recipe.seed,
        schedule.epochs,
        schedule.batch_size,
        recipe.precision,
        recipe.checkpoints,
        shuffle=schedule.slices_per_epoch is None,
        workers=recipe.data.workers,
    )
    return Training(module, *slice_sets(recipe, schedule.slices_per_epoch), plan, module.generator)
