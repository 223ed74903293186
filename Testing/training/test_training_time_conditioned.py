"""The time-conditioned generator on tiny phantoms: uneven phases, lesion weight, learning, resuming, the package."""

import csv

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch.utils.data import default_collate
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.models.card import InPlane, IntensitySpec
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.synthesis.device import DeviceChoice
from VirtualContrastLib.synthesis.time_conditioned import TimeConditionedSynthesizer
from VirtualContrastTrainingLib.cli import main
from VirtualContrastTrainingLib.data.cases import Case, load_case
from VirtualContrastTrainingLib.data.phantom import PhantomSettings, make_phantom, uneven_settings
from VirtualContrastTrainingLib.data.phantom.phase_times import draw_phase_times
from VirtualContrastTrainingLib.data.phantom.writing import write_phantom
from VirtualContrastTrainingLib.data.timed_slices import TimedSlices, TimedSliceSettings
from VirtualContrastTrainingLib.systems.pix2pixhd.losses import lesion_weighted_l1
from VirtualContrastTrainingLib.systems.recipes import load_recipe
from VirtualContrastTrainingLib.systems.registry import train
from VirtualContrastTrainingLib.systems.time_conditioned.losses import series_losses, temporal_l1, weighted_l1
from VirtualContrastTrainingLib.systems.time_conditioned.trainer import (
    TimeConditionedTrainer,
    learning_rate,
    timed_sets,
)
from VirtualContrastTrainingLib.training.base import RunOptions
from VirtualContrastTrainingLib.training.checkpoints import DivergedError

