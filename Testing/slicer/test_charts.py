"""Curves of the lesions as plot charts, and how they follow an edited segment."""

import numpy as np
import pytest
import result_samples
import slicer
from result_samples import each
from skimage.color import deltaE_ciede2000, rgb2lab
from VirtualContrastLib.export.content import LESION_COLORS
from VirtualContrastLib.slicer_app.scene import nodes, result, segments, tables
from VirtualContrastLib.slicer_app.views import charts, display, layout, layouts, lesion_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return result_samples.full_result(tmp_path_factory.mktemp("full") / "result")


@pytest.fixture
def loaded(host, folder):
    study = result_samples.small_study()
    real = [result_samples.add_input(image, f"real {number}") for number, image in enumerate(study["real"], 1)]
    return result.load_result(folder, result_samples.add_input(study["pre"]), real_nodes=real)


def series_of(loaded, key):
    chart = nodes.node(loaded.charts[key])
    return {
        series.GetName(): tables.column(series.GetTableNode(), series.GetYColumnName())
        for series in map(chart.GetNthPlotSeriesNode, range(chart.GetNumberOfPlotSeriesNodes()))
    }


def set_mask(loaded, segment_id, mask):
    node = nodes.node(loaded.segmentation)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, segment_id, nodes.node(loaded.pre))


def voxels(node_id):
    return slicer.util.arrayFromVolume(nodes.node(node_id)).astype(float)


def pe_of(mask, loaded, ids):
    before = voxels(loaded.pre)[mask].mean()
    return [0.0, *(100 * (voxels(node_id)[mask].mean() - before) / before for node_id in ids)]


def test_the_chart_of_a_lesion_has_the_synthetic_curve_its_band_and_the_real_curve(loaded):
    series = series_of(loaded, "lesion_1")
    assert set(series) == {"Lesion 1, synthetic", "Lesion 1, + 1 SD", "Lesion 1, - 1 SD", "Lesion 1, real"}
    mask = segments.mask_of(nodes.node(loaded.segmentation), "Lesion_1", nodes.node(loaded.pre))
    np.testing.assert_allclose(series["Lesion 1, synthetic"], pe_of(mask, loaded, each(loaded, "volume")), atol=0.01)
    np.testing.assert_allclose(series["Lesion 1, real"], pe_of(mask, loaded, each(loaded, "real")), atol=0.01)
    sd = 100 * np.array([0.0, 9.0, 18.0, 27.0]) / voxels(loaded.pre)[mask].mean()  # the sample's uncertainty maps
    np.testing.assert_allclose(np.subtract(series["Lesion 1, + 1 SD"], series["Lesion 1, synthetic"]), sd, atol=0.01)
    np.testing.assert_allclose(np.subtract(series["Lesion 1, synthetic"], series["Lesion 1, - 1 SD"]), sd, atol=0.01)


def test_charts_say_that_they_are_synthetic_and_name_their_axes(loaded):
    for key in ("all", "lesion_1", "lesion_2"):
        chart = nodes.node(loaded.charts[key])
        assert "SYNTHETIC" in chart.GetTitle()
        assert "research only" in chart.GetTitle()
        assert chart.GetXAxisTitle() == "Time after injection (min)"
        assert chart.GetYAxisTitle() == "Percent enhancement (%)"
    assert "type II (plateau)" in nodes.node(loaded.charts["lesion_1"]).GetTitle()


def test_the_legend_covers_no_curve_and_the_curves_fill_the_rest(loaded):
    """Seen in the picture: what the legend changes was white or grid, and lies to the right."""
    chart, view = nodes.node(loaded.charts["all"]), plot_view()
    view.node.SetPlotChartNodeID(chart.GetID())
    view.resize(600, 450)
    pictures = []
    for visible in (True, False):
        chart.SetLegendVisibility(visible)
        pictures.append(view.pixels().astype(int))
    drawn, plain = pictures
    rows, columns = np.nonzero((drawn != plain).any(axis=2))
    below = plain[rows.min() : rows.max(), columns.min() : columns.max()]
    assert np.ptp(below, axis=2).max() < 40
    assert columns.min() > 0.65 * plain.shape[1]
    colored = np.nonzero(np.ptp(plain, axis=2) > 60)
    assert np.ptp(colored[0]) > 0.65 * plain.shape[0]
    assert np.ptp(colored[1]) > 0.55 * plain.shape[1]


def plot_view():
    """The chart view of the layout."""
    layouts.use(layout.LAYOUT_ID, layout.LAYOUTS)
    manager = slicer.app.layoutManager()
    widgets = map(manager.plotWidget, range(manager.plotViewCount))
    return next(w.plotView() for w in widgets if w.mrmlPlotViewNode().GetLayoutName() == layout.PLOT)


def test_times_are_in_minutes(loaded):
    series = nodes.node(loaded.charts["lesion_1"]).GetNthPlotSeriesNode(0)
    minutes = tables.column(series.GetTableNode(), series.GetXColumnName())
    np.testing.assert_allclose(minutes, [0.0, *(time_s / 60 for time_s in result_samples.TIMES_S)], rtol=1e-6)


