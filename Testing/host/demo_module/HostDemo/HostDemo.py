"""A small scripted module in the way of Slicer's template: it shows that the host runs unmodified modules."""

# ruff: noqa: N806, N815 (these are Slicer's names)

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import numpy as np
import slicer
import vtk
from HostDemoLib.threshold import brighter_than
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class HostDemo(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Host Demo")
        parent.categories = ["Testing"]
        parent.contributors = ["VirtualContrast contributors"]
        parent.helpText = _("Marks what is brighter than a threshold.")


class Style(Enum):
    FILLED = "filled"
    OUTLINE = "outline"

    def label(self):
        return self.value.capitalize()


@parameterNodeWrapper
class HostDemoParameterNode:
    inputVolume: vtkMRMLScalarVolumeNode
    segmentation: Optional[vtkMRMLSegmentationNode]  # noqa: UP045 (what Slicer's wrapper understands)
    threshold: Annotated[float, WithinRange(0, 200)] = 100.0
    smoothing: Annotated[int, WithinRange(0, 5), Default(1)]
    style: Style
    region: Annotated[str, Choice(["left", "right", "both"])] = "both"
    outputFolder: Path
    showIn3D: bool = False
    times: list[float]


class HostDemoWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.parameters = None
        self.guiTag = None
        self.entered = 0

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/HostDemo.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = HostDemoLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndClose)
        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        self.ui.segmentsTable.connect("selectionChanged(QItemSelection,QItemSelection)", self.onSegmentSelected)
        self.useParameterNode(self.logic.getParameterNode())

    def cleanup(self):
        self.removeObservers()

    def enter(self):
        self.entered += 1
        self.useParameterNode(self.logic.getParameterNode())

    def exit(self):
        self.useParameterNode(None)

    def onSceneStartClose(self, caller, event):
        self.useParameterNode(None)

    def onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.useParameterNode(self.logic.getParameterNode())

    def useParameterNode(self, parameters):
        if self.parameters is not None:
            self.parameters.disconnectGui(self.guiTag)
            self.removeObserver(self.parameters, vtk.vtkCommand.ModifiedEvent, self.updateButtons)
        self.parameters = parameters
        if parameters is not None:
            self.guiTag = parameters.connectGui(self.ui)
            self.addObserver(parameters, vtk.vtkCommand.ModifiedEvent, self.updateButtons)
            self.updateButtons()

    def updateButtons(self, caller=None, event=None):
        ready = self.parameters is not None and self.parameters.inputVolume is not None
        self.ui.applyButton.enabled = ready
        self.ui.applyButton.toolTip = _("Mark the bright voxels") if ready else _("Select a volume")

    def onSegmentSelected(self, selected, deselected):
        self.ui.statusLabel.text = ", ".join(self.ui.segmentsTable.selectedSegmentIDs())

    def onApply(self):
        with slicer.util.tryWithErrorDisplay(_("Failed to mark."), waitCursor=True):
            node = self.logic.process(self.parameters.inputVolume, self.parameters.threshold)
            self.parameters.segmentation = node
            self.ui.segmentsTable.setSegmentationNode(node)
            self.ui.statusLabel.text = _("Done")


class HostDemoLogic(ScriptedLoadableModuleLogic):
    def getParameterNode(self):
        return HostDemoParameterNode(super().getParameterNode())

    def process(self, volume, threshold):
        """A segmentation of what is brighter than ``threshold``."""
        mask = brighter_than(slicer.util.arrayFromVolume(volume), threshold)
        if not mask.any():
            raise ValueError("nothing is brighter than the threshold")
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Bright")
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        segment = node.GetSegmentation().AddEmptySegment("bright", "Bright", [1.0, 0.2, 0.2])
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment, volume)
        return node


class HostDemoTest(ScriptedLoadableModuleTest):
    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_process(self):
        self.delayDisplay("processing")
        array = np.zeros((4, 5, 6), np.float32)
        array[1:3, 1:3, 1:3] = 150
        node = HostDemoLogic().process(slicer.util.addVolumeFromArray(array), 100)
        self.assertEqual(node.GetSegmentation().GetNumberOfSegments(), 1)
        slicer.selfTestsRun = getattr(slicer, "selfTestsRun", 0) + 1
