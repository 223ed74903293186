"""The mammography CycleGAN: its losses, its data, and a short training on simulated pairs."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from duke_samples import main
from skimage.metrics import structural_similarity
from torch import nn
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.synthesis.mammogram import MammogramSpec
from VirtualContrastTrainingLib.data.mammogram_patches import MammogramPatches, load_breasts
from VirtualContrastTrainingLib.data.mammogram_phantom import phantom_pair, write_phantom_pair
from VirtualContrastTrainingLib.systems.cyclegan.losses import Networks, cycle_loss, generator_loss, step_losses
from VirtualContrastTrainingLib.systems.cyclegan.trainer import CycleGANTrainer
from VirtualContrastTrainingLib.systems.recipes import load_recipe
from VirtualContrastTrainingLib.systems.registry import train
from VirtualContrastTrainingLib.training.base import FitPlan, RunOptions, fit

RECIPE = "phantom-cem-cyclegan"
PUBLISHED = ("zormpas2026-cem-cyclegan-as-published-paper", "zormpas2026-cem-cyclegan-as-ancestor-code")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    root = tmp_path_factory.mktemp("pairs")
    for seed in range(4):
        write_phantom_pair(seed, root / f"pair_{seed}", (128, 96))
    return root


def tiny(pairs, *changes):
    small = [
        f"data.train={pairs}",
        f"data.validation={pairs}",
        "data.patch=32",
        "generator.ngf=4",
        "generator.n_blocks=1",
        "discriminator.ndf=4",
        "schedule.batch_size=4",
        "schedule.iterations_per_epoch=8",
        "schedule.epochs=3",
        "schedule.learning_rate=0.002",
    ]
    return load_recipe(RECIPE, [*small, *changes])


def images(seed, shape=(3, 1, 24, 20)):
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32))


class Constant(nn.Module):
    """Answers `value` everywhere, whatever it sees."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return torch.full_like(x, self.value)


def test_the_cycle_loss_is_half_error_and_half_dissimilarity():
    a, b = images(1), images(2)
    similarity = np.mean(
        [
            structural_similarity(
                x[0].numpy(), y[0].numpy(), data_range=2, gaussian_weights=True, use_sample_covariance=False
            )
            for x, y in zip(a, b, strict=True)
        ]
    )
    expected = 0.5 * (a - b).abs().mean().item() + 0.5 * (1 - similarity)
    assert cycle_loss(a, b).item() == pytest.approx(expected, abs=2e-4)
    assert cycle_loss(a, b, 0.0).item() == pytest.approx((a - b).abs().mean().item())
    assert cycle_loss(a, a).item() == pytest.approx(0, abs=1e-6)


def test_losses_of_known_networks_are_the_hand_computed_ones():
    low, high = images(1), images(2)
    networks = Networks(nn.Identity(), Constant(0.25), Constant(0.8), Constant(0.3))
    losses = {name: value.item() for name, value in step_losses(networks, low, high, ssim_share=0).items()}
    assert losses == pytest.approx(
        {
            "G_GAN_high": 0.2**2,
            "G_GAN_low": 0.7**2,
            "G_cycle_low": (low - 0.25).abs().mean().item(),
            "G_cycle_high": (high - 0.25).abs().mean().item(),
            "G_identity_high": 0.0,
            "G_identity_low": (low - 0.25).abs().mean().item(),
            "G_paired": (low - high).abs().mean().item(),
            "D_high": (0.2**2 + 0.8**2) / 2,
            "D_low": (0.7**2 + 0.3**2) / 2,
        },
        abs=1e-6,
    )
    tensors = {name: torch.tensor(value) for name, value in losses.items()}
    expected = 0.04 + 0.49 + losses["G_cycle_low"] + losses["G_cycle_high"] + 10 * losses["G_identity_low"]
    assert generator_loss(tensors).item() == pytest.approx(expected)


