"""Results that the panel did not make: result folders, batches, several in the scene, their maps and views."""

import json
import shutil

import numpy as np
import pytest
import qt
import result_samples
import SimpleITK as sitk
import slicer
from module_samples import add_pre, run_samples, scene_ids
from VirtualContrastLib.events import InputError
from VirtualContrastLib.results.batch_folder import read_batch
from VirtualContrastLib.slicer_app.scene import nodes, opening, result, tables
from VirtualContrastLib.slicer_app.views import layout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return result_samples.full_result(tmp_path_factory.mktemp("full") / "case_7")


@pytest.fixture(scope="module")
def batch(folder, tmp_path_factory):
    """Two cases with a result (the other way round in the summary) and one that failed."""
    place = tmp_path_factory.mktemp("batch")
    shutil.copytree(folder, place / "b")
    result_samples.bare_result(place / "a")
    summary = {"lesions": 2, "lesion_volume_mm3": 1500.0, "curve_types": ["washout", "no_enhancement"]}
    entries = [
        ("b", "done", "b", summary, ""),
        ("gone", "failed", "", {}, "The file is no image."),
        ("a", "kept", "a", {}, ""),
    ]
    names = ("case", "status", "folder", "summary", "message")
    cases = [dict(zip(names, entry, strict=True)) for entry in entries]
    (place / "summary.json").write_text(json.dumps({"cases": cases}))
    return place


def open_folder(folder, *inputs):
    return nodes.drain(opening.open_steps(folder, *inputs))


def opened(host, panel):
    host.wait_until(lambda: not panel.opener.busy and not panel.results.showing)
    return panel.results.loaded


def test_without_its_input_a_result_opens_beside_the_pre_contrast_volume_computed_back(host, folder):
    before = scene_ids()
    loaded = open_folder(folder)
    pre = result_samples.small_study()["pre"]
    volume = nodes.node(loaded.input)
    np.testing.assert_allclose(slicer.util.arrayFromVolume(volume), sitk.GetArrayFromImage(pre), atol=1e-3)
    assert nodes.difference(pre, volume) == ""
    assert "computed back" in volume.GetName()
    assert "case_7" in volume.GetName()
    assert [row.label for row in loaded.lesions] == [1, 2]
    assert open_folder(folder).run_id == loaded.run_id  # not a second time
    assert len(result.find_results()) == 1
    result.remove_result(loaded)
    assert not {i for i in scene_ids() - before if "Volume" in i or "Segmentation" in i or "Text" in i}


def test_a_volume_of_the_scene_with_the_same_voxels_is_taken_for_the_input(host, folder):
    study = result_samples.small_study()
    other = result_samples.add_input(study["pre"] * 1.01, "another patient on the same grid")
    same = result_samples.add_input(study["pre"], "the input")
    real = [result_samples.add_input(image, f"real {n}") for n, image in enumerate(study["real"], 1)]
    loaded = open_folder(folder, other, real)
    assert loaded.input == same.GetID()
    assert not any(phase.real for phase in loaded.phases)  # they belong to the other one
    result.remove_result(loaded)
    assert nodes.node(same.GetID()) is same
    loaded = open_folder(folder, same, real)
    assert [phase.real for phase in loaded.phases] == [node.GetID() for node in real]


def test_without_the_real_phases_an_edited_lesion_alone_loses_its_real_curve(host, panel, folder):
    panel.opener.open(folder)
    loaded = opened(host, panel)
    segmentation, pre = nodes.node(loaded.segmentation), nodes.node(loaded.pre)

    def real_curves():
        table = nodes.node(loaded.tables["curves_real"])
        names = ("lesion", "time_s", "signal_mean", "signal_sd", "pe_percent")
        return list(zip(*(tables.column(table, name) for name in names), strict=True))

    before = real_curves()
    assert {row[0] for row in before} == {1, 2}
    mask = run_samples.make_mask() == 1
    mask[0] |= mask[1]
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), segmentation, "Lesion_1", pre)
    host.wait_until(lambda: "follow the edited" in panel.ui.statusLabel.text)
    assert real_curves() == [row for row in before if row[0] == 2]
    assert "real phases are not in the scene" in panel.ui.statusLabel.text


