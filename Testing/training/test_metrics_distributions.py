"""Frechet, kernel and radiomics distances against closed forms and other libraries."""

import csv
import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torchmetrics.image.kid import poly_mmd
from VirtualContrastLib.events import InputError
from VirtualContrastTrainingLib.metrics import radiomics_distance as frd
from VirtualContrastTrainingLib.metrics.distributions import FeatureSet, Preparation, compare_sets, image_distances
from VirtualContrastTrainingLib.metrics.feature_networks import FeatureNetwork, distance_names, load_feature_network
from VirtualContrastTrainingLib.metrics.frechet import FeatureMoments, frechet_distance, kernel_distance, too_few_note
from VirtualContrastTrainingLib.metrics.pairs import Pair

torch.set_num_threads(1)


def moments(features):
    found = FeatureMoments()
    found.add(features)
    return found


def features(seed, n=60, dimension=7):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dimension)) @ rng.normal(size=(dimension, dimension)) + rng.normal(size=dimension)


def exact(mean, covariance):
    """Moments that hold exactly the given Gaussian."""
    found = FeatureMoments()
    found.n, found.mean, found._scatter = 2, np.asarray(mean, float), np.asarray(covariance, float)
    return found


def test_distance_of_two_gaussians_equals_the_closed_form_for_commuting_covariances():
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    a, b = np.array([1, 2, 3, 4, 5.0]), np.array([2, 2, 0.5, 9, 0])
    first = exact(np.zeros(5), rotation @ np.diag(a) @ rotation.T)
    second = exact(np.full(5, 0.3), rotation @ np.diag(b) @ rotation.T)
    expected = 5 * 0.09 + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-12)  # one covariance is singular


def test_distance_equals_the_formula_with_scipys_matrix_square_root():
    x, y = features(1), features(2)
    c1, c2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(c1 @ c2).real
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(c1 + c2 - 2 * root)
    assert frechet_distance(moments(x), moments(y)) == pytest.approx(expected, rel=1e-8)


@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_distance_is_zero_for_equal_sets_symmetric_and_stable_when_singular(seed, n, dimension):
    x, y = features(seed, n, dimension), features(seed + 1, n, dimension)
    scale = np.trace(moments(x).covariance) + np.trace(moments(y).covariance)
    assert frechet_distance(moments(x), moments(x)) <= 1e-12 * scale
    one, other = frechet_distance(moments(x), moments(y)), frechet_distance(moments(y), moments(x))
    assert one == pytest.approx(other, abs=1e-12 * scale)
    assert np.isfinite(one) and one >= 0


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_moments_of_a_stream_equal_those_of_the_whole(batches, seed):
    data = np.random.default_rng(seed).normal(1e6, 1, size=(sum(batches) + 1, 4))
    found, start = FeatureMoments(), 0
    for size in [*batches, 1]:
        found.add(data[start : start + size])
        start += size
    assert found.mean == pytest.approx(data.mean(0), rel=1e-12)
    assert np.allclose(found.covariance, np.cov(data, rowvar=False), atol=1e-8)


def test_kernel_distance_equals_torchmetrics():
    x, y = features(3), features(4)
    expected = poly_mmd(torch.from_numpy(x), torch.from_numpy(y))
    assert kernel_distance(x, y)[0] == pytest.approx(float(expected), rel=1e-9)
    mean, spread = kernel_distance(x, y, subset_size=30)
    assert abs(mean - float(expected)) < 3 * spread


def test_too_few_images_are_said():
    assert too_few_note(3000, 2048) == ""
    assert "2000 images for 2048 features" in too_few_note(2000, 2048)


