"""The stand-in application itself: an unmodified module runs on it, and it refuses what Slicer would refuse."""

import subprocess
import sys
import time
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import ctk
import numpy as np
import pytest
import qt
import SampleData
import SimpleITK as sitk
import sitkUtils
import slicer
import slicer.packaging
import vtk
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer_host import cmake

HOST_FOLDER = Path(__file__).resolve().parents[1] / "host"
DEMO_EXTENSION = HOST_FOLDER / "demo_module"
DEMO = DEMO_EXTENSION / "HostDemo" / "HostDemo.py"
IJK_TO_RAS = np.array([[-2.0, 0, 0, 10], [0, -1.5, 0, 20], [0, 0, 3, -30], [0, 0, 0, 1]])


@pytest.fixture
def volume(host):
    """40 x 32 x 20 voxels, dark with a bright box in the middle."""
    array = np.full((20, 32, 40), 20.0, np.float32)
    array[6:14, 10:22, 12:28] = 150
    return slicer.util.addVolumeFromArray(array, ijkToRAS=IJK_TO_RAS, name="T1")


@pytest.fixture
def panel(host):
    """The open panel of the demo module."""
    return host.load_module(DEMO).widgetRepresentation().self()


# ---- a module, unmodified -----------------------------------------------------------------------------------------


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


# ---- PythonQt semantics -------------------------------------------------------------------------------------------


def test_a_property_is_a_value_and_not_a_method(host):
    button = qt.QPushButton("Apply")
    button.enabled = False
    assert (button.text, button.enabled, button.isEnabled()) == ("Apply", False, False)
    with pytest.raises(TypeError):
        button.text()


@pytest.mark.parametrize(
    ("widget", "name", "value"),
    [
        ("QPushButton", "tooltip", "no such property"),
        ("QPushButton", "text", None),
        ("QPushButton", "clicked", "overwrites a signal"),
        ("ctkSliderWidget", "max", 3),
        ("ctkSliderWidget", "value", "three"),
    ],
)
def test_a_wrong_attribute_is_refused(host, widget, name, value):
    instance = getattr(ctk if widget.startswith("ctk") else qt, widget)()
    with pytest.raises(AttributeError):
        setattr(instance, name, value)


def test_a_wrong_signal_signature_is_refused(host):
    with pytest.raises(ValueError, match="no signal"):
        ctk.ctkSliderWidget().connect("valueChanged(int)", print)
    with pytest.raises(ValueError, match="no signal"):
        slicer.qMRMLNodeComboBox().connect("currentNodeChanged(vtkMRMLVolumeNode*)", print)


def test_a_slot_gets_the_arguments_it_declares(host):
    button, got = qt.QPushButton(), []
    slot = lambda checked: got.append(checked)  # noqa: E731
    button.connect("clicked(bool)", slot)
    button.connect("clicked()", lambda: got.append("none"))
    button.click()
    assert button.disconnect("clicked(bool)", slot)
    button.click()
    assert got == [False, "none", "none"]


def test_an_unknown_widget_class_in_a_ui_file_is_an_error(host, tmp_path):
    file = tmp_path / "x.ui"
    file.write_text('<ui version="4.0"><widget class="ctkNoSuchWidget" name="x"/></ui>')
    with pytest.raises(RuntimeError, match="ctkNoSuchWidget"):
        slicer.util.loadUI(str(file))


def test_a_node_selector_offers_nodes_of_its_class_and_attribute(host, volume):
    other = slicer.util.addVolumeFromArray(np.zeros((2, 3, 4)), name="other")
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.setMRMLScene(slicer.mrmlScene)
    assert selector.nodeCount() == 2
    assert selector.currentNode() is volume
    other.SetAttribute("role", "post")
    selector.addAttribute("vtkMRMLScalarVolumeNode", "role", "post")
    assert selector.currentNode() is other
    seen = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", seen.append)
    slicer.mrmlScene.RemoveNode(other)
    assert seen == [None]


def test_a_table_view_shows_the_cells_and_tells_of_a_selection(host):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "Lesions")
    view, selections = slicer.qMRMLTableView(), []
    view.setMRMLTableNode(node)
    slicer.util.updateTableFromArray(node, [np.array([1, 2]), np.array([30.5, 40.5])], ["Lesion", "Volume"])
    assert (view.model().rowCount(), view.model().columnCount()) == (2, 2)
    assert view.model().item(1, 1).text() == "40.5"
    view.connect("selectionChanged()", lambda: selections.append(view.currentIndex().row()))
    view.selectRow(1)
    assert selections == [1]


