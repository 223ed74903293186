"""The iterU-Net on tiny phantoms: patches, stages, learning, resuming, and a model card that fits the engine."""

import csv
import shutil

import numpy as np
import pytest
import torch
import yaml
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.models.package import save_package
from VirtualContrastLib.study import Phase
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.ti_norm import TINorm
from VirtualContrastLib.synthesis.volumetric import VolumetricSynthesizer
from VirtualContrastTrainingLib.data.augmentation_3d import augment
from VirtualContrastTrainingLib.data.cases import Case
from VirtualContrastTrainingLib.data.memmap import load_cases
from VirtualContrastTrainingLib.data.patches import PatchSettings, RandomPatches
from VirtualContrastTrainingLib.data.phantom import PhantomSettings, make_phantom
from VirtualContrastTrainingLib.data.phantom.writing import write_phantom
from VirtualContrastTrainingLib.systems.iter_unet.packaging import card_fields
from VirtualContrastTrainingLib.systems.iter_unet.recipe import IterUNetRecipe
from VirtualContrastTrainingLib.systems.iter_unet.smoke import smoke_recipe
from VirtualContrastTrainingLib.systems.iter_unet.trainer import (
    IterUNetTrainer,
    patch_sets,
    train_module,
)
from VirtualContrastTrainingLib.systems.recipes import recipes_dir
from VirtualContrastTrainingLib.systems.registry import packaging_of
from VirtualContrastTrainingLib.training.base import RunOptions
from VirtualContrastTrainingLib.training.packaging import checkpoint_state, make_card

