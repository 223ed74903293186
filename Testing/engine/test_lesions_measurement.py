"""Sizes against SimpleITK, pyradiomics and analytic bodies; enhancement against hand-worked voxels."""

import csv

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from VirtualContrastLib.events import InputError
from VirtualContrastLib.kinetics.parameters import percent_enhancement, signal_enhancement_ratio
from VirtualContrastLib.lesions.measurement import (
    in_plane_diameter,
    longest_diameter,
    measure_lesions,
)
from VirtualContrastLib.lesions.subtraction import subtract
from VirtualContrastLib.study import Phase


def image(array, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), direction=None):
    out = sitk.GetImageFromArray(np.asarray(array))
    out.SetSpacing(spacing)
    out.SetOrigin(origin)
    if direction is not None:
        out.SetDirection(direction)
    return out


def oblique(degrees):
    angle = np.deg2rad(degrees)
    about_z = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    about_x = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    return (np.array(about_z) @ np.array(about_x)).ravel().tolist()


def ellipsoid(radii_mm, spacing_ijk, pad=3):
    sizes = [int(np.ceil(2 * r / s)) + 2 * pad for r, s in zip(radii_mm, spacing_ijk, strict=True)]
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(sizes, spacing_ijk, strict=True)]
    x, y, z = (axis / r for axis, r in zip(axes, radii_mm, strict=True))
    return (x[None, None, :] ** 2 + y[None, :, None] ** 2 + z[:, None, None] ** 2 <= 1).astype(np.uint8)


@pytest.mark.parametrize("radii", [(10.0, 10.0, 10.0), (15.0, 9.0, 6.0)])
def test_an_ellipsoid_measures_as_its_formula_says(radii):
    spacing = (0.5, 0.5, 1.0)
    (lesion,) = measure_lesions(image(ellipsoid(radii, spacing), spacing))
    assert lesion.volume == pytest.approx(4 / 3 * np.pi * np.prod(radii), rel=0.02)
    np.testing.assert_allclose(lesion.diameters, 2 * np.array(radii), atol=1.0)
    assert lesion.longest_diameter == pytest.approx(2 * radii[0], abs=1.0)
    assert lesion.in_plane_diameter == pytest.approx(2 * radii[0], abs=1.0)
    assert lesion.axis_ratio == pytest.approx(max(radii) / min(radii), rel=0.03)
    assert lesion.solidity > 0.92


def test_an_outline_with_a_bay_fills_less_of_its_hull():
    labels = np.zeros((6, 24, 24), dtype=np.uint8)
    labels[1:5, 2:22, 2:22] = 1
    labels[1:5, 8:16, 8:22] = 0  # a C
    (lesion,) = measure_lesions(image(labels))
    assert lesion.solidity == pytest.approx((400 - 8 * 14) / 400, abs=0.05)


def test_a_box_measures_its_sides_exactly():
    labels = np.zeros((12, 12, 12), dtype=np.uint8)
    labels[2:4, 3:8, 1:11] = 1
    (lesion,) = measure_lesions(image(labels, (0.7, 0.9, 3.0)))
    np.testing.assert_allclose(lesion.diameters, [10 * 0.7, 5 * 0.9, 2 * 3.0])
    assert lesion.axis_ratio == pytest.approx(10 * 0.7 / (5 * 0.9))
    assert lesion.voxel_count == 100
    assert lesion.volume == pytest.approx(100 * 0.7 * 0.9 * 3.0)
    # From a face center to the opposite one: the whole length along one axis, one voxel less along the
    # others.
    whole, less = np.array([10 * 0.7, 5 * 0.9, 2 * 3.0]), np.array([9 * 0.7, 4 * 0.9, 1 * 3.0])
    spans = [np.where(np.arange(3) == axis, whole, less) for axis in range(3)]
    assert lesion.longest_diameter == pytest.approx(max(np.linalg.norm(span) for span in spans))


