"""Figures: what every panel shows, read from the artists of the figure, against values known by construction."""

import numpy as np
import pytest
import SimpleITK as sitk
from export_samples import grid, like
from matplotlib.figure import Figure
from VirtualContrastLib.export.content import LABEL
from VirtualContrastLib.export.figures import display, overview
from VirtualContrastLib.export.figures.mammogram import write_mammogram_figure
from VirtualContrastLib.export.figures.run_figures import FigureInput, write_figures
from VirtualContrastLib.study import Phase

SIZE, SPACING = (40, 28, 4), (2.0, 2.5, 4.0)
SLICE, ROW, COLUMN = np.indices(SIZE[::-1], dtype=np.float32)
SHOWN = 1  # the slice of the lesion
REAL = {n: 200 + 3 * ROW + 10 * SLICE + 50 * n for n in (1, 3)}
DIFFERENCE = {n: n * (COLUMN - 12) + 5 * SLICE for n in (1, 3)}
MADE = {n: REAL[n] + DIFFERENCE[n] for n in (1, 3)} | {2: 400 + COLUMN}
DEVIATION = {n: n * (ROW + 2 * COLUMN) + 7 * SLICE for n in (1, 2, 3)}


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """The figures of a study and of a mammogram after their layout, {name: figure}; no file is written."""
    reference = grid(size=SIZE, spacing=SPACING)
    labels = ((SLICE == SHOWN) & (abs(COLUMN - 20) < 4) & (abs(ROW - 14) < 4)).astype(np.uint8)

    def phases(volumes, synthetic):
        return [Phase(n, like(volumes[n], reference), 60.0 * n, synthetic) for n in sorted(volumes)]

    given = FigureInput(
        Phase(0, like(100 + COLUMN, reference), 0.0, False),
        phases(MADE, True),
        like(labels, reference),
        real=phases(REAL, False),
        uncertainty=[like(DEVIATION[n], reference) for n in (1, 2, 3)],
    )
    with pytest.MonkeyPatch.context() as patch:
        kept = keep(patch)
        write_figures(tmp_path_factory.mktemp("figures"), given)
        figures = {name: kept[name] for name in ("overview", "comparison", "uncertainty")}
        mammogram = [like(volume[:1], reference[..., :1]) for volume in (100 + COLUMN, MADE[1], REAL[1])]
        write_mammogram_figure(tmp_path_factory.mktemp("mammogram"), *mammogram)
        return figures | {"mammogram": kept["overview"]}


def keep(patch):
    """A dictionary that fills with the figures, {name: figure}, instead of files."""
    kept = {}

    def savefig(figure, path, dpi):
        figure.set_dpi(dpi)
        figure.draw_without_rendering()
        kept[path.stem] = figure

    patch.setattr(Figure, "savefig", savefig)
    return kept


def panels(figure):
    """[(title, place in the grid as (rows, columns, index), pixels, gray window)]; an empty panel fails."""
    found = []
    for axes in figure.axes:
        if axes.get_label() != "<colorbar>":
            (image,) = axes.images
            place = axes.get_subplotspec().get_geometry()[:3]
            found.append((axes.get_title(), place, np.asarray(image.get_array()), image.get_clim()))
    return found


def test_the_comparison_shows_synthetic_real_and_their_signed_difference_a_row_per_common_phase(figures):
    shown = panels(figures["comparison"])
    assert [place for _, place, *_ in shown] == [(2, 3, n) for n in range(6)]
    for row, n in enumerate((1, 3)):
        made, real, difference = shown[3 * row : 3 * row + 3]
        assert [made[0], real[0], difference[0]] == [
            f"Phase {n}, {60 * n} s, synthetic",
            f"Phase {n}, real",
            "Synthetic minus real",
        ]
        np.testing.assert_array_equal(made[2], MADE[n][SHOWN])
        np.testing.assert_array_equal(real[2], REAL[n][SHOWN])
        np.testing.assert_array_equal(difference[2], DIFFERENCE[n][SHOWN])
        assert made[3] == real[3]
        # The third phase differs most, by 3 (i - 12) + 5 in the slice: one window for both, even about zero.
        reach = np.percentile(abs(3 * (np.arange(40).repeat(28) - 12) + 5), 99.5)
        assert difference[3] == pytest.approx((-reach, reach))