def test_a_volume_computed_back_belongs_to_one_result_alone(host, folder, tmp_path):
    before = scene_ids()
    first = open_folder(folder)
    copy = shutil.copytree(folder, tmp_path / "again")
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"run_id": "f" * len(manifest["run_id"])}))
    second = open_folder(copy)
    assert second.run_id != first.run_id and second.input != first.input
    result.remove_result(first)
    assert nodes.node(second.input) is not None
    result.remove_result(second)
    assert not {i for i in scene_ids() - before if "Volume" in i}


def test_a_result_whose_input_was_moved_into_its_folder_is_removed_with_it(host, folder):
    before = scene_ids()
    loaded = open_folder(folder)
    hierarchy = nodes.subject_hierarchy()
    own = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.node(loaded.run_node)))
    inner = hierarchy.CreateFolderItem(own, "inner")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(nodes.node(loaded.input)), inner)
    result.remove_result(loaded)
    assert not {i for i in scene_ids() - before if "Volume" in i or "Text" in i}


def test_what_is_no_result_or_is_damaged_leaves_the_scene_as_it_was(host, folder, tmp_path):
    before = scene_ids()
    with pytest.raises(InputError, match="not a result folder"):
        open_folder(tmp_path)
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "phases" / "phase_2.nrrd").write_bytes(b"NRRD0004\n")
    with pytest.raises(InputError, match="phase_2"):
        open_folder(broken)
    (broken / "subtraction" / "phase_1.nrrd").unlink()
    with pytest.raises(InputError, match="subtraction"):
        open_folder(broken)
    steps = opening.open_steps(folder)
    while not result.find_results() and next(steps, None) is not None:
        pass
    steps.close()
    assert {i for i in scene_ids() - before if "Volume" in i or "Text" in i} == set()


def test_cases_of_a_batch_are_those_of_its_summary_or_of_its_folders(batch, folder, tmp_path):
    cases = read_batch(batch)
    assert [(case.case, case.status, case.folder) for case in cases] == [
        ("b", "done", batch / "b"), ("gone", "failed", None), ("a", "kept", batch / "a")]  # fmt: skip
    assert cases[1].message == "The file is no image."
    shutil.copytree(folder, tmp_path / "batch" / "only")
    (found,) = read_batch(tmp_path / "batch")
    assert (found.case, found.folder, found.summary["lesions"]) == ("only", tmp_path / "batch" / "only", 2)
    with pytest.raises(InputError, match="not the folder of a batch"):
        read_batch(tmp_path / "batch" / "only")
    (tmp_path / "summary.json").write_text('{"cases": [{"case": "x", "status": "done", "folder": "../etc"}]}')
    with pytest.raises(InputError, match="damaged"):
        read_batch(tmp_path)


def test_a_night_is_looked_through_case_by_case(host, panel, batch, monkeypatch):
    asked = []
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *a: asked.append(a) or str(batch))
    panel.ui.openBatchButton.click()
    table = panel.ui.casesTable
    assert len(asked) == 1
    assert not table.isHidden()
    shown = [[table.item(row, column).text() for column in range(5)] for row in range(3)]
    assert shown == [["b", "done", "2", "1.50", "washout, no enhancement"], ["gone", "failed", "", "", ""],
                     ["a", "kept", "", "", ""]]  # fmt: skip
    table.cellActivated.emit(0, 0)
    first = opened(host, panel)
    assert len(first.lesions) == panel.ui.lesionsTable.rowCount == 2
    table.cellActivated.emit(1, 0)
    assert "no image" in panel.ui.statusLabel.text
    assert panel.results.loaded is first
    table.cellActivated.emit(2, 0)
    second = opened(host, panel)
    assert second.run_id != first.run_id
    assert [one.run_id for one in result.find_results()] == [second.run_id]
    assert nodes.node(first.input) is None


def test_a_result_is_chosen_among_several_and_its_layout_brought_back(host, panel, folder, batch):
    panel.opener.open(folder)
    first = opened(host, panel)
    assert panel.ui.resultComboBox.isHidden()
    panel.opener.open(batch / "a")
    second = opened(host, panel)
    chooser = panel.ui.resultComboBox
    assert not chooser.isHidden()
    assert chooser.count == 2
    assert second.run_id in chooser.currentText
    chooser.currentIndex = 1 - chooser.currentIndex
    assert panel.results.loaded.run_id == first.run_id
    opened(host, panel)
    panel.ui.phaseSlider.value = 2
    slicer.app.layoutManager().setLayout(3)
    panel.ui.layoutButton.click()
    opened(host, panel)
    assert slicer.app.layoutManager().layout == layout.LAYOUT_ID
    phase = slicer.app.layoutManager().sliceWidget(layout.PHASE).mrmlSliceCompositeNode()
    assert phase.GetBackgroundVolumeID() == first.phases[1].volume
    panel.ui.removeButton.click()
    assert panel.results.loaded.run_id == second.run_id
    assert panel.ui.resultComboBox.isHidden()