def test_a_collapsible_button_hides_its_children(host):
    button = ctk.ctkCollapsibleButton()
    child, folded = qt.QLabel("inside", button), []
    button.connect("contentsCollapsed(bool)", folded.append)
    button.show()
    assert child.visible
    button.click()
    assert (child.visible, button.collapsed, folded) == (False, True, [True])
    button.hide()


# ---- application --------------------------------------------------------------------------------------------------


def test_a_background_process_leaves_the_event_loop_free(host):
    lines, codes = [], []
    command = "import time; print('one', flush=True); time.sleep(0.2); print('two'); raise SystemExit(3)"
    slicer.util.launchConsoleProcess(
        [sys.executable, "-c", command], blocking=False, logCallback=lines.append, completedCallback=codes.append
    )
    assert codes == []
    host.wait_until(lambda: codes)
    assert (lines, codes) == (["one", "two"], [3])


def test_a_blocked_event_loop_is_noticed(host):
    with host.watch_event_loop() as longest_s:
        host.process_events(0.05)
        assert longest_s() < 0.15
        qt.QTimer.singleShot(0, lambda: time.sleep(0.2))
        host.process_events(0.05)
        assert longest_s() > 0.19


def test_without_main_window_there_are_no_views_and_the_logic_works(tmp_path):
    script = tmp_path / "headless.py"
    script.write_text(
        f"import sys; sys.path[:0] = [{str(HOST_FOLDER)!r}, {str(DEMO.parent)!r}]\n"
        "import slicer_host; slicer_host.boot(main_window=False)\n"
        "import numpy as np, slicer\n"
        "from HostDemo import HostDemoLogic\n"
        "volume = slicer.util.addVolumeFromArray(np.arange(60.0).reshape(3, 4, 5))\n"
        "node = HostDemoLogic().process(volume, 50)\n"
        "print(slicer.app.layoutManager(), slicer.util.mainWindow(), node.GetSegmentation().GetNumberOfSegments())\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["None", "None", "1"], done.stderr
    assert done.returncode == 0


def test_qprocess_reports_output_and_exit_code(host):
    process, codes = qt.QProcess(), []
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: codes.append(code))
    process.start(sys.executable, ["-c", "print('hello'); raise SystemExit(4)"])
    host.wait_until(lambda: codes)
    assert codes == [4]
    assert bytes(process.readAllStandardOutput()).strip() == b"hello"


def test_packages_are_asked_for_and_never_installed(host):
    installation = slicer.packaging.host
    installation.missing.add("pydicom")
    assert slicer.packaging.pip_check("numpy>=1.0")
    assert not slicer.packaging.pip_check("pydicom")
    slicer.packaging.pip_ensure("pydicom", requester="Demo")  # testing mode: nothing happens
    assert installation.calls == []
    with host.interactive():
        installation.outcome = "decline"
        with pytest.raises(RuntimeError, match="declined"):
            slicer.packaging.pip_ensure("pydicom", requester="Demo")
        installation.outcome = "fail"
        with pytest.raises(subprocess.CalledProcessError):
            slicer.packaging.pip_ensure("pydicom", requester="Demo")
        installation.outcome = "install"
        slicer.packaging.pip_ensure(["numpy", "pydicom>=2"], skip_packages=["numpy"], requester="Demo")
    assert installation.calls[-1]["requirements"] == ["pydicom>=2"]
    assert installation.calls[-1]["skip_packages"] == ["numpy"]
    assert slicer.packaging.pip_check("pydicom")


def test_data_nodes_get_a_subject_hierarchy_item_and_go_with_their_folder(host, volume):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volume)
    assert item
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "Run 1")
    hierarchy.SetItemParent(item, folder)
    hierarchy.RemoveItem(folder, True, True)
    assert slicer.mrmlScene.GetFirstNodeByName("T1") is None


def test_settings_stay_in_the_temporary_folder(host):
    qt.QSettings().setValue("Demo/answer", 42)
    assert slicer.util.settingsValue("Demo/answer", 0, int) == 42
    assert qt.QSettings().fileName().startswith(slicer.app.temporaryPath)


