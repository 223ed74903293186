"""The dynamic series as one sequence with the real time axis, and a browser to play it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer

from .nodes import Steps


def add_sequence(volumes: Sequence[Any], times_s: Sequence[float], name: str) -> Steps[tuple[Any, Any, Any]]:
    """Sequence, browser and the browser's proxy volume of volumes in time.

    The items share the voxels of the volume nodes, so that the sequence costs no memory, and keep their attributes: the
    proxy says of the item it shows whether it is synthetic.

    Args:
        volumes: The volume nodes.
        times_s: Their seconds after injection, pre-contrast at 0.
        name: Name of the nodes.

    Returns:
        Sequence, browser and proxy volume.
    """
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("s")
    sequence.SetIndexTypeFromString("numeric")
    for volume, time_s in zip(volumes, times_s, strict=True):
        _append(sequence, volume, f"{time_s:g}")
        yield
    proxy = _empty_proxy(volumes[0], f"{name} at selected time")
    yield
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{name} browser")
    was_modifying = browser.StartModify()  # else the browser makes a proxy of its own before it is given this one
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.AddProxyNode(proxy, sequence, False)
    browser.EndModify(was_modifying)  # copies the first item into the proxy
    yield
    return sequence, browser, proxy


def _empty_proxy(like: Any, name: str) -> Any:
    """The volume in which a browser shows its item, with a fixed gray window.

    A proxy that the browser makes has an automatic one, which looks at every voxel two times: on a study of 320 x 320 x
    160 voxels that blocks the application for 200 ms.
    """
    proxy = slicer.mrmlScene.AddNewNodeByClass(like.GetClassName(), name)
    proxy.CreateDefaultDisplayNodes()
    proxy.GetDisplayNode().SetAutoWindowLevel(False)
    return proxy


def _append(sequence: Any, volume: Any, index_value: str) -> None:
    """Add a volume; the voxels are taken away while the sequence copies the node, and then shared."""
    voxels = volume.GetImageData()
    volume.SetAndObserveImageData(None)
    item = sequence.SetDataNodeAtValue(volume, index_value)
    volume.SetAndObserveImageData(voxels)
    item.SetAndObserveImageData(voxels)


def select(browser: Any, item: int) -> None:
    """Show item 0 (pre-contrast), 1, ... in the browser and its proxy; nothing where the browser was deleted."""
    if browser is not None and browser.GetSelectedItemNumber() != item:
        browser.SetSelectedItemNumber(item)
