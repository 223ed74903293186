"""``slicer.app.layoutManager()``: the real layout logic decides which views there are; this makes and draws them."""

# ruff: noqa: N815 (these are Slicer's names)

import xml.etree.ElementTree as ElementTree
from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from .views import PlotView, SliceView, ThreeDView, View

VIEW_CLASSES = {"vtkMRMLSliceNode": SliceView, "vtkMRMLViewNode": ThreeDView, "vtkMRMLPlotViewNode": PlotView}
HEADER = 18  # height in pixels of the bar with the view's label


class _Controller:
    """The bar above a view; only its visibility exists here."""

    visible = True

    def setVisible(self, visible: bool) -> None:
        self.visible = visible


class ViewWidget(QtWidgets.QWidget):
    """A view below the bar that controls it; what the layout manager's widgets have in common."""

    def __init__(self, view: View) -> None:
        super().__init__()
        self._view, self._controller = view, _Controller()

    def viewWidget(self) -> View:
        return self._view

    def controllerWidget(self) -> _Controller:
        return self._controller

    def mrmlAbstractViewNode(self) -> Any:
        return self._view.node


class SliceWidget(ViewWidget):
    """qMRMLSliceWidget."""

    def sliceView(self) -> SliceView:
        return self._view

    def sliceController(self) -> _Controller:
        return self._controller

    def mrmlSliceNode(self) -> Any:
        return self._view.mrmlSliceNode()

    def sliceLogic(self) -> Any:
        return self._view.logic

    def mrmlSliceCompositeNode(self) -> Any:
        return self._view.logic.GetSliceCompositeNode()

    def fitSliceToBackground(self) -> None:
        self._view.logic.FitSliceToBackground()
        self._view.logic.SnapSliceOffsetToIJK()


class ThreeDWidget(ViewWidget):
    """qMRMLThreeDWidget."""

    def threeDView(self) -> ThreeDView:
        return self._view

    def threeDController(self) -> _Controller:
        return self._controller

    def mrmlViewNode(self) -> Any:
        return self._view.mrmlViewNode()


class PlotWidget(ViewWidget):
    """qMRMLPlotWidget."""

    def plotView(self) -> PlotView:
        return self._view

    def plotController(self) -> _Controller:
        return self._controller

    def mrmlPlotViewNode(self) -> Any:
        return self._view.node


WIDGET_CLASSES = {SliceView: SliceWidget, ThreeDView: ThreeDWidget, PlotView: PlotWidget}


