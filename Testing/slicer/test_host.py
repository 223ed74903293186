"""The stand-in application itself: an unmodified module runs on it, also from an installed extension."""

import sys
from pathlib import Path

import pytest
import qt
import slicer
import vtk
from host_samples import DEMO, DEMO_EXTENSION
from slicer_host import cmake


@pytest.fixture
def panel(host):
    """The open panel of the demo module."""
    return host.load_module(DEMO).widgetRepresentation().self()


def test_a_module_loads_with_its_title_icon_and_resources(host, panel):
    module = slicer.modules.hostdemo
    assert (module.title, module.path) == ("Host Demo", str(DEMO))
    assert not module.icon.isNull()
    assert slicer.util.getModuleWidget("HostDemo") is panel
    assert slicer.util.getModuleLogic("HostDemo") is panel.logic
    assert panel.entered == 1
    assert not panel.ui.applyButton.enabled
    assert panel.ui.applyButton.toolTip == "Select a volume"


def test_selecting_a_volume_and_clicking_apply_makes_a_segmentation(host, panel, volume):
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.applyButton.click()
    node = panel.parameters.segmentation
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, "bright", volume)
    assert mask.sum() == 8 * 12 * 16
    assert panel.ui.statusLabel.text == "Done"
    panel.ui.segmentsTable.setSelectedSegmentIDs(["bright"])
    assert panel.ui.statusLabel.text == "bright"


def test_widgets_and_parameter_node_follow_each_other(host, panel, volume):
    panel.ui.thresholdSlider.value = 42.5
    panel.ui.styleComboBox.currentIndex = 1
    panel.ui.regionComboBox.currentText = "left"
    panel.ui.outputPath.currentPath = "/tmp/somewhere"
    parameters = panel.parameters
    assert (parameters.threshold, parameters.style.name, parameters.region) == (42.5, "OUTLINE", "left")
    assert parameters.outputFolder == Path("/tmp/somewhere")
    parameters.threshold, parameters.smoothing, parameters.inputVolume = 7.0, 3, volume
    assert (panel.ui.thresholdSlider.value, panel.ui.smoothingSpinBox.value) == (7.0, 3)
    assert panel.ui.inputSelector.currentNode() is volume
    assert (panel.ui.smoothingSpinBox.minimum, panel.ui.smoothingSpinBox.maximum) == (0, 5)
    with pytest.raises(ValueError, match="range"):
        parameters.smoothing = 6


@pytest.mark.slicer_errors
def test_an_error_in_a_slot_is_collected_and_not_raised(host, panel, volume):
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.thresholdSlider.value = 200
    panel.ui.applyButton.click()
    assert [str(error) for error in qt.slotErrors] == ["nothing is brighter than the threshold"]


def test_parameters_and_results_survive_saving_and_loading_the_scene(host, panel, volume, tmp_path):
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.thresholdSlider.value = 99.5
    panel.ui.applyButton.click()
    panel.parameters.times.extend([0.0, 90.0])
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    assert panel.parameters.inputVolume is None
    assert panel.ui.inputSelector.currentNode() is None
    assert panel.parameters.threshold == 100.0
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    parameters = panel.parameters
    assert (parameters.threshold, list(parameters.times)) == (99.5, [0.0, 90.0])
    assert panel.ui.thresholdSlider.value == 99.5
    assert panel.ui.inputSelector.currentNode().GetName() == "T1"
    assert panel.ui.applyButton.enabled
    loaded = slicer.util.arrayFromSegmentBinaryLabelmap(parameters.segmentation, "bright", parameters.inputVolume)
    assert loaded.sum() == 8 * 12 * 16
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items)
    names = [hierarchy.GetItemName(items.GetId(index)) for index in range(items.GetNumberOfIds())]
    assert sorted(names) == ["Bright", "T1"]


def test_reloading_the_module_makes_a_new_panel(host, panel, volume):
    panel.onReload()
    new = slicer.modules.HostDemoWidget
    assert new is not panel
    assert slicer.util.getModuleWidget("HostDemo") is new
    new.ui.inputSelector.setCurrentNode(volume)
    new.ui.applyButton.click()
    assert new.ui.statusLabel.text == "Done"


def test_leaving_and_entering_the_module_connects_the_widgets_again(host, panel, volume):
    slicer.util.selectModule("Volumes")
    assert panel.parameters is None
    assert host.select_module("HostDemo") is panel
    assert panel.entered == 2
    panel.ui.inputSelector.setCurrentNode(volume)
    assert panel.parameters.inputVolume is volume


def test_the_self_test_of_the_module_runs(host, panel):
    before = getattr(slicer, "selfTestsRun", 0)
    slicer.selfTests["HostDemo"](msec=0)
    assert slicer.selfTestsRun == before + 1


def test_the_panel_can_be_seen(host, panel, tmp_path):
    image = host.grab_panel("HostDemo")
    assert image.save(str(tmp_path / "panel.png"))
    assert image.width() == 480
    assert image.height() > 300


@pytest.fixture
def extension(tmp_path):
    """A copy of the demo extension, to be spoiled."""
    import shutil

    return Path(shutil.copytree(DEMO_EXTENSION, tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__")))


def test_an_installed_module_runs_from_the_flat_folder(host, extension, tmp_path, volume):
    flat = cmake.install_extension(extension, tmp_path / "work")
    for name in [name for name in sys.modules if name.startswith("HostDemoLib")]:
        del sys.modules[name]
    path = [entry for entry in sys.path if "demo_module" not in entry]
    sys.path[:] = path
    panel = host.load_module(flat / "HostDemo.py").widgetRepresentation().self()
    assert Path(sys.modules["HostDemoLib.threshold"].__file__).is_relative_to(flat)
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.applyButton.click()
    assert panel.ui.statusLabel.text == "Done"
    sys.path.remove(str(flat))
    for name in ("HostDemoLib.threshold", "HostDemoLib"):
        del sys.modules[name]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (("HostDemo/HostDemoLib/extra.py", None, "x = 1"), "HostDemoLib/extra.py is not"),
        (("HostDemo/CMakeLists.txt", "threshold.py", "treshold.py"), "is listed but is not a file"),
        (("HostDemo/CMakeLists.txt", "  SCRIPTS ", "  SCRIPT "), "unknown keyword"),
        (("CMakeLists.txt", '"NA"', '""'), "EXTENSION_DEPENDS is empty"),
    ],
)
def test_a_mistake_in_the_cmake_files_is_an_error(extension, tmp_path, spoil, complaint):
    name, old, new = spoil
    file = extension / name
    file.write_text(new if old is None else file.read_text().replace(old, new))
    with pytest.raises(cmake.ExtensionError) as error:
        cmake.install_extension(extension, tmp_path / "work")
    assert complaint in " ".join(str(error.value).split())


def test_names_that_only_the_wheel_has_are_absent(host):
    assert not hasattr(slicer, "getNode")
    assert not hasattr(slicer.util, "LazyImport")
    assert slicer.util.getNode is not None
