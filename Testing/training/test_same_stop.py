"""A run ends where SAMe finds no better epoch and gives the best one; the rate falls in a line or along a cosine."""

import json

import numpy as np
import pytest
import torch
from test_training_pix2pixhd import cases, tiny  # noqa: F401
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.package import load_package
from VirtualContrastTrainingLib.metrics.same_measure import rank
from VirtualContrastTrainingLib.systems.pix2pixhd.trainer import generator_of_checkpoint, learning_rate
from VirtualContrastTrainingLib.systems.registry import train
from VirtualContrastTrainingLib.training.recipe import Schedule
from VirtualContrastTrainingLib.training.same_stop import SameStop, held_out, pareto_front


def test_only_epochs_that_may_be_the_best_are_on_the_front():
    table = {
        "1": {"val_mae": 3.0, "val_ssim": 0.5},
        "2": {"val_mae": 2.0, "val_ssim": 0.4},
        "3": {"val_mae": 3.0, "val_ssim": 0.4},
        "4": {"val_mae": 2.0, "val_ssim": 0.4},
    }
    assert pareto_front(table) == {"1", "2"}


def test_the_best_of_any_table_is_on_the_front_whatever_comes_later():
    rng = np.random.default_rng(0)
    for _ in range(200):
        table = {}
        for epoch in range(1, 9):
            table[str(epoch)] = {"val_mae": rng.random(), "val_ssim": rng.random(), "val_noise": rng.random()}
            if len(table) > 1:
                winners = rank(table, lower=["val_noise"]).winners
                assert set(winners) <= pareto_front(table)


def test_measures_of_copying_do_not_count_and_none_at_all_is_refused():
    metrics = {"val_mae": torch.tensor(0.5), "val_copy_mae": torch.tensor(0.1), "loss": torch.tensor(1.0)}
    assert held_out(metrics) == {"val_mae": 0.5}
    with pytest.raises(InputError, match="patience_epochs"):
        held_out({"loss": torch.tensor(1.0)})


def test_the_best_epoch_is_the_earliest_of_equal_ones(tmp_path):
    stop = SameStop(tmp_path, 2)
    assert stop.best == 0
    for epoch, mae in enumerate([3.0, 1.0, 2.0, 1.0], start=1):
        stop.table[str(epoch)] = {"val_mae": mae}
    assert stop.best == 2
    again = SameStop(tmp_path, 2)
    again.load_state_dict(stop.state_dict())
    assert again.best == 2


def test_a_run_stops_when_no_epoch_is_better_and_exports_the_best(cases, tmp_path, monkeypatch):  # noqa: F811
    """The held-out error is made to rise after the second epoch, whatever the network does."""
    errors = iter([5.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    monkeypatch.setattr(
        "VirtualContrastTrainingLib.training.same_stop.held_out", lambda metrics: {"val_mae": next(errors)}
    )
    recipe = tiny(cases, "schedule.constant_epochs=6", "schedule.slices_per_epoch=8", "checkpoints.patience_epochs=2")
    package = train(recipe, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    told = json.loads((folder / "same.json").read_text())
    assert told["best_epoch"] == 2 and list(told["held_out"]) == ["1", "2", "3", "4"]
    assert [path.name for path in sorted(folder.glob("best_*"))] == ["best_0002.ckpt"]
    best, last = (generator_of_checkpoint(folder / name) for name in ("best_0002.ckpt", "last.ckpt"))
    exported = load_package(package).load_state()
    assert all(torch.equal(exported[name], best[name]) for name in best)
    assert any(not torch.equal(last[name], best[name]) for name in best)


@pytest.mark.parametrize("fall", ["linear", "cosine"])
def test_the_rate_falls_from_all_to_nothing(fall):
    schedule = Schedule(fall=fall)
    shares = [schedule.share(left) for left in (1.4, 1.0, 0.75, 0.5, 0.25, 0.0)]
    straight = np.array([1, 1, 0.75, 0.5, 0.25, 0])
    expected = straight if fall == "linear" else 0.5 * (1 + np.cos(np.pi * (1 - straight)))
    assert shares == pytest.approx(list(expected))


def test_a_recipe_asks_for_the_cosine(cases):  # noqa: F811
    changes = ("schedule.constant_epochs=2", "schedule.decay_epochs=4", "schedule.learning_rate=0.01")
    rates = [learning_rate(tiny(cases, *changes, "schedule.fall=cosine"), epoch) for epoch in range(1, 7)]
    torch_rates = []
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
    for _ in range(4):
        torch_rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        cosine.step()
    assert rates == pytest.approx([0.01, 0.01, *torch_rates])