def test_discriminators_learn_nothing_through_the_generators_and_the_other_way_round():
    low, high = images(1), images(2)
    conv = [nn.Conv2d(1, 1, 3, padding=1) for _ in range(4)]
    losses = step_losses(Networks(*conv), low, high)
    (losses["D_high"] + losses["D_low"]).backward()
    assert all(network.weight.grad is None for network in conv[:2])
    assert all(network.weight.grad.abs().sum() > 0 for network in conv[2:])


def test_both_sides_of_a_patch_show_the_same_place(pairs):
    spec = MammogramSpec((0.0, 4000.0), (0.0, 4000.0), None, 1)
    breasts = load_breasts(pairs, spec, 32)
    for breast in breasts:
        breast.high[:] = breast.low  # any difference is then one of place
    patches = MammogramPatches(breasts, patch=32, length=12, flip=0.5, seed=3)
    for item in range(12):
        sample = patches[(1, item)]
        assert sample["low"].shape == (1, 32, 32)
        assert torch.equal(sample["low"], sample["high"])
        assert torch.equal(sample["low"], patches[(1, item)]["low"])
    assert any(not torch.equal(patches[(1, i)]["low"], patches[(2, i)]["low"]) for i in range(12))


def test_breasts_smaller_than_a_patch_are_grown_by_their_edge(pairs):
    spec = MammogramSpec((1000.0, 2900.0), (1700.0, 2400.0), 1.0, 4)
    small, large = load_breasts(pairs, spec, 16)[0], load_breasts(pairs, spec, 64)[0]
    rows, columns = small.low.shape
    assert large.low.shape == (64, 64)
    assert np.array_equal(large.low[:rows, :columns], small.low)
    assert (large.low[rows:, :columns] == small.low[-1]).all()


def test_masses_enhance_and_pairs_repeat():
    low, high = phantom_pair(7)
    again = phantom_pair(7)
    assert np.array_equal(sitk.GetArrayFromImage(high), sitk.GetArrayFromImage(again[1]))
    values = sitk.GetArrayFromImage(high)
    assert values.max() - np.median(values) > 300
    assert low.GetSize() == high.GetSize()


def test_training_lowers_the_held_out_error_and_leaves_a_checkpoint(pairs, tmp_path):
    recipe = tiny(pairs)
    breasts = load_breasts(pairs, recipe.data.spec, recipe.data.patch)
    train_set = MammogramPatches(breasts, patch=32, length=32, flip=0.5, seed=1)
    validation_set = MammogramPatches(breasts, patch=32, length=16, flip=0.0, seed=2)
    torch.manual_seed(recipe.seed)
    module = CycleGANTrainer(recipe)

    def error():
        with torch.no_grad():
            samples = [validation_set[i] for i in range(16)]
            low, high = (torch.stack([sample[name] for sample in samples]) for name in ("low", "high"))
            return (module.to_high(low) - high).abs().mean().item() / 2

    before = error()
    plan = FitPlan(recipe.seed, 3, 4, "32-true", recipe.checkpoints)
    assert fit(module, train_set, validation_set, tmp_path, plan, RunOptions())
    assert error() < 0.5 * before
    with (tmp_path / "logs" / "version_0" / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["val_mae"]) for row in rows if row["val_mae"]][-1] == pytest.approx(error(), rel=1e-3)
    assert {"G_cycle_low", "D_high", "G_identity_high"} <= set(rows[0])
    assert (tmp_path / "checkpoints" / "last.ckpt").is_file()


def test_the_package_synthesizes_in_the_engine_on_the_inputs_grid(pairs, tmp_path):
    from VirtualContrastLib.models.package import load_package
    from VirtualContrastLib.synthesis.device import choose_device
    from VirtualContrastLib.synthesis.mammogram import MammogramSynthesizer

    package = train(tiny(pairs, "stride=8"), tmp_path / "run")
    synthesizer = MammogramSynthesizer(load_package(package), choose_device("cpu"))
    low, high = phantom_pair(20, (140, 90), 0.9)
    made = synthesizer.synthesize(low, Events())
    assert (made.GetSize(), made.GetSpacing(), made.GetDirection()) == (
        low.GetSize(),
        low.GetSpacing(),
        low.GetDirection(),
    )
    values = sitk.GetArrayFromImage(made)
    assert values.min() >= 1700
    assert values.max() <= 2400
    truth = sitk.GetArrayFromImage(high)
    assert np.abs(values - truth).mean() < np.abs(np.clip(sitk.GetArrayFromImage(low), 1700, 2400) - truth).mean()


