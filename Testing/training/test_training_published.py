"""The published pix2pixHD recipes: their numbers, their pictures, the local enhancer stage and the perceptual loss."""

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from program import call
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.networks.pix2pixhd import build_discriminator, build_generator
from VirtualContrastTrainingLib.cli import main
from VirtualContrastTrainingLib.data.cases import Case, load_case
from VirtualContrastTrainingLib.data.memmap import load_cases
from VirtualContrastTrainingLib.data.slices import RandomSlices, SliceStyle
from VirtualContrastTrainingLib.systems.cyclegan.image_pool import ImagePool
from VirtualContrastTrainingLib.systems.pix2pixhd import vgg
from VirtualContrastTrainingLib.systems.pix2pixhd.trainer import Pix2PixHDTrainer
from VirtualContrastTrainingLib.systems.recipes import load_recipe
from VirtualContrastTrainingLib.systems.registry import packaging_of, train
from VirtualContrastTrainingLib.training.base import RunOptions
from VirtualContrastTrainingLib.training.packaging import export_checkpoint
from VirtualContrastTrainingLib.training.slice_sets import slice_sets
from VirtualContrastTrainingLib.training.smoke import smoke_cases

SINGLE, JOINT = "osuala2024-single-as-published", "osuala2025-joint-as-published"


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return smoke_cases(tmp_path_factory.mktemp("cases"), 2)


@pytest.mark.parametrize(("name", "batch", "channels"), [(SINGLE, 1, [1, 1, 1]), (JOINT, 8, [3, 2, 1])])
@pytest.mark.parametrize("source", ["code", "paper"])
def test_recipes_hold_the_published_numbers(name, batch, channels, source):
    recipe = load_recipe(f"{name}-{source}")
    assert recipe.schedule.model_dump() == {
        "learning_rate": 2e-4,
        "beta1": 0.5,
        "batch_size": batch,
        "slices_per_epoch": None,
        "constant_epochs": 100,
        "decay_epochs": 100,
        "fall": "linear",
    }
    assert recipe.outputs.channel_phases == channels
    assert recipe.inputs.channel_offsets == [0, 0, 0]
    assert (recipe.losses.lambda_feat, recipe.losses.lambda_gan, recipe.losses.lambda_l1) == (10, 1, 0)
    assert (recipe.losses.pool_size, recipe.losses.vgg_weights) == (0, "download")
    assert (recipe.in_plane.policy, recipe.in_plane.spacing_mm, recipe.in_plane.size) == ("square", 1.0, 512)
    assert recipe.data.target_scale == "own"
    with torch.device("meta"):
        generator, discriminator = build_generator(recipe.generator), build_discriminator(recipe.discriminator)
    # Parameters of the released networks as measured: global generator, local enhancer, discriminator.
    expected = 182_443_267 if source == "code" else 182_701_827
    assert sum(p.numel() for p in generator.parameters()) == expected
    assert sum(p.numel() for p in discriminator.parameters()) == 5_535_618
    augmentation = (recipe.data.flip, recipe.data.rotation_90)
    assert augmentation == ((0.5, 0.0) if source == "code" else (0.0, 0.5))


def made_up_case(shape=(4, 32, 32), phases=3):
    rng = np.random.default_rng(0)
    series = tuple(rng.integers(0, 200 * (n + 1), shape).astype(np.int16) for n in range(phases + 1))
    lesions = np.zeros(shape, np.uint8)
    lesions[1, 4:8, 5:9] = 1
    return Case("made up", series, lesions, tuple(range(phases + 1)), (1.0, 1.0, 1.0), {})


def slices(style, case=None, **changes):
    options = {"channel_offsets": (0, 0, 0), "length": None, "lesion_share": 0.0, "seed": 1}
    return RandomSlices(
        [case or made_up_case()], intensity={"recipe": "minmax_8bit"}, style=style, **(options | changes)
    )


