"""The pixels that networks see: the volume's own, resampled ones, and the published square; training and synthesis."""

import numpy as np
import pytest
import SimpleITK as sitk
from tiny_models import tiny_package
from torch import nn
from VirtualContrastLib.events import Events
from VirtualContrastLib.models.package import InPlane
from VirtualContrastLib.synthesis.device import DeviceChoice
from VirtualContrastLib.synthesis.network_grid import NetworkGrid, shrink_by_area, spacing_warning
from VirtualContrastLib.synthesis.slice_network import SliceNetwork
from VirtualContrastLib.synthesis.synthesizer import Synthesizer

SQUARE = InPlane(policy="square", spacing_mm=1.0, size=64)


def slices(*shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def test_the_published_square_goes_over_millimeters():
    grid = NetworkGrid.of(SQUARE, (40, 60), (0.5, 0.7))
    assert (grid.by_area, grid.size) == ((20, 42), (64, 64))
    assert grid.to_network(np.full((3, 40, 60), 7, np.float32)).shape == (3, 64, 64)
    np.testing.assert_allclose(grid.to_network(np.full((1, 40, 60), 7, np.float32)), 7, atol=1e-5)
    assert grid.to_native(slices(2, 64, 64)).shape == (2, 40, 60)


def keys_cubic(old, new):
    """Weights [new, old] of cubic interpolation with a = -0.75, edges aligned and repeated, written out."""
    weights = np.zeros((new, old))
    for p in range(new):
        x = (p + 0.5) * old / new - 0.5
        for q in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
            d, t = abs(x - q), -0.75
            near = (t + 2) * d**3 - (t + 3) * d**2 + 1
            value = near if d <= 1 else t * d**3 - 5 * t * d**2 + 8 * t * d - 4 * t if d < 2 else 0
            weights[p, min(max(q, 0), old - 1)] += value
    return weights


def test_the_published_square_is_the_mean_of_areas_then_cubic():
    """Pixels of 0.5 mm are averaged in pairs; the field of 48 x 60 mm is then stretched to the square."""
    image = slices(1, 96, 120)
    pairs = image[0].reshape(48, 2, 60, 2).mean(axis=(1, 3))
    expected = keys_cubic(48, 64) @ pairs @ keys_cubic(60, 64).T
    made = NetworkGrid.of(SQUARE, (96, 120), (0.5, 0.5)).to_network(image)[0]
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_shrinking_by_area_is_the_mean_of_what_is_covered():
    image = slices(2, 12, 20)
    assert np.allclose(shrink_by_area(image, (4, 5)), image.reshape(2, 4, 3, 5, 4).mean(axis=(2, 4)), atol=1e-6)
    # Three pixels on two: each new one covers one and a half.
    row = np.array([[[3.0, 6.0, 9.0]]], np.float32)
    assert np.allclose(shrink_by_area(row, (1, 2)), [[[4.0, 8.0]]])


@pytest.mark.parametrize(
    "in_plane", [InPlane(), InPlane(policy="resample", spacing_mm=1.0)], ids=["native", "resample at its own size"]
)
def test_pixels_that_need_no_change_are_passed_on_as_they_are(in_plane):
    image = slices(2, 32, 48)
    grid = NetworkGrid.of(in_plane, (32, 48), (1.0, 1.0))
    assert not grid.changes
    assert np.array_equal(grid.to_network(image), image) and np.array_equal(grid.to_native(image), image)


def test_far_other_pixels_are_told_of():
    in_plane = InPlane(policy="resample", spacing_mm=0.714, trained_mm=(0.6, 0.8))
    assert spacing_warning(in_plane, (0.5, 1.1)) is None
    assert "1.60 x 1.60 mm" in spacing_warning(in_plane, (1.6, 1.6))
    assert "0.60 to 0.80 mm" in spacing_warning(in_plane, (0.3, 0.7))
    assert spacing_warning(InPlane(), (9, 9)) is None


class _Brighter(nn.Module):
    """Adds 0.1 in network range."""

    def forward(self, x):
        return x + 0.1


@pytest.mark.parametrize("policy", [{"policy": "resample", "spacing_mm": 2.0}, {"policy": "square", "size": 48}])
def test_what_comes_back_is_the_native_image_plus_the_change(tmp_path, policy):
    """Detail that a coarser network never saw stays; a constant change stays a constant change."""
    package = tiny_package(tmp_path / "model", in_plane={**policy, "pad_multiple": 16})
    maker = Synthesizer(package, DeviceChoice("cpu", "fp32", "test"))
    maker.network = SliceNetwork(_Brighter(), DeviceChoice("cpu", "fp32", "test"), package.card.in_plane, [1])
    array = np.zeros((2, 40, 60), np.float32)
    array[:, 8:32, 8:52] = 100 + 100 * slices(1, 24, 44)
    pre = sitk.GetImageFromArray(array)
    made = maker.synthesize(pre, Events())
    change = sitk.GetArrayFromImage(made.phases[0]) - sitk.GetArrayFromImage(made.pre)
    inner = change[:, 12:28, 12:48]
    assert inner.min() > 0 and np.ptp(inner) < 0.01 * inner.mean()