def test_outlines_have_other_colors_than_curve_types_and_each_other():
    """CIEDE2000 of scikit-image; 10 is told apart at a glance."""
    lesions = rgb2lab(np.array([LESION_COLORS]) / 255)[0]
    types = rgb2lab(np.array([list(display.TYPE_COLORS.values())]))[0]
    apart = deltaE_ciede2000(lesions[:, None], types[None])
    assert apart.min() > 20
    among = deltaE_ciede2000(lesions[:, None], lesions[None]) + 100 * np.eye(len(lesions))
    assert among.min() > 15


def test_curves_have_the_color_of_their_segment(loaded):
    content = nodes.node(loaded.segmentation).GetSegmentation()
    chart = nodes.node(loaded.charts["lesion_2"])
    assert chart.GetNthPlotSeriesNode(0).GetColor() == pytest.approx(content.GetSegment("Lesion_2").GetColor())


def test_an_edited_segment_changes_measures_curve_table_and_chart_in_place(loaded):
    chart_id = loaded.charts["lesion_1"]
    mask = np.zeros(voxels(loaded.pre).shape, bool)
    mask[1:3, 8:12, 10:18] = True  # lesion 1 grown by three columns of darker tissue
    set_mask(loaded, "Lesion_1", mask)
    lesion_table.recompute(loaded)
    row = loaded.lesion(1)
    assert row.volume == pytest.approx(mask.sum() * 1.5 * 1.25 * 3.0)
    assert loaded.charts["lesion_1"] == chart_id
    series = series_of(loaded, "lesion_1")
    np.testing.assert_allclose(series["Lesion 1, synthetic"], pe_of(mask, loaded, each(loaded, "volume")), atol=0.01)
    np.testing.assert_allclose(series["Lesion 1, real"], pe_of(mask, loaded, each(loaded, "real")), atol=0.01)
    assert row.peak_pe_percent == pytest.approx(max(pe_of(mask, loaded, each(loaded, "volume"))), abs=0.01)
    assert loaded.lesion(2).volume == 101.25
    assert nodes.node(loaded.tables["comparison"]).GetName().endswith("(before editing)")
    assert result.find_results()[0].lesions == loaded.lesions


def test_measuring_unchanged_segments_changes_nothing(loaded):
    before = loaded.lesions, series_of(loaded, "lesion_2"), series_of(loaded, "all")
    lesion_table.recompute(loaded)
    assert (loaded.lesions, series_of(loaded, "lesion_2"), series_of(loaded, "all")) == before


def test_a_new_segment_becomes_a_lesion_and_an_emptied_one_leaves(loaded):
    content = nodes.node(loaded.segmentation).GetSegmentation()
    content.AddEmptySegment("drawn", "Satellite", [0.0, 1.0, 0.0])
    mask = np.zeros(voxels(loaded.pre).shape, bool)
    mask[2, 20:23, 5:9] = True
    set_mask(loaded, "drawn", mask)
    set_mask(loaded, "Lesion_1", mask & False)
    lesion_table.recompute(loaded)
    assert [(row.label, row.name) for row in loaded.lesions] == [(2, "Lesion 2"), (3, "Satellite")]
    assert set(loaded.charts) == {"all", "lesion_2", "lesion_3"}
    assert "Satellite, synthetic" in series_of(loaded, "all")


def test_overlapping_segments_are_each_measured_whole(loaded):
    mask = segments.mask_of(nodes.node(loaded.segmentation), "Lesion_1", nodes.node(loaded.pre))
    content = nodes.node(loaded.segmentation).GetSegmentation()
    content.AddEmptySegment("core", "Core", [0.0, 1.0, 0.0])
    core = np.zeros_like(mask)
    core[1:3, 9:11, 11:14] = True
    set_mask(loaded, "core", core)
    lesion_table.recompute(loaded)
    assert loaded.lesion(3).volume == pytest.approx(core.sum() * 5.625)
    assert loaded.lesion(1).volume == pytest.approx(225.0)


def test_the_table_lists_lesions_and_a_selection_jumps(loaded):
    import qt

    widget, seen = qt.QTableWidget(), []
    table = lesion_table.LesionTable(widget, loaded, seen.append)
    assert (widget.rowCount, widget.columnCount) == (2, 16)
    assert widget.item(0, 0).text() == "Lesion 1"
    assert widget.item(0, 3).text() == "II (plateau)"
    widget.selectRow(1)
    assert (seen, table.selected_label()) == ([2], 2)
    table.recompute()
    assert table.selected_label() == 2
    table.cleanup()
    assert widget.rowCount == 0
    assert seen == [2]


def test_acquired_points_of_a_curve_are_squares_of_their_own(host, tmp_path):
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "curves")
    (tmp_path / "curves.csv").write_text(
        "lesion,synthetic,time_s,pe_percent,pe_uncertainty_sd_percent\n"
        "1,false,0,0,0\n1,false,80,95,0\n1,true,220,120,0\n2,false,0,0,0\n2,false,80,50,0\n2,true,220,60,0\n"
    )
    tables.fill_from_csv(table, tmp_path / "curves.csv")
    curves = charts.curves_of(table)
    assert [curve.acquired.tolist() for curve in curves.values()] == [[False, True, False]] * 2
    (tmp_path / "curves.csv").write_text(
        "lesion,synthetic,time_s,pe_percent,pe_uncertainty_sd_percent\n1,false,0,0,0\n1,false,80,95,0\n"
    )
    tables.fill_from_csv(table, tmp_path / "curves.csv")
    assert not charts.curves_of(table)[1].acquired.any()  # a curve of real phases alone needs no marks