TIMM = """
import importlib.abc, importlib.machinery, sys, types
class Stand:
    def __init__(self, *a, **k): pass
    def __class_getitem__(cls, item): return cls
class Module(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"): raise AttributeError(name)
        numbers = {n: i for i, n in enumerate("BILINEAR BICUBIC NEAREST BOX HAMMING LANCZOS".split())}
        return type(name, (Stand,), numbers)
class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torchvision":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec): return Module(spec.name)
    def exec_module(self, module): pass
sys.meta_path.insert(0, Finder())
import timm, torch
torch.set_num_threads(1)
folder = sys.argv[1]
torch.manual_seed(0)
x = torch.rand(2, 1, 139, 160) * 2 - 1
torch.save(x, folder + "/input.pt")
for name in ("inception_v3", "resnet50"):
    options = {"aux_logits": False} if name == "inception_v3" else {}
    model = timm.create_model(name, pretrained=False, **options).eval()
    for key, value in model.state_dict().items():
        if key.endswith(("running_mean", "bias")): value.normal_(0, 0.1)
        if key.endswith("running_var"): value.uniform_(0.5, 1.5)
    with torch.no_grad():
        out = model.forward_features(x.expand(-1, 3, -1, -1)).mean((2, 3))
    torch.save(model.state_dict(), folder + "/" + name + ".pth")
    torch.save(out, folder + "/" + name + "_features.pt")
"""


@pytest.fixture(scope="module")
def timm_reference(tmp_path_factory):
    """Weights and features of timm's networks, made in another process as timm needs torchvision to import."""
    folder = tmp_path_factory.mktemp("timm")
    done = subprocess.run([sys.executable, "-c", TIMM, str(folder)], capture_output=True, text=True, check=False)
    if "No module named 'timm'" in done.stderr:
        pytest.skip("timm, the independent truth for the feature networks, is not installed")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), [("inception_v3", "inception"), ("resnet50", "resnet50")])
def test_feature_networks_equal_timms_under_both_key_layouts(timm_reference, tmp_path, name, kind):
    slices = torch.load(timm_reference / "input.pt", weights_only=True)[:, 0].numpy()
    expected = torch.load(timm_reference / f"{name}_features.pt", weights_only=True).numpy()
    network = load_feature_network(timm_reference / f"{name}.pth")
    assert network.kind == kind
    assert np.allclose(network.features(slices), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())

    from VirtualContrastTrainingLib.metrics import feature_networks as module

    order = module._INCEPTION_ORDER if kind == "inception" else module._RESNET_ORDER
    state = torch.load(timm_reference / f"{name}.pth", weights_only=True)
    numbered = {
        f"backbone.{order.index(key.split('.')[0])}.{key.split('.', 1)[1]}": value
        for key, value in state.items()
        if key.split(".")[0] in order
    }
    torch.save(numbered, tmp_path / "radimagenet.pt")
    again = load_feature_network(tmp_path / "radimagenet.pt")
    assert np.array_equal(again.features(slices), network.features(slices))


def test_fid_pooling_changes_inception_only_in_its_pool_branches(timm_reference):
    state = torch.load(timm_reference / "inception_v3.pth", weights_only=True)
    slices = torch.load(timm_reference / "input.pt", weights_only=True)[:, 0].numpy()
    plain, fid = (FeatureNetwork("inception", state, fid_pooling=flag).features(slices) for flag in (False, True))
    assert plain.shape == fid.shape == (2, 2048)
    assert not np.allclose(plain[:, -192:], fid[:, -192:])


def conv(inputs, outputs, side=3, stride=1, padding=1):
    return [nn.Conv2d(inputs, outputs, side, stride, padding), nn.ReLU()]


def torchvisions(name):
    """`features` of torchvision's AlexNet or VGG16 as it lists them, without the last pooling."""
    if name == "alexnet":
        pool = nn.MaxPool2d(3, 2)
        return nn.Sequential(*conv(3, 64, 11, 4, 2), pool, *conv(64, 192, 5, 1, 2), pool, *conv(192, 384),
                             *conv(384, 256), *conv(256, 256))  # fmt: skip
    layers, channels = [], 3
    for width in (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512):
        layers += [nn.MaxPool2d(2, 2)] if width == "M" else conv(channels, width)
        channels = channels if width == "M" else width
    return nn.Sequential(*layers)


