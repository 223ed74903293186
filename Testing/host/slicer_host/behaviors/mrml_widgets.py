"""What Slicer's widgets of nodes do: node selectors, segments, tables, sequences."""

# ruff: noqa: N801 (these are Slicer's names)

from typing import Any, ClassVar

import shiboken6
import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from .base import qMRMLWidget


class qMRMLNodeComboBox(qMRMLWidget):
    """A combo box of the scene's nodes of given classes and attributes, with "None" and "Create new" entries."""

    defaults: ClassVar[dict[str, Any]] = {
        "addEnabled": True,
        "selectNodeUponCreation": True,
        "showChildNodeTypes": True,
        "noneDisplay": "None",
    }

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._node, self._nodes, self._observers = None, [], []
        self._attributes: dict[tuple[str, str], str | None] = {}
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._combo = QtWidgets.QComboBox(self)
        layout.addWidget(self._combo)
        self._combo.activated.connect(self._activated)

    def _stop_observing(self) -> None:
        for observed, tag in self._observers:
            observed.RemoveObserver(tag)
        self._observers = []

    def _scene_changed(self) -> None:
        self._stop_observing()
        scene = self._scene
        if scene is not None:
            events = (
                scene.NodeAddedEvent,
                scene.NodeRemovedEvent,
                scene.EndCloseEvent,
                scene.EndBatchProcessEvent,
                scene.EndImportEvent,
            )
            self._observers = [(scene, scene.AddObserver(event, self._refresh)) for event in events]
        self._refresh()

    def _accepts(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        if not self.showChildNodeTypes and node.GetClassName() not in self.nodeTypes:
            return False
        required = [(name, value) for (cls, name), value in self._attributes.items() if node.IsA(cls)]
        has = {name: node.GetAttribute(name) for name, _ in required}
        return all(has[name] is not None and value in (None, has[name]) for name, value in required)

    def _refresh(self, *_: Any) -> None:
        if not shiboken6.isValid(self):  # deleted with its panel: Slicer's widget observes no more
            self._stop_observing()
            self._node, self._nodes = None, []  # the real widget keeps no node alive
            return
        if self._scene is not None and self._scene.IsBatchProcessing():
            return
        found = []
        for cls in self.nodeTypes if self._scene is not None else ():
            found += [n for n in slicer.util.getNodesByClass(cls, self._scene) if n not in found and self._accepts(n)]
        self._nodes = found
        names = [node.GetName() for node in found]
        if self.noneEnabled:
            names.insert(0, self.noneDisplay)
        if self.addEnabled and self.nodeTypes:
            names.append("Create new " + self.nodeTypes[0].removeprefix("vtkMRML").removesuffix("Node"))
        self._combo.clear()
        self._combo.addItems(names)
        if self._node not in found:  # like the real widget: None where it is offered, otherwise the first node
            self._select(None if self.noneEnabled or not found else found[0])
        self._show_current()

    def _show_current(self) -> None:
        offset = 1 if self.noneEnabled else 0
        self._combo.setCurrentIndex(offset - 1 if self._node is None else self._nodes.index(self._node) + offset)

    def _select(self, node: Any) -> None:
        if node is self._node:
            return
        self._node = node
        self._show_current()
        self._emit("currentNodeChanged(vtkMRMLNode*)", node)
        self._emit("currentNodeChanged(bool)", node is not None)
        self._emit("currentNodeIDChanged(QString)", "" if node is None else node.GetID())

    def _activated(self, index: int) -> None:
        index -= 1 if self.noneEnabled else 0
        if index == len(self._nodes):
            self.addNode()
        else:
            self._select(None if index < 0 else self._nodes[index])
        self._emit("nodeActivated(vtkMRMLNode*)", self._node)

    def addNode(self, node_type: str | None = None) -> Any:
        cls = node_type or self.nodeTypes[0]
        base = self.baseName or cls.removeprefix("vtkMRML").removesuffix("Node")
        node = self._scene.AddNewNodeByClass(cls, self._scene.GenerateUniqueName(base))
        for (attribute_class, name), value in self._attributes.items():
            if node.IsA(attribute_class):
                node.SetAttribute(name, value or "")
        self._refresh()
        self._emit("nodeAddedByUser(vtkMRMLNode*)", node)
        if self.selectNodeUponCreation:
            self._select(node)
        return node

    def addAttribute(self, node_type: str, name: str, value: str | None = None) -> None:
        self._attributes[node_type, name] = value
        self._refresh()

    def removeAttribute(self, node_type: str, name: str) -> None:
        self._attributes.pop((node_type, name), None)
        self._refresh()

    def currentNode(self) -> Any:
        return self._node

    def setCurrentNode(self, node: Any) -> None:
        node = self._scene.GetNodeByID(node) if isinstance(node, str) else node
        if node is None and not self.noneEnabled and self._nodes:
            return  # the real widget keeps its selection where None is not offered
        self._select(node if node in self._nodes else None)

    def setCurrentNodeIndex(self, index: int) -> None:
        self._select(self._nodes[index])

    def nodeCount(self) -> int:
        return len(self._nodes)

    def nodeFromIndex(self, index: int) -> Any:
        return self._nodes[index]

    def _read(self, name: str, python_type: type) -> Any:
        if name in ("currentNodeID", "currentNodeId"):
            return "" if self._node is None else self._node.GetID()
        return super()._read(name, python_type)

    def _write(self, name: str, value: Any) -> None:
        if name in ("currentNodeID", "currentNodeId"):
            self.setCurrentNode(value)
        else:
            super()._write(name, value)

    def _changed(self, name: str, value: Any) -> None:
        self._refresh()


class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    """Several nodes can be ticked."""

    defaults: ClassVar[dict[str, Any]] = {**qMRMLNodeComboBox.defaults, "addEnabled": False, "noneEnabled": False}
    _ticked: tuple[str, ...] = ()
    _stale = False

    def _refresh(self, *event: Any) -> None:
        """Ticks of a closed scene are gone, and Slicer's widget tells so when the next scene brings rows."""
        super()._refresh()
        if not shiboken6.isValid(self):
            return
        if event[1:] == ("EndCloseEvent",):
            self._stale, self._ticked = bool(self._ticked), ()
        elif self._stale and self._nodes and event:
            self._stale = False
            self._emit("checkedNodesChanged()")

    def checkedNodes(self) -> tuple:
        return tuple(node for node in self._nodes if node.GetID() in self._ticked)

    def uncheckedNodes(self) -> tuple:
        return tuple(node for node in self._nodes if node.GetID() not in self._ticked)

    def checkState(self, node: Any) -> QtCore.Qt.CheckState:
        return QtCore.Qt.Checked if node.GetID() in self._ticked else QtCore.Qt.Unchecked

    def setCheckState(self, node: Any, state: Any) -> None:
        others = tuple(i for i in self._ticked if i != node.GetID())
        ticked = others if state in (0, QtCore.Qt.Unchecked) else (*others, node.GetID())
        if set(ticked) != set(self._ticked):
            self._ticked = ticked
            self._emit("checkedNodesChanged()")


class qMRMLSegmentsTableView(qMRMLWidget):
    """Color and name of each segment, kept up to date."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._segmentation, self._tag = None, None
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._table = QtWidgets.QTableWidget(0, 2, self)
        self._table.setHorizontalHeaderLabels(["", "Name"])
        self._table.setColumnWidth(0, 30)
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectRows)
        self._table.horizontalHeader().setStretchLastSection(True)
        layout.addWidget(self._table)
        selection = self._table.selectionModel()
        selection.selectionChanged.connect(
            lambda new, old: self._emit("selectionChanged(QItemSelection,QItemSelection)", new, old)
        )

    def setSegmentationNode(self, node: Any) -> None:
        if self._segmentation is not None:
            self._segmentation.GetSegmentation().RemoveObserver(self._tag)
        self._segmentation = node
        if node is not None:
            self._tag = node.GetSegmentation().AddObserver(vtk.vtkCommand.AnyEvent, self._fill)
        self._fill()

    def segmentationNode(self) -> Any:
        return self._segmentation

    def _fill(self, *_: Any) -> None:
        if not shiboken6.isValid(self):
            return
        selected, blocker = self.selectedSegmentIDs(), QtCore.QSignalBlocker(self._table.selectionModel())
        self._table.setRowCount(0)
        segmentation = self._segmentation.GetSegmentation() if self._segmentation else None
        self._ids = tuple(segmentation.GetSegmentIDs()) if segmentation else ()
        self._table.setRowCount(len(self._ids))
        for row, segment_id in enumerate(self._ids):
            segment, swatch = segmentation.GetSegment(segment_id), QtWidgets.QTableWidgetItem()
            swatch.setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
            self._table.setItem(row, 0, swatch)
            self._table.setItem(row, 1, QtWidgets.QTableWidgetItem(segment.GetName()))
        blocker.unblock()
        self.setSelectedSegmentIDs(selected)

    _ids: tuple[str, ...] = ()

    def selectedSegmentIDs(self) -> tuple[str, ...]:
        return tuple(self._ids[index.row()] for index in self._table.selectionModel().selectedRows())

    def setSelectedSegmentIDs(self, segment_ids: Any) -> None:
        wanted = [row for row, segment_id in enumerate(self._ids) if segment_id in segment_ids]
        if tuple(segment_ids) != self.selectedSegmentIDs():
            self._table.clearSelection()
        for row in wanted:
            self._table.selectRow(row)

    def clearSelection(self) -> None:
        self._table.clearSelection()

    def _read(self, name: str, python_type: type) -> Any:
        return len(self._ids) if name == "segmentCount" else super()._read(name, python_type)


class qMRMLTableView(qMRMLWidget):
    """The cells of a table node as text, kept up to date."""

    _node, _tag = None, None

    def setMRMLTableNode(self, node: Any) -> None:
        if self._node is not None:
            self._node.RemoveObserver(self._tag)
        self._node = node
        if node is not None:
            self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._fill)
        self._fill()

    def mrmlTableNode(self) -> Any:
        return self._node

    def _fill(self, *_: Any) -> None:
        if not shiboken6.isValid(self):
            return
        model, node = QtGui.QStandardItemModel(self), self._node
        columns = range(node.GetNumberOfColumns() if node else 0)
        model.setHorizontalHeaderLabels([node.GetColumnName(column) for column in columns])
        for row in range(node.GetNumberOfRows() if node else 0):
            model.appendRow([QtGui.QStandardItem(node.GetCellText(row, column)) for column in columns])
        self.setModel(model)
        self.selectionModel().selectionChanged.connect(lambda *_: self._emit("selectionChanged()"))


class qMRMLSequenceBrowserSeekWidget(qMRMLWidget):
    """A slider over the items of a sequence browser."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._browser = None
        layout = QtWidgets.QHBoxLayout(self)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal, self)
        layout.addWidget(self._slider)
        self._slider.valueChanged.connect(self.setSelectedItemNumber)

    def setMRMLSequenceBrowserNode(self, node: Any) -> None:
        self._browser = node
        self._slider.setMaximum(max(0, node.GetNumberOfItems() - 1) if node else 0)
        self._slider.setValue(node.GetSelectedItemNumber() if node else 0)

    def setSelectedItemNumber(self, number: int) -> None:
        if self._browser is not None:
            self._browser.SetSelectedItemNumber(number)

    def slider(self) -> QtWidgets.QSlider:
        return self._slider


class qMRMLSequenceBrowserPlayWidget(qMRMLWidget):
    """Play controls (no buttons here)."""

    def setMRMLSequenceBrowserNode(self, node: Any) -> None:
        pass
