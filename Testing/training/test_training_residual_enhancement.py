"""The residual network of enhancement: losses by their properties, items, learning, resuming, the package."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.package import load_package, save_package
from VirtualContrastLib.networks.residual_enhancement import HEADS
from VirtualContrastTrainingLib.data.crops import load_patients
from VirtualContrastTrainingLib.systems.recipes import load_recipe
from VirtualContrastTrainingLib.systems.registry import train
from VirtualContrastTrainingLib.systems.residual_enhancement.augmentation import beside_lesion, draw_item
from VirtualContrastTrainingLib.systems.residual_enhancement.losses import enhancement_losses
from VirtualContrastTrainingLib.systems.residual_enhancement.recipe import smoke_recipe
from VirtualContrastTrainingLib.systems.residual_enhancement.trainer import (
    DrawnCrops,
    ResidualEnhancementTrainer,
    early_aurocs,
    learning_rate,
)
from VirtualContrastTrainingLib.training.options import RunOptions

RECIPE = "ispy-residual-enhancement"
CAREFUL, LOGIT = 10, 12


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The shipped recipe on made-up patients, long enough to learn something."""
    small = smoke_recipe(load_recipe(RECIPE), tmp_path_factory.mktemp("crops"))
    schedule = small.schedule.model_copy(update={"epochs": 3, "steps": 4, "batch_size": 4, "learning_rate": 0.02})
    return small.model_copy(update={"schedule": schedule})


def case():
    """One item: tissue that enhances little, a square lesion that enhances by 100 %."""
    pre = torch.full((1, 1, 16, 16), 0.5)
    change = torch.full((1, 2, 16, 16), 0.05)
    change[..., 4:12, 4:12] = 0.5
    return pre, change, torch.ones(1, 1, 16, 16)


def losses(heads, **weights):
    return enhancement_losses(heads, *case(), **{"harm": 2.0, "lesion": 0.3, "ranking": 0.3, **weights})


def heads(careful=None, logit=None, everywhere=None):
    made = torch.zeros(1, HEADS, 16, 16) if everywhere is None else everywhere.clone()
    if careful is not None:
        made[:, CAREFUL : CAREFUL + 2] = careful
    if logit is not None:
        made[:, LOGIT : LOGIT + 2] = logit
    return made


def test_an_untrained_network_costs_what_the_identity_costs():
    found = losses(heads())
    assert float(found["CAREFUL"]) == pytest.approx(1.6, abs=1e-4)
    assert float(found["LESION"]) == pytest.approx(1.6 * 0.3, abs=1e-3)
    # 64 enhancing pixels of 256, weighted alike, each a little less than log 2 for the one that keeps sums above 0.
    assert float(found["RANKING"]) == pytest.approx(1.6 * 0.3 * np.log(2), rel=0.02)


def test_harm_costs_more_than_missing():
    change = case()[1]
    missed = losses(heads(careful=torch.zeros_like(change)))["CAREFUL"]
    invented = losses(heads(careful=2 * change + 0.05))["CAREFUL"]
    assert float(invented) > float(missed) + 2 * 1.6 * 0.2
    assert float(losses(heads(careful=change))["CAREFUL"]) < 0.2


def test_only_errors_in_tissue_count():
    pre, change, tissue = case()
    tissue[..., 8:] = 0
    wrong = torch.zeros(1, HEADS, 16, 16)
    wrong[:, :LOGIT, :, 8:] = 3.0
    weights = {"harm": 2.0, "lesion": 0.3, "ranking": 0.3}
    clean = enhancement_losses(torch.zeros(1, HEADS, 16, 16), pre, change, tissue, **weights)
    found = enhancement_losses(wrong, pre, change, tissue, **weights)
    assert {name: float(v) for name, v in found.items()} == pytest.approx({name: float(v) for name, v in clean.items()})


def test_right_ranking_is_cheap():
    enhancing = (case()[1] > 0.3).float()
    assert float(losses(heads(logit=10 * (2 * enhancing - 1)))["RANKING"]) < 0.02
    assert float(losses(heads(logit=-10 * (2 * enhancing - 1)))["RANKING"]) > 1


def test_an_item_without_enhancement_is_a_negative():
    pre, change, tissue = torch.full((1, 1, 16, 16), 0.5), torch.full((1, 2, 16, 16), 0.05), torch.ones(1, 1, 16, 16)
    weights = {"harm": 2.0, "lesion": 0.3, "ranking": 0.3}
    costs = {
        logit: float(enhancement_losses(heads(logit=logit), pre, change, tissue, **weights)["RANKING"])
        for logit in (-10.0, 0.0, 10.0)
    }
    assert costs[-10.0] < 1e-3
    assert costs[0.0] == pytest.approx(1.6 * 0.3 * np.log(2) / 2, rel=0.01)
    assert costs[10.0] == pytest.approx(1.6 * 0.3 * 10 / 2, rel=0.01)