def test_with_a_slice_margin_an_epoch_is_the_slices_of_the_tumor_and_the_margin():
    case = made_up_case(shape=(20, 32, 32))  # the lesion is in slice 1
    chosen, every = slices(SliceStyle(flip=0.0, slice_margin=0.05), case), slices(SliceStyle(flip=0.0), case)
    assert (len(chosen), len(every)) == (3, 20)
    for number in range(3):
        assert torch.equal(chosen[number]["source"], every[number]["source"])
    bare = dataclasses.replace(case, lesions=case.lesions * 0)
    with pytest.raises(InputError, match="slice_margin"):
        slices(SliceStyle(slice_margin=0.05), bare)


def test_the_recipes_of_the_joint_model_take_tumor_slices_with_five_percent():
    for name in ("osuala2025-joint-as-published-paper", "osuala2025-joint-as-published-code"):
        assert load_recipe(name).data.slice_margin == 0.05
    assert load_recipe("osuala2024-single-as-published-paper").data.slice_margin is None


def test_without_a_length_an_epoch_is_every_slice_once():
    case = made_up_case()
    samples = slices(SliceStyle(flip=0.0), case)
    assert len(samples) == 4
    low, high = case.series[0].min(), case.series[0].max()
    for k in range(4):
        gray = np.rint((case.series[0][k] - float(low)) * 255.0 / float(high - low))
        assert np.allclose(samples[(0, k)]["source"][0].numpy(), gray / 127.5 - 1, atol=1e-6)


def test_target_channels_follow_the_order_of_the_recipe_and_their_own_scale():
    case = made_up_case()
    own = slices(SliceStyle(channel_phases=(3, 2, 1), flip=0.0, own_target_scale=True), case)
    shared = slices(SliceStyle(channel_phases=(3, 2, 1), flip=0.0), case)
    for channel, phase in enumerate((3, 2, 1)):
        volume = case.series[phase].astype(float)
        gray = np.rint((volume[2] - volume.min()) * 255.0 / (volume.max() - volume.min()))
        assert np.allclose((own[(0, 2)]["target"][channel].numpy() + 1) * 127.5, gray, atol=1.01)
    assert shared[(0, 2)]["target"].max() == 1.0  # brighter than the pre-contrast maximum: cut
    assert (shared[(0, 2)]["target"] == 1.0).float().mean() > 0.4


def test_a_case_without_a_wanted_phase_is_named():
    with pytest.raises(InputError, match="made up has 3 phases"):
        slices(SliceStyle(channel_phases=(4,)))


def test_the_quarter_turn_comes_half_of_the_time_and_turns_all_pictures_alike():
    style = SliceStyle(flip=0.0, rotation_90=0.5)
    plain, turned = slices(SliceStyle(flip=0.0)), slices(style)
    seen = []
    for epoch in range(100):
        before, after = plain[(epoch, 1)], turned[(epoch, 1)]
        seen.append(not torch.equal(before["source"], after["source"]))
        for name, image in before.items():
            assert torch.equal(after[name], torch.rot90(image, 1, (1, 2)) if seen[-1] else image)
    assert 30 < sum(seen) < 70
    with pytest.raises(InputError, match=r"set in_plane\.policy"):
        load_recipe(f"{SINGLE}-paper", ["in_plane.policy=native", "in_plane.size=null"])


def test_the_image_pool_is_off_as_published_and_otherwise_shows_earlier_images():
    batch = torch.rand(2, 6, 4, 4)
    assert ImagePool(0)(batch) is batch
    torch.manual_seed(0)
    pool = ImagePool(2)
    shown = [float(pool(torch.full((1, 1), float(n)))) for n in range(40)]
    assert shown[:2] == [0.0, 1.0]
    earlier = [n for n, value in enumerate(shown) if value != n]
    assert 8 < len(earlier) < 30
    assert all(shown[n] < n for n in earlier)
    assert len(pool.images) == 2