def test_sample_data_registers_and_loads_local_files(host, volume, tmp_path):
    path = tmp_path / "phantom.nrrd"
    slicer.util.saveNode(volume, str(path))
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="Demo", sampleName="Phantom", uris=path.as_uri(), fileNames="phantom.nrrd", nodeNames="Phantom"
    )
    node = SampleData.downloadSample("Phantom")
    assert node.GetName() == "Phantom"
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), slicer.util.arrayFromVolume(volume))
    with pytest.raises(RuntimeError, match="downloads nothing"):
        SampleData.SampleDataLogic().downloadFromSource(
            SampleData.SampleDataSource(uris="https://example.org/x.nrrd", fileNames="x.nrrd", nodeNames="x")
        )


def test_a_volume_goes_to_simpleitk_and_back_with_its_geometry(host, volume):
    image = sitkUtils.PullVolumeFromSlicer(volume)
    assert image.GetSpacing() == pytest.approx((2.0, 1.5, 3.0))
    corner = image.TransformContinuousIndexToPhysicalPoint([3.0, 4.0, 5.0])
    ras = IJK_TO_RAS @ [3, 4, 5, 1]
    assert corner == pytest.approx((-ras[0], -ras[1], ras[2]))
    node = sitkUtils.PushVolumeToSlicer(sitk.Cast(image, sitk.sitkInt16), name="back")
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(matrix), IJK_TO_RAS)


# ---- parameter nodes ----------------------------------------------------------------------------------------------


class Color(Enum):
    RED = 1
    BLUE = 2


def test_parameters_have_the_texts_that_slicer_writes(host):
    @parameterNodeWrapper
    class Wrapper:
        flag: bool
        color: Color = Color.BLUE
        size: Annotated[float, WithinRange(0, 1)] = 0.5
        names: list[str]
        limit: Optional[int]  # noqa: UP045

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    wrapper = Wrapper(node)
    wrapper.names = ["a", "b"]
    wrapper.limit = 4
    texts = {name: node.GetParameter(name) for name in node.GetParameterNames()}
    assert texts == {
        "flag": "False",
        "color": "BLUE",
        "size": "0.5",
        "names_len": "2",
        "names_0": "a",
        "names_1": "b",
        "limit_0": "4",
    }
    wrapper.names.append("c")
    assert list(Wrapper(node).names) == ["a", "b", "c"]
    node.SetParameter("flag", "True")
    assert wrapper.flag is True


def test_a_parameter_of_an_unknown_type_is_refused(host):
    with pytest.raises(TypeError, match="no serializer"):

        @parameterNodeWrapper
        class Wrapper:
            anything: int | None  # Slicer 5.12 wants Optional[int]


# ---- views --------------------------------------------------------------------------------------------------------


def share(pixels, condition):
    """Share of the pixels for which condition(red, green, blue) holds."""
    return condition(*pixels.astype(int).transpose(2, 0, 1)).mean()


@pytest.fixture
def segmentation(volume):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Lesions")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.GetSegmentation().AddEmptySegment("lesion", "Lesion", [1.0, 0.0, 0.0])
    mask = (slicer.util.arrayFromVolume(volume) > 100).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, "lesion", volume)
    return node


