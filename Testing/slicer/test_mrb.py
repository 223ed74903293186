"""A scene with a result, saved and loaded, holds the same result."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import result_samples
import SimpleITK as sitk
import slicer
from host_samples import HOST_FOLDER
from module_samples import MODULE
from result_samples import each
from VirtualContrastLib.io import marks
from VirtualContrastLib.io.volumes import SYNTHETIC_COMMENT, write
from VirtualContrastLib.slicer_app.scene import nodes, result, tables
from VirtualContrastLib.slicer_app.views import layout, layouts, lesion_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return result_samples.full_result(tmp_path_factory.mktemp("full") / "result")


@pytest.fixture
def loaded(host, folder):
    study = result_samples.small_study()
    real = [result_samples.add_input(image, f"real {number}") for number, image in enumerate(study["real"], 1)]
    return result.load_result(folder, result_samples.add_input(study["pre"]), real_nodes=real)


def reload(path):
    slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(0)
    assert result.find_results() == []
    slicer.util.loadScene(str(path))
    (found,) = result.find_results()
    return found


def contents(loaded):
    """Everything that a result shows, without node IDs."""
    volumes = [
        loaded.input,
        loaded.pre,
        *each(loaded, "volume"),
        *each(loaded, "real"),
        *each(loaded, "subtraction"),
        *each(loaded, "uncertainty"),
    ]
    volumes = map(nodes.node, [*volumes, *loaded.maps.values()])
    sequence = nodes.node(loaded.sequence)
    content = nodes.node(loaded.segmentation).GetSegmentation()
    charts = {key: nodes.node(node_id) for key, node_id in loaded.charts.items()}
    return {
        "volumes": [
            (
                volume.GetName(),
                slicer.util.arrayFromVolume(volume).tobytes(),
                nodes.ijk_to_ras(volume).round(9).tolist(),
                volume.GetDisplayNode().GetColorNode().GetName(),
                {name: volume.GetAttribute(name) for name in volume.GetAttributeNames() if name.startswith("Virtual")},
            )
            for volume in volumes
        ],
        "times": [(sequence.GetNthIndexValue(n), sequence.GetNthDataNode(n).GetImageData().GetScalarRange())
                  for n in range(sequence.GetNumberOfDataNodes())],
        "axis": (sequence.GetIndexName(), sequence.GetIndexUnit()),
        "segments": [(key, content.GetSegment(key).GetName(), content.GetSegment(key).GetColor())
                     for key in content.GetSegmentIDs()],
        "tables": {key: [str(tables.column(nodes.node(node_id), nodes.node(node_id).GetTable().GetColumnName(place)))
                         for place in range(nodes.node(node_id).GetNumberOfColumns())]
                   for key, node_id in loaded.tables.items()},
        "charts": {key: [chart.GetTitle(), *(chart.GetNthPlotSeriesNode(n).GetName()
                                             for n in range(chart.GetNumberOfPlotSeriesNodes()))]
                   for key, chart in charts.items()},
        "run": (loaded.run_id, loaded.model_id, each(loaded, "time_s"), nodes.node(loaded.run_node).GetText()),
        "lesions": loaded.lesions,
    }  # fmt: skip


def test_a_saved_and_loaded_scene_gives_the_same_result(loaded, tmp_path):
    before = contents(loaded)
    again = reload(tmp_path / "scene.mrb")
    after = contents(again)
    assert before
    for part, expected in before.items():
        assert after[part] == expected, part


def test_a_loaded_result_can_be_shown_and_measured_again(loaded, tmp_path):
    layout.show(loaded)
    rows = loaded.lesions
    again = reload(tmp_path / "shown.mrb")
    layout.show(again)
    shown = slicer.app.layoutManager().sliceWidget(layout.PHASE).mrmlSliceCompositeNode().GetBackgroundVolumeID()
    assert shown == again.phases[0].volume
    lesion_table.recompute(again)
    assert [dataclasses.replace(row, centroid_ras=(0, 0, 0)) for row in again.lesions] == [
        dataclasses.replace(row, centroid_ras=(0, 0, 0)) for row in rows
    ]
    np.testing.assert_allclose([row.centroid_ras for row in again.lesions], [row.centroid_ras for row in rows])


def test_a_result_is_found_beside_another_one_after_importing_a_scene(loaded, folder, tmp_path):
    slicer.util.saveScene(str(tmp_path / "one.mrb"))
    slicer.util.loadScene(str(tmp_path / "one.mrb"))  # into the same scene: every node ID is taken
    first, second = result.find_results()
    assert first.run_id == second.run_id
    assert not set(each(first, "volume")) & set(each(second, "volume"))
    assert second.folder_item != first.folder_item
    result.remove_result(first)
    assert [one.run_node for one in result.find_results()] == [second.run_node]
    assert all(nodes.node(node_id) is not None for node_id in each(second, "volume"))


def test_deleting_the_folder_of_a_loaded_result_leaves_only_the_users_nodes(loaded, tmp_path):
    again = reload(tmp_path / "scene.mrb")
    nodes.subject_hierarchy().RemoveItem(again.folder_item, True, True)
    scene_nodes = [slicer.mrmlScene.GetNthNode(number) for number in range(slicer.mrmlScene.GetNumberOfNodes())]
    kept = sorted(node.GetName() for node in scene_nodes if node.IsA("vtkMRMLVolumeNode"))
    assert kept == ["T1", "real 1", "real 2", "real 3"]
    assert not [
        node.GetName() for node in scene_nodes if node.IsA("vtkMRMLStorageNode") and "Volume" not in node.GetID()
    ]
    assert not [
        node.GetName() for node in scene_nodes if node.IsA("vtkMRMLTableNode") or node.IsA("vtkMRMLPlotChartNode")
    ]


def test_the_marks_of_files_are_kept_in_a_saved_scene_whether_the_panel_looked_or_not(host, tmp_path):
    nodes.keep_marks()
    image = result_samples.small_study()["pre"]
    files = {name: tmp_path / f"{name}.nrrd" for name in ("phantom", "synthetic", "plain")}
    sitk.WriteImage(marks.marked(image), str(files["phantom"]))
    write(image, files["synthetic"], comment=SYNTHETIC_COMMENT)
    sitk.WriteImage(image, str(files["plain"]))
    for path in files.values():
        slicer.util.loadVolume(str(path))
    host.process_events()
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    for path in files.values():
        path.unlink()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    known = {name: slicer.util.getNode(name) for name in files}
    assert {name: nodes.is_phantom(node) for name, node in known.items()} == {
        "phantom": True, "synthetic": False, "plain": False,
    }  # fmt: skip
    assert {name: nodes.is_synthetic(node) for name, node in known.items()} == {
        "phantom": False, "synthetic": True, "plain": False,
    }  # fmt: skip


def test_a_volume_of_a_phantom_that_was_looked_at_is_known_as_one_in_its_copies(host, tmp_path):
    sitk.WriteImage(marks.marked(result_samples.small_study()["pre"]), str(tmp_path / "phantom.nrrd"))
    volume = slicer.util.loadVolume(str(tmp_path / "phantom.nrrd"))
    assert nodes.is_phantom(volume)
    assert nodes.is_phantom(slicer.modules.volumes.logic().CloneVolume(volume, "copy"))


FRESH = f"""
import json, sys
sys.path.insert(0, {str(HOST_FOLDER)!r})
import slicer_host
host = slicer_host.boot()
import slicer
told = []
for path in sys.argv[2:]:
    if sys.argv[1] == "with":
        host.load_module({str(MODULE)!r}, select=False)
        slicer.app.startupCompleted.emit()
    slicer.util.loadScene(path)
    manager = slicer.app.layoutManager()
    description = manager.layoutLogic().GetLayoutNode().GetCurrentLayoutDescription()
    views = manager.layoutLogic().GetViewNodes()
    told.append([manager.layout, len(description), views.GetNumberOfItems()])
    host.reset()
print(json.dumps(told))
"""


def in_a_fresh_process(extension, *scenes):
    """Layout, length of its description and number of views after loading each of the scenes."""
    arguments = [sys.executable, "-c", FRESH, extension, *map(str, scenes)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_saved_scene_opens_with_views_without_the_extension_and_an_older_one_with_it(loaded, tmp_path, monkeypatch):
    layout.show(loaded)
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    assert slicer.app.layoutManager().layout == layout.LAYOUT_ID
    with monkeypatch.context() as before:
        before.setattr(layouts, "_own", set())  # the layout was not kept out of scenes then
        node.Modified()
        slicer.util.saveScene(str(tmp_path / "old.mrb"))
    ((number, length, views),) = in_a_fresh_process("without", tmp_path / "scene.mrb")
    assert number == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    assert length > 0
    assert views == 4
    new, old = in_a_fresh_process("with", tmp_path / "scene.mrb", tmp_path / "old.mrb")
    assert new[0] == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    assert old[0] == layout.LAYOUT_ID
    assert old[2] == 5
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    assert node.GetSaveWithScene()
