"""Figures: orientation, label, windows and what is drawn when."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from export_samples import FACTORS, breast_study, coordinates, grid, like
from PIL import Image
from VirtualContrastLib.export.content import lesion_color
from VirtualContrastLib.export.figures import display, slices
from VirtualContrastLib.export.figures.overview import overview
from VirtualContrastLib.export.figures.run_figures import FigureInput, write_figures
from VirtualContrastLib.kinetics.curves import lesion_curves
from VirtualContrastLib.study import Phase

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
FLIPPED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0)
SWAPPED = (0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0)


def marker(direction, place):
    """A volume that is bright within 12 mm of `place` (LPS, mm)."""
    image = grid(direction, size=(30, 30, 30), spacing=(4.0, 4.0, 4.0))
    distance = np.linalg.norm(coordinates(image) - np.reshape(place, (3, 1, 1, 1)), axis=0)
    return like((distance < 12).astype(np.float32), image)


def bright_place(image):
    """(plane, row, column) of the marker as fractions of the displayed picture."""
    view = display.acquisition_view(image)
    picture = view.slices(image).max(axis=0)
    row, column = np.argwhere(picture > 0.5).mean(axis=0) / np.array(picture.shape)
    return view.plane, row, column


@pytest.mark.parametrize("direction", [AXIAL, FLIPPED, SWAPPED], ids=["axial", "flipped", "swapped"])
def test_axial_pictures_show_the_patients_right_on_the_left_and_anterior_up(direction):
    plane, row, column = bright_place(marker(direction, (-40.0, -40.0, 0.0)))
    assert plane == "axial"
    assert row < 0.3
    assert column < 0.3


def test_sagittal_pictures_show_anterior_on_the_left_and_superior_up():
    plane, row, column = bright_place(marker(SAGITTAL, (0.0, -40.0, 40.0)))
    assert (plane, row < 0.3, column < 0.3) == ("sagittal", True, True)


def test_coronal_pictures_show_the_patients_right_on_the_left_and_superior_up():
    plane, row, column = bright_place(marker(CORONAL, (-40.0, 0.0, 40.0)))
    assert (plane, row < 0.3, column < 0.3) == ("coronal", True, True)


@pytest.mark.parametrize("direction", [AXIAL, FLIPPED, SAGITTAL, CORONAL])
def test_the_slice_number_in_a_figure_is_the_slice_of_the_input(direction):
    image = grid(direction, size=(8, 8, 9), spacing=(4.0, 4.0, 4.0))
    array = np.zeros((9, 8, 8), np.float32)
    array[6, 4, 4] = 1.0
    image = like(array, image)
    shown = slices.Slices(
        Phase(0, image, 0.0, False), [], sitk.Cast(image, sitk.sitkUInt8), display.acquisition_view(image)
    )
    assert shown.number(shown.best_slice(1)) == 7


@pytest.mark.parametrize("flips", list(itertools.product((1.0, -1.0), repeat=3)))
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_view_turns_arrays_as_itk_orients_images(order, flips):
    turned = np.eye(3)[:, list(order)] * flips
    tilted = turned @ np.array([[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 1]])
    for direction in (turned, tilted):
        image = sitk.GetImageFromArray(np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5))
        image.SetDirection(direction.ravel().tolist())
        for axis in "LPS":
            view = display.oriented_view(image, axis)
            expected = sitk.GetArrayFromImage(sitk.DICOMOrient(image, view.code))
            np.testing.assert_array_equal(view.slices(image), expected)
            stacked = view.stored_axis(image)
            assert (3, 4, 5)[stacked] == len(expected)


def test_pixels_are_shown_with_their_physical_aspect():
    image = grid(SAGITTAL, size=(10, 20, 6), spacing=(1.0, 2.5, 4.0))
    view = display.acquisition_view(image)
    assert view.slices(image).shape == (6, 20, 10)
    assert view.aspect == pytest.approx(2.5)


def test_noise_without_enhancement_does_not_fill_the_subtraction_window():
    rng = np.random.default_rng(0)
    pre, noise = rng.uniform(0, 1000, (4, 50, 50)), rng.normal(0, 1, (4, 50, 50))
    window = display.subtraction_window(noise, np.zeros(noise.shape, bool), display.common_window(pre))
    assert window[1] > 50


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """All figures of the sample study, as {name: array of pixels [row, column, rgb]}, and their captions."""
    pre, phases, real, labels, uncertainty = breast_study()
    curves, real_curves = (
        lesion_curves([pre, *phases], labels, uncertainty),
        lesion_curves([pre, *real], labels),
    )
    folder = tmp_path_factory.mktemp("figures")
    files = write_figures(folder, FigureInput(pre, phases, labels, curves, real, real_curves, uncertainty))
    return {file.path.stem: np.asarray(Image.open(file.path).convert("RGB")) for file in files}, files


def test_all_figures_are_1400_pixels_wide_and_not_empty(written):
    pictures, files = written
    assert list(pictures) == ["overview", "mip", "curves", "comparison", "uncertainty"]
    for picture in pictures.values():
        assert picture.shape[1] == 1400
        assert 200 < picture.shape[0] < 2500
        assert picture.std() > 10
    assert all(file.caption for file in files)


def test_lesion_colors_appear_in_overview_and_curves(written):
    pictures, _ = written
    for name in ("overview", "mip", "curves"):
        for label in (1, 2):
            distance = np.abs(pictures[name].astype(int) - lesion_color(label)).max(axis=2)
            assert (distance < 12).sum() > 20, (name, label)


def panel(synthetic):
    """Pixels of one panel of a black picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 2), dpi=140)
    axes = figure.add_axes((0, 0, 1, 1))
    view = display.acquisition_view(grid(AXIAL, size=(50, 50, 2)))
    display.show(axes, np.zeros((50, 50)), view, (0.0, 1.0), synthetic=synthetic)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def test_a_synthetic_panel_carries_the_label_in_its_lower_left_corner_and_a_real_one_does_not():
    difference = np.abs(panel(True) - panel(False)).max(axis=2) > 60
    rows, columns = np.nonzero(difference)
    assert len(rows) > 200
    assert rows.min() > 0.9 * difference.shape[0]
    assert columns.min() < 0.05 * difference.shape[1]