def test_an_interrupted_run_resumes_to_the_same_weights(pairs, tmp_path):
    short = "schedule.iterations_per_epoch=3"
    whole = train(tiny(pairs, short, "schedule.epochs=2"), tmp_path / "whole")
    train(tiny(pairs, short, "schedule.epochs=1"), tmp_path / "parts")
    parts = train(tiny(pairs, short, "schedule.epochs=2"), tmp_path / "parts", RunOptions(resume=True))
    assert (whole / "weights.safetensors").read_bytes() == (parts / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("name", [RECIPE, *PUBLISHED])
def test_every_recipe_passes_its_smoke_run(name, tmp_path):
    package = train(load_recipe(name), tmp_path / "run", smoke=True)
    card = json.loads((package / "model.json").read_text())
    assert "smoke test" in card["title"]
    assert [one["copied"] for one in card["against_copying"]] == ["the low-energy image"]


def test_the_published_recipes_hold_the_published_numbers():
    paper, ancestor = map(load_recipe, PUBLISHED)
    assert paper.data.source_window == (1800, 2900)
    assert paper.data.target_window == (1700, 2400)
    assert paper.schedule.epochs * paper.schedule.iterations_per_epoch == 6000
    assert (paper.schedule.batch_size, paper.schedule.learning_rate, paper.stride) == (20, 2e-4, 16)
    assert (paper.data.spacing_mm, paper.data.downsample, paper.data.patch) == (1.0, 4, 128)
    assert (paper.losses.identity, ancestor.losses.identity) == (10, 5)
    assert ancestor.generator["ngf"] == 32


def test_real_pairs_are_prepared_loaded_and_stepped_on(shared_data, tmp_path):
    assert main(["prepare", "mammograms", str(shared_data / "cem-pairs" / "public"), "-o", str(tmp_path)]) == 0
    spec = MammogramSpec((0.0, 255.0), (0.0, 255.0), None, 1)
    breasts = load_breasts(tmp_path, spec, 128)
    assert len(breasts) == 4
    patches = MammogramPatches(breasts, patch=64, length=4, flip=0.0, seed=1)
    low, high = (torch.stack([patches[i][name] for i in range(4)]) for name in ("low", "high"))
    assert low.abs().max() <= 1
    assert (low.std() > 0.1) and (high.std() > 0.1)
    # The two images of a real pair show the same breast: its outline is in both.
    for breast in breasts:
        assert np.corrcoef((breast.low > -0.9).flatten(), (breast.high > -0.9).flatten())[0, 1] > 0.5
    recipe = tiny(tmp_path)
    module = CycleGANTrainer(recipe)
    networks = Networks(module.to_high, module.to_low, module.judge_high, module.judge_low)
    optimizer = torch.optim.Adam(module.to_high.parameters(), lr=0.01)
    errors = []
    for _ in range(3):
        losses = step_losses(networks, low, high)
        optimizer.zero_grad()
        generator_loss(losses, lambda_paired=10).backward()
        optimizer.step()
        errors.append(losses["G_paired"].item())
    assert errors[-1] < errors[0]


def test_missing_pairs_are_said(tmp_path):
    with pytest.raises(InputError, match="holds no prepared mammograms"):
        load_breasts(tmp_path, MammogramSpec((0.0, 1.0), (0.0, 1.0)), 32)


def test_the_command_simulates_pairs(tmp_path):
    assert main(["prepare", "phantom-mammograms", "-o", str(tmp_path), "-n", "2", "--seed", "5"]) == 0
    assert len(load_breasts(tmp_path, MammogramSpec((1000.0, 2900.0), (1700.0, 2400.0), None, 1), 64)) == 2
