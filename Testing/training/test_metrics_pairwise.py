"""Pairwise metrics against scikit-image, torchmetrics and plain 8-bit arithmetic, on random and on real slices."""

import sys
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from PIL import Image
from skimage import metrics as skimage
from torchmetrics.functional import image as torchmetrics_image
from torchmetrics.functional import regression as torchmetrics_regression
from VirtualContrastLib.events import InputError
from VirtualContrastLib.metrics import image_pairs, similarity
from VirtualContrastTrainingLib.metrics import as_published
from VirtualContrastTrainingLib.metrics.lpips import Lpips, load_lpips
from VirtualContrastTrainingLib.metrics.slice_metrics import masked_metrics
from VirtualContrastTrainingLib.metrics.slice_pair import SlicePair

torch.set_num_threads(1)
CASES = ("case041", "case378", "case886")
DUKE_EIGHT_BIT = arrays(np.uint8, (13, 17))


def duke(shared_data, case):
    """(real, published synthetic) as uint8 slices."""
    names = ("post1.png", "post1_published_synthetic.png")
    return tuple(np.asarray(Image.open(shared_data / "duke" / case / name))[..., 0] for name in names)


def noisy_pair(shape=(200, 180), seed=0, scale=255.0):
    rng = np.random.default_rng(seed)
    real = rng.random(shape) * scale
    return real, np.clip(real + rng.normal(0, 0.2 * scale, shape), 0, scale)


def as_tensor(array, dtype=torch.float64):
    return torch.from_numpy(np.array(array)).to(dtype)[None, None]


@given(DUKE_EIGHT_BIT, DUKE_EIGHT_BIT)
@settings(max_examples=50, deadline=None)
def test_true_errors_of_8_bit_arrays_do_not_wrap(real, synthetic):
    a, b = real.astype(float), synthetic.astype(float)
    assert image_pairs.mse(real, synthetic) == pytest.approx(skimage.mean_squared_error(a, b))
    assert image_pairs.mae(real, synthetic) == pytest.approx(np.abs(a - b).mean())


@pytest.mark.parametrize("data_range", [255.0, 40.0])
def test_psnr_equals_scikit_image(data_range):
    real, synthetic = noisy_pair()
    expected = skimage.peak_signal_noise_ratio(real, synthetic, data_range=data_range)
    assert image_pairs.psnr(image_pairs.mse(real, synthetic), data_range) == pytest.approx(expected)


def scikit_ssim(real, synthetic):
    """SSIM of 8-bit images by scikit-image, with the window and the covariance of the published metric."""
    return skimage.structural_similarity(
        real.astype(float),
        synthetic.astype(float),
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )


@pytest.mark.parametrize("case", CASES)
def test_ssim_of_real_slices_equals_scikit_image_inside_and_torchmetrics_with_the_border(shared_data, case):
    real, synthetic = duke(shared_data, case)
    alike = similarity.Similarity(real, synthetic)
    expected = scikit_ssim(real, synthetic)
    assert alike.ssim(255.0) == pytest.approx(expected, abs=1e-9)
    other = torchmetrics_image.structural_similarity_index_measure(
        as_tensor(synthetic, torch.float32), as_tensor(real, torch.float32)
    )
    assert alike.ssim(alike.own_range(), with_border=True) == pytest.approx(float(other), abs=1e-5)


@pytest.mark.parametrize("data_range", [255.0, None])
@pytest.mark.parametrize("shape", [(176, 190), (200, 223)])
def test_ms_ssim_equals_torchmetrics_on_even_and_odd_sizes(data_range, shape):
    real, synthetic = noisy_pair(shape)
    other = torchmetrics_image.multiscale_structural_similarity_index_measure(
        as_tensor(synthetic), as_tensor(real), data_range=data_range
    )
    assert similarity.Similarity(real, synthetic).ms_ssim(data_range) == pytest.approx(float(other), abs=1e-6)