@pytest.mark.parametrize("name", ["comparison", "mammogram"])
def test_orange_means_that_the_synthetic_image_is_brighter_and_purple_that_it_is_darker(figures, name):
    axes = next(axes for axes in figures[name].axes if axes.get_title() == "Synthetic minus real")
    (image,) = axes.images
    red, green, blue = image.to_rgba(np.array([image.get_clim()[1]]))[0, :3]
    assert red > green > blue
    red, green, blue = image.to_rgba(np.array([image.get_clim()[0]]))[0, :3]
    assert blue > red > green


def test_the_uncertainty_has_one_row_with_the_lesions_slice_of_every_map_in_one_window(figures):
    shown = panels(figures["uncertainty"])
    high = np.percentile(DEVIATION[3], 99.8)
    assert len(shown) == 3
    for column, (title, place, pixels, window) in enumerate(shown):
        assert (title, place) == (f"Phase {column + 1}: standard deviation", (1, 3, column))
        np.testing.assert_array_equal(pixels, DEVIATION[column + 1][SHOWN])
        assert window == pytest.approx((0.0, high))


@pytest.mark.parametrize("name", ["overview", "comparison", "uncertainty", "mammogram"])
def test_the_label_stands_inside_every_synthetic_picture_at_its_lower_left_and_in_no_real_one(figures, name):
    figure = figures[name]
    axes_of_panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert len(axes_of_panels) >= 3
    for axes in axes_of_panels:
        title, picture = axes.get_title(), axes.get_window_extent()
        labels = [text for text in axes.texts if text.get_text() == LABEL]
        assert len(labels) == (not title.endswith(", real") and title != "Pre-contrast"), title
        for label in labels:
            box = label.get_window_extent()
            assert label.get_visible()
            assert picture.x0 <= box.x0 < picture.x0 + 0.05 * picture.width and box.x1 <= picture.x1, title
            assert picture.y0 <= box.y0 < picture.y0 + 0.05 * picture.height and box.y1 <= picture.y1, title


@pytest.mark.parametrize(
    ("columns", "spacing", "length_mm"),
    [(120, 3.0, 50), (100, 1.7, 50), (100, 1.6, 20), (100, 0.68, 20), (100, 0.6, 10), (40, 0.5, 5), (30, 0.5, None)],
)
def test_the_scale_bar_is_as_long_as_it_says_and_the_longest_that_fits(columns, spacing, length_mm):
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    view = display.View("LPS", "axial", (2.2 * spacing, spacing))
    display.show(axes, np.zeros((50, columns)), view, (0.0, 1.0), synthetic=False)
    figure.draw_without_rendering()
    written = [text.get_text() for text in axes.texts if text.get_text().endswith("mm")]
    assert written == ([] if length_mm is None else [f"{length_mm} mm"])
    assert len(axes.lines) == (0 if length_mm is None else 2)  # white on black
    for line in axes.lines:
        ends = axes.transData.inverted().transform(line.get_transform().transform(line.get_xydata()))
        (left, upper), (right, lower) = ends  # column and row, in pixels of the image
        assert (right - left) * spacing == pytest.approx(length_mm)
        assert upper == pytest.approx(lower)
        assert columns / 2 < left < right < columns - 0.5 and 25 < upper < 49.5, "in the lower right of the picture"


BREAST = np.zeros((1, 30, 20), bool)
BREAST[:, :, :10] = True


