"""Slice, 3-D and chart views, rendered off-screen (OSMesa) by the real displayable managers and VTK charts.

Each class has the methods of the Slicer view that panel code uses, and ``pixels``/``save_png`` for the tests.
"""

# ruff: noqa: N815 (these are Slicer's names)

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from PySide6 import QtGui
from vtk.util import numpy_support

SLICE_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLScalarBarDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager2D",
    "vtkMRMLColorLegendDisplayableManager",
)
THREED_MANAGERS = (
    "vtkMRMLVolumeRenderingDisplayableManager",
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLThreeDReformatDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager3D",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager3D",
    "vtkMRMLColorLegendDisplayableManager",
)


class View:
    """A render window of ``size`` (width, height in pixels) that is never shown."""

    def __init__(self, node: Any, size: tuple[int, int] = (500, 400)) -> None:
        self.node, self.renderer, self._window = node, vtk.vtkRenderer(), vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetAlphaBitPlanes(1)
        self._window.SetSize(*size)
        self._window.AddRenderer(self.renderer)
        self.overlay = self.renderer

    def renderWindow(self) -> vtk.vtkRenderWindow:
        return self._window

    def _render(self) -> None:
        self._prepare()
        self._window.Render()

    def _prepare(self) -> None:
        pass

    # -- for tests
    def resize(self, width: int, height: int) -> None:
        """Change the size in pixels."""
        self._window.SetSize(width, height)

    def pixels(self) -> np.ndarray:
        """The picture, uint8 [row from the top, column, RGB]."""
        self._render()
        capture = vtk.vtkWindowToImageFilter()
        capture.SetInput(self._window)
        capture.ReadFrontBufferOff()
        capture.Update()
        image = capture.GetOutput()
        width, height, _ = image.GetDimensions()
        values = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
        return np.ascontiguousarray(values.reshape(height, width, 3)[::-1])

    def grab(self) -> QtGui.QImage:
        """The picture as a QImage."""
        pixels = self.pixels()
        height, width, _ = pixels.shape
        return QtGui.QImage(pixels.tobytes(), width, height, 3 * width, QtGui.QImage.Format_RGB888).copy()

    def save_png(self, path: str | Path) -> None:
        """Write the picture."""
        if not self.grab().save(str(path)):
            raise OSError(f"cannot write {path}")


class RenderView(View):
    """What slice and 3-D views have in common: displayable managers and texts in the corners."""

    def __init__(self, node: Any, size: tuple[int, int] = (500, 400)) -> None:
        super().__init__(node, size)
        self._corners = vtk.vtkCornerAnnotation()
        self._corners.SetMaximumFontSize(14)

    def _start_managers(self, factory_class: Any, managers: tuple[str, ...]) -> None:
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        self._managers, factory = slicer.vtkMRMLDisplayableManagerGroup(), factory_class.GetInstance()
        for name in managers:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self._managers.SetRenderer(self.overlay)
        self._managers.Initialize(factory, self.overlay)
        self._managers.SetMRMLDisplayableNode(self.node)
        self.overlay.AddViewProp(self._corners)

    def cornerAnnotation(self) -> vtk.vtkCornerAnnotation:
        return self._corners

    def displayableManagerByClassName(self, name: str) -> Any:
        return self._managers.GetDisplayableManagerByClassName(name)

    def forceRender(self) -> None:
        self._render()

    def scheduleRender(self) -> None:
        """Rendering happens when a picture is taken."""


class SliceView(RenderView):
    """A slice through the scene: image in layer 0, displayable managers above it (one layer would hide the image)."""

    def __init__(self, node: Any, application_logic: Any) -> None:
        super().__init__(node)
        self.overlay = vtk.vtkRenderer()
        self.overlay.SetLayer(1)
        self._window.SetNumberOfLayers(2)
        self._window.AddRenderer(self.overlay)
        for renderer in (self.renderer, self.overlay):
            renderer.GetActiveCamera().ParallelProjectionOn()
        self._mapper, self._image = vtk.vtkImageMapper(), vtk.vtkActor2D()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._image.SetMapper(self._mapper)
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(application_logic)
        self.logic.SetMRMLScene(slicer.mrmlScene)
        self.logic.SetSliceNode(node)
        application_logic.GetSliceLogics().AddItem(self.logic)
        self._start_managers(slicer.vtkMRMLSliceViewDisplayableManagerFactory, SLICE_MANAGERS)
        self.logic.ResizeSliceNode(*self._window.GetSize())

    def resize(self, width: int, height: int) -> None:
        super().resize(width, height)
        self.logic.ResizeSliceNode(width, height)

    def _prepare(self) -> None:
        connection = self.logic.GetImageDataConnection()
        self._mapper.SetInputConnection(connection)
        if connection is not None and not self.renderer.HasViewProp(self._image):
            self.renderer.AddViewProp(self._image)
        elif connection is None:
            self.renderer.RemoveViewProp(self._image)

    def mrmlSliceNode(self) -> Any:
        return self.node


