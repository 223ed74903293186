"""The stand-in's views show what Slicer's show."""

import numpy as np
import pytest
import slicer
import vtk


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