@pytest.mark.parametrize(
    ("region", "inside"),
    [(BREAST, BREAST), (None, np.ones_like(BREAST)), (np.zeros_like(BREAST), np.ones_like(BREAST))],
    ids=["breast", "unknown", "empty"],
)
@pytest.mark.parametrize("with_truth", [True, False], ids=["truth", "no truth"])
def test_the_windows_of_a_mammogram_come_from_the_breast_alone(tmp_path, monkeypatch, region, inside, with_truth):
    reference = grid(size=(20, 30, 1), spacing=(1.0, 2.0, 1.0))
    ramp = np.arange(600, dtype=np.float32).reshape(1, 30, 20)
    low = np.where(BREAST, 50 + ramp, 9000 + ramp)
    made = np.where(BREAST, 7 + 2 * ramp, -8000 - ramp)
    real = np.where(BREAST, 3 * ramp, 7000 + 5 * ramp)
    kept = keep(monkeypatch)
    write_mammogram_figure(
        tmp_path, like(low, reference), like(made, reference), like(real, reference) if with_truth else None, region
    )
    expected = {"Low energy, real": (low, low), "Recombined, synthetic": (made, real if with_truth else made)}
    if with_truth:
        expected["Recombined, real"] = (real, real)
    shown = panels(kept["overview"])
    if with_truth:
        title, _, pixels, window = shown.pop()
        reach = np.percentile(abs(made - real)[inside], 99.5)
        assert title == "Synthetic minus real"
        np.testing.assert_array_equal(pixels, (made - real)[0])
        assert window == pytest.approx((-reach, reach))
    assert [title for title, *_ in shown] == list(expected)
    for column, (title, place, pixels, window) in enumerate(shown):
        assert place == (1, 4 if with_truth else 2, column)
        np.testing.assert_array_equal(pixels, expected[title][0][0])
        assert window == pytest.approx(np.percentile(expected[title][1][inside], (1.0, 99.8)))
    for axes in kept["overview"].axes:
        picture = axes.get_window_extent()
        assert picture.height / picture.width == pytest.approx(30 * 2.0 / (20 * 1.0)), "physical aspect"


def test_a_constant_mammogram_has_a_window_that_is_not_empty(tmp_path, monkeypatch):
    kept = keep(monkeypatch)
    image = sitk.Image([8, 8, 1], sitk.sitkFloat32) + 3.0
    write_mammogram_figure(tmp_path, image, image, image)
    for title, _, _, (low, high) in panels(kept["overview"]):
        assert low < high < low + 3, title


@pytest.mark.parametrize(
    "direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (0, 0, -1, 1, 0, 0, 0, -1, 0), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1)]
)
@pytest.mark.parametrize("axis", ["S", "P", "L"])
def test_a_projection_is_that_of_the_turned_volume(direction, axis):
    rng = np.random.default_rng(1)
    change = rng.random((5, 6, 7)).astype(np.float32)
    labels = rng.integers(0, 3, change.shape).astype(np.uint8) * (rng.random(change.shape) < 0.1)
    image = sitk.GetImageFromArray(change)
    image.SetSpacing((1.0, 2.0, 3.0))
    image.SetDirection(direction)
    instances = sitk.GetImageFromArray(labels)
    instances.CopyInformation(image)
    found = overview._Projection(change, overview._boxed(labels), image, axis)
    assert np.array_equal(found.pixels, found.view.slices(image).max(axis=0))
    assert sorted(found.masks) == [1, 2]
    for label, mask in found.masks.items():
        assert np.array_equal(mask, (found.view.slices(instances) == label).any(axis=0))


def test_the_projections_are_as_high_as_the_tallest_needs_at_the_scale_at_which_they_fill_the_width():
    empty = grid(size=(100, 40, 30), spacing=(2.0, 2.0, 2.0))  # 200 mm wide, 80 mm deep, 60 mm high
    rng = np.random.default_rng(0)
    shape = empty.GetSize()[::-1]
    pre, late = (
        Phase(index, like(rng.random(shape).astype(np.float32) * (index + 1), empty), 90.0 * index, False)
        for index in (0, 1)
    )
    figure, _ = overview.projections(pre, late, None, (0.0, 1.0))
    tallest, together = 80, 200 + 200 + 80  # axial and coronal show the width, sagittal the depth
    inches_per_mm = figure.get_figwidth() / together
    title_inches = figure.get_figheight() - tallest * inches_per_mm
    assert title_inches == pytest.approx(0.35)