def test_held_out_ranking_is_that_of_the_pixels_that_enhance():
    """By hand: of 64 enhancing pixels half are ranked above all others and half below, which is an AUROC of 0.5."""
    pre, change, tissue = case()
    batch = {"source": pre, "target": change, "tissue": tissue}
    enhancing = (change[:, 0] > 0.3).float()
    right = heads(logit=enhancing[:, None])
    half = enhancing.clone()
    half[:, 8:12] *= -1
    assert early_aurocs(right, batch) == [1.0]
    assert early_aurocs(heads(logit=half[:, None]), batch) == pytest.approx([0.5])
    assert early_aurocs(right, {**batch, "target": 0 * change}) == []


def test_quantile_losses_are_least_at_the_quantiles():
    """Over many items with uniform enhancement 0..1, the best constant of each quantile head is its level."""
    torch.manual_seed(0)
    change = torch.rand(40, 2, 16, 16)
    pre, tissue = torch.full((40, 1, 16, 16), 2.0), torch.ones(40, 1, 16, 16)

    def cost(shift):
        made = torch.zeros(40, HEADS, 16, 16)
        for head, level in enumerate((0.1, 0.3, 0.5, 0.7, 0.9)):
            made[:, [head, head + 5]] = level + shift
        weights = {"harm": 2.0, "lesion": 0.3, "ranking": 0.3}
        return float(enhancement_losses(made, pre, change, tissue, **weights)["QUANTILES"])

    assert cost(0.0) < min(cost(-0.05), cost(0.05))


def test_items_keep_ratios_of_phases_and_move_the_lesion(recipe):
    patient = load_patients(Path(recipe.data.prepared), cohorts=["made up"])[0]
    rng = np.random.default_rng(0)
    centers = []
    for _ in range(60):
        pre, change, tissue = draw_item(patient, 32, rng)
        assert pre.shape == (1, 32, 32) and change.shape == (2, 32, 32) and float(pre.min()) >= 0
        assert set(np.unique(tissue)) <= {0.0, 1.0}
        early, late = change
        bright = early > 0.5 * early.max()
        assert float((late[bright] / early[bright]).mean()) == pytest.approx(0.8, abs=0.05)
        centers.append(torch.nonzero(bright).float().mean(dim=0))
    assert float(torch.stack(centers).std(dim=0).min()) > 2


def test_a_negative_shows_the_tissue_beside_the_lesion_alone():
    image = np.arange(40.0, dtype=np.float32)[None, :, None].repeat(40, axis=2)
    box = np.zeros((40, 40), bool)
    box[28:36, 10:34] = True
    made = beside_lesion(image, box)
    assert made.shape == image.shape and set(np.unique(made)) == set(range(28))
    np.testing.assert_array_equal(made[0, :28, 0], np.arange(28))
    np.testing.assert_array_equal(made[0, 28:, 0], np.arange(26, 14, -1))
    box[15:30, 10:34] = True
    assert beside_lesion(image, box) is image  # at most 15 pixels beside it


def test_a_share_of_items_is_negatives(recipe):
    """The made-up lesion, moved to the left border so that there is a wide strip beside it."""
    patient = load_patients(Path(recipe.data.prepared), cohorts=["made up"])[0]
    aside = replace(patient, phases=np.roll(patient.phases, -20, axis=-1), box=np.roll(patient.box, -20, axis=-1))
    rng = np.random.default_rng(0)
    bright = [bool((draw_item(aside, 48, rng, negatives=0.5)[1][0] > 0.5).any()) for _ in range(60)]
    assert 0.3 < np.mean(bright) < 0.7


def test_an_item_is_the_same_in_every_run_and_new_in_every_epoch(recipe):
    patients = load_patients(Path(recipe.data.prepared), cohorts=["made up"])
    drawn = [DrawnCrops(patients, length=8, size=32, seed=1) for _ in range(2)]
    assert torch.equal(drawn[0][0, 3]["source"], drawn[1][0, 3]["source"])
    assert not torch.equal(drawn[0][0, 3]["source"], drawn[0][1, 3]["source"])


def test_rate_rises_and_falls_to_zero():
    recipe = load_recipe(RECIPE)
    rates = [learning_rate(recipe, step) for step in range(recipe.schedule.total + 1)]
    assert rates[0] < 0.01 * recipe.schedule.learning_rate
    assert np.argmax(rates) == pytest.approx(recipe.schedule.warm_up, abs=2)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


