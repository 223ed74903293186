"""Stand-in for Slicer's module ``sitkUtils``: volumes to and from SimpleITK (Slicer's RAS, SimpleITK's LPS)."""

# ruff: noqa: N803 (these are Slicer's names)

from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def PullVolumeFromSlicer(nodeObjectOrName: Any) -> sitk.Image:
    """The voxels and geometry of a scalar volume node (a copy)."""
    node = nodeObjectOrName
    if isinstance(node, str):
        node = slicer.util.getNode(node)
    image = sitk.GetImageFromArray(slicer.util.arrayFromVolume(node))
    directions = np.zeros((3, 3))
    node.GetIJKToRASDirections(directions)
    image.SetSpacing(node.GetSpacing())
    image.SetOrigin((_RAS_TO_LPS @ np.array(node.GetOrigin())).tolist())
    image.SetDirection((_RAS_TO_LPS @ directions).ravel().tolist())
    return image


def PushVolumeToSlicer(
    sitkimage: sitk.Image,
    targetNode: Any = None,
    name: str | None = None,
    className: str = "vtkMRMLScalarVolumeNode",
) -> Any:
    """Put an image into ``targetNode`` or into a new node; returns the node."""
    node = targetNode or slicer.mrmlScene.AddNewNodeByClass(className, name or "SimpleITK")
    slicer.util.updateVolumeFromArray(node, sitk.GetArrayFromImage(sitkimage))
    node.SetSpacing(sitkimage.GetSpacing())
    node.SetOrigin((_RAS_TO_LPS @ np.array(sitkimage.GetOrigin())).tolist())
    directions = _RAS_TO_LPS @ np.array(sitkimage.GetDirection()).reshape(3, 3)
    node.SetIJKToRASDirections(*directions.ravel().tolist())
    if targetNode is None:
        node.CreateDefaultDisplayNodes()
    return node
