"""``slicer.app.coreIOManager()``: loads and saves with the real logics and storage nodes."""

from pathlib import Path
from typing import Any

import slicer
import vtk

FILE_TYPES = (  # longest suffix first
    (".seg.nrrd", "SegmentationFile"),
    (".seg.nhdr", "SegmentationFile"),
    (".seq.nrrd", "SequenceFile"),
    (".nii.gz", "VolumeFile"),
    (".mrk.json", "MarkupsFile"),
    (".mrb", "SceneFile"),
    (".mrml", "SceneFile"),
    (".nrrd", "VolumeFile"),
    (".nhdr", "VolumeFile"),
    (".nii", "VolumeFile"),
    (".mha", "VolumeFile"),
    (".mhd", "VolumeFile"),
    (".dcm", "VolumeFile"),
    (".csv", "TableFile"),
    (".tsv", "TableFile"),
    (".ctbl", "ColorTableFile"),
    (".h5", "TransformFile"),
    (".tfm", "TransformFile"),
    (".vtk", "ModelFile"),
    (".vtp", "ModelFile"),
    (".stl", "ModelFile"),
    (".txt", "TextFile"),
)
VOLUME_OPTIONS = {"labelmap": 1, "center": 2, "singleFile": 4, "autoWindowLevel": 8, "discardOrientation": 16}


class CoreIOManager:
    """The methods of qSlicerCoreIOManager that ``slicer.util`` calls."""

    def __init__(self, logics: dict[str, Any]) -> None:
        self._logics = logics

    def fileType(self, path: str) -> str:
        return next((kind for suffix, kind in FILE_TYPES if str(path).lower().endswith(suffix)), "NoFile")

    def fileWriterFileType(self, _node: Any) -> str:
        return "NodeFile"

    def loadNodes(self, file_type: str, properties: dict, nodes: vtk.vtkCollection, _messages: Any = None) -> bool:
        """Load one file; the loaded node is appended to ``nodes``. False where the real reader fails."""
        path = str(properties["fileName"])
        name = properties.get("name") or Path(path).name.split(".")[0]
        if file_type == "SceneFile":
            return self._load_scene(path, bool(properties.get("clear")))
        node = self._load(file_type, path, name, properties)
        if node is None:
            return False
        nodes.AddItem(node)
        return True

    def _load(self, file_type: str, path: str, name: str, properties: dict) -> Any:
        logics = self._logics
        if file_type == "VolumeFile":
            return self._load_volume(path, name, properties)
        readers = {
            "SegmentationFile": lambda: logics["Segmentations"].LoadSegmentationFromFile(path, True, name),
            "SequenceFile": lambda: logics["Sequences"].AddSequence(path),
            "TableFile": lambda: logics["Tables"].AddTable(path, name),
            "ColorTableFile": lambda: logics["Colors"].LoadColorFile(path, name),
            "TransformFile": lambda: logics["Transforms"].AddTransform(path, slicer.mrmlScene),
            "ModelFile": lambda: logics["Models"].AddModel(path),
        }
        if file_type not in readers:
            raise NotImplementedError(f"the test host has no reader for {file_type} ({path})")
        return readers[file_type]()

    def _load_volume(self, path: str, name: str, properties: dict) -> Any:
        options = sum(bit for key, bit in VOLUME_OPTIONS.items() if properties.get(key, key == "autoWindowLevel"))
        arguments = [path, name, options]
        if properties.get("fileNames"):
            files = vtk.vtkStringArray()
            for file_name in properties["fileNames"]:
                files.InsertNextValue(str(file_name))
            arguments.append(files)
        node = self._logics["Volumes"].AddArchetypeVolume(*arguments)
        if node is not None and properties.get("show", True):
            selection = slicer.app.applicationLogic().GetSelectionNode()
            selection.SetActiveVolumeID(node.GetID())
            slicer.app.applicationLogic().PropagateVolumeSelection()
        return node

    def _load_scene(self, path: str, clear: bool) -> bool:
        if path.endswith(".mrb"):
            return bool(slicer.mrmlScene.ReadFromMRB(path, clear))
        slicer.mrmlScene.SetURL(path)
        return bool(slicer.mrmlScene.Connect() if clear else slicer.mrmlScene.Import())

    def saveNodes(self, file_type: str, properties: dict, _messages: Any = None) -> bool:
        """Write one node (``nodeID``) or the scene to ``fileName``; False where it cannot be written."""
        path, scene = Path(properties["fileName"]).absolute(), slicer.mrmlScene
        if not path.parent.is_dir():
            return False
        if file_type == "SceneFile":
            scene.SetURL(str(path))
            scene.SetRootDirectory(str(path.parent))
            return bool(scene.WriteToMRB(str(path)) if path.suffix == ".mrb" else scene.Commit())
        node = scene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None and not node.AddDefaultStorageNode():
            return False
        storage = node.GetStorageNode()
        storage.SetFileName(str(path))
        storage.SetUseCompression(int(properties.get("useCompression", 1)))
        return bool(storage.WriteData(node))