def test_a_picture_without_geometry_has_neither_letters_nor_scale_bar_nor_projections(tmp_path):
    pre, phases, _, labels, _ = breast_study(size=(64, 40, 1), spacing=(5.0, 5.0, 12.0))
    files = write_figures(tmp_path, FigureInput(pre, phases, labels, has_geometry=False))
    assert [file.path.name for file in files] == ["overview.png"]
    view = display.acquisition_view(pre.image, has_geometry=False)
    assert (view.code, view.aspect) == ("", 1.0)


def test_a_study_without_lesions_shows_its_middle_slice(tmp_path):
    pre, phases, _, labels, _ = breast_study(size=(64, 40, 6), spacing=(5.0, 5.0, 10.0))
    files = write_figures(tmp_path, FigureInput(pre, phases, labels * 0))
    assert [file.path.name for file in files] == ["overview.png", "mip.png"]
    assert "no lesion" in files[0].caption


def drawn_panels(figure):
    """{title: pixels [row, column] of the panel as drawn, 0 to 1} of the first row of a figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    page = np.asarray(canvas.buffer_rgba())[..., :3].mean(axis=2) / 255
    panels = {}
    for axes in figure.axes:
        box = axes.get_window_extent()
        rows = slice(round(page.shape[0] - box.y1), round(page.shape[0] - box.y0))
        panels.setdefault(axes.get_title(), page[rows, round(box.x0) : round(box.x1)])
    return panels


def test_each_panel_of_the_overview_shows_the_phase_that_its_title_names():
    pre, phases, _, labels, _ = breast_study()
    view = display.acquisition_view(pre.image)
    shown = slices.Slices(pre, phases, labels, view)
    figure, _ = overview(shown)
    panels = drawn_panels(figure)
    low, high = display.common_window(sitk.GetArrayFromImage(pre.image))
    k, box, label = shown.best_slice(1), shown.box(1), shown.numbers[0]
    lesion = (view.slices(labels)[k] == label)[box]
    rows, columns = (np.argwhere(lesion).mean(axis=0) + 0.5) / lesion.shape
    drawn = {}
    for phase in [pre, *phases]:
        title = "Pre-contrast" if phase is pre else slices.phase_title(phase)
        pixels = panels[title]
        row, column = int(rows * pixels.shape[0]), int(columns * pixels.shape[1])
        drawn[phase.index] = pixels[row - 2 : row + 3, column - 2 : column + 3].mean()
        level = view.slices(phase.image)[k][box][lesion].mean()
        assert drawn[phase.index] == pytest.approx(np.clip((level - low) / (high - low), 0, 1), abs=0.06), title
    assert FACTORS[1][0] > FACTORS[1][2], "the sample's first lesion has to wash out"
    assert drawn[1] > drawn[2] > drawn[3] > drawn[0]


def test_gray_windows_of_a_large_volume_are_those_of_all_its_voxels():
    rng = np.random.default_rng(0)
    place = np.mgrid[0:60, 0:300, 0:260].astype(np.float32)
    large = 300 + 200 * np.sin(place[2] / 40) * np.cos(place[1] / 30) + rng.normal(0, 20, place[0].shape)
    assert display.sample(large).size < large.size / 4
    low, high = np.percentile(large, (1.0, 99.5))
    assert display.common_window(large) == pytest.approx((low, low + 2 * (high - low)), abs=0.002 * (high - low))
    small = large[:2, :100, :100]
    assert display.sample(small).shape == small.shape