RECIPES = (
    "chung2025-iter-unet-as-published-paper",
    "chung2025-iter-unet-as-published-code",
    "chung2025-single-time-point-unet",
    "phantom-iter-unet",
)
SETTINGS = PhantomSettings(
    size_kji=(8, 48, 64),
    spacing_kji_mm=(15.0, 4.0, 4.0),
    phase_times_s=(40.0, 220.0, 350.0),
    lesion_count_weights=(0, 0, 1),
    lesion_radius_mm=(8, 14),
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    root = tmp_path_factory.mktemp("cases")
    for seed in range(3):
        write_phantom(make_phantom(seed, SETTINGS), root / f"case_{seed}")
    return root


def published(name):
    return yaml.safe_load((recipes_dir() / f"{name}.yaml").read_text(encoding="utf-8"))


def tiny(cases, *, network=None, schedule=None, losses=None, data=None):
    content = published("phantom-iter-unet")
    content["network"] |= {"features": [4, 4, 6, 6, 6, 4], **(network or {})}
    content["data"] |= {"train": str(cases), "validation": str(cases), "patch_kji": [16, 32, 32], **(data or {})}
    content["schedule"] |= {
        "warm_up_epochs": 1,
        "epochs": 1,
        "warm_up_batch_size": 2,
        "batch_size": 2,
        **(schedule or {}),
    }
    content["losses"] |= losses or {}
    return IterUNetRecipe.model_validate(content)


def batch_of(recipe, items=2):
    patches = patch_sets(recipe)[0]
    samples = [patches[n] for n in range(items)]
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def validation_errors(logs):
    with (logs / "version_0" / "metrics.csv").open() as stream:
        return [row for row in csv.DictReader(stream) if row.get("val_mae")]


def blob_case(shape=(20, 30, 40)):
    """A case whose phase n is n + 1 everywhere plus the voxel's number, with one lesion voxel."""
    ramp = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    lesions = np.zeros(shape, np.uint8)
    lesions[12, 20, 30] = 1
    return Case("blob", tuple(ramp + n for n in range(4)), lesions, (0.0, 90.0, 220.0, 350.0), (3.0, 1.0, 1.0), {})


def test_half_of_the_patches_hold_the_lesion_in_the_middle_and_the_others_are_anywhere():
    settings = PatchSettings((9, 9, 9), phases=3, patches_per_case=200, augmentation="none")
    patches = RandomPatches([blob_case()], settings, seed=0)
    centered = sum(bool(patches[n]["lesions"][4, 4, 4]) for n in range(200))
    assert 80 <= centered <= 120
    assert 0 < sum(not patches[n]["lesions"].any() for n in range(200)) <= 120


def test_a_patch_is_a_piece_of_the_volume_in_ti_norm_units_with_times_and_the_case_s_range():
    case = blob_case()
    item = RandomPatches([case], PatchSettings((8, 10, 12), phases=3, augmentation="none"), seed=5)[0]
    norm = TINorm.of(case.series[1])
    numbers = item["series"][0].numpy() * norm.sd + norm.mean
    steps = [np.diff(numbers, axis=axis).mean() for axis in range(3)]
    assert steps == pytest.approx([30 * 40, 40, 1], rel=1e-3)
    np.testing.assert_allclose(item["series"][3] - item["series"][0], 3 / norm.sd, atol=1e-3)
    assert item["times_s"].tolist() == [90, 220, 350]
    assert float(item["data_range"]) == pytest.approx((20 * 30 * 40 - 1 + 3) / norm.sd)


def test_a_small_case_is_extended_by_its_edge_and_a_case_with_few_phases_is_named():
    settings = PatchSettings((24, 16, 16), phases=3, augmentation="none")
    series = RandomPatches([blob_case()], settings, seed=0)[0]["series"]
    assert series.shape == (4, 24, 16, 16)
    assert torch.equal(series[:, 20], series[:, 19])
    with pytest.raises(InputError, match="blob has 3 post-contrast phases, not 5"):
        RandomPatches([blob_case()], PatchSettings(phases=5), seed=0)


def test_an_item_depends_on_seed_epoch_and_number_alone_and_an_epoch_takes_every_case_equally(cases):
    patches = RandomPatches(load_cases(cases), PatchSettings((16, 32, 32), phases=3, patches_per_case=4), seed=1)
    assert len(patches) == 12
    a, b, other = patches[(2, 5)], patches[(2, 5)], patches[(3, 5)]
    assert torch.equal(a["series"], b["series"])
    assert not torch.equal(a["series"], other["series"])
    assert not torch.equal(a["series"], patches.with_seed(2)[(2, 5)]["series"])
    ranges = [float(patches[(7, n)]["data_range"]) for n in range(12)]
    assert sorted(ranges.count(value) for value in set(ranges)) == [4, 4, 4]


def test_the_breast_label_centers_patches_on_the_breast(cases):
    case = load_cases(cases)[0]
    settings = PatchSettings((16, 32, 32), phases=3, label="breast")
    label = RandomPatches([case], settings, seed=0)._cases[0].label
    assert 0.01 < label.mean() < 0.6
    assert label[case.lesions > 0].mean() > 0.5


def test_all_phases_of_a_patch_share_the_draws_of_the_augmentation():
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(8, 12, 12)).astype(np.float32)
    series = np.stack([volume, volume, volume])
    changed = 0
    for seed in range(30):
        mask = volume > 0
        out, lesions = augment(series, mask.astype(np.float32), "published", np.random.default_rng(seed))
        assert np.array_equal(out[0], out[1])
        assert np.array_equal(out[0], out[2])
        assert lesions.sum() == mask.sum()
        changed += not np.array_equal(out[0], volume)
    assert 20 <= changed <= 30


def test_geometric_augmentation_moves_voxels_and_mask_together_and_changes_no_value():
    volume = np.arange(4 * 6 * 6, dtype=np.float32).reshape(4, 6, 6)
    mask = (volume % 7 == 0).astype(np.float32)
    for seed in range(20):
        out, lesions = augment(volume[None], mask, "geometric", np.random.default_rng(seed))
        assert np.array_equal(np.sort(out.ravel()), volume.ravel())
        assert np.array_equal(lesions, (out[0] % 7 == 0).astype(np.float32))


@pytest.mark.parametrize("name", RECIPES)
def test_every_shipped_recipe_is_valid_and_shrinks_to_a_trial(name, tmp_path):
    recipe = IterUNetRecipe.model_validate(published(name))
    assert recipe.id == name
    small = smoke_recipe(recipe, tmp_path)
    assert small.times_s == [90, 220, 350]
    assert IterUNetTrainer(small).network is not None