class ThreeDView(RenderView):
    """A 3-D view: volume rendering, models, closed surfaces of segmentations."""

    def __init__(self, node: Any, application_logic: Any) -> None:
        super().__init__(node)
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(application_logic)
        self.logic.SetMRMLScene(slicer.mrmlScene)
        self.logic.AddViewNode(node.GetLayoutName())  # finds the node of the layout
        application_logic.GetViewLogics().AddItem(self.logic)
        self._start_managers(slicer.vtkMRMLThreeDViewDisplayableManagerFactory, THREED_MANAGERS)

    def mrmlViewNode(self) -> Any:
        return self.node

    def cameraNode(self) -> Any:
        return self.displayableManagerByClassName("vtkMRMLCameraDisplayableManager").GetCameraNode()

    def rotateToViewAxis(self, axis: int) -> None:
        """0..5: seen from R, L, P, A, S, I, in the order of ctkAxesWidget (as in Slicer)."""
        camera = slicer.vtkMRMLCameraNode
        self.cameraNode().RotateTo((camera.Right, camera.Left, camera.Posterior, camera.Anterior, camera.Superior,
                                    camera.Inferior)[axis])  # fmt: skip

    def resetFocalPoint(self) -> None:
        """Center the scene and show all of it."""
        box, labels = self.node.GetBoxVisible(), self.node.GetAxisLabelsVisible()
        self.node.SetBoxVisible(0)
        self.node.SetAxisLabelsVisible(0)
        bounds = [0.0] * 6
        self.renderer.ComputeVisiblePropBounds(bounds)
        self.node.SetBoxVisible(box)
        self.node.SetAxisLabelsVisible(labels)
        if bounds[0] > bounds[1]:
            return
        self.renderer.GetActiveCamera().SetFocalPoint(*[(bounds[i] + bounds[i + 1]) / 2 for i in (0, 2, 4)])
        self.renderer.ResetCamera(bounds)
        self.node.InvokeEvent(slicer.vtkMRMLViewNode.ResetFocalPointRequestedEvent)
        self.renderer.ResetCameraClippingRange()

    resetCamera = resetFocalPoint


class PlotView(View):
    """A chart drawn from the plot nodes with vtkChartXY, which is also what Slicer's plot view draws with."""

    def __init__(self, node: Any, _application_logic: Any) -> None:
        super().__init__(node)
        self.node, self._context, self._charts = node, vtk.vtkContextView(), {}
        self._context.SetRenderWindow(self._window)
        self._window.GetRenderers().RemoveAllItems()
        self.renderer = self.overlay = self._context.GetRenderer()
        self._window.AddRenderer(self.renderer)
        self.renderer.SetBackground(1, 1, 1)

    def fitToContent(self) -> None:
        """The axes always fit what is drawn."""

    repaint = fitToContent

    def _prepare(self) -> None:
        self._context.GetScene().ClearItems()
        chart_node = self.node.GetPlotChartNode()
        if chart_node is None:
            return
        chart = vtk.vtkChartXY()
        self._context.GetScene().AddItem(chart)
        chart.SetTitle((chart_node.GetTitleVisibility() and chart_node.GetTitle()) or "")
        chart.SetShowLegend(bool(chart_node.GetLegendVisibility()))
        self._set_axis(chart.GetAxis(vtk.vtkAxis.BOTTOM), chart_node, "X")
        self._set_axis(chart.GetAxis(vtk.vtkAxis.LEFT), chart_node, "Y")
        for index in range(chart_node.GetNumberOfPlotSeriesNodes()):
            series = chart_node.GetNthPlotSeriesNode(index)
            if series is not None and series.GetTableNode() is not None:
                self._add_series(chart, series)

    @staticmethod
    def _set_axis(axis: vtk.vtkAxis, chart_node: Any, letter: str) -> None:
        visible = getattr(chart_node, f"Get{letter}AxisTitleVisibility")()
        axis.SetTitle((visible and getattr(chart_node, f"Get{letter}AxisTitle")()) or "")
        axis.SetGridVisible(bool(chart_node.GetGridVisibility()))
        axis.SetLogScale(bool(getattr(chart_node, f"Get{letter}AxisLogScale")()))
        if not getattr(chart_node, f"Get{letter}AxisRangeAuto")():
            axis.SetUnscaledRange(*getattr(chart_node, f"Get{letter}AxisRange")())
            axis.SetBehavior(vtk.vtkAxis.FIXED)

    @staticmethod
    def _add_series(chart: vtk.vtkChartXY, series: Any) -> None:
        bar = series.GetPlotType() in (series.PlotTypeBar, series.PlotTypeScatterBar)
        plot = chart.AddPlot(vtk.vtkChart.BAR if bar else vtk.vtkChart.LINE)
        table = series.GetTableNode().GetTable()
        names = [table.GetColumnName(column) for column in range(table.GetNumberOfColumns())]
        x, y = series.GetXColumnName(), series.GetYColumnName()
        if y not in names or (x and x not in names):
            raise ValueError(f"plot series {series.GetName()} wants columns {x!r}, {y!r} of {names}")
        plot.SetInputData(table, x or y, y)
        plot.SetUseIndexForXSeries(not x)
        plot.SetLabel(series.GetName())
        plot.SetColorF(*series.GetColor())
        plot.SetOpacity(series.GetOpacity())
        if bar:
            return
        plot.SetWidth(series.GetLineWidth())
        plot.GetPen().SetLineType(series.GetLineStyle())  # the enums of the nodes are those of VTK
        plot.SetMarkerStyle(series.GetMarkerStyle())
        plot.SetMarkerSize(series.GetMarkerSize())
