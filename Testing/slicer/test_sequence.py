"""The dynamic series as a sequence: times, shared voxels, and no blocked application for a full-size study."""

import time

import numpy as np
import pytest
import slicer
from VirtualContrastLib.slicer_app.scene import nodes
from VirtualContrastLib.slicer_app.scene.sequence import add_sequence, select

TIMES_S = (0.0, 90.0, 221.5)


def add_volumes(shape):
    """Three volumes [k, j, i]; voxel 0 of each holds its number."""
    reference = slicer.util.addVolumeFromArray(np.zeros((2, 2, 2), np.float32), name="reference")
    found = []
    for number in range(len(TIMES_S)):
        array = np.zeros(shape, np.float32)
        array[0, 0, 0] = number
        found.append(nodes.drain(nodes.add_volume(array, f"phase {number}", reference)))
    found[1].SetAttribute(nodes.SYNTHETIC, "1")
    return found


def first_voxel(volume):
    return slicer.util.arrayFromVolume(volume)[0, 0, 0]


def test_the_browser_shows_each_volume_at_its_time_in_the_proxy(host):
    volumes = add_volumes((4, 5, 6))
    sequence, browser, proxy = nodes.drain(add_sequence(volumes, TIMES_S, "series"))
    assert [sequence.GetNthIndexValue(n) for n in range(3)] == ["0", "90", "221.5"]
    assert sequence.GetIndexUnit() == "s"
    assert browser.GetProxyNode(sequence) is proxy
    assert proxy.GetName() == "series at selected time"
    assert first_voxel(proxy) == 0
    for item in (2, 1, 0):
        select(browser, item)
        assert first_voxel(proxy) == item
        assert nodes.is_synthetic(proxy) == (item == 1)


def test_the_items_share_their_voxels_with_the_volumes(host):
    volumes = add_volumes((4, 5, 6))
    sequence, _, _ = nodes.drain(add_sequence(volumes, TIMES_S, "series"))
    for number, volume in enumerate(volumes):
        assert sequence.GetNthDataNode(number).GetImageData() is volume.GetImageData()


def test_making_and_playing_the_sequence_of_a_full_size_study_blocks_nothing(host):
    """320 x 320 x 160 float32 voxels; the time of the thread itself."""
    volumes = add_volumes((160, 320, 320))
    steps, longest_s, found = add_sequence(volumes, TIMES_S, "series"), 0.0, None
    while found is None:
        start_s = time.thread_time()
        try:
            next(steps)
        except StopIteration as end:
            found = end.value
        longest_s = max(longest_s, time.thread_time() - start_s)
    for item in (1, 2, 0):
        start_s = time.thread_time()
        select(found[1], item)
        longest_s = max(longest_s, time.thread_time() - start_s)
    print(f"\nblocked at most {1000 * longest_s:.0f} ms")
    assert longest_s < host.patience(0.1)


@pytest.mark.parametrize("count", [1, 2])
def test_two_sequences_have_a_proxy_each(host, count):
    made = [nodes.drain(add_sequence(add_volumes((2, 3, 4)), TIMES_S, f"series {n}")) for n in range(count)]
    assert len({proxy.GetID() for _, _, proxy in made}) == count
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    assert sum("at selected time" in volume.GetName() for volume in volumes) == count
