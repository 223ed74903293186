"""MRML nodes of a result: making them in steps and all or none, marking them, and images to nodes and back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util import numpy_support

from ...io import marks
from ...io.volumes import affine_of, same_geometry

PREFIX = "VirtualContrast."
SYNTHETIC = PREFIX + "Synthetic"
PHANTOM = PREFIX + "Phantom"
MODEL_ID = PREFIX + "ModelId"
WEIGHTS_SHA256 = PREFIX + "WeightsSha256"
RUN_ID = PREFIX + "RunId"
ROLE = PREFIX + "Role"
KEY = PREFIX + "Key"
CAPTION = PREFIX + "Caption"
OUTDATED = PREFIX + "Outdated"
REBUILT = PREFIX + "Rebuilt"
"""Node attributes. Synthetic and phantom keep the mark of a volume's file, which a saved scene loses. Role and key say
what a node is in its result; the caption is shown in the views; an outdated table describes outlines that were changed
since; a rebuilt volume was computed back from a result."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SCALAR_VOLUME = "vtkMRMLScalarVolumeNode"
PIECE_BYTES = 8 << 20
POLL_S = 0.01
Box = tuple[slice, slice, slice]
T = TypeVar("T")
Steps = Generator[None, None, T]
"""Work in small steps, between which the application's events are handled; it returns a T."""


def node(node_id: str) -> Any:
    """The node of the scene with this ID; None for "" and for one that was deleted."""
    return slicer.mrmlScene.GetNodeByID(node_id) if node_id else None


def subject_hierarchy() -> Any:
    """The scene's subject hierarchy node."""
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def is_synthetic(data_node: Any) -> bool:
    """True for a node that rests on synthetic images, or was loaded from a file marked so."""
    return _marked(data_node, SYNTHETIC, marks.is_synthetic)


def is_phantom(volume: Any) -> bool:
    """True for a volume that was loaded from a file that carries the mark of simulated phantoms."""
    return _marked(volume, PHANTOM, marks.is_phantom)


def keep_marks() -> None:
    """See to it, from now on, that a loaded volume keeps the marks of its file as attributes, in saved scenes too."""
    slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, _note_marks)


@vtk.calldata_type(vtk.VTK_OBJECT)
def _note_marks(_scene: Any, _event: str, added: Any) -> None:
    """Note the marks as soon as the volume knows its file: Sample Data makes it forget the file right after loading."""
    if not added.IsA(SCALAR_VOLUME):
        return

    def note(volume: Any, _event: str) -> None:
        storage = volume.GetStorageNode()
        if storage is not None and storage.GetFileName():
            volume.RemoveObserver(tag)
            is_synthetic(volume)
            is_phantom(volume)

    tag = added.AddObserver(vtk.vtkCommand.ModifiedEvent, note)
    note(added, "")


def _marked(volume: Any, attribute: str, mark: Callable[[Path], bool]) -> bool:
    """Whether a node has the attribute; the mark of the file that a volume was loaded from becomes it."""
    if volume is None or volume.GetAttribute(attribute) == "1":
        return volume is not None
    if not _file_carries(mark, volume):
        return False
    volume.SetAttribute(attribute, "1")
    return True


def _file_carries(mark: Callable[[Path], bool], volume: Any) -> bool:
    """Whether the file that a volume was loaded from carries a mark; Slicer keeps nothing of the header on the node."""
    storage = volume.GetStorageNode() if volume.IsA(SCALAR_VOLUME) else None
    path = Path(storage.GetFileName() or "") if storage is not None else Path()
    try:
        return _file_says(mark, path, path.stat().st_mtime_ns) if path.is_file() else False
    except OSError:
        return False


@functools.lru_cache(maxsize=256)
def _file_says(mark: Callable[[Path], bool], path: Path, _changed_ns: int) -> bool:
    return mark(path)