def test_diameters_follow_the_patients_axes_whatever_the_order_of_the_voxel_axes():
    labels = np.zeros((12, 12, 12), dtype=np.uint8)
    labels[2:4, 3:8, 1:11] = 1
    axial = image(labels, (0.7, 0.9, 3.0), (5.0, -3.0, 11.0))
    for code in ("RAI", "PIR", "SLA"):
        (lesion,) = measure_lesions(sitk.DICOMOrient(axial, code))
        (expected,) = measure_lesions(axial)
        np.testing.assert_allclose(lesion.diameters, expected.diameters)
        np.testing.assert_allclose(lesion.centroid, expected.centroid, atol=1e-9)
        assert lesion.longest_diameter == pytest.approx(expected.longest_diameter)


@given(
    st.integers(0, 10_000),
    st.tuples(st.floats(0.3, 4), st.floats(0.3, 4), st.floats(0.3, 4)),
    st.floats(-80, 80),
)
@settings(max_examples=25, deadline=None)
def test_volume_and_centroid_equal_simpleitks_in_any_geometry(seed, spacing, degrees):
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 4, size=(5, 6, 7)).astype(np.uint8)
    labels = image(array, spacing, tuple(rng.uniform(-100, 100, 3)), oblique(degrees))
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(labels)
    measured = measure_lesions(labels)
    assert [lesion.label for lesion in measured] == list(shape.GetLabels())
    for lesion in measured:
        assert lesion.volume == pytest.approx(shape.GetPhysicalSize(lesion.label))
        assert lesion.voxel_count == shape.GetNumberOfPixels(lesion.label)
        np.testing.assert_allclose(lesion.centroid, shape.GetCentroid(lesion.label), atol=1e-6)


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_the_longest_diameter_is_the_greatest_of_all_pairwise_distances(seed):
    mask = np.random.default_rng(seed).random((4, 5, 5)) < 0.4
    mask[2, 2, 2] = True
    spacing = np.array([3.0, 0.8, 0.6])
    centers = np.argwhere(mask)
    ends = [(c, c + np.array(axis)) for c in centers for axis in np.vstack([np.eye(3), -np.eye(3)]).astype(int)]
    inside = {tuple(c) for c in centers}
    points = np.array([(a + b) / 2 for a, b in ends if tuple(b) not in inside]) * spacing
    brute = max(np.linalg.norm(points - point, axis=1).max() for point in points)
    assert longest_diameter(mask, spacing) == pytest.approx(brute)
    assert in_plane_diameter(mask, spacing) <= brute + 1e-9


def test_the_real_breast_lesion_measures_as_pyradiomics_published(shared_data):
    folder = shared_data / "pyradiomics-breast1"
    with (folder / "baseline_shape.csv").open() as file:
        published = {row["featureName"]: row.get("breast1") for row in csv.DictReader(file)}
    labels = sitk.ReadImage(folder / "breast1_label.nrrd")
    (lesion,) = measure_lesions(labels)
    expected = {
        name: float(published[f"original_shape_{name}"])
        for name in ("VoxelVolume", "Maximum3DDiameter", "Maximum2DDiameterSlice")
    }
    assert lesion.voxel_count == int(published["diagnostics_Mask-original_VoxelNum"])
    assert lesion.volume == pytest.approx(expected["VoxelVolume"], rel=1e-9)
    assert lesion.longest_diameter == pytest.approx(expected["Maximum3DDiameter"], rel=1e-9)
    assert lesion.in_plane_diameter == pytest.approx(expected["Maximum2DDiameterSlice"], rel=1e-9)


def phases_with(early, late=None, pre=None, times=(0.0, 150.0, 450.0)):
    volumes = [pre, early] if late is None else [pre, early, late]
    return [
        Phase(n, image(v.astype(np.float32)), t, False) for n, (v, t) in enumerate(zip(volumes, times, strict=False))
    ]