def test_cases_on_disk_give_the_samples_of_cases_in_memory(cases, tmp_path):
    recipe = load_recipe("phantom-joint-p1-p3", [f"data.train={cases}", f"data.validation={cases}"])
    mapped = load_recipe(
        "phantom-joint-p1-p3", [f"data.train={cases}", f"data.validation={cases}", f"data.copies={tmp_path}"]
    )
    for _ in range(2):  # copies are made, then found
        for one, other in zip(slice_sets(recipe, 6), slice_sets(mapped, 6), strict=True):
            for item in range(6):
                a, b = one[(2, item)], other[(2, item)]
                assert all(torch.equal(a[name], b[name]) for name in a)
    assert isinstance(load_cases(cases, str(tmp_path))[0].series[0], np.memmap)
    assert not list(tmp_path.rglob("*.partial*"))


def test_cases_are_trained_on_in_the_view_that_the_engine_gives_its_networks(cases, tmp_path):
    upright, turned = cases / "case_0", tmp_path / "case_0"
    turned.mkdir()
    (turned / "case.json").write_text((upright / "case.json").read_text())
    for path in upright.glob("*.nrrd"):
        image = sitk.PermuteAxes(sitk.ReadImage(str(path)), (1, 2, 0))
        sitk.WriteImage(sitk.Flip(image, (True, False, True)), str(turned / path.name))
    one, other = load_case(upright), load_case(turned)
    assert one.spacing_kji_mm == other.spacing_kji_mm
    assert all(np.array_equal(a, b) for a, b in zip(one.series, other.series, strict=True))
    assert np.array_equal(one.lesions, other.lesions)


SMALL = [
    "generator.ngf=4",
    "generator.n_blocks_global=1",
    "generator.n_downsample_global=2",
    "discriminator.ndf=4",
    "in_plane.size=32",
    "data.workers=0",
    "data.copies=null",
    "losses.vgg_weights=null",
    "schedule.batch_size=4",
    "schedule.slices_per_epoch=4",
    "schedule.decay_epochs=0",
]


def small(cases, name, *changes):
    return load_recipe(name, [f"data.train={cases}", f"data.validation={cases}", *SMALL, *changes])


@pytest.mark.slow
def test_the_local_stage_starts_from_the_global_generator_and_holds_it_for_its_epochs(cases, tmp_path):
    first = small(cases, f"{SINGLE}-code", "generator.ngf=8", "schedule.constant_epochs=1")
    package = train(first, tmp_path / "global")
    trained = load_package(package).load_state()

    def local(epochs):
        stage = f"global_stage={{weights: {package}, fix_epochs: 1}}"
        recipe = small(cases, f"{SINGLE}-paper", stage, f"schedule.constant_epochs={epochs}")
        train(recipe, tmp_path / "local", RunOptions(resume=epochs > 1))
        return torch.load(tmp_path / "local" / "checkpoints" / "last.ckpt", weights_only=True)

    fixed = local(1)
    coarse = [name for name in fixed["state_dict"] if name.startswith("generator.model.")]
    assert len(coarse) == len(trained) - 2  # the last convolution has no place in the enhancer
    assert all(torch.equal(fixed["state_dict"][name], trained[name.removeprefix("generator.")]) for name in coarse)
    start = Pix2PixHDTrainer(small(cases, f"{SINGLE}-paper"))
    fine = [name for name in start.state_dict() if name.startswith("generator.model1_") and name.endswith("weight")]
    assert any(name in fixed["state_dict"] for name in fine)
    freed = local(2)
    changed = [not torch.equal(fixed["state_dict"][name], freed["state_dict"][name]) for name in coarse]
    assert any(changed)
    steps = {int(state["step"]) for state in freed["optimizer_states"][0]["state"].values()}
    assert steps == {1}  # a fresh Adam after the fixed epochs, one step an epoch here


def test_a_global_generator_of_another_width_is_refused(cases, tmp_path):
    package = train(small(cases, f"{SINGLE}-code", "schedule.constant_epochs=1"), tmp_path / "global")
    with pytest.raises(InputError, match="not a global generator for this local enhancer"):
        Pix2PixHDTrainer(small(cases, f"{SINGLE}-paper", f"global_stage={{weights: {package}}}"))
    with pytest.raises(InputError, match="does not exist"):
        Pix2PixHDTrainer(small(cases, f"{SINGLE}-paper", "global_stage={weights: nowhere.pth}"))
    with pytest.raises(InputError, match=r"netG: local"):
        small(cases, f"{SINGLE}-code", "global_stage={weights: nowhere.pth}")