class Made:
    """What a loading made so far: the nodes, and the items of the subject hierarchy without a node.

    Nodes are kept themselves, not by ID: after the scene was closed another node may have the same ID.
    """

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.items: list[int] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Whatever nodes come into the scene inside the block, and stay, count as made."""
        new: list[Any] = []

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def added(_scene: Any, _event: str, one: Any) -> None:
            new.append(one)

        observer = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, added)
        try:
            yield
        finally:
            slicer.mrmlScene.RemoveObserver(observer)
            self.nodes = [one for one in (*self.nodes, *new) if in_scene(one)]

    @property
    def intact(self) -> bool:
        """Nothing of it has left the scene."""
        return all(map(in_scene, self.nodes))

    def remove(self) -> None:
        """Take all of it out of the scene, the last first; a scene that is being closed does it by itself."""
        if slicer.mrmlScene.IsClosing():
            return
        remove_nodes([one.GetID() for one in reversed(self.nodes) if in_scene(one)])
        present = vtk.vtkIdList()
        subject_hierarchy().GetItemChildren(subject_hierarchy().GetSceneItemID(), present, True)
        for item in reversed(self.items):
            if present.IsId(item) >= 0:
                subject_hierarchy().RemoveItem(item, False, True)


def in_scene(data_node: Any) -> bool:
    """This very node is in the scene."""
    return data_node.GetID() is not None and node(data_node.GetID()) is data_node


def remove_nodes(node_ids: Iterable[str]) -> None:
    """Remove the nodes that are still in the scene, each with its display and storage nodes.

    Sequence browsers go first: one that is left would recreate a removed proxy volume.
    """
    ids = list(node_ids)
    browsers = [node_id for node_id in ids if (found := node(node_id)) and found.IsA("vtkMRMLSequenceBrowserNode")]
    for node_id in [*browsers, *ids]:
        found = node(node_id)
        if found is not None:
            companions = companion_ids(found)
            slicer.mrmlScene.RemoveNode(found)
            for companion in filter(None, map(node, companions)):
                slicer.mrmlScene.RemoveNode(companion)


def companion_ids(data_node: Any) -> list[str]:
    """IDs of the display and storage nodes of a node; the scene does not remove them with it."""
    ids = []
    if data_node.IsA("vtkMRMLDisplayableNode"):
        ids += [data_node.GetNthDisplayNodeID(number) for number in range(data_node.GetNumberOfDisplayNodes())]
    if data_node.IsA("vtkMRMLStorableNode"):
        ids += [data_node.GetNthStorageNodeID(number) for number in range(data_node.GetNumberOfStorageNodes())]
    return [node_id for node_id in ids if node_id]


def add_volume(array: np.ndarray, name: str, reference: Any, class_name: str = SCALAR_VOLUME) -> Steps[Any]:
    """Add a volume node, in steps. Its gray window is left to the caller: Slicer's automatic one would look at every
    voxel.

    Args:
        array: The voxels [k, j, i].
        name: Name of the node.
        reference: Volume node whose geometry and parent transform it gets exactly.
        class_name: Class of the node.

    Returns:
        The node.
    """
    volume = slicer.mrmlScene.AddNewNodeByClass(class_name, name)
    volume.CopyOrientation(reference)
    volume.SetAndObserveTransformNodeID(reference.GetTransformNodeID())
    yield from fill(volume, array)
    return volume


def add_empty(image: sitk.Image, name: str) -> Any:
    """A scalar volume node without voxels at the place of an image."""
    volume = slicer.mrmlScene.AddNewNodeByClass(SCALAR_VOLUME, name)
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(image_to_ras(image)))
    return volume


def fill(volume: Any, array: np.ndarray) -> Steps[None]:
    """Give a volume node its display and its voxels [k, j, i], in steps."""
    volume.CreateDefaultDisplayNodes()
    if volume.GetClassName() == SCALAR_VOLUME:
        volume.GetDisplayNode().SetAutoWindowLevel(False)
    image = vtk.vtkImageData()
    image.SetDimensions(*array.shape[::-1])
    image.AllocateScalars(numpy_support.get_vtk_array_type(array.dtype), 1)
    voxels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(array.shape)
    slices = max(1, PIECE_BYTES // max(1, array[0].nbytes))
    for start in range(0, len(array), slices):
        voxels[start : start + slices] = array[start : start + slices]
        yield
    volume.SetAndObserveImageData(image)
    yield


def in_thread(work: Callable[[], T]) -> Steps[T]:
    """What `work` returns, computed in a thread that is looked after in steps.

    For work on voxels or files alone, in NumPy or SimpleITK, which let the main thread continue; MRML is not for
    threads.
    """
    executor = ThreadPoolExecutor(1)
    try:
        future = executor.submit(work)
        while not future.done():
            wait((future,), POLL_S)
            yield
        return future.result()
    finally:
        executor.shutdown(wait=False)


def drain(steps: Generator[Any, None, T]) -> T:
    """Do all steps at once; what they return."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def ijk_to_ras(volume: Any) -> np.ndarray:
    """4 x 4 matrix from voxel index (i, j, k, 1) to RAS millimeters, without parent transforms."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def to_image(array: np.ndarray, volume: Any, box: Box | None = None) -> sitk.Image:
    """A SimpleITK image of an array that lies on the voxels of a volume node.

    Args:
        array: The voxels [k, j, i].
        volume: The volume node.
        box: Its part on which the array lies; None for all.

    Returns:
        The image.
    """
    return put(sitk.GetImageFromArray(np.ascontiguousarray(array)), place_of(volume, box))


def place_of(volume: Any, box: Box | None = None) -> np.ndarray:
    """4 x 4 matrix from voxel index to LPS millimeters of the voxels `box` (default all) of a volume node."""
    lps: np.ndarray = LPS_TO_RAS @ ijk_to_ras(volume)
    if box is not None:
        lps[:, 3] = lps @ [*(part.start for part in reversed(box)), 1.0]
    return lps


def put(image: sitk.Image, place: np.ndarray) -> sitk.Image:
    """The image, after it was given the spacing, origin and direction of a matrix as `place_of` gives it."""
    spacing = np.linalg.norm(place[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(place[:3, 3].tolist())
    image.SetDirection((place[:3, :3] / spacing).ravel().tolist())
    return image


def image_of(volume: Any, box: Box | None = None) -> sitk.Image:
    """The voxels of a volume node, or those in `box` [k, j, i], as an image in its own place."""
    array = slicer.util.arrayFromVolume(volume)
    return to_image(array[box] if box else array, volume, box)


def difference(image: sitk.Image, volume: Any) -> str:
    """How the voxels of an image and of a volume node lie apart, in one sentence; "" where they do not."""
    size = volume.GetImageData().GetDimensions() if volume.GetImageData() else (0, 0, 0)
    if image.GetSize() != size:
        return f"{image.GetSize()} and {size} voxels."
    return same_geometry(image, put(sitk.Image(size, sitk.sitkUInt8), place_of(volume)))


def same_voxels(read: np.ndarray, voxels: np.ndarray, atol: float = 1e-3) -> bool:
    """Whether two readings of one image differ in padding alone, which the engine gives one value.

    Args:
        read: Voxels as the engine reads them.
        voxels: Voxels as Slicer reads them.
        atol: Absolute tolerance, in gray values.

    Returns:
        True where they are the same.
    """
    other = ~np.isclose(read, voxels, rtol=1e-5, atol=atol)
    return not other.any() or bool(np.ptp(read[other]) <= 2 * atol)


def image_to_ras(image: sitk.Image) -> np.ndarray:
    """4 x 4 matrix from voxel index (i, j, k, 1) of an image to RAS millimeters."""
    return LPS_TO_RAS @ affine_of(image)


def to_world(point_ras: Iterable[float], volume: Any) -> tuple[float, float, float]:
    """A point given in the volume's own RAS in the RAS of the scene, through the parent transforms."""
    world = [0.0, 0.0, 0.0]
    volume.TransformPointToWorld(list(point_ras), world)
    return world[0], world[1], world[2]


class _Housekeeper:
    """Removes display and storage nodes of a deleted result node.

    Deleting a folder of the subject hierarchy leaves them: storage nodes of texts, tables and sequences, and
    display nodes where there are several.
    """

    def __init__(self) -> None:
        self._companions: dict[str, list[str]] = {}
        scene = slicer.mrmlScene
        scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._about_to_be_removed)
        scene.AddObserver(scene.NodeRemovedEvent, self._removed)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _about_to_be_removed(self, scene: Any, _event: str, leaving: Any) -> None:
        if leaving.GetAttribute(RUN_ID) and not scene.IsClosing():
            self._companions[leaving.GetID()] = companion_ids(leaving)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _removed(self, _scene: Any, _event: str, gone: Any) -> None:
        for companion in filter(None, map(node, self._companions.pop(gone.GetID(), []))):
            slicer.mrmlScene.RemoveNode(companion)


_housekeeper: _Housekeeper | None = None


def keep_house() -> None:
    """See to it, from now on, that deleted result nodes take their display and storage nodes with them."""
    global _housekeeper
    if _housekeeper is None:
        _housekeeper = _Housekeeper()
