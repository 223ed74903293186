"""Recipe of an iterU-Net training: everything that decides the run."""

from __future__ import annotations

from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from VirtualContrastLib.networks.iter_unet import IterUNet, build_series_network
from VirtualContrastLib.networks.unet_3d import check_sides

from ...data.patches import Label
from ...training.recipe import Checkpoints, DescribedRecipe, Rate, Strict


class PatchData(Strict):
    """Folders of prepared cases, and how patches are cut from them; see `data.patches.PatchSettings`.

    Attributes:
        train: Folder of the training cases.
        validation: Folder of the held-out cases.
        patch_kji: Slices, rows and columns of a patch, in voxels.
        patches_per_case: Patches of every case per epoch.
        label: Where positive patches are centered.
        augmentation: How patches are changed at random; see `data.augmentation_3d.augment`.
        ti_norm_region: Voxels that TI-norm takes mean and standard deviation from.
        workers: Processes that make batches.
    """

    train: str
    validation: str
    patch_kji: tuple[int, int, int] = (48, 96, 96)
    patches_per_case: int = Field(default=2, ge=1)
    label: Label = "lesion"
    augmentation: Literal["published", "geometric", "none"] = "published"
    ti_norm_region: Literal["volume", "foreground"] = "volume"
    workers: int = Field(default=0, ge=0)


class VolumeLosses(Strict):
    """Weights of the terms, as published by default.

    Attributes:
        l1: Weight of the mean absolute error.
        ssim: Weight of 1 - SSIM.
        perceptual: Weight of the perceptual term.
        gdl: Weight of the gradient difference loss.
        perceptual_weights: Path of MedicalNet's ResNet-10 file, or "medicalnet" for the one where torch keeps its own
            ($TORCH_HOME/hub/checkpoints/resnet_10_23dataset.pth); without the file there is no perceptual term.
        ssim_data_range: "case", the width of the case's intensity scale in TI-norm units, or a number; the published
            code has 255 there, which makes the term nearly inert.
        enhancement_weighting: Whether output and target are multiplied by sqrt(|last phase - first phase|), as in the
            published code and not in the paper.
    """

    l1: float = Field(default=0.1, ge=0)
    ssim: float = Field(default=1.0, ge=0)
    perceptual: float = Field(default=1.0, ge=0)
    gdl: float = Field(default=0.1, ge=0)
    perceptual_weights: str | None = None
    ssim_data_range: Literal["case"] | float = "case"
    enhancement_weighting: bool = False

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if not (self.l1 or self.ssim or self.gdl):
            raise ValueError("at least one of l1, ssim and gdl must be above 0")
        return self


class StageSchedule(Strict):
    """AdamW at a constant rate, started again for each stage; batches are patches over all processes.

    Attributes:
        learning_rate: The rate.
        weight_decay: AdamW's weight decay.
        warm_up_epochs: Epochs of the teacher-forced warm-up (0: none).
        warm_up_batch_size: Patches of one step of the warm-up.
        epochs: Epochs after the warm-up.
        batch_size: Patches of one step after the warm-up.
        optimization: "recursive" starts every step from the network's own output; "forced_and_recursive" is the
            published code's: all steps teacher-forced, then again from the first output.
        carry_state: Whether the second pass of "forced_and_recursive" begins with the ConvLSTM's state of the first.
    """

    learning_rate: Rate = 1e-4
    weight_decay: float = Field(default=1e-3, ge=0)
    warm_up_epochs: int = Field(default=40, ge=0)
    warm_up_batch_size: int = Field(default=4, ge=1)
    epochs: int = Field(default=40, ge=1)
    batch_size: int = Field(default=2, ge=1)
    optimization: Literal["recursive", "forced_and_recursive"] = "recursive"
    carry_state: bool = True


class IterUNetRecipe(DescribedRecipe):
    """One training run.

    Attributes:
        system: Id of the system.
        network: Options of `networks.iter_unet.build_series_network`; with `recursive: false` (the single-time-point
            baseline) `time_points` follows from `times_s`.
        times_s: Seconds after injection of the post-contrast phases, the first of which is input.
        data: What it is trained on.
        losses: Weights of the terms.
        schedule: Optimizer, batches and epochs.
        window_overlap: Share of a window that its neighbor covers in inference.
        checkpoints: When checkpoints are written.
        precision: Lightning's name of the precision.
    """

    system: Literal["iter_unet"]
    network: dict[str, Any] = Field(default_factory=dict)
    times_s: list[float] = Field(min_length=2)
    data: PatchData
    losses: VolumeLosses = VolumeLosses()
    schedule: StageSchedule = StageSchedule()
    window_overlap: float = Field(default=0.5, ge=0, lt=1)
    checkpoints: Checkpoints = Checkpoints()
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    @property
    def network_options(self) -> dict[str, Any]:
        """All options that the network is built from."""
        if self.network.get("recursive", True):
            return dict(self.network)
        return {**self.network, "time_points": len(self.times_s) - 1}

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if any(a >= b for a, b in zip([0.0, *self.times_s], self.times_s, strict=False)):
            raise ValueError("times_s must be seconds after injection, above 0 and increasing")
        check_sides(self.data.patch_kji)
        with torch.device("meta"):
            network = build_series_network(self.network_options)
        if not isinstance(network, IterUNet) and self.schedule.warm_up_epochs:
            raise ValueError("schedule.warm_up_epochs must be 0: networks without recursion have nothing to warm up")
        return self