class LayoutManager(QtCore.QObject):
    """qSlicerLayoutManager over vtkMRMLLayoutLogic."""

    layoutChanged = QtCore.Signal(int)

    def __init__(self, application_logic: Any) -> None:
        super().__init__()
        self._application_logic = application_logic
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLApplicationLogic(application_logic)
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self._widgets: dict[str, ViewWidget] = {}  # node ID -> widget, also of views not in the present layout
        node = self._logic.GetLayoutNode()
        node.SetViewArrangement(node.SlicerLayoutFourUpView)
        self._arrangement = -1
        node.AddObserver("ModifiedEvent", self._layout_modified)
        slicer.mrmlScene.AddObserver(slicer.mrmlScene.EndCloseEvent, self._layout_modified)
        slicer.mrmlScene.AddObserver(slicer.mrmlScene.EndImportEvent, self._layout_modified)
        self._layout_modified()

    def _layout_modified(self, *_: Any) -> None:
        nodes = self._logic.GetViewNodes()
        for node in [nodes.GetItemAsObject(index) for index in range(nodes.GetNumberOfItems())]:
            known = self._widgets.get(node.GetID())
            if node.GetClassName() in VIEW_CLASSES and (known is None or known.mrmlAbstractViewNode() is not node):
                view = VIEW_CLASSES[node.GetClassName()](node, self._application_logic)
                self._widgets[node.GetID()] = WIDGET_CLASSES[type(view)](view)
        if self._arrangement != self.layout:
            self._arrangement = self.layout
            self.layoutChanged.emit(self.layout)

    # -- the names of qSlicerLayoutManager
    @property
    def layout(self) -> int:
        return self._logic.GetLayoutNode().GetViewArrangement()

    def setLayout(self, layout: int) -> None:
        if not self._logic.GetLayoutNode().IsLayoutDescription(layout):
            raise ValueError(f"layout {layout} is not registered")
        self._logic.GetLayoutNode().SetViewArrangement(layout)

    def layoutLogic(self) -> Any:
        return self._logic

    def mrmlSliceLogics(self) -> Any:
        return self._application_logic.GetSliceLogics()

    def _of_class(self, view_class: type) -> list[ViewWidget]:
        return [widget for widget in self._widgets.values() if isinstance(widget.viewWidget(), view_class)]

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(widget.mrmlAbstractViewNode().GetLayoutName() for widget in self._of_class(SliceView))

    def sliceWidget(self, name: str) -> ViewWidget | None:
        return next((w for w in self._of_class(SliceView) if w.mrmlAbstractViewNode().GetLayoutName() == name), None)

    threeDViewCount = property(lambda self: len(self._of_class(ThreeDView)))
    plotViewCount = property(lambda self: len(self._of_class(PlotView)))
    tableViewCount = 0

    def threeDWidget(self, which: int | str) -> ViewWidget | None:
        return self._pick(ThreeDView, which)

    def plotWidget(self, which: int) -> ViewWidget | None:
        if not isinstance(which, int):
            raise ValueError(f"Called plotWidget(int id) with wrong arguments: ({which!r},)")
        return self._pick(PlotView, which)

    def _pick(self, view_class: type, which: int | str) -> ViewWidget | None:
        found = self._of_class(view_class)
        if isinstance(which, str):
            return next((widget for widget in found if widget.mrmlAbstractViewNode().GetLayoutName() == which), None)
        return found[which] if which < len(found) else None

    def resetSliceViews(self) -> None:
        for widget in self._of_class(SliceView):
            widget.fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        for widget in self._of_class(ThreeDView):
            widget.viewWidget().resetFocalPoint()

    # -- for tests and screenshots
    def grab_layout(self, width: int, height: int) -> QtGui.QImage:
        """The views of the present layout side by side, each below a bar with its label and color."""
        image = QtGui.QImage(width, height, QtGui.QImage.Format_RGB888)
        image.fill(QtGui.QColor(60, 60, 60))
        painter = QtGui.QPainter(image)
        description = self._logic.GetLayoutNode().GetCurrentLayoutDescription()
        self._draw(painter, ElementTree.fromstring(description), QtCore.QRect(0, 0, width, height))
        painter.end()
        return image

    def _draw(self, painter: QtGui.QPainter, element: ElementTree.Element, area: QtCore.QRect) -> None:
        if element.tag == "view":
            self._draw_view(painter, element, area)
            return
        items = element.findall("item")
        if element.get("type") in ("tab", "stack"):
            items = items[:1]
        horizontal = element.get("type", "horizontal") == "horizontal"
        weights = [float(item.get("splitSize", 0)) or 1.0 for item in items]
        start, length = 0.0, area.width() if horizontal else area.height()
        for item, weight in zip(items, weights, strict=True):
            first, last = round(start), round(start + length * weight / sum(weights))
            start += length * weight / sum(weights)
            part = QtCore.QRect(area.x() + first, area.y(), last - first - 2, area.height())
            if not horizontal:
                part = QtCore.QRect(area.x(), area.y() + first, area.width(), last - first - 2)
            for child in item:
                self._draw(painter, child, part)

    def _draw_view(self, painter: QtGui.QPainter, element: ElementTree.Element, area: QtCore.QRect) -> None:
        tag, kind = element.get("singletontag"), element.get("class")
        nodes = {w: w.mrmlAbstractViewNode() for w in self._widgets.values()}
        widget = next((w for w, n in nodes.items() if (n.GetLayoutName(), n.GetClassName()) == (tag, kind)), None)
        if widget is None:
            return
        node, bar = widget.mrmlAbstractViewNode(), QtCore.QRect(area.x(), area.y(), area.width(), HEADER)
        color = node.GetLayoutColor() if hasattr(node, "GetLayoutColor") else (0.5, 0.5, 0.5)
        painter.fillRect(bar, QtGui.QColor.fromRgbF(*color))
        painter.setPen(QtCore.Qt.black)
        painter.drawText(bar.adjusted(6, 0, 0, 0), QtCore.Qt.AlignVCenter, node.GetLayoutLabel() or tag)
        widget.viewWidget().resize(area.width(), area.height() - HEADER)
        painter.drawImage(area.x(), area.y() + HEADER, widget.viewWidget().grab())