@pytest.mark.parametrize("shape", [(11, 11), (12, 16), (63, 19), (64, 24), (65, 25), (72, 40), (139, 17)])
def test_ssim_of_sizes_around_those_of_its_blocks_equals_scikit_image(shape):
    rng = np.random.default_rng(3)
    real = rng.integers(0, 256, shape).astype(np.uint8)
    synthetic = rng.integers(0, 256, shape).astype(np.uint8)
    expected = scikit_ssim(real, synthetic)
    assert similarity.Similarity(real, synthetic).ssim(255) == pytest.approx(expected, abs=1e-12)


def test_data_ranges_told_before_change_nothing():
    real, synthetic = noisy_pair((180, 200))
    together, apart = (similarity.Similarity(real, synthetic, known) for known in ((255.0, None, 100.0), ()))
    for data_range in (100.0, together.own_range(), 255.0, 77.0):
        np.testing.assert_array_equal(together.ssim_map(data_range), apart.ssim_map(data_range))
    for data_range in (None, 255.0, 77.0):
        assert together.ms_ssim(data_range) == apart.ms_ssim(data_range)


def test_two_slices_of_air_are_alike_and_raise_no_warning():
    air = np.zeros((200, 200), np.uint8)
    with np.errstate(all="raise"):
        assert similarity.Similarity(air, air, (255.0, None)).ms_ssim(255.0) == 1.0


def test_ms_ssim_refuses_small_slices():
    with pytest.raises(ValueError, match="176"):
        similarity.Similarity(*noisy_pair((175, 300))).ms_ssim(255.0)


def test_3d_ssim_of_a_volume_that_repeats_one_slice_is_that_of_the_slice():
    real, synthetic = noisy_pair((40, 44))
    volumes = [np.repeat(x[None], 15, axis=0) for x in (real, synthetic)]
    expected = similarity.Similarity(real, synthetic).ssim(255.0)
    assert similarity.ssim_3d(*volumes, 255.0) == pytest.approx(expected, abs=1e-5)