def test_every_map_can_be_laid_over_the_phase(host, panel, folder):
    panel.opener.open(folder)
    loaded = opened(host, panel)
    names = [panel.ui.overlayComboBox.itemText(n) for n in range(panel.ui.overlayComboBox.count)]
    assert names[:6] == ["None", "Curve type", "SER (ratio)", "Wash-in (%/min)", "Wash-out (%/min)", "Time to peak (s)"]
    assert "PE, phase 3 (%)" in names
    composite = slicer.app.layoutManager().sliceWidget(layout.PHASE).mrmlSliceCompositeNode()
    view = slicer.app.layoutManager().sliceWidget(layout.PHASE).sliceView()
    panel.results.table.select(1)  # washes out
    plain = view.pixels().astype(int)
    for number, key in enumerate(("ser", "wash_in", "wash_out", "time_to_peak"), start=2):
        panel.ui.overlayComboBox.currentIndex = number
        host.wait_until(lambda: not panel.results.overlays.busy)
        assert composite.GetForegroundVolumeID() == loaded.maps[key], key
        values = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "maps" / f"{key}.nrrd")))
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(nodes.node(loaded.maps[key])), values)
        host.process_events()
        changed = np.abs(view.pixels().astype(int) - plain).max(axis=2) > 40
        assert changed[:, 120:380].sum() > 200, key  # beside the legend, which stands at the edge
    panel.ui.opacitySlider.value = 25
    assert composite.GetForegroundOpacity() == pytest.approx(0.25)
    panel.ui.overlayComboBox.currentIndex = 0
    assert composite.GetForegroundOpacity() == 0
    assert panel.ui.statusLabel.text == ""


def test_the_map_of_curve_types_is_shown_from_a_chosen_enhancement_on(host, panel, folder):
    panel.opener.open(folder)
    loaded = opened(host, panel)
    assert panel.ui.peSlider.isHidden()
    panel.ui.overlayComboBox.currentIndex = 1
    types = slicer.util.arrayFromVolume(nodes.node(loaded.maps["curve_type"]))
    of_run, study = types.copy(), result_samples.small_study()
    pre, *phases = (sitk.GetArrayFromImage(one).astype(float) for one in (study["pre"], *study["synthetic"]))
    peak = 100 * (np.max(phases, axis=0) / np.where(pre > 0, pre, np.nan) - 1)
    panel.ui.peSlider.value = 100
    expected = np.where(peak >= 100, of_run, 0)
    np.testing.assert_array_equal(types, expected)
    assert 0 < np.count_nonzero(expected) < np.count_nonzero(of_run)
    count = sum(int((expected == kind).sum()) for kind in (1, 2, 3))
    shares = "/".join(f"{100 * int((expected == kind).sum()) / count:.0f}" for kind in (1, 2, 3))
    volume = count * np.prod(study["pre"].GetSpacing()) / 1000
    assert panel.ui.peLabel.text == f"100 %: {volume:.2f} cm³, I/II/III {shares} %"
    panel.ui.overlayComboBox.currentIndex = 0
    np.testing.assert_array_equal(types, of_run)  # the run's map is what is saved
    assert panel.ui.peSlider.isHidden()
    panel.ui.overlayComboBox.currentIndex = 1
    np.testing.assert_array_equal(types, expected)
    panel.ui.peSlider.value = 50
    np.testing.assert_array_equal(types, of_run)


def test_an_opened_result_is_not_offered_as_an_input(host, panel, folder):
    panel.opener.open(folder)
    loaded = opened(host, panel)
    panel.ui.inputSelector.setCurrentNode(nodes.node(loaded.input))
    assert "computed back" in panel.ui.applyButton.toolTip
    panel.ui.inputSelector.setCurrentNode(add_pre())
    assert panel.ui.applyButton.enabled


def test_closing_the_scene_while_a_result_is_opened_leaves_nothing(host, panel, folder):
    panel.opener.open(folder)
    host.process_events(0.05)
    slicer.mrmlScene.Clear(0)
    host.wait_until(lambda: not panel.opener.busy)
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == []
    assert panel.results.loaded is None