@pytest.fixture(scope="module")
def unbroken(recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "unbroken"
    train(recipe, folder)
    return folder


def test_training_lowers_the_loss_and_exports_the_average(unbroken, recipe):
    import csv

    with next((unbroken / "logs").glob("*/metrics.csv")).open() as stream:
        values = [float(row["val_QUANTILES"]) for row in csv.DictReader(stream) if row.get("val_QUANTILES")]
    assert values[-1] < values[0]
    package = load_package(unbroken / "model")
    assert package.card.training["data"]["fold"] == 0
    checkpoint = torch.load(unbroken / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for name, tensor in package.load_state().items():
        assert torch.equal(tensor, checkpoint[f"average.{name}"])


def test_a_run_stopped_within_an_epoch_ends_with_the_bits_of_an_unbroken_one(unbroken, recipe, tmp_path):
    class StoppedError(Exception):
        pass

    class StopsAtStep6(ResidualEnhancementTrainer):
        def training_step(self, batch, batch_idx):
            if self.global_step == 6:
                raise StoppedError
            return super().training_step(batch, batch_idx)

    often = recipe.model_copy(update={"checkpoints": recipe.checkpoints.model_copy(update={"every_steps": 1})})
    with pytest.MonkeyPatch.context() as patch:
        place = "VirtualContrastTrainingLib.systems.residual_enhancement.trainer.ResidualEnhancementTrainer"
        patch.setattr(place, StopsAtStep6)
        with pytest.raises(StoppedError):
            train(often, tmp_path / "run")
    train(often, tmp_path / "run", RunOptions(resume=True))
    ended = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (unbroken, tmp_path / "run")]
    assert ended[0]["global_step"] == ended[1]["global_step"] == recipe.schedule.total
    for name, tensor in ended[0]["state_dict"].items():
        assert torch.equal(tensor, ended[1]["state_dict"][name]), name


@pytest.mark.parametrize("joined", [False, True])
def test_a_run_starts_from_the_weights_of_a_package(unbroken, recipe, tmp_path, joined):
    package = load_package(unbroken / "model")
    state = package.load_state()
    if joined:  # the members of three folds, of which ours is the last
        config = {**package.card.architecture.config, "members": 3}
        card = package.card.model_copy(
            update={"architecture": package.card.architecture.model_copy(update={"config": config})}
        )
        others = {name.replace("members.0.", f"members.{k}."): 0 * w for name, w in state.items() for k in (0, 1)}
        own = {name.replace("members.0.", "members.2."): w for name, w in state.items()}
        package = save_package(tmp_path / "joined", card, others | own, model_card_md="# joined\n")
    data = recipe.data.model_copy(update={"folds": 3, "fold": 2})
    ours = recipe.model_copy(update={"initial": str(package.folder), "data": data})
    module = ResidualEnhancementTrainer(ours)
    for network in (module.network, module.average):
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, state[name]), name
    other = ours.model_copy(update={"network": {**recipe.network, "widths": [8, 8]}})
    with pytest.raises(InputError, match="no member of this network"):
        ResidualEnhancementTrainer(other)


def test_bfloat16_gives_the_loss_of_float32(unbroken, recipe):
    module = ResidualEnhancementTrainer(recipe.model_copy(update={"initial": str(unbroken / "model")}))
    patients = load_patients(Path(recipe.data.prepared), cohorts=["made up"])
    drawn = DrawnCrops(patients, length=8, size=32, seed=1)
    batch = torch.utils.data.default_collate([drawn[0, n] for n in range(8)])
    totals = []
    for wanted in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=wanted):
            found = module._losses(module.network(batch["source"]).float(), batch)
        totals.append(sum(value.item() for value in found.values()))
    assert totals[0] != totals[1] and totals[1] == pytest.approx(totals[0], rel=0.01)


def test_the_checkpoint_is_chosen_by_the_held_out_measures_of_lesions_too(recipe, tmp_path):
    """A rate that destroys what was learned: the best epoch is not the last one."""
    schedule = recipe.schedule.model_copy(update={"epochs": 4, "average": 0.0, "learning_rate": 0.1})
    checkpoints = recipe.checkpoints.model_copy(update={"patience_epochs": 4})
    run = tmp_path / "run"
    train(recipe.model_copy(update={"schedule": schedule, "checkpoints": checkpoints}), run)
    chosen = json.loads((run / "checkpoints" / "same.json").read_text())
    table = chosen["held_out"]
    assert {"val_LESION", "val_early_relative_mae", "val_early_auroc"} <= set(table["1"])

    def same(epoch):
        shares = []
        for name in table["1"]:
            values = [row[name] for row in table.values()]
            share = (table[epoch][name] - min(values)) / (max(values) - min(values))
            shares.append(1 - share if name.endswith("auroc") else share)
        return sum(shares) / len(shares)

    assert chosen["best_epoch"] == int(min(table, key=same))
    best = torch.load(run / "checkpoints" / f"best_{chosen['best_epoch']:04d}.ckpt", weights_only=True)["state_dict"]
    for name, tensor in load_package(run / "model").load_state().items():
        assert torch.equal(tensor, best[f"average.{name}"])