def test_masked_metrics_see_only_the_mask():
    real, synthetic = noisy_pair((40, 40))
    mask = np.zeros((40, 40), bool)
    mask[10:20, 12:30] = True
    values = masked_metrics(SlicePair(real, synthetic, 255.0, lambda: 0.0), mask)
    patch = np.s_[10:20, 12:30]
    assert values["mse"] == pytest.approx(skimage.mean_squared_error(real[patch], synthetic[patch]))
    full = skimage.structural_similarity(
        real,
        synthetic,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )[1]
    assert values["ssim"] == pytest.approx(full[mask].mean(), abs=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_published_mse_and_mae_equal_what_torchmetrics_gives_for_8_bit_tensors(shared_data, case):
    real, synthetic = duke(shared_data, case)
    a, b = torch.from_numpy(synthetic.copy()), torch.from_numpy(real.copy())
    mse = torchmetrics_regression.mean_squared_error(a, b)
    mae = torchmetrics_regression.mean_absolute_error(a, b)
    assert as_published.wrapped_mse(synthetic, real) == pytest.approx(float(mse), rel=1e-6)
    assert as_published.wrapped_mae(synthetic, real) == pytest.approx(float(mae), rel=1e-6)


@given(DUKE_EIGHT_BIT, DUKE_EIGHT_BIT)
@settings(max_examples=50, deadline=None)
def test_published_mae_of_both_orders_adds_up_to_256_where_pixels_differ(a, b):
    total = as_published.wrapped_mae(a, b) + as_published.wrapped_mae(b, a)
    assert total == pytest.approx(256 * np.mean(a != b))
    integers = a.astype(int) - b
    assert as_published.wrapped_mse(a, b) == pytest.approx(np.mean(integers**2 % 256))


def test_case_378_normalized_gives_the_numbers_measured_with_the_papers_own_stack(shared_data):
    protocol = as_published.PROTOCOLS["spie2024"]
    real, synthetic = (protocol.prepare(x) for x in duke(shared_data, "case378"))
    assert as_published.wrapped_mse(synthetic, real) == pytest.approx(32.1, abs=0.05)
    assert as_published.wrapped_mae(synthetic, real) == pytest.approx(46.6, abs=0.05)
    assert as_published.wrapped_mae(real, synthetic) == pytest.approx(82.5, abs=0.05)
    assert as_published.wrapped_psnr(as_published.wrapped_mse(synthetic, real), real) == pytest.approx(33.06, abs=0.005)
    alike = similarity.Similarity(real, synthetic)
    assert alike.ssim(alike.own_range(), with_border=True) == pytest.approx(0.737, abs=0.0005)
    assert image_pairs.mse(real, synthetic) == pytest.approx(233.8, abs=0.05)
    assert image_pairs.mae(real, synthetic) == pytest.approx(6.78, abs=0.005)
    assert image_pairs.psnr(image_pairs.mse(real, synthetic), 255) == pytest.approx(24.4, abs=0.05)


def test_binarized_keeps_192_and_above_of_a_full_range_image():
    ramp = np.arange(256, dtype=np.uint8)[None]
    assert np.array_equal(as_published.binarized(ramp), (ramp >= 192).astype(np.float32))
    assert not as_published.binarized(np.full((3, 3), 200, np.uint8)).any()


def test_linear_resize_equals_torch_bilinear_to_one_gray_level():
    pixels = np.random.default_rng(1).integers(0, 256, (448, 300), dtype=np.uint8)
    for size in (224, 512):
        expected = torch.nn.functional.interpolate(
            as_tensor(pixels), (size, size), mode="bilinear", align_corners=False
        )
        ours = as_published.resize_linear(pixels, size)
        assert np.abs(ours - expected[0, 0].numpy()).max() <= 0.5 + 1e-6


def test_saturating_subtraction_stops_at_zero():
    post, pre = np.array([[10, 200]], np.uint8), np.array([[30, 50]], np.uint8)
    assert as_published.saturating_subtract(post, pre).tolist() == [[0, 150]]


def test_wrapping_metrics_refuse_arrays_that_cannot_wrap():
    with pytest.raises(ValueError, match="uint8"):
        as_published.wrapped_mse(np.zeros((2, 2)), np.zeros((2, 2)))


def alexnet_features():
    """AlexNet's convolution stack as torchvision publishes it (its `features`), with random weights."""
    nn = torch.nn
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 64, 11, 4, 2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
    ]
    layers += [
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
    ]
    layers += [nn.ReLU(), nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)]
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def alexnet_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("alexnet") / "alexnet-owt-7be5be79.pth"
    torch.save({f"features.{name}": value for name, value in alexnet_features().state_dict().items()}, path)
    return path


def test_lpips_equals_torchmetrics_on_one_backbone(alexnet_file, monkeypatch):
    from torchmetrics.functional.image import lpips as theirs

    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda net, pretrained: alexnet_features())
    reference = theirs._NoTrainLpips(net="alex")
    ours = load_lpips(alexnet_file)
    first, second = (2 * x.astype(np.float32) - 1 for x in noisy_pair((97, 120), scale=1.0))
    expected = reference(*(as_tensor(x, torch.float32).expand(-1, 3, -1, -1) for x in (first, second)))
    assert ours.distance(first, second) == pytest.approx(float(expected), rel=1e-5)
    assert ours.distance(first, first) == 0
    assert "7be5be79" in ours.note  # random stand-in weights are told apart from torchvision's


def test_lpips_is_found_in_the_torch_hub_folder(alexnet_file, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"alexnet-owt-7be5be79\.pth"):
        load_lpips()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / alexnet_file.name).write_bytes(alexnet_file.read_bytes())
    assert isinstance(load_lpips(), Lpips)


def test_lpips_refuses_a_file_of_another_network_and_one_with_code(tmp_path):
    other = tmp_path / "other.pth"
    torch.save({"features.0.weight": torch.zeros(3, 3)}, other)
    with pytest.raises(InputError, match="not torchvision's AlexNet"):
        load_lpips(other)
    module = types.ModuleType("stand_in_module")
    sys.modules["stand_in_module"] = module
    code = tmp_path / "code.pth"
    torch.save(np.vectorize, code)
    with pytest.raises(InputError, match="hold code"):
        load_lpips(code)
