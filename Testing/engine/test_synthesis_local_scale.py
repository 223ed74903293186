"""The local scale takes the coil's shading away and leaves what a lesion is."""

import numpy as np
import pytest
import SimpleITK as sitk
from VirtualContrastLib.metrics.tissue import scale_of
from VirtualContrastLib.synthesis.local_scale import LocalScale, local_scale

SHAPE, SPACING = (24, 160, 180), (1.5, 1.5, 4.0)


def tissue(seed=0):
    return np.random.default_rng(seed).uniform(60, 100, SHAPE).astype(np.float32)


def image(array):
    volume = sitk.GetImageFromArray(array.astype(np.float32))
    volume.SetSpacing(SPACING)
    return volume


def everywhere(values, breast):
    return local_scale(image(values), breast).slices(np.arange(len(values)))


def test_shading_of_a_coil_is_followed():
    """Tissue of one kind under a coil that makes one side three times as bright: the scale over it is one number."""
    shading = np.linspace(1, 3, SHAPE[2], dtype=np.float32)
    scale = everywhere(tissue() * shading, np.ones(SHAPE, bool))
    assert scale.shape == SHAPE
    relative = scale / shading
    assert relative.std() / relative.mean() < 0.08
    inner = relative[:, :, 40:-40]  # a window at the end of the volume is cut
    assert inner.mean() == pytest.approx(96, rel=0.12)  # the 90th percentile of 60..100; shading widens a window


def test_even_tissue_has_the_scale_of_the_study():
    values = tissue(1)
    scale = everywhere(values, np.ones(SHAPE, bool))
    assert np.abs(scale / scale_of(values) - 1).max() < 0.02


def test_a_lesion_does_not_hide_itself():
    values = tissue(2)
    values[10:14, 70:80, 80:90] *= 4
    scale = everywhere(values, np.ones(SHAPE, bool))
    assert scale[12, 75, 85] == pytest.approx(scale_of(values), rel=0.05)


def test_only_breast_tissue_counts_and_places_without_take_the_nearest():
    values = tissue(3)
    breast = np.zeros(SHAPE, bool)
    breast[:, :, 60:120] = True
    values[:, :, 140:] = 900  # a heart
    scale = everywhere(values, breast)
    assert np.abs(scale / 96 - 1).max() < 0.05


def test_without_breast_tissue_there_is_none():
    assert local_scale(image(tissue()), np.zeros(SHAPE, bool)) is None


def test_a_single_slice_has_one_too():
    values = tissue(4)[:1]
    scale = everywhere(values, np.ones(values.shape, bool))
    assert scale.shape == values.shape
    assert np.abs(scale / 96 - 1).max() < 0.05


def test_slices_asked_for_one_by_one_are_those_of_the_whole():
    values = tissue(5) * np.linspace(1, 3, SHAPE[0], dtype=np.float32)[:, None, None]
    scale = local_scale(image(values), np.ones(SHAPE, bool))
    whole = scale.slices(np.arange(SHAPE[0]))
    np.testing.assert_array_equal(scale.slices(np.array([7, 3])), whole[[7, 3]])
    assert (np.diff(whole.mean(axis=(1, 2))[3:-3]) > 0).all()  # it follows the brightness along k
    assert (LocalScale.one(5.0).slices(np.array([2, 9])) == 5).all()