RECIPE = "phantom-time-conditioned"
SMALL = PhantomSettings(
    size_kji=(8, 48, 64), spacing_kji_mm=(15.0, 4.0, 4.0), lesion_count_weights=(0, 0, 1), lesion_radius_mm=(8, 14)
)
CHANGES = [
    "network.ngf=4",
    "network.n_blocks=1",
    "network.bases=4",
    "data.phases_per_slice=5",
    "schedule.batch_size=4",
    "schedule.slices_per_epoch=32",
    "schedule.constant_epochs=2",
    "schedule.decay_epochs=2",
    "schedule.learning_rate=0.01",
    "checkpoints.every_steps=3",
    "precision=32-true",
]
INTENSITY = IntensitySpec(recipe="pre_percentile", constants={"max_ratio": 4.0})


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Three phantoms of 3, 5 and 10 phases."""
    root = tmp_path_factory.mktemp("cases")
    for seed in (17, 10, 13):
        write_phantom(make_phantom(seed, uneven_settings(SMALL, seed)), root / f"case_{seed}")
    return root


def tiny(cases, *changes):
    return load_recipe(RECIPE, [*CHANGES, f"data.train={cases}", f"data.validation={cases}", *changes])


def a_case(times_s, phases=None, lesion=True):
    """A case whose phase p is the pre-contrast volume times (1 + p / 10), with one lesion on slice 2."""
    pre = np.random.default_rng(0).uniform(50, 100, (5, 20, 24)).astype(np.float32)
    pre[:, :4] = 1
    lesions = np.zeros(pre.shape, np.uint8)
    lesions[2, 8:12, 4:10] = lesion
    series = tuple(pre * (1 + p / 10) for p in range(len(times_s)))
    return Case("a", series, lesions, tuple(times_s), (3.0, 1.0, 1.0), {})


def slices_of(case, length=40, **changes):
    settings = TimedSliceSettings(channel_offsets=(-1, 0, 1), time_range_s=(60, 480), **changes)
    return TimedSlices([case], settings, intensity=INTENSITY, length=length, seed=3)


def test_phantoms_may_have_3_to_11_phases_at_uneven_times():
    drawn = [draw_phase_times(seed) for seed in range(300)]
    assert {len(times) for times in drawn} == set(range(3, 12))
    for times in drawn:
        assert 60 <= times[0] <= 130
        assert 300 <= times[-1] <= 480
        assert np.diff(times).min() >= 14  # 15 less what rounding takes
    assert len({tuple(np.diff(times)) for times in drawn}) == 300
    assert drawn[7] == draw_phase_times(7)


def test_an_uneven_phantom_is_the_same_patient_at_other_times():
    even, uneven = make_phantom(4, SMALL), make_phantom(4, uneven_settings(SMALL, 4))
    assert uneven.times_s == (0.0, *draw_phase_times(4))
    assert [lesion.uptake for lesion in even.lesions] == [lesion.uptake for lesion in uneven.lesions]
    assert [lesion.curve_type for lesion in even.lesions] == [lesion.curve_type for lesion in uneven.lesions]
    for kind in ("images", "noise_free"):
        pre = [sitk.GetArrayFromImage(getattr(phantom, kind)[0]) for phantom in (even, uneven)]
        assert np.array_equal(*pre)


def test_the_phantom_command_draws_uneven_phases(tmp_path):
    assert main(["phantom", "-o", str(tmp_path), "-n", "1", "--seed", "17", "--lesions", "0", "--uneven-phases"]) == 0
    assert load_case(tmp_path / "case_000017").times_s == (0.0, *draw_phase_times(17))


def test_an_item_holds_slices_and_phases_of_one_case_in_order_with_their_seconds():
    case = a_case([0, 70, 150, 160, 300, 470, 600])
    data = slices_of(case, phases_per_slice=3, flip=0.0, lesion_share=0.0)
    drawn = set()
    for item in (data[n] for n in range(len(data))):
        times = item["times_s"].tolist()
        assert times == sorted(set(times))
        assert set(times) <= {70, 150, 160, 300, 470}  # 600 s is outside the range
        assert item["valid"].tolist() == [1, 1, 1]
        middle = (item["source"][1] + 1).numpy()
        for time_s, phase in zip(times, item["target"].numpy(), strict=True):
            factor = 1 + case.times_s.index(time_s) / 10
            assert np.allclose(phase + 1, np.minimum(middle * factor, 2), atol=1e-4)
        drawn.add(tuple(times))
    assert len(drawn) > 5


def test_flips_turn_images_and_not_times():
    case = a_case([0, 70, 150, 300])
    turned, plain = (slices_of(case, flip=flip, phases_per_slice=3)[9] for flip in (1.0, 0.0))
    for name in ("source", "target", "lesions"):
        assert torch.equal(turned[name], plain[name].flip(-1))
    assert turned["times_s"].tolist() == plain["times_s"].tolist() == [70, 150, 300]


def test_a_case_of_few_phases_fills_up_with_phases_that_do_not_count():
    item = slices_of(a_case([0, 90, 220]), phases_per_slice=4)[0]
    assert item["times_s"].tolist() == [90, 220, 220, 220]
    assert item["valid"].tolist() == [1, 1, 0, 0]
    assert torch.equal(item["target"][1], item["target"][3])


def test_phases_of_unknown_time_are_not_used_and_cases_without_any_other_are_told():
    data = slices_of(a_case([0, None, 220, 300]), phases_per_slice=3)
    assert data[0]["times_s"].tolist() == [220, 300, 300]
    known, unknown = a_case([0, 90]), a_case([0, None])
    settings = TimedSliceSettings(channel_offsets=(0,), time_range_s=(60, 480))
    assert TimedSlices([known, unknown], settings, intensity=INTENSITY, length=1, seed=0).left_out == ("a",)
    with pytest.raises(InputError, match="None of the 1 cases has a phase of known time between 60 and 480 s"):
        slices_of(unknown)


def test_slices_are_resampled_as_the_engine_does_and_brought_to_one_size():
    item = slices_of(
        a_case([0, 90]),
        in_plane=InPlane(policy="resample", spacing_mm=2.0),
        side=16,
        phases_per_slice=1,
        lesion_share=1.0,
        flip=0.0,
    )[0]
    assert item["source"].shape == (3, 16, 16)
    assert item["target"].shape == (1, 16, 16)
    rows = (item["source"][1] > -1).any(dim=1)  # 20 x 24 pixels of 1 mm are 10 x 12 of 2 mm, black around them
    assert rows.sum() == 10
    assert item["lesions"].sum() == 2 * 3
    larger = slices_of(a_case([0, 90]), side=12, phases_per_slice=1, flip=0.0)[0]
    assert larger["source"].shape == (3, 12, 12)


def test_lesion_weights_and_missing_phases_count_as_computed_by_hand():
    output = torch.tensor([[[[1.0, 0.0]], [[5.0, 5.0]]]])  # one item, two phases, one row of two pixels
    target = torch.tensor([[[[0.5, 0.25]], [[0.0, 0.0]]]])
    lesions = torch.tensor([[[[1.0, 0.0]]]])
    first_only, both = torch.tensor([[1.0, 0.0]]), torch.ones(1, 2)
    # lesion pixel 4 times: (4 * 0.5 + 0.25) / 5; with phase 2 also (4 * 5 + 5)
    assert weighted_l1(output, target, lesions, first_only, 4.0).item() == pytest.approx(2.25 / 5)
    assert weighted_l1(output, target, lesions, both, 4.0).item() == pytest.approx((2.25 + 25) / 10)
    # changes: output 4 and 5, target -0.5 and -0.25
    assert temporal_l1(output, target, lesions, both, 4.0).item() == pytest.approx((4 * 4.5 + 5.25) / 5)
    assert temporal_l1(output, target, lesions, first_only, 4.0).item() == 0


def test_with_all_phases_there_the_weighted_error_is_that_of_pix2pixhd():
    generator = torch.Generator().manual_seed(0)
    output, target = torch.rand(2, 2, 3, 6, 8, generator=generator)
    lesions = (torch.rand(2, 1, 6, 8, generator=generator) > 0.8).float()
    expected = lesion_weighted_l1(output, target, lesions, 7.0)
    assert weighted_l1(output, target, lesions, torch.ones(2, 3), 7.0).item() == pytest.approx(expected.item())


def test_the_temporal_term_compares_every_two_phases_and_not_their_level():
    generator = torch.Generator().manual_seed(0)
    output, target = torch.rand(2, 2, 4, 6, 8, generator=generator)
    none, valid = torch.zeros(2, 1, 6, 8), torch.ones(2, 4)
    pairs = [(a, b) for a in range(4) for b in range(a + 1, 4)]
    error = output - target
    expected = torch.stack([(error[:, b] - error[:, a]).abs().mean() for a, b in pairs]).mean()
    assert temporal_l1(output, target, none, valid, 8.0).item() == pytest.approx(expected.item())
    assert temporal_l1(target + 0.3, target, none, valid, 8.0).item() == pytest.approx(0, abs=1e-6)


def test_what_fills_a_batch_up_changes_neither_loss_nor_gradient(cases):
    recipe = tiny(cases)
    train_set, _ = timed_sets(recipe)
    batch = default_collate([train_set[0, n] for n in range(6)])
    assert 0 < batch["valid"].sum() < batch["valid"].numel()
    module = TimeConditionedTrainer(recipe)
    torch.stack(list(module.batch_losses(batch).values())).sum().backward()
    gradients = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    batch["target"] = torch.where(batch["valid"][:, :, None, None] > 0, batch["target"], torch.tensor(0.77))
    torch.stack(list(module.batch_losses(batch).values())).sum().backward()
    for before, parameter in zip(gradients, module.parameters(), strict=True):
        assert torch.allclose(before, parameter.grad, atol=1e-6)


def test_a_term_of_weight_0_is_left_out():
    zeros = torch.zeros(1, 2, 4, 4)
    batch = {"target": zeros, "lesions": zeros[:, :1], "valid": torch.ones(1, 2)}
    assert set(series_losses(zeros, batch, {"l1": 1, "temporal": 0, "lesion_weight": 1})) == {"L1"}


def test_the_rate_is_constant_and_then_falls_towards_0(cases):
    recipe = tiny(cases, "schedule.constant_epochs=3", "schedule.decay_epochs=3")
    rates = [learning_rate(recipe, epoch) / 0.01 for epoch in range(6)]
    assert rates == pytest.approx([1, 1, 1, 0.75, 0.5, 0.25])


@pytest.fixture(scope="module")
def unbroken(cases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "unbroken"
    train(tiny(cases), folder)
    return folder


def metrics(run):
    with (run / "logs" / "version_0" / "metrics.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_a_short_training_lowers_its_loss_and_the_held_out_error_in_lesions(unbroken):
    rows = metrics(unbroken)
    losses = [float(row["L1"]) for row in rows if row["L1"]]
    held_out = [row for row in rows if row["val_mae"]]
    assert losses[-1] < 0.8 * losses[0]
    assert float(held_out[-1]["val_lesion_mae"]) < 0.8 * float(held_out[-1]["val_copy_lesion_mae"])
    assert float(held_out[-1]["val_mae"]) < float(held_out[-1]["val_copy_mae"])
    assert float(held_out[-1]["val_lesion_mae"]) < float(held_out[0]["val_lesion_mae"])


def test_a_run_stopped_within_an_epoch_ends_with_the_bits_of_an_unbroken_one(cases, unbroken, tmp_path):
    recipe = tiny(cases)

    class StoppedError(Exception):
        pass

    class StopsAtStep14(TimeConditionedTrainer):
        def training_step(self, batch, batch_idx):
            if self.global_step == 14:
                raise StoppedError
            return super().training_step(batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "VirtualContrastTrainingLib.systems.time_conditioned.trainer.TimeConditionedTrainer", StopsAtStep14
        )
        with pytest.raises(StoppedError):
            train(recipe, tmp_path / "run")
    train(recipe, tmp_path / "run", RunOptions(resume=True))
    ended = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (unbroken, tmp_path / "run")]
    for name, tensor in ended[0]["state_dict"].items():
        assert torch.equal(tensor, ended[1]["state_dict"][name]), name
    assert ended[0]["global_step"] == ended[1]["global_step"] == 32


def test_broken_numbers_end_the_run_and_keep_the_last_good_checkpoint(cases, tmp_path):
    recipe = tiny(cases, "schedule.learning_rate=1e30")
    with pytest.raises(DivergedError, match="last good checkpoint"):
        train(recipe, tmp_path / "run")
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_the_package_makes_any_time_on_the_grid_of_its_input(unbroken):
    package = load_package(unbroken / "model")
    assert package.card.architecture.name == "time_conditioned"
    phantom = make_phantom(9, SMALL)
    result = TimeConditionedSynthesizer(package, DeviceChoice("cpu", "fp32", "")).synthesize(
        phantom.images[0], Events(), times_s=[75, 180, 333, 444]
    )
    assert result.times_s == [75, 180, 333, 444]
    for image in result.phases:
        assert image.GetSize() == phantom.images[0].GetSize()
        assert image.GetOrigin() == phantom.images[0].GetOrigin()
        assert image.GetDirection() == phantom.images[0].GetDirection()


def test_the_picture_of_an_item_shows_the_phases_that_are_there(cases):
    recipe = tiny(cases)
    _, held_out = timed_sets(recipe)
    item = next(item for item in (held_out[n] for n in range(20)) if 0 < item["valid"].sum() < 5)
    shown = TimeConditionedTrainer(recipe).eval().sample({name: tensor[None] for name, tensor in item.items()})
    count = int(item["valid"].sum())
    assert list(shown.names) == [f"{time_s:g} s" for time_s in item["times_s"][:count].tolist()]
    assert torch.equal(shown.target, item["target"][:count])
    assert shown.output.shape == shown.target.shape
    assert torch.equal(shown.source[0], item["source"][1])


def test_training_may_read_several_folders(cases):
    recipe = tiny(cases, f"data.train=[{cases}, {cases}]")
    assert [len(set_._cases) for set_ in timed_sets(recipe)] == [6, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("network.input_nc=1", "channel_offsets"),
        ("network.output_nc=3", "unknown"),
        ("schedule.slices_per_epoch=null", "slices_per_epoch"),
        ("outputs.times_s=[30, 90, 200]", "time_range_s"),
        ("losses.l1=0", "greater than 0"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused_in_one_sentence(cases, change, message):
    with pytest.raises(InputError, match=message):
        tiny(cases, change)


def test_the_shipped_recipes_are_listed_and_valid(capsys):
    assert main(["train", "--list"]) == 0
    names = capsys.readouterr().out.split()
    for name in (RECIPE, "duke-time-conditioned"):
        assert name in names
        assert load_recipe(name).id == name


@pytest.mark.slow
def test_a_smoke_run_trains_and_exports(tmp_path):
    assert main(["train", "duke-time-conditioned", "-o", str(tmp_path / "run"), "--smoke"]) == 0
    card = load_package(tmp_path / "run" / "model").card
    assert "smoke test" in card.title
    assert {one.copied for one in card.against_copying} == {"the pre-contrast image"}
    assert card.trained_on_phantoms
