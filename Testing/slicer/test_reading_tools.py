"""Arrow keys, the curve under the crosshair, new regions, the Segment Editor, copied table and findings."""

import numpy as np
import pytest
import qt
import result_samples
import SimpleITK as sitk
import slicer
from VirtualContrastLib.slicer_app.scene import nodes, result
from VirtualContrastLib.slicer_app.views import layout, live_curve, reading_tools

TIMES_MIN = np.array([0.0, 90.0, 220.0, 350.0]) / 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return result_samples.full_result(tmp_path_factory.mktemp("full") / "result")


@pytest.fixture
def shown(host, panel, folder):
    """The panel with the result of the small study and its real phases."""
    study = result_samples.small_study()
    real = [result_samples.add_input(image, f"real {number}") for number, image in enumerate(study["real"], 1)]
    loaded = result.load_result(folder, result_samples.add_input(study["pre"]), real_nodes=real)
    panel.results.show(loaded, folder)
    host.wait_until(lambda: not panel.results.showing)
    return loaded


def ras_of(index_ijk):
    """The scene's place of a voxel of the small study."""
    x, y, z = result_samples.small_study()["pre"].TransformIndexToPhysicalPoint([int(n) for n in index_ijk])
    return -x, -y, z


def press(key):
    from PySide6.QtTest import QTest

    view = slicer.app.layoutManager().sliceWidget(layout.PHASE)
    view.setFocus()
    QTest.keyClick(view, key)


def test_arrow_keys_in_a_view_go_through_phases_and_lesions(host, panel, shown):
    shortcuts = {one.key.toString(): one for one in panel.results.tools.keys._shortcuts[:4]}
    for key, phase in (("Right", 2), ("Right", 3), ("Right", 3), ("Left", 2)):
        shortcuts[key].activated.emit()
        assert panel.ui.phaseSlider.value == phase
    for key, label in (("Down", 1), ("Down", 2), ("Down", 2), ("Up", 1)):
        shortcuts[key].activated.emit()
        assert panel.results.table.selected_label() == label
    assert all(one.context == qt.Qt.WidgetWithChildrenShortcut for one in shortcuts.values())
    assert {one.parent() for one in panel.results.tools.keys._shortcuts} == {
        slicer.app.layoutManager().sliceWidget(tag) for tag in layout.SLICE_VIEWS
    }
    panel.ui.removeButton.click()
    assert panel.results.tools.keys._shortcuts == []


def test_the_curve_under_a_place_is_the_mean_of_nine_voxels(shown):
    study = result_samples.small_study()
    i, j, k = 12, 9, 4
    (times, pe), (real_times, real_pe) = live_curve.curves_at(shown, ras_of((i, j, k)))
    np.testing.assert_allclose(times, TIMES_MIN)
    np.testing.assert_allclose(real_times, TIMES_MIN)
    for found, phases in ((pe, study["synthetic"]), (real_pe, study["real"])):
        means = [sitk.GetArrayFromImage(one)[k, j - 1 : j + 2, i - 1 : i + 2].mean() for one in (study["pre"], *phases)]
        np.testing.assert_allclose(found, 100 * (np.array(means) / means[0] - 1), rtol=1e-4, atol=1e-4)
    assert live_curve.curves_at(shown, (1000.0, 0.0, 0.0)) is None