def test_a_slice_view_shows_volume_segment_and_corner_annotation(host, volume, segmentation):
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
    slicer.app.layoutManager().sliceWidget("Red").sliceLogic().SetSliceOffset(0.0)
    without = view.pixels()
    reddish = share(without, lambda r, g, b: (r > g + 60) & (r > b + 60))
    assert 0.02 < reddish < 0.5
    view.cornerAnnotation().SetText(vtk.vtkCornerAnnotation.UpperLeft, "SYNTHETIC")
    changed = (view.pixels() != without).any(axis=2)
    height, width = changed.shape
    assert changed[: height // 2, : width // 2].sum() > 50
    assert changed[height // 2 :].sum() == 0
    view.cornerAnnotation().ClearAllTexts()


def test_a_3d_view_shows_the_surface_of_a_segment(host, segmentation):
    segmentation.CreateClosedSurfaceRepresentation()
    widget = slicer.app.layoutManager().threeDWidget(0)
    slicer.util.resetThreeDViews()
    pixels = widget.threeDView().pixels()
    assert share(pixels, lambda r, g, b: (r > 100) & (g < 60) & (b < 60)) > 0.03


def test_a_3d_view_shows_a_maximum_intensity_projection(host, volume):
    widget, logic = slicer.app.layoutManager().threeDWidget(0), slicer.modules.volumerendering.logic()
    view_node = widget.mrmlViewNode()
    view_node.SetBackgroundColor(0, 0, 0)
    view_node.SetBackgroundColor2(0, 0, 0)
    display = logic.CreateDefaultVolumeRenderingNodes(volume)
    display.GetVolumePropertyNode().Copy(logic.GetPresetByName("MR-MIP"))
    display.SetVisibility(True)
    view_node.SetRaycastTechnique(view_node.MaximumIntensityProjection)
    slicer.util.resetThreeDViews()
    pixels = widget.threeDView().pixels()
    assert share(pixels, lambda r, g, b: (abs(r - 150 * 150 // 255) < 25) & (abs(r - b) < 4)) > 0.03


CUSTOM_LAYOUT = """<layout type="vertical" split="true">
 <item><layout type="horizontal">
  <item><view class="vtkMRMLSliceNode" singletontag="HostPre">
   <property name="orientation" action="default">Axial</property>
   <property name="viewlabel" action="default">Pre</property>
   <property name="viewcolor" action="default">#66c2a5</property></view></item>
  <item><view class="vtkMRMLSliceNode" singletontag="HostPhase">
   <property name="orientation" action="default">Axial</property>
   <property name="viewlabel" action="default">Phase</property>
   <property name="viewcolor" action="default">#fc8d62</property></view></item>
 </layout></item>
 <item><layout type="horizontal">
  <item><view class="vtkMRMLViewNode" singletontag="1"/></item>
  <item><view class="vtkMRMLPlotViewNode" singletontag="PlotView1">
   <property name="viewlabel" action="default">P</property></view></item>
 </layout></item>
</layout>"""


@pytest.fixture
def custom_layout(host):
    manager = slicer.app.layoutManager()
    manager.layoutLogic().GetLayoutNode().AddLayoutDescription(771, CUSTOM_LAYOUT)
    manager.setLayout(771)
    yield manager
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)


def curve(name, values, color):
    """A plot series of ``values`` over 0, 60, 120 ... seconds."""
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
    times = np.arange(len(values)) * 60.0
    slicer.util.updateTableFromArray(table, [times, np.array(values)], ["Time (s)", name])
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName("Time (s)")
    series.SetYColumnName(name)
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetColor(*color)
    series.SetLineWidth(3)
    return series


def test_a_registered_layout_makes_its_views_and_shows_curves(custom_layout, volume, segmentation, tmp_path):
    assert {"HostPre", "HostPhase"} <= set(custom_layout.sliceViewNames())
    assert custom_layout.sliceWidget("HostPre").mrmlSliceNode().GetOrientation() == "Axial"
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "Curves")
    chart.SetTitle("Curves")
    chart.AddAndObservePlotSeriesNodeID(curve("Lesion 1", [0, 90, 80, 60], (0.9, 0.1, 0.1)).GetID())
    chart.AddAndObservePlotSeriesNodeID(curve("Lesion 2", [0, 30, 45, 55], (0.1, 0.1, 0.9)).GetID())
    custom_layout.plotWidget(0).mrmlPlotViewNode().SetPlotChartNodeID(chart.GetID())
    segmentation.CreateClosedSurfaceRepresentation()
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    slicer.util.resetThreeDViews()
    plot = custom_layout.plotWidget(0).plotView().pixels()
    assert share(plot, lambda r, g, b: (r > 180) & (g < 90) & (b < 90)) > 0.002
    assert share(plot, lambda r, g, b: (b > 180) & (g < 90) & (r < 90)) > 0.002
    assert custom_layout.grab_layout(900, 700).save(str(tmp_path / "layout.png"))
    with pytest.raises(ValueError, match="not registered"):
        custom_layout.setLayout(772)


def test_linked_slice_views_move_together(custom_layout, volume):
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    first, second = (custom_layout.sliceWidget(name) for name in ("HostPre", "HostPhase"))
    for widget in (first, second):
        widget.mrmlSliceCompositeNode().SetLinkedControl(True)
        widget.mrmlSliceCompositeNode().SetHotLinkedControl(True)
    logic = first.sliceLogic()
    logic.StartSliceOffsetInteraction()
    logic.SetSliceOffset(9.0)
    logic.EndSliceOffsetInteraction()
    assert second.mrmlSliceNode().GetSliceOffset() == pytest.approx(9.0)


# ---- packaging ----------------------------------------------------------------------------------------------------


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
