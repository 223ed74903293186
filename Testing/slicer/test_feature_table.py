"""Radiomics of the selected lesion in the panel, as radiomics.csv has them."""

import csv

import pytest
import qt
import result_samples
from VirtualContrastLib.slicer_app.scene import nodes
from VirtualContrastLib.slicer_app.scene import result as scene
from VirtualContrastLib.slicer_app.views.feature_table import FeatureTable, features_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return result_samples.full_result(tmp_path_factory.mktemp("full") / "result", radiomics=True)


@pytest.fixture
def loaded(host, folder):
    return scene.load_result(folder, result_samples.add_input(result_samples.small_study()["pre"]))


def cell(widget, row, place):
    return widget.item(row, place).text()


def test_the_selected_lesion_has_a_column_for_every_image(loaded, folder):
    widget = qt.QTableWidget()
    table = FeatureTable(widget)
    table.show(loaded, 2)
    with (folder / "radiomics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["lesion"] == "2"]
    names = list(rows[0])[4:]
    assert (widget.rowCount, widget.columnCount) == (len(names), 1 + len(rows)) == (107, 8)
    captions = [widget.horizontalHeaderItem(place).text() for place in range(8)]
    assert captions[:3] == ["Feature", "Phase 0 (real)", "Phase 1 (real)"] and captions[7] == "Phase 3 (synthetic)"
    number = names.index("firstorder_Mean")
    shown = [cell(widget, number, place) for place in range(8)]
    assert shown == ["firstorder_Mean", *(f"{float(row['firstorder_Mean']):.4g}" for row in rows)]
    table.clear()
    assert widget.rowCount == 0 and not widget.visible


def test_there_are_none_for_a_result_without_them_or_an_edited_outline(host, loaded, tmp_path):
    bare = scene.load_result(
        result_samples.bare_result(tmp_path / "bare"), result_samples.add_input(result_samples.small_study()["pre"])
    )
    assert features_of(bare, 1) == ([], {})
    assert features_of(loaded, 1)[1]
    nodes.node(loaded.tables["radiomics"]).SetAttribute(nodes.OUTDATED, "1")
    assert features_of(loaded, 1) == ([], {})


def test_the_panel_shows_them_where_a_lesion_is_selected(host, panel, loaded):
    assert panel.ui.featuresTable.rowCount == 0
    panel.results.show(loaded)
    panel.ui.lesionsTable.selectRow(0)
    assert panel.ui.featuresTable.rowCount == 107
    panel.results.clear()
    assert panel.ui.featuresTable.rowCount == 0
