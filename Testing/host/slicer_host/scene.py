"""The MRML scene with Slicer's real logics, and what the application adds to it."""

from pathlib import Path
from typing import Any

import slicer
import vtk

LOGICS = {  # module name -> class of its logic
    "Colors": "vtkMRMLColorLogic",  # vtkSlicerColorLogic wants the application's share folder
    "Volumes": "vtkSlicerVolumesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "Data": "vtkSlicerDataModuleLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",  # gets no scene: its share files are not in the wheel
}

IN_SUBJECT_HIERARCHY = (  # node classes that a subject hierarchy plugin of Slicer gives an item
    "vtkMRMLVolumeNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLModelNode",
    "vtkMRMLMarkupsNode",
    "vtkMRMLTransformNode",
    "vtkMRMLTableNode",
    "vtkMRMLTextNode",
    "vtkMRMLPlotChartNode",
    "vtkMRMLPlotSeriesNode",
    "vtkMRMLSequenceNode",
    "vtkMRMLSequenceBrowserNode",
)


RESOLVE_PRIORITY = 10.0  # before every observer without a priority of its own


class SceneAndLogics:
    """Boots ``scene``, ``application_logic`` and ``logics`` (module name -> logic) in the order that works."""

    def __init__(self, temporary_path: str) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())  # Slicer's Colors module does it
        self.application_logic = slicer.vtkSlicerApplicationLogic()
        self.application_logic.SetTemporaryPath(temporary_path)
        self.application_logic.SetMRMLScene(self.scene)
        self.application_logic.SetSliceLogics(vtk.vtkCollection())
        self.application_logic.SetViewLogics(vtk.vtkCollection())
        for factory in (
            slicer.vtkMRMLThreeDViewDisplayableManagerFactory,
            slicer.vtkMRMLSliceViewDisplayableManagerFactory,
        ):
            factory.GetInstance().SetMRMLApplicationLogic(self.application_logic)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        self.scene.AddNode(crosshair)
        for singleton in ("vtkMRMLSelectionNode", "vtkMRMLInteractionNode"):
            self.scene.AddNewNodeByClass(singleton)
        self._boot_remote_io(temporary_path)
        self.logics = {name: self._boot_logic(name, cls) for name, cls in LOGICS.items()}
        self.logics["Colors"].AddDefaultColorNodes()
        (Path(temporary_path) / "presets.xml").write_text(RENDERING_PRESETS)
        self.logics["VolumeRendering"].SetModuleShareDirectory(temporary_path)

    def _boot_remote_io(self, cache: str) -> None:
        """Without it reading a scene bundle (MRB) fails."""
        self._remote_io, self._data_io = slicer.vtkMRMLRemoteIOLogic(), slicer.vtkDataIOManagerLogic()
        for logic in (self._remote_io, self._data_io):
            logic.SetMRMLScene(self.scene)
            logic.SetMRMLApplicationLogic(self.application_logic)
        self._remote_io.GetCacheManager().SetRemoteCacheDirectory(cache)
        self._remote_io.AddDataIOToScene()
        self._data_io.SetAndObserveDataIOManager(self._remote_io.GetDataIOManager())

    def _boot_logic(self, name: str, class_name: str) -> Any:
        logic = getattr(slicer, class_name)()
        logic.SetMRMLApplicationLogic(self.application_logic)
        if name != "Terminologies":
            logic.SetMRMLScene(self.scene)
        self.application_logic.SetModuleLogic(name, logic)
        return logic


# Slicer's presets of volume rendering are not in the wheel: one of our own, a gray ramp with the name of theirs.
RENDERING_PRESETS = """<MRML version="Volume rendering presets">
<VolumeProperty id="vtkMRMLVolumePropertyNode1" name="MR-MIP" interpolation="1" shade="0"
  scalarOpacity="4 0 0 255 1" gradientOpacity="4 0 1 255 1" colorTransfer="8 0 0 0 0 255 1 1 1"/>
</MRML>
"""


class SubjectHierarchyItems:
    """Gives each data node a subject hierarchy item and removes it with the node, as Slicer's Qt plugins do."""

    def __init__(self, scene: Any) -> None:
        self.scene = scene
        scene.AddObserver(scene.NodeAddedEvent, self._added)
        scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._about_to_be_removed)
        scene.AddObserver(scene.EndImportEvent, self._imported)
        # Before the views look at the scene, as qSlicerSubjectHierarchyPluginLogic does it. Otherwise importing a scene
        # with a segmentation in a folder never ends.
        for event in (scene.EndImportEvent, scene.EndCloseEvent):
            scene.AddObserver(event, self._resolve, RESOLVE_PRIORITY)

    def _resolve(self, *_: Any) -> None:
        slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(self.scene)

    def _hierarchy(self) -> Any:
        # Creating a second one with AddNewNodeByClass would crash.
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)

    def _wanted(self, node: Any) -> bool:
        return not node.GetHideFromEditors() and any(node.IsA(name) for name in IN_SUBJECT_HIERARCHY)

    def _add(self, node: Any) -> None:
        hierarchy = self._hierarchy()
        if self._wanted(node) and not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _added(self, _scene: Any, _event: str, node: Any) -> None:
        if not self.scene.IsImporting():
            self._add(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _about_to_be_removed(self, _scene: Any, _event: str, node: Any) -> None:
        """Of every node that has an item, also of the folders' display nodes: items left behind are found for ever."""
        if self.scene.IsClosing() or self._hierarchy() is None or node is self._hierarchy():
            return
        item = self._hierarchy().GetItemByDataNode(node)
        if item:
            self._hierarchy().RemoveItem(item, False, False)

    def _imported(self, *_: Any) -> None:
        for node in [self.scene.GetNthNode(index) for index in range(self.scene.GetNumberOfNodes())]:
            self._add(node)