def test_functional_tumor_volume_counts_voxels_by_early_enhancement_and_ser():
    labels = np.zeros((3, 3, 6), dtype=np.uint8)
    labels[1, 1, :6] = 1
    pre = np.full(labels.shape, 100.0)
    early, late = pre.copy(), pre.copy()
    early[1, 1] = [170, 169, 300, 300, 300, 300]
    late[1, 1] = [170, 300, 100, 99, 400, 200]  # SER 1, -, infinite, negative, 2/3, 2
    pre[1, 1, 5] = 0  # no baseline, no enhancement
    (lesion,) = measure_lesions(image(labels), phases_with(early, late, pre))
    assert lesion.ftv == 3  # voxels 0, 2 and 4
    enhancement = [70, 69, 200, 200, 200]
    assert lesion.peak_pe_percent == pytest.approx(np.percentile(enhancement, 95))
    means = [v[1, 1].mean() for v in (pre, early, late)]
    assert lesion.early_pe_percent == pytest.approx(100 * (means[1] / means[0] - 1))
    assert lesion.ser == pytest.approx((means[1] - means[0]) / (means[2] - means[0]))


def test_enhancement_agrees_with_the_kinetics_room_on_random_voxels():
    rng = np.random.default_rng(0)
    labels = np.ones((4, 5, 6), dtype=np.uint8)
    pre, early, late = (rng.uniform(low, low + 100, labels.shape).astype(np.float32) for low in (50, 150, 120))
    (lesion,) = measure_lesions(image(labels), phases_with(early, late, pre))
    pe = percent_enhancement(np.stack([pre, early], axis=-1))[..., 1]
    ser = signal_enhancement_ratio(np.stack([pre, early, late], axis=-1), [0, 150, 450])
    assert lesion.early_pe_percent == pytest.approx(100 * (early.mean() / pre.mean() - 1), rel=1e-5)
    assert lesion.ftv == np.count_nonzero((pe >= 70) & ~(ser < 0))


def test_with_one_phase_there_is_no_ser_and_with_none_only_size():
    labels = np.ones((2, 2, 2), dtype=np.uint8)
    pre, early = np.full(labels.shape, 10.0), np.full(labels.shape, 20.0)
    (lesion,) = measure_lesions(image(labels), phases_with(early, None, pre))
    assert lesion.ser is None and lesion.ftv == 8 and lesion.early_pe_percent == pytest.approx(100)
    (lesion,) = measure_lesions(image(labels), phases_with(early, None, pre)[:1])
    assert lesion.early_pe_percent is lesion.ftv is None and lesion.volume == 8


def test_pictures_are_measured_in_pixels():
    labels = np.zeros((1, 9, 9), dtype=np.uint8)
    labels[0, 2:6, 3:8] = 1
    (lesion,) = measure_lesions(image(labels), has_geometry=False)
    assert (lesion.unit, lesion.volume, lesion.diameters) == ("px", 20, (5, 4, 1))


def test_no_lesion_gives_no_measures_and_foreign_phases_are_refused():
    labels = np.zeros((2, 4, 4), dtype=np.uint8)
    assert measure_lesions(image(labels)) == []
    phases = phases_with(np.ones(labels.shape), None, np.ones(labels.shape))
    with pytest.raises(InputError, match="grid"):
        measure_lesions(image(labels, (2.0, 1.0, 1.0)), phases)


def test_subtraction_is_signed_and_keeps_the_geometry():
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 4000, (3, 4, 5)).astype(np.int16) for _ in range(2))
    placement = dict(spacing=(0.7, 0.8, 2.0), origin=(1.0, 2.0, 3.0), direction=oblique(20))
    result = subtract(image(a, **placement), image(b, **placement))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result), a.astype(np.float32) - b)
    assert result.GetPixelID() == sitk.sitkFloat32 and sitk.GetArrayFromImage(result).min() < 0
    assert result.GetDirection() == image(a, **placement).GetDirection()
    assert result.GetOrigin() == (1.0, 2.0, 3.0)
    with pytest.raises(InputError, match="geometries differ"):
        subtract(image(a, **placement), image(b))