def test_any_kept_epoch_can_be_exported(cases, tmp_path):
    recipe = small(cases, f"{JOINT}-code", "schedule.constant_epochs=2", "checkpoints.keep_every_epochs=1")
    package = train(recipe, tmp_path / "run")
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("epoch_*.ckpt"))
    assert kept == ["epoch_0001.ckpt", "epoch_0002.ckpt"]
    folder = tmp_path / "run" / "checkpoints"
    packaging = packaging_of(recipe)
    first, second = (
        load_package(export_checkpoint(packaging, recipe, folder / name, tmp_path / name)) for name in kept
    )
    final = load_package(package)
    assert second.card.weights_sha256 == final.card.weights_sha256 != first.card.weights_sha256
    assert final.card.outputs.channel_phases == [3, 2, 1]
    with pytest.raises(InputError, match="not a checkpoint of the recipe"):
        other = small(cases, f"{JOINT}-paper")
        export_checkpoint(
            packaging_of(other),
            other,
            folder / kept[0],
            tmp_path / "wrong",
        )


def test_the_export_command_finds_the_recipe_beside_the_checkpoint(cases, tmp_path, capsys):
    def run(*arguments):
        return call("export", *arguments)

    recipe = small(cases, f"{JOINT}-code", "schedule.constant_epochs=1")
    package = train(recipe, tmp_path / "run")
    assert load_recipe(str(tmp_path / "run" / "recipe.yaml")) == recipe
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert run(last, "-o", tmp_path / "package") == 0
    assert str(tmp_path / "package") in capsys.readouterr().out
    assert load_package(tmp_path / "package").card == load_package(package).card
    with pytest.raises(InputError, match="not empty"):
        run(last, "-o", tmp_path / "package")
    with pytest.raises(InputError, match="does not exist"):
        run(tmp_path / "nothing.ckpt", "-o", tmp_path / "other")
    with pytest.raises(InputError, match="at the end of their training only"):
        run(last, "-o", tmp_path / "other", "--recipe", "phantom-lesion-nnunet")


def test_missing_vgg_weights_are_said_with_ways_out(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"do not exist.*vgg_weights: null"):
        vgg.VGGPerceptual(vgg.vgg_weights(str(tmp_path / "vgg19.pth")))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("VIRTUALCONTRAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(vgg, "VGG_URL", "http://127.0.0.1:9/vgg19-dcbb9e9d.pth")
    with pytest.raises(InputError, match=r"cannot be downloaded.*put the file at .*losses\.vgg_weights=PATH"):
        vgg.vgg_weights("download")
    assert not list((tmp_path / "cache" / "weights").iterdir())
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "torch" / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth").touch()
    assert vgg.vgg_weights("download").parent.name == "checkpoints"


def test_a_download_with_another_checksum_is_thrown_away(tmp_path, monkeypatch):
    (tmp_path / "vgg19-dcbb9e9d.pth").write_bytes(b"not the weights")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("VIRTUALCONTRAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(vgg, "VGG_URL", (tmp_path / "vgg19-dcbb9e9d.pth").as_uri())
    with pytest.raises(InputError, match="checksum dcbb9e9d"):
        vgg.vgg_weights("download")
    assert not list((tmp_path / "cache" / "weights").iterdir())


def test_the_smoke_run_of_a_published_recipe_trains_and_exports(tmp_path, capsys):
    assert main(["train", f"{JOINT}-code", "-o", str(tmp_path), "--smoke"]) == 0
    assert str(tmp_path / "model") in capsys.readouterr().out
    card = load_package(tmp_path / "model").card
    assert card.trained_on_phantoms
    assert "smoke test" in card.title