def test_the_stages_make_and_compare_what_they_should(cases):
    recipe = tiny(cases)
    module, batch = IterUNetTrainer(recipe), batch_of(recipe)
    pre, real, times = batch["series"][:, :1], batch["series"][:, 1:], batch["times_s"][:, 1:]
    with torch.no_grad():
        module.stage = "warm_up"
        output, targets = module.outputs_and_targets(batch)
        torch.testing.assert_close(output, module.network.teacher_forced(pre, real, times)[0])
        assert torch.equal(targets, real[:, 1:])
        module.stage = "optimization"
        output, targets = module.outputs_and_targets(batch)
        torch.testing.assert_close(output, module.network.optimization(pre, real, times))
        assert torch.equal(targets, real[:, [1, 2, 2]])
        alone = IterUNetTrainer(tiny(cases, schedule={"optimization": "recursive"}))
        output, _ = alone.outputs_and_targets(batch)
        torch.testing.assert_close(output, alone.network(pre, real[:, :1], times))


def test_the_published_code_s_mask_and_data_range_change_the_loss_as_described(cases):
    torch.manual_seed(0)
    module, batch = IterUNetTrainer(tiny(cases)), batch_of(tiny(cases))
    plain = module.batch_losses(batch)
    module.recipe = tiny(cases, losses={"ssim_data_range": 255})
    assert module.batch_losses(batch)["SSIM"] < 0.2 * plain["SSIM"]
    module.recipe = tiny(cases, losses={"enhancement_weighting": True})
    output, target = module.outputs_and_targets(batch)
    weight = (batch["series"][:, 3:] - batch["series"][:, 1:2]).abs().sqrt()
    expected = 3 * ((output - target) * weight).abs().mean()
    torch.testing.assert_close(module.batch_losses(batch)["L1"], expected, rtol=1e-4, atol=0)


def test_the_loss_of_a_batch_is_the_mean_over_its_items_so_that_processes_may_share_it(cases):
    torch.manual_seed(0)
    recipe = tiny(cases)
    module, batch = IterUNetTrainer(recipe), batch_of(recipe)
    whole = module.batch_losses(batch)
    items = [module.batch_losses({name: part[n : n + 1] for name, part in batch.items()}) for n in range(2)]
    assert whole
    for name, value in whole.items():
        torch.testing.assert_close(value, (items[0][name] + items[1][name]) / 2, rtol=1e-5, atol=0)


@pytest.mark.slow  # that it improves on its start is in test_recipes_improve too
def test_a_short_training_improves_on_its_start_and_on_copying_the_first_phase(cases, tmp_path):
    schedule = {"warm_up_epochs": 3, "epochs": 3, "learning_rate": 0.01, "optimization": "recursive"}
    data, losses = {"patches_per_case": 6, "augmentation": "none"}, {"ssim": 0.2, "gdl": 0.0}
    recipe = tiny(cases, schedule=schedule, data=data, losses=losses)
    _, exports = train_module(recipe, tmp_path / "run", RunOptions())
    assert exports
    start = float(validation_errors(tmp_path / "run" / "warm_up" / "logs")[0]["val_mae"])
    last = validation_errors(tmp_path / "run" / "logs")[-1]
    assert float(last["val_mae"]) < start
    assert float(last["val_mae"]) < float(last["val_copy_mae"])
    assert float(last["val_lesion_mae"]) < float(last["val_copy_lesion_mae"])


