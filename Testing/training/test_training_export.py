"""Checkpoints of every system become packages that the engine runs, and equal the package made by the training."""

import pytest
import SimpleITK as sitk
import torch
from program import call
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.run.pipeline import RunSettings, run
from VirtualContrastTrainingLib.data.mammogram_phantom import phantom_pair
from VirtualContrastTrainingLib.data.phantom import make_phantom
from VirtualContrastTrainingLib.data.phantom.writing import write_phantom
from VirtualContrastTrainingLib.systems.recipes import load_recipe
from VirtualContrastTrainingLib.systems.registry import packaging_of, systems, train
from VirtualContrastTrainingLib.training.packaging import export_checkpoint
from VirtualContrastTrainingLib.training.smoke import PHANTOM

RECIPES = {
    "pix2pixhd": "phantom-joint-p1-p3",
    "subtraction_unet": "osuala2025-subtraction-unet",
    "time_conditioned": "phantom-time-conditioned",
    "iter_unet": "phantom-iter-unet",
    "cyclegan": "phantom-cem-cyclegan",
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def exported(*arguments):
    return call("export", *arguments)


def test_every_system_but_nnunet_is_exported_from_checkpoints():
    assert set(RECIPES) == set(systems()) - {"nnunet", "residual_enhancement"}  # the latter in its own tests
    assert {load_recipe(name).system for name in RECIPES.values()} == set(RECIPES)


# pix2pixHD is exported in test_training_published.
@pytest.mark.parametrize(
    "system",
    [
        "subtraction_unet",
        pytest.param("time_conditioned", marks=pytest.mark.slow),
        pytest.param("iter_unet", marks=pytest.mark.slow),
        "cyclegan",
    ],
)
def test_the_last_checkpoint_gives_the_package_of_the_training_and_the_engine_runs_it(system, tmp_path):
    recipe = load_recipe(RECIPES[system])
    trained = load_package(train(recipe, tmp_path / "run", smoke=True))
    assert exported(tmp_path / "run" / "checkpoints" / "last.ckpt", "-o", tmp_path / "package") == 0
    made = load_package(tmp_path / "package")
    # The cases of a smoke run do not outlive it, so that only the training could compare its model with copying.
    assert trained.card.against_copying
    assert made.card.files.keys() == trained.card.files.keys()
    assert made.card == trained.card.model_copy(update={"against_copying": [], "files": made.card.files})
    text, _, compared = (trained.folder / "MODEL_CARD.md").read_text().partition("\n\n## Against copying\n")
    assert (made.folder / "MODEL_CARD.md").read_text().rstrip() == text
    assert len(compared.splitlines()) == len(trained.card.against_copying)
    assert made.weights_path.read_bytes() == trained.weights_path.read_bytes()
    result = run(*_study(system, tmp_path), RunSettings(model=str(made.folder), segmentation="none", device="cpu"),
                 real=[tmp_path / "case" / "phase_1.nrrd"] if system == "iter_unet" else [])  # fmt: skip
    assert len(result.manifest.phases) == (len(made.card.outputs.times_s) if made.card.outputs else 1)


def _study(system, folder):
    """Input and output of a run of the engine on a phantom that the smoke runs train on."""
    if system == "cyclegan":
        sitk.WriteImage(phantom_pair(7, (128, 96))[0], str(folder / "low.nrrd"))
        return folder / "low.nrrd", folder / "result"
    return write_phantom(make_phantom(7, PHANTOM), folder / "case") / "pre.nrrd", folder / "result"


def test_a_file_that_is_no_checkpoint_of_the_recipe_is_said(tmp_path):
    recipe = load_recipe(RECIPES["iter_unet"])
    for name, content in {"text.ckpt": b"no checkpoint", "empty.ckpt": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"is not a checkpoint of the recipe phantom-iter-unet"):
            export_checkpoint(packaging_of(recipe), recipe, tmp_path / name, tmp_path / "out")
    torch.save({"state_dict": {"to_high.x": torch.zeros(1)}}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="not a checkpoint of the recipe phantom-cem-cyclegan"):
        other = load_recipe(RECIPES["cyclegan"])
        export_checkpoint(
            packaging_of(other),
            other,
            tmp_path / "other.ckpt",
            tmp_path / "out",
        )
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_without_its_recipe_asks_for_it(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"x")
    with pytest.raises(InputError, match="name the recipe with --recipe"):
        exported(tmp_path / "last.ckpt", "-o", tmp_path / "out")
