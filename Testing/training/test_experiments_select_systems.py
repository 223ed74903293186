"""`select` on real training runs of the systems that are not slice-wise generators: every kept epoch is measured."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from program import call
from VirtualContrastLib.events import Events
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.study import Phase
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.mammogram import MammogramSynthesizer
from VirtualContrastLib.synthesis.volumetric import VolumetricSynthesizer
from VirtualContrastTrainingLib.data.mammogram_phantom import write_phantom_pair
from VirtualContrastTrainingLib.data.phantom import PhantomSettings, make_phantom
from VirtualContrastTrainingLib.data.phantom.writing import write_phantom
from VirtualContrastTrainingLib.systems.recipes import load_recipe
from VirtualContrastTrainingLib.systems.registry import train

SETTINGS = PhantomSettings(
    size_kji=(8, 48, 64),
    spacing_kji_mm=(15.0, 4.0, 4.0),
    phase_times_s=(90.0, 220.0, 350.0),
    lesion_count_weights=(0, 0, 1),
    lesion_radius_mm=(8, 14),
)
KEPT = {"epoch_0001", "epoch_0002"}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def series_run(tmp_path_factory):
    """(cases, run) of a tiny iterU-Net trained for two epochs."""
    root = tmp_path_factory.mktemp("series")
    for seed in range(2):
        write_phantom(make_phantom(seed, SETTINGS), root / "cases" / f"case_{seed}")
    changes = [
        *(f"data.{part}={root / 'cases'}" for part in ("train", "validation")),
        "data.patch_kji=[16, 32, 32]",
        "network.features=[4, 4, 6, 6, 6, 4]",
        *("schedule.warm_up_epochs=1", "schedule.epochs=2", "schedule.warm_up_batch_size=2", "schedule.batch_size=2"),
        "checkpoints.keep_every_epochs=1",
    ]
    train(load_recipe("phantom-iter-unet", changes), root / "run")
    return root / "cases", root / "run"


@pytest.fixture(scope="module")
def mammogram_run(tmp_path_factory):
    """(cases, run) of a tiny CycleGAN trained for two epochs."""
    root = tmp_path_factory.mktemp("mammograms")
    for seed in range(2):
        write_phantom_pair(seed, root / "cases" / f"P{seed}_L_CC", (128, 96))
    changes = [
        *(f"data.{part}={root / 'cases'}" for part in ("train", "validation")),
        *("data.patch=32", "generator.ngf=4", "generator.n_blocks=1", "discriminator.ndf=4", "stride=16"),
        *("schedule.batch_size=4", "schedule.iterations_per_epoch=6", "schedule.epochs=2"),
        *("schedule.learning_rate=0.002", "checkpoints.keep_every_epochs=1"),
    ]
    train(load_recipe("phantom-cem-cyclegan", changes), root / "run")
    return root / "cases", root / "run"


def run(capsys, *arguments, code=0):
    assert call("select", *arguments, "--json") == code
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


def squared_error(made, real):
    arrays = [sitk.GetArrayFromImage(image).astype(float) for image in (made, real)]
    return np.mean((arrays[0] - arrays[1]) ** 2)


@pytest.mark.slow
def test_every_epoch_of_an_iter_unet_is_measured_on_the_phases_that_it_makes(series_run, tmp_path, capsys):
    cases, folder = series_run
    result, _ = run(capsys, folder, "--validation", cases, "--lesion-terms", "-o", tmp_path / "out")
    epochs = {f"{place}checkpoints/epoch_{n:04d}" for place, n in (("", 1), ("warm_up/", 1))} | {"epoch_0002"}
    assert set(result["same"]) | set(result["same_weights"]) >= epochs and "enhancement_error" in result["counted"]
    winner = load_package(tmp_path / "out" / "model")
    synthesizer, errors = VolumetricSynthesizer(winner, choose_device("cpu")), []
    for case in sorted(cases.iterdir()):
        pre, first, *later = (sitk.ReadImage(str(case / f"{n}.nrrd")) for n in ("pre", "phase_1", "phase_2", "phase_3"))
        made = synthesizer.synthesize(pre, [Phase(1, first, 90.0, False)], Events(), times_s=[220.0, 350.0]).phases
        errors += [squared_error(a, b) for a, b in zip(made, later, strict=True)]
    assert result["metrics"][result["winner"]]["mse"] == pytest.approx(np.mean(errors), rel=1e-4)


def test_every_epoch_of_a_cyclegan_is_measured_on_its_mammograms(mammogram_run, tmp_path, capsys):
    cases, folder = mammogram_run
    result, _ = run(capsys, folder, "--validation", cases, "-o", tmp_path / "out")
    assert set(result["same"]) >= KEPT and {"mse", "change_mae", "change_ssim"} <= set(result["counted"])
    winner = load_package(tmp_path / "out" / "model")
    synthesizer, errors = MammogramSynthesizer(winner, choose_device("cpu")), []
    for case in sorted(cases.iterdir()):
        low, real = (sitk.ReadImage(str(case / f"{n}.nrrd")) for n in ("low_energy", "recombined"))
        errors.append(squared_error(synthesizer.synthesize(low, Events()), real))
    assert result["metrics"][result["winner"]]["mse"] == pytest.approx(np.mean(errors), rel=1e-4)


def test_without_a_package_the_recipe_that_the_run_wrote_says_what_the_checkpoints_are(mammogram_run, tmp_path, capsys):
    cases, folder = mammogram_run
    bare = tmp_path / "bare"
    (bare / "checkpoints").mkdir(parents=True)
    (bare / "recipe.yaml").write_bytes((folder / "recipe.yaml").read_bytes())
    for name in KEPT:
        (bare / "checkpoints" / f"{name}.ckpt").write_bytes((folder / "checkpoints" / f"{name}.ckpt").read_bytes())
    result, _ = run(capsys, bare, "--validation", cases)
    assert set(result["same"]) == KEPT


def test_without_cases_mammogram_models_are_measured_on_simulated_mammograms(mammogram_run, capsys):
    result, _ = run(capsys, mammogram_run[1], "--phantoms", 1)
    assert (
        result["data"].startswith("1 simulated mammograms (seeds")
        and "change_mae" in result["metrics"][result["winner"]]
    )