@pytest.mark.slow
def test_a_run_stopped_in_either_stage_ends_as_one_that_ran_through(cases, tmp_path):
    recipe = tiny(cases, schedule={"warm_up_epochs": 2, "epochs": 2}, data={"patches_per_case": 1})
    whole, _ = train_module(recipe, tmp_path / "whole", RunOptions())

    def shorter(**schedule):
        return recipe.model_copy(update={"schedule": recipe.schedule.model_copy(update=schedule)})

    run, resume = tmp_path / "run", RunOptions(resume=True)
    with pytest.raises(InputError, match="no checkpoint to resume"):
        train_module(recipe, run, resume)
    _stop_after_warm_up(shorter(warm_up_epochs=1, epochs=1), run)
    with pytest.raises(InputError, match="already holds a run"):
        train_module(recipe, run, RunOptions())
    train_module(shorter(epochs=1), run, resume)
    module, _ = train_module(recipe, run, resume)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, module.network.state_dict()[name]), name


def _stop_after_warm_up(recipe, run):
    """A run killed when the warm-up ended: its folder without what the second stage wrote."""
    train_module(recipe, run, RunOptions())
    for left in ("checkpoints", "logs", "tensorboard"):
        shutil.rmtree(run / left, ignore_errors=True)


@pytest.mark.slow
def test_ablations_and_the_baseline_train(cases, tmp_path):
    no_time = tiny(cases, network={"time": "none"}, schedule={"warm_up_epochs": 0}, data={"patches_per_case": 1})
    module, _ = train_module(no_time, tmp_path / "ablation", RunOptions())
    assert not any(name.startswith("mtp") for name in module.network.state_dict())
    assert not (tmp_path / "ablation" / "warm_up").exists()
    content = no_time.model_dump()
    content["network"] = {"recursive": False, "features": [4, 4, 6, 6, 6, 4]}
    baseline, _ = train_module(IterUNetRecipe.model_validate(content), tmp_path / "baseline", RunOptions())
    assert len(baseline.network.networks) == 2


def test_the_package_of_a_checkpoint_runs_in_the_engine(cases, tmp_path):
    recipe = tiny(cases)
    module = IterUNetTrainer(recipe)
    torch.save({"state_dict": module.state_dict()}, tmp_path / "last.ckpt")
    state = checkpoint_state(packaging_of(recipe), recipe, tmp_path / "last.ckpt")
    assert set(state) == set(module.network.state_dict())
    with pytest.raises(InputError, match="not a checkpoint of the recipe"):
        other = tiny(cases, network={"time": "none"})
        checkpoint_state(packaging_of(other), other, tmp_path / "last.ckpt")
    fields = card_fields(recipe)
    card = make_card(packaging_of(recipe), recipe)
    package = save_package(tmp_path / "model", card, state, model_card_md="# Tiny\n")
    phantom = make_phantom(9, SETTINGS)
    synthesizer = VolumetricSynthesizer(package, choose_device("cpu"))
    result = synthesizer.synthesize(phantom.images[0], [Phase(1, phantom.images[1], 90.0, False)], Events())
    assert fields["outputs"]["channel_phases"] == [2, 3]
    assert result.times_s == [220, 350]
    assert [image.GetSize() for image in result.phases] == [phantom.images[0].GetSize()] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times_s": [90, 80]}, "increasing"),
        ({"network": {"features": [8, 8]}}, "six"),
        ({"network": {"recursive": False}}, "warm_up_epochs must be 0"),
        ({"losses": {"l1": 0, "ssim": 0, "gdl": 0}}, "at least one"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(cases, changes, message):
    with pytest.raises(ValueError, match=message):
        IterUNetRecipe.model_validate({**tiny(cases).model_dump(), **changes})


def test_a_patch_too_small_for_the_network_is_refused(cases):
    with pytest.raises(ValueError, match="too small"):
        tiny(cases, data={"patch_kji": [8, 32, 32]})


def test_missing_perceptual_weights_are_said(cases, tmp_path, capsys):
    with pytest.raises(InputError, match="perceptual_weights: null"):
        IterUNetTrainer(tiny(cases, losses={"perceptual": 1.0, "perceptual_weights": str(tmp_path / "none.pth")}))
    recipe = tiny(cases, losses={"perceptual": 1.0}, schedule={"warm_up_epochs": 0}, data={"patches_per_case": 1})
    train_module(recipe, tmp_path / "run", RunOptions())
    assert "The perceptual term is off" in capsys.readouterr().err