@pytest.mark.parametrize(("name", "dimension"), [("alexnet", 256), ("vgg16", 512)])
def test_the_networks_of_lpips_give_their_last_layer_of_images_normalized_as_imagenet(name, dimension, tmp_path):
    torch.manual_seed(0)
    features = torchvisions(name).eval()
    torch.save({f"features.{key}": value for key, value in features.state_dict().items()}, tmp_path / "weights.pth")
    network = load_feature_network(tmp_path / "weights.pth")
    slices = torch.rand(2, 64, 80) * 2 - 1
    mean, sd = (torch.tensor(c).view(1, 3, 1, 1) for c in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        expected = features((((slices + 1) / 2)[:, None] - mean) / sd).mean(dim=(2, 3)).numpy()
    assert network.kind == name and expected.shape == (2, dimension)
    assert np.allclose(network.features(slices.numpy()), expected, rtol=1e-4, atol=1e-5)
    assert distance_names(name) == ("Frechet distance", "kernel distance") and distance_names("resnet50")[0] == "FID"


def test_a_file_of_another_network_and_a_missing_one_are_refused(tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="none of Inception-v3, ResNet-50, AlexNet and VGG16"):
        load_feature_network(tmp_path / "a.pth")
    with pytest.raises(InputError, match="no weight file"):
        load_feature_network(tmp_path / "b.pth")


class Downsampled:
    """A stand-in feature network: an 8 x 8 thumbnail of the slice."""

    kind = "thumbnail"

    def features(self, slices):
        n, j, i = slices.shape
        return slices.reshape(n, 8, j // 8, 8, i // 8).mean(axis=(2, 4)).reshape(n, 64).astype(float)


def test_image_distances_see_a_shift_and_give_a_baseline_by_patient(tmp_path):
    rng, pairs = np.random.default_rng(0), []
    for number in range(24):
        real = rng.integers(60, 120, (40, 40), dtype=np.uint8)
        for name, pixels in (("r", real), ("s", real + 60)):
            Image.fromarray(pixels).save(tmp_path / f"{name}{number}.png")
        pairs.append(Pair(tmp_path / f"r{number}.png", tmp_path / f"s{number}.png", str(number // 4)))
    found = image_distances(pairs, Downsampled(), Preparation(size=64))
    shifted, baseline = found.synthetic_against_real, found.baseline
    assert shifted.fid == pytest.approx(64 * (60 / 127.5) ** 2, rel=0.02)
    assert baseline.fid < 0.2 * shifted.fid and baseline.n == (12, 12)
    assert "24 images for 64 features" in shifted.note


def test_sample_for_kid_stays_bounded_and_moments_stay_exact(monkeypatch):
    from VirtualContrastTrainingLib.metrics import distributions

    monkeypatch.setattr(distributions, "KID_LIMIT", 50)
    data = features(5, n=400)
    found = FeatureSet()
    for start in range(0, 400, 16):
        found.add(data[start : start + 16])
    assert len(found.sample) == 50
    assert np.allclose(found.moments.covariance, np.cov(data, rowvar=False))
    assert compare_sets(found, found).fid == pytest.approx(0, abs=1e-6)


def lesion_pair(seed, noise):
    rng = np.random.default_rng(seed)
    j, i = np.mgrid[:32, :32]
    mask = ((j - 16) ** 2 + (i - 15) ** 2 < 64)[None]
    image = 100 + 60 * np.sin(i / (2 + seed % 3)) + rng.normal(0, noise, (32, 32))
    return image[None], mask


def textures(noise, count=6):
    extractor = frd.extractor_v0()
    return frd.table_of([frd.lesion_features(extractor, *lesion_pair(seed, noise)) for seed in range(count)])


@pytest.fixture(scope="module")
def texture_tables():
    return textures(5), textures(40)


def test_version_0_texture_set_has_the_75_features_of_the_paper(texture_tables):
    assert len(texture_tables[0].names) == 75


def test_first_order_features_of_a_real_lesion_equal_the_published_pyradiomics_baseline(shared_data):
    folder = shared_data / "pyradiomics-breast1"
    image, label = (sitk.ReadImage(str(folder / f"breast1_{name}.nrrd")) for name in ("image", "label"))
    with (folder / "baseline_firstorder.csv").open(newline="") as file:
        rows = [(row["featureName"], row["breast1"]) for row in csv.DictReader(file)]
    expected = {name: float(value) for name, value in rows if name.startswith("original_firstorder")}
    mask = sitk.GetArrayFromImage(label) == 1
    spacing = image.GetSpacing()[::-1]
    extractor = frd.extractor_v0(("firstorder",))
    extractor.settings["voxelArrayShift"] = 2000  # as the baseline was computed
    found = frd.lesion_features(extractor, sitk.GetArrayFromImage(image), mask, spacing)
    assert len(expected) > 10
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name


def test_radiomics_distance_grows_with_the_difference_and_is_zero_for_one_set(texture_tables):
    same, other = texture_tables
    assert frd.distance_v0(same, same) == pytest.approx(0, abs=1e-6)
    assert frd.distance_v0(same, other) > 1
    assert frd.distance_v0(same, other) == pytest.approx(frd.distance_v0(other, same))


def test_published_flag_hides_every_difference_of_the_means():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 5))
    names = tuple("abcde")
    real, shifted = frd.FeatureTable(names, values), frd.FeatureTable(names, 3 * values + 1000)
    assert frd.distance_v0(real, shifted, norm="zscore", pooled=False) == pytest.approx(0, abs=1e-6)
    pooled = frd.distance_v0(real, shifted, norm="zscore")
    both = np.concatenate([real.values, shifted.values])
    z = [(v - both.mean(0)) / both.std(0) for v in (real.values, shifted.values)]
    assert pooled == pytest.approx(frd.NORM_RANGE**2 * frechet_distance(moments(z[0]), moments(z[1])), rel=1e-9)


def test_constant_and_missing_features_take_the_fallback_of_frd_score():
    values = np.array([[1.0, 5.0, np.nan], [2.0, 5.0, 1.0], [3.0, 5.0, 2.0]])
    scaled = frd._scaled(values, values, "minmax")
    assert scaled[:, 1] == pytest.approx(frd.NORM_RANGE / 2)
    assert scaled[0, 2] == pytest.approx(frd.NORM_RANGE / 2)
    assert frd._scaled(values, values, "zscore")[:, 1] == pytest.approx(0)


def test_version_0_scales_a_feature_by_its_known_values_when_some_are_missing():
    values = np.array([[np.nan], [1.0], [3.0]])
    assert frd._scaled(values, values, "minmax")[:, 0] == pytest.approx(frd.NORM_RANGE * np.array([0.5, 0, 1]))


def test_version_1_is_the_formula_of_frd_score_written_with_scipy():
    """z-scores by the real set in float32, columns that are not finite left out, then np.cov and sqrtm, and the log."""
    rng = np.random.default_rng(2)
    real, other = rng.normal(2, 3, (50, 5)), rng.normal(3, 3, (50, 5))
    real[:, 3] = 7 + 1e-9 * rng.random(50)  # constant as float32, where a z-score by float64 would be noise
    other[0, 4] = np.nan
    tables = [frd.FeatureTable(tuple("abcde"), values) for values in (real, other)]
    first, second = real[:, [0, 1, 2, 4]].astype(np.float32), other[1:][:, [0, 1, 2, 4]].astype(np.float32)
    z = [(v - first.mean(0)) / first.std(0) for v in (first, second)]
    c = [np.cov(v, rowvar=False) for v in z]
    shift = z[0].mean(0) - z[1].mean(0)
    expected = np.log(shift @ shift + np.trace(c[0] + c[1] - 2 * np.real(scipy.linalg.sqrtm(c[0] @ c[1]))))
    assert frd.distance_v1(*tables) == pytest.approx(expected, rel=1e-4)
    assert frd.distance_v1(*tables, paper_log=True) == pytest.approx(expected / 2, rel=1e-4)
    with pytest.raises(ValueError, match="two lesions"):
        frd.distance_v1(tables[0], frd.FeatureTable(tuple("abcde"), other[:2]))


def test_version_1_counts_the_numeric_diagnostics_of_pyradiomics_as_frd_score_does():
    image, mask = (np.kron(x, np.ones((1, 2, 2))) for x in lesion_pair(0, 5))
    plain, full = (
        frd.lesion_features(frd.extractor_v1(), image, mask > 0, diagnostics=wanted) for wanted in (False, True)
    )
    assert len(full) == len(plain) + 13
    assert full["diagnostics_Mask-original_VoxelNum"] == mask.sum()
    assert full["diagnostics_Image-original_Mean"] == pytest.approx(image.mean(), rel=1e-5)


def test_version_1_takes_77_features_from_each_of_its_images():
    image, mask = (np.kron(x, np.ones((1, 2, 2))) for x in lesion_pair(0, 5))
    slice_ = frd.lesion_features(frd.extractor_v1(), image, mask > 0)
    kinds = {name.rsplit("_", 2)[0] for name in slice_}
    assert kinds == {"original", "wavelet-LH", "wavelet-HL", "wavelet-HH", "wavelet-LL"}
    assert len(slice_) == 5 * 77
    block = np.repeat(image, 24, axis=0), np.repeat(mask, 24, axis=0) > 0
    volume = frd.lesion_features(frd.extractor_v1(two_dimensional=False), *block)
    assert len(volume) == (1 + 4 + 8) * 77


class Means:
    kind = "means"

    def features(self, slices):
        return np.stack([slices.mean(axis=(1, 2)), slices[:, :9].mean(axis=(1, 2))], axis=1)


def test_with_a_limit_only_the_first_slices_count(tmp_path):
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(3):
        for side in ("r", "s"):
            volume = rng.integers(0, 255, (4, 16, 16), dtype=np.uint8)
            sitk.WriteImage(sitk.GetImageFromArray(volume), str(tmp_path / f"{side}{number}.nrrd"))
        pairs.append(Pair(tmp_path / f"r{number}.nrrd", tmp_path / f"s{number}.nrrd", str(number)))
    found = image_distances(pairs, Means(), Preparation(size=16), limit=6).synthetic_against_real
    assert found.n == (6, 6)
    whole = image_distances(pairs, Means(), Preparation(size=16)).synthetic_against_real
    assert whole.n == (12, 12) and whole.fid != found.fid


class Counting(Means):
    """Means, and how many slices were asked for."""

    def __init__(self):
        self.slices = 0

    def features(self, slices):
        self.slices += len(slices)
        return super().features(slices)


def test_real_images_are_read_once_for_several_synthetic_sets(tmp_path):
    rng = np.random.default_rng(0)
    for side in ("r", "s", "t"):
        for number in range(3):
            volume = rng.integers(0, 255, (4, 16, 16), dtype=np.uint8)
            sitk.WriteImage(sitk.GetImageFromArray(volume), str(tmp_path / f"{side}{number}.nrrd"))
    network, known = Counting(), {}
    for side in ("s", "t"):
        pairs = [Pair(tmp_path / f"r{n}.nrrd", tmp_path / f"{side}{n}.nrrd", str(n)) for n in range(3)]
        alone = image_distances(pairs, Means(), Preparation(size=16))
        assert image_distances(pairs, network, Preparation(size=16), known=known) == alone
    assert network.slices == 12 + 2 * 12
