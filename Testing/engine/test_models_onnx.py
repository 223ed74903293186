"""Networks of others as ONNX: exported in ten lines, imported with their card, run without any of their code."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from VirtualContrastLib.cli.main import main
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.models.import_onnx import import_onnx
from VirtualContrastLib.study import Phase, Source, Study
from VirtualContrastLib.synthesis.device import DeviceChoice
from VirtualContrastLib.synthesis.study_synthesizer import study_synthesizer

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")

CPU = DeviceChoice("cpu", "fp32", "test")
DESCRIBED = {
    "inputs": {"phases": [0], "channel_offsets": [-1, 0, 1]},
    "outputs": {"channel_phases": [2, 1], "times_s": [90, 220]},
    "intensity": {"recipe": "pre_percentile", "constants": {"percentile": 99, "max_ratio": 2.5}},
    "in_plane": {"policy": "native", "pad_multiple": 16},
    "trained_on_phantoms": True,
}


def monai_network():
    """MONAI's own U-Net."""
    nets = pytest.importorskip("monai.networks.nets", reason="MONAI is not installed")
    return nets.BasicUNet(spatial_dims=2, in_channels=3, out_channels=2, features=(8, 8, 8, 16, 16, 8))


def residual_encoder_network():
    """A U-Net over a residual encoder, as segmentation-models builds them (that package needs torchvision)."""
    from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet

    norm = {"norm_op": torch.nn.BatchNorm2d, "norm_op_kwargs": {}}
    return ResidualEncoderUNet(
        3, 3, [8, 16, 16], torch.nn.Conv2d, 3, [1, 2, 2], [1, 1, 1], 2, [1, 1], nonlin=torch.nn.ReLU, **norm
    )


def nnunet_network():
    """nnU-Net's own network."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    norm = {"norm_op": torch.nn.InstanceNorm2d, "norm_op_kwargs": {"affine": True}}
    return PlainConvUNet(
        3, 3, [8, 16, 16], torch.nn.Conv2d, 3, [1, 2, 2], [1, 1, 1], 2, [1, 1], nonlin=torch.nn.LeakyReLU, **norm
    )


def export(network, path, channels=3):
    """The export of the documentation."""
    axes = {0: "n", 2: "row", 3: "column"}
    torch.onnx.export(
        network.eval(),
        (torch.zeros(1, channels, 64, 64),),
        path,
        dynamo=False,
        input_names=["slices"],
        output_names=["phases"],
        dynamic_axes={"slices": axes, "phases": axes},
    )
    return path


def pre_contrast():
    array = np.random.default_rng(0).uniform(20, 300, (4, 40, 48)).astype(np.float32)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.6, 1.6, 3.0))
    return image


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [monai_network, residual_encoder_network, nnunet_network])
def test_the_package_gives_what_the_network_gives_in_torch(make, tmp_path):
    torch.manual_seed(0)
    network = make()
    package = import_onnx(
        export(network, tmp_path / "net.onnx"),
        tmp_path / "package",
        model_id="net",
        title="t",
        described=DESCRIBED,
        license="x",
    )
    pre = pre_contrast()
    study = Study(Phase(0, pre, 0.0, synthetic=False), Source((), "memory", ""))
    made = study_synthesizer(package, CPU).synthesize_study(study, Events(), times_s=None, perturbations=0, seed=0)

    array = sitk.GetArrayFromImage(pre)
    scale = np.percentile(array[array > array.min()], 99)
    stack = 2 * np.clip(array[np.clip(np.arange(4)[:, None] + [-1, 0, 1], 0, 3)] / (2.5 * scale), 0, 1) - 1
    with torch.no_grad():
        # 40 x 48 is padded by 4 rows on both sides, as the card's multiple of 16 asks for.
        padded = torch.nn.functional.pad(torch.from_numpy(stack.astype(np.float32)), (0, 0, 4, 4), mode="reflect")
        expected = network(padded)[:, :, 4:-4].numpy()
    for number, channel in ((0, 1), (1, 0)):  # channel_phases [2, 1]: the second channel is phase 1
        phase = sitk.GetArrayFromImage(made.phases[number])
        # The scale is that of the foreground, near that of all voxels here; compare in network range.
        ours = phase / phase.std()
        theirs = (expected[:, channel] + 1) / expected[:, channel].std()
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999
    assert made.times_s == [90, 220]


@pytest.mark.filterwarnings("ignore")
def test_a_file_is_imported_from_the_command_line_and_its_card_is_checked(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VIRTUALCONTRAST_CACHE", str(tmp_path / "cache"))
    path = export(torch.nn.Conv2d(3, 2, 3, padding=1), tmp_path / "tiny.onnx")
    assert main(["models", "import", str(path), "--id", "tiny", "--config", json.dumps(DESCRIBED)]) == 0
    card = json.loads((tmp_path / "cache" / "Models" / "tiny" / "model.json").read_text())
    assert card["architecture"]["name"] == "onnx" and card["architecture"]["config"]["output_nc"] == 2
    wrong = DESCRIBED | {"inputs": {"phases": [0], "channel_offsets": [0]}}
    assert main(["models", "import", str(path), "--id", "other", "--config", json.dumps(wrong)]) == 2
    assert "channel_offsets has 1 entries" in capsys.readouterr().err
    assert main(["models", "import", str(path), "--id", "other"]) == 2
    assert "lacks inputs, outputs" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_files_that_are_not_such_networks_are_refused(tmp_path):
    def refused(path, words):
        with pytest.raises(InputError, match=words):
            import_onnx(path, tmp_path / "out", model_id="x", title="x", described=DESCRIBED, license="x")

    (tmp_path / "no.onnx").write_bytes(b"not a graph")
    refused(tmp_path / "no.onnx", "cannot be run")
    fixed = tmp_path / "fixed.onnx"
    torch.onnx.export(torch.nn.Conv2d(3, 2, 3, padding=1), (torch.zeros(1, 3, 64, 64),), fixed, dynamo=False)
    refused(fixed, "free n, rows and columns")
    volume = tmp_path / "volume.onnx"
    torch.onnx.export(torch.nn.Conv3d(1, 1, 3), (torch.zeros(1, 1, 8, 8, 8),), volume, dynamo=False)
    refused(volume, "one input and one output")
