"""Every shipped recipe, shrunk to seconds, learns on phantoms: its loss and its held-out error fall from the start.

The start is the same recipe at a learning rate near 0, that is the untrained network measured by the same road.
"""

import csv
import re

import pytest
import yaml
from VirtualContrastTrainingLib.data.mammogram_phantom import write_phantom_pair
from VirtualContrastTrainingLib.data.phantom import make_phantom
from VirtualContrastTrainingLib.data.phantom.writing import write_phantom
from VirtualContrastTrainingLib.systems.recipes import load_recipe, recipe_names, recipes_dir
from VirtualContrastTrainingLib.systems.registry import train
from VirtualContrastTrainingLib.training.smoke import PHANTOM

STILL = 1e-12
SMALL = {
    "pix2pixhd": [
        "generator.ngf=4",
        "generator.n_blocks_global=1",
        "generator.n_downsample_global=2",
        "discriminator.ndf=4",
        "losses.vgg_weights=null",
        "data.workers=0",
        "data.copies=null",
        "schedule.batch_size=4",
        "schedule.decay_epochs=0",
    ],
    "subtraction_unet": ["network.widths=[4,8]", "data.workers=0", "data.copies=null", "batch_size=4"],
    "time_conditioned": [
        "network.ngf=4",
        "network.n_blocks=1",
        "in_plane={policy: native, pad_multiple: 8}",
        "data.side=null",
        "data.workers=0",
        "data.copies=null",
        "schedule.batch_size=4",
        "schedule.decay_epochs=0",
        "precision=32-true",
    ],
    "iter_unet": [
        "network.features=[4,4,8,8,8,4]",
        "times_s=[90,220,350]",
        "data.patch_kji=[16,32,32]",
        "schedule.batch_size=2",
        "schedule.epochs=1",
    ],
    "cyclegan": [
        "generator.ngf=4",
        "generator.n_blocks=1",
        "discriminator.ndf=4",
        "data.patch=32",
        "data.spacing_mm=null",
        "data.downsample=1",
        "data.source_window=[1000,2900]",
        "schedule.batch_size=4",
        "schedule.epochs=2",
    ],
}
"""Changes that make the recipes of a system small."""
START = {
    "pix2pixhd": ["schedule.slices_per_epoch=16", "schedule.constant_epochs=1"],
    "subtraction_unet": ["slices_per_epoch=16", "epochs=1"],
    "time_conditioned": ["schedule.slices_per_epoch=16", "schedule.constant_epochs=1"],
    "iter_unet": ["data.patches_per_case=2"],
    "cyclegan": ["schedule.iterations_per_epoch=4"],
}
END = {
    "pix2pixhd": ["schedule.slices_per_epoch=48", "schedule.constant_epochs=2"],
    "subtraction_unet": ["slices_per_epoch=48", "epochs=2"],
    "time_conditioned": ["schedule.slices_per_epoch=48", "schedule.constant_epochs=2"],
    "iter_unet": ["data.patches_per_case=4"],
    "cyclegan": ["schedule.iterations_per_epoch=12"],
}
RATE = {
    "pix2pixhd": ("schedule.learning_rate", 0.005),
    "subtraction_unet": ("learning_rate", 0.01),
    "time_conditioned": ("schedule.learning_rate", 0.005),
    "iter_unet": ("schedule.learning_rate", 0.005),
    "cyclegan": ("schedule.learning_rate", 0.005),
}
LOSSES = ("G_L1", "G_GAN_Feat", "optimization_TOTAL", "G_cycle_low", "L1", "MAE")
"""What is minimized, by the name it has in the log; the first that a system logs."""
FAST = ("phantom-joint-p1-p3", "phantom-subtraction-unet", "phantom-time-conditioned", "phantom-iter-unet")
FAST += ("phantom-cem-cyclegan",)
"""One recipe of each system; the others, which differ in options and data, run with the slow tests."""


def names(*systems):
    written = {name: yaml.safe_load((recipes_dir() / f"{name}.yaml").read_text("utf-8")) for name in recipe_names()}
    return [name for name, content in written.items() if content["system"] in systems]


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms")
    for part, seeds in (("train", range(3)), ("validation", (10, 11))):
        for seed in seeds:
            write_phantom(make_phantom(seed, PHANTOM), root / part / f"case_{seed}")
            write_phantom_pair(seed, root / "mammograms" / part / f"pair_{seed}", (96, 64))
    return root


def logged(name, changes, output):
    """Last value of everything that a run logs by epochs."""
    recipe = load_recipe(name, changes)
    train(recipe, output)
    with (output / "logs" / "version_0" / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    return {key: float(row[key]) for row in rows for key in row if row[key]}


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in names(*SMALL)]
)
def test_loss_and_held_out_error_fall_from_the_start(name, phantoms, tmp_path):
    recipe = load_recipe(name)
    system = recipe.system
    data = phantoms / "mammograms" if system == "cyclegan" else phantoms
    small = [*SMALL[system], f"data.train={data / 'train'}", f"data.validation={data / 'validation'}"]
    if getattr(getattr(recipe, "in_plane", None), "policy", "") == "square":
        small += ["in_plane.size=64", "in_plane.spacing_mm=null"]
    if name.startswith("ispy-"):  # its pixels are those of crops, of which the phantoms' sizes are no multiple
        small += ["in_plane.policy=native", "in_plane.spacing_mm=null"]
    if system == "iter_unet":
        small.append(f"schedule.warm_up_epochs={min(1, recipe.schedule.warm_up_epochs)}")
    key, rate = RATE[system]
    start = logged(name, [*small, *START[system], f"{key}={STILL}"], tmp_path / "start")
    end = logged(name, [*small, *END[system], f"{key}={rate}"], tmp_path / "end")
    loss = next(one for one in LOSSES if one in start)
    assert end[loss] < 0.9 * start[loss]
    assert end["val_mae"] < 0.9 * start["val_mae"]


@pytest.mark.slow
@pytest.mark.parametrize("name", names("nnunet"))
def test_nnunet_recipes_lower_their_losses(name, phantoms, tmp_path):
    recipe = load_recipe(
        name,
        [
            f"data.train={phantoms / 'train'}",
            f"data.validation={phantoms / 'validation'}",
            "data.images=[real]",
            "base_features=4",
            "max_features=8",
            "memory_gb=0.2",
            "epochs=3",
            "iterations_per_epoch=10",
        ],
    )
    train(recipe, tmp_path)
    (log,) = (tmp_path / "nnunet" / "results").rglob("training_log_*.txt")
    for loss in ("train_loss", "val_loss"):
        values = [float(value) for value in re.findall(rf"{loss} (-?[0-9.]+)", log.read_text())]
        assert values[-1] < values[0] - 0.05, loss