def test_the_chart_follows_the_crosshair_and_comes_back(host, panel, shown):
    view = slicer.mrmlScene.GetSingletonNode(layout.PLOT, "vtkMRMLPlotViewNode")
    before, count = view.GetPlotChartNodeID(), slicer.mrmlScene.GetNumberOfNodes()
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCursorPositionRAS(ras_of((12, 9, 4)))
    host.process_events(0.1)
    assert view.GetPlotChartNodeID() == before  # it was not asked for
    panel.ui.liveCheckBox.checked = True
    crosshair.SetCursorPositionRAS(ras_of((13, 9, 4)))
    host.wait_until(lambda: view.GetPlotChartNodeID() != before)
    chart = nodes.node(view.GetPlotChartNodeID())
    assert "SYNTHETIC" in chart.GetTitle()
    assert chart.GetNumberOfPlotSeriesNodes() == 2
    points = chart.GetNthPlotSeriesNode(0).GetTableNode().GetTable()
    expected = live_curve.curves_at(shown, ras_of((13, 9, 4)))[0][1]
    found = [float(points.GetColumnByName("pe_percent").GetValue(n)) for n in range(4)]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    panel.ui.liveCheckBox.checked = False
    assert view.GetPlotChartNodeID() == before
    assert slicer.mrmlScene.GetNumberOfNodes() == count


def test_a_new_region_is_a_ball_with_its_own_curve(host, panel, shown):
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCrosshairRAS(ras_of((12, 9, 4)))
    crosshair.SetCrosshairMode(crosshair.ShowBasic)
    panel.ui.regionButton.click()
    host.wait_until(lambda: "follow" in panel.ui.statusLabel.text)
    assert [row.name for row in shown.lesions][-1] == "Region 3"
    row = shown.lesion(3)
    spacing = np.array(result_samples.small_study()["pre"].GetSpacing())
    voxels = [np.linalg.norm(np.array((i, j, k)) * spacing) <= reading_tools.REGION_RADIUS_MM
              for i in range(-6, 7) for j in range(-6, 7) for k in range(-6, 7)]  # fmt: skip
    assert row.volume == pytest.approx(sum(voxels) * np.prod(spacing), rel=1e-4)
    np.testing.assert_allclose(row.centroid_ras, ras_of((12, 9, 4)), atol=1e-3)
    assert panel.results.table.selected_label() == 3
    view = slicer.mrmlScene.GetSingletonNode(layout.PLOT, "vtkMRMLPlotViewNode")
    assert view.GetPlotChartNodeID() == shown.charts["lesion_3"]
    crosshair.SetCrosshairRAS(1000.0, 0.0, 0.0)
    panel.ui.regionButton.click()
    assert "no voxel" in panel.ui.statusLabel.text
    crosshair.SetCrosshairMode(crosshair.NoCrosshair)
    panel.ui.regionButton.click()
    host.wait_until(lambda: len(shown.lesions) == 4)


def test_edit_lesion_opens_the_segment_editor_on_the_selected_one(panel, shown, monkeypatch):
    opened = []
    monkeypatch.setattr(slicer.util, "selectModule", opened.append)
    panel.results.table.select(2)
    panel.ui.phaseSlider.value = 3
    panel.ui.editButton.click()
    panel.ui.editButton.click()
    (editor,) = slicer.util.getNodesByClass("vtkMRMLSegmentEditorNode")
    assert slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode") is editor
    assert opened == ["SegmentEditor", "SegmentEditor"]
    assert editor.GetSegmentationNode().GetID() == shown.segmentation
    assert editor.GetSourceVolumeNode().GetID() == shown.phases[2].volume
    assert editor.GetSelectedSegmentID() == shown.lesion(2).segment_id


def test_table_and_findings_are_copied_with_what_they_are(panel, shown):
    panel.ui.copyButton.click()
    note, names, *rows = qt.QApplication.clipboard().text().splitlines()
    assert "SYNTHETIC" in note
    assert names.split("\t")[:3] == ["Lesion", "Side", "Quadrant"]
    assert [row.split("\t") for row in rows] == panel.results.table.rows()
    panel.ui.findingsButton.click()
    window = panel.results.tools.findings
    assert window.text.startswith("SYNTHETIC")
    assert "Lesion 2" in window.text
    assert "delayed phase persistent" in window.text
    assert not window._text.readOnly
    window._text.setPlainText(window.text + "My words.")
    window._copy()
    assert qt.QApplication.clipboard().text().endswith("My words.")
    panel.ui.removeButton.click()
    assert window.text == ""
