"""The pix2pixHD trainer on tiny phantoms: it learns, resumes, exports what the engine runs, and refuses nonsense."""

import csv

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.synthesizer import Synthesizer
from VirtualContrastTrainingLib.cli import main
from VirtualContrastTrainingLib.data.memmap import load_cases
from VirtualContrastTrainingLib.data.phantom import PhantomSettings, make_phantom
from VirtualContrastTrainingLib.data.phantom.writing import write_phantom
from VirtualContrastTrainingLib.data.slices import RandomSlices
from VirtualContrastTrainingLib.systems.pix2pixhd.trainer import learning_rate
from VirtualContrastTrainingLib.systems.recipes import load_recipe, recipe_names
from VirtualContrastTrainingLib.systems.registry import train
from VirtualContrastTrainingLib.training.base import RunOptions

RECIPE = "phantom-joint-p1-p3"
SETTINGS = PhantomSettings(
    size_kji=(8, 48, 64), spacing_kji_mm=(15.0, 4.0, 4.0), lesion_count_weights=(0, 0, 1), lesion_radius_mm=(8, 14)
)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    root = tmp_path_factory.mktemp("cases")
    for seed in range(3):
        write_phantom(make_phantom(seed, SETTINGS), root / f"case_{seed}")
    return root


def tiny(cases, *changes):
    small = [
        f"data.train={cases}",
        f"data.validation={cases}",
        "generator.ngf=4",
        "generator.n_blocks_global=1",
        "discriminator.ndf=4",
        "discriminator.n_layers_D=2",
        "schedule.batch_size=4",
        "schedule.slices_per_epoch=32",
        "schedule.constant_epochs=2",
        "schedule.decay_epochs=1",
        "losses.l1_only_epochs=1",
        "precision=32-true",
    ]
    return load_recipe(RECIPE, [*small, *changes])


def test_training_lowers_the_loss_and_the_package_synthesizes_in_the_engine(cases, tmp_path):
    package = train(tiny(cases, "schedule.learning_rate=0.005"), tmp_path / "run")
    with (tmp_path / "run" / "logs" / "version_0" / "metrics.csv").open() as stream:
        errors = [float(row["val_mae"]) for row in csv.DictReader(stream) if row["val_mae"]]
    assert len(errors) == 3
    assert errors[-1] < 0.9 * errors[0]
    assert load_package(package).card.training["seed"] == 20261121
    volume = make_phantom(9, SETTINGS).images[0]
    synthesis = Synthesizer(load_package(package), choose_device("cpu")).synthesize(volume, Events())
    assert synthesis.times_s == [90, 220, 350]
    assert [image.GetSize() for image in synthesis.phases] == [volume.GetSize()] * 3


def test_a_run_resumes_from_its_last_epoch_and_does_not_start_over(cases, tmp_path):
    train(tiny(cases, "schedule.constant_epochs=1"), tmp_path / "run")
    with pytest.raises(InputError, match="already holds a run"):
        train(tiny(cases), tmp_path / "run")
    train(tiny(cases, "schedule.constant_epochs=3"), tmp_path / "run", RunOptions(resume=True))
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=False)
    # 8 steps an epoch: one L1-only epoch with one optimizer, then three with two.
    assert checkpoint["global_step"] == 8 + 3 * 8 * 2
    assert (tmp_path / "run" / "logs" / "version_0" / "metrics.csv").is_file()


def test_there_is_nothing_to_resume_in_an_empty_folder(cases, tmp_path):
    with pytest.raises(InputError, match="no checkpoint to resume"):
        train(tiny(cases), tmp_path, RunOptions(resume=True))


def test_the_learning_rate_falls_where_the_original_lets_it_fall(cases):
    recipe = tiny(cases, "schedule.constant_epochs=100", "schedule.decay_epochs=100", "schedule.learning_rate=0.0002")
    expected = {1: 2e-4, 100: 2e-4, 101: 2e-4, 102: 1.98e-4, 150: 1.02e-4, 200: 2e-6}
    assert {epoch: learning_rate(recipe, epoch) for epoch in expected} == pytest.approx(expected)


def test_items_depend_on_seed_epoch_and_number_alone(cases):
    def items(epoch):
        recipe = tiny(cases)
        slices = RandomSlices(
            load_cases(cases),
            intensity=recipe.intensity,
            channel_offsets=(-1, 0, 1),
            length=6,
            lesion_share=0.5,
            seed=4,
        )
        slices.set_epoch(epoch)
        return [slices[i] for i in range(6)]

    for a, b in zip(items(2), items(2), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a["source"], b["source"]) for a, b in zip(items(2), items(3), strict=True))


def test_source_channels_are_neighboring_slices_and_targets_are_the_phases(cases):
    recipe = tiny(cases)
    case = load_cases(cases)[0]
    slices = RandomSlices(
        [case], intensity=recipe.intensity, channel_offsets=(-1, 0, 1), length=20, lesion_share=0, seed=0
    )
    constants = slices._constants[0]
    for number in range(8):
        sample = slices._sample(0, number)
        above = slices._forward(case.series[0][min(number + 1, 7)], constants)
        assert np.array_equal(sample["source"][2], above)
        assert np.array_equal(sample["target"][1], slices._forward(case.series[2][number], constants))
        assert np.array_equal(sample["lesions"][0] > 0, case.lesions[number] > 0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["schedule.batch=3"], "does not fit at"),
        (["losses.lambda_l1=much"], "losses.lambda_l1"),
        (["seed"], "key=value"),
    ],
)
def test_a_recipe_value_that_does_not_fit_is_named(cases, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        tiny(cases, *changes)


def test_an_unknown_recipe_names_the_known_ones(capsys):
    assert main(["train", "no-such-recipe", "-o", "nowhere"]) == 2
    assert RECIPE in capsys.readouterr().err


def test_the_list_holds_every_shipped_recipe_and_each_one_loads(capsys):
    assert main(["train", "--list"]) == 0
    listed = capsys.readouterr().out.split()
    assert listed == recipe_names()
    assert {load_recipe(name).id for name in listed} == set(listed)


def test_missing_cases_are_said(tmp_path, capsys):
    assert main(["train", RECIPE, "-o", str(tmp_path / "run"), "--set", f"data.train={tmp_path}"]) == 2
    assert "holds no prepared cases" in capsys.readouterr().err


def test_geometry_of_a_case_is_kept(cases):
    case = load_cases(cases)[0]
    image = sitk.ReadImage(str(cases / case.name / "pre.nrrd"))
    assert case.spacing_kji_mm == image.GetSpacing()[::-1]
