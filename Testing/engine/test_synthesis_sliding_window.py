"""The dense sliding window against a plain loop over windows, and the mammogram steps around it."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from VirtualContrastLib.events import CancelledError, Events, InputError
from VirtualContrastLib.networks.cyclegan import build_generator
from VirtualContrastLib.synthesis.mammogram import MammogramSpec, breast_box, to_range
from VirtualContrastLib.synthesis.sliding_window import slide


def by_loop(network, image, window, stride):
    """One window after the other, on an image grown by its edge at the bottom and right."""
    rows, columns = image.shape[1:]
    ends = [window + max(0, -(-(n - window) // stride)) * stride for n in (rows, columns)]
    grown = np.pad(image.numpy(), [(0, 0), (0, ends[0] - rows), (0, ends[1] - columns)], mode="edge")
    total, count = None, np.zeros(ends)
    for top in range(0, ends[0] - window + 1, stride):
        for left in range(0, ends[1] - window + 1, stride):
            patch = torch.from_numpy(grown[None, :, top : top + window, left : left + window].copy())
            out = network(patch)[0].numpy()
            total = np.zeros((len(out), *ends)) if total is None else total
            total[:, top : top + window, left : left + window] += out
            count[top : top + window, left : left + window] += 1
    return (total / count)[:, :rows, :columns]


def test_a_generator_gives_what_the_loop_gives():
    torch.manual_seed(0)
    network = build_generator({"ngf": 4, "n_blocks": 1, "output_nc": 2}).eval()
    image = torch.randn(1, 75, 52)
    with torch.inference_mode():
        fast = slide(network, image, window=32, stride=8, batch=7)
        slow = by_loop(network, image, 32, 8)
    assert fast.shape == (2, 75, 52)
    assert np.abs(fast.numpy() - slow).max() < 1e-5


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 60),
    columns=st.integers(1, 60),
    window=st.integers(1, 24),
    stride=st.integers(1, 24),
    batch=st.integers(1, 50),
)
def test_every_size_window_stride_and_batch_agrees_with_the_loop(rows, columns, window, stride, batch):
    if stride > window:
        stride = window
    # A network that depends on the place within the window, so that a shifted window would show.
    ramp = torch.linspace(0, 1, window)

    def network(x):
        return x * (1 + ramp) + ramp[:, None]

    image = torch.from_numpy(np.random.default_rng(rows * 61 + columns).random((1, rows, columns), dtype=np.float32))
    fast = slide(network, image, window=window, stride=stride, batch=batch)
    assert np.allclose(fast.numpy(), by_loop(network, image, window, stride), atol=1e-4)


def test_the_identity_comes_back_and_progress_counts_all_windows():
    image = torch.randn(3, 100, 70)
    seen = []
    same = slide(
        lambda x: x, image, window=32, stride=8, batch=20, progress=lambda done, total: seen.append((done, total))
    )
    assert torch.allclose(same, image, atol=1e-6)
    total = 10 * 6  # 1 + ceil((side - 32) / 8) windows along each side
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_no_batch_is_larger_than_asked_for():
    sizes = []

    def network(x):
        sizes.append(len(x))
        return x

    slide(network, torch.zeros(1, 200, 200), window=32, stride=8, batch=10)
    assert max(sizes) <= 10
    assert sum(sizes) == 22 * 22  # 1 + ceil((200 - 32) / 8) along each side


@pytest.mark.parametrize(("stride", "batch"), [(0, 1), (33, 1), (8, 0)])
def test_impossible_strides_and_batches_are_refused(stride, batch):
    with pytest.raises(ValueError, match="stride"):
        slide(lambda x: x, torch.zeros(1, 64, 64), window=32, stride=stride, batch=batch)


def spec(**changes):
    return MammogramSpec.of({"source_window": [1800, 2900], "target_window": [1700, 2400], **changes})


def test_windows_clip_and_come_back():
    values = np.array([0, 1800, 2350, 2900, 5000], np.float32)
    assert spec().source_range(values).tolist() == [-1, -1, 0, 1, 1]
    inside = np.linspace(1700, 2400, 50, dtype=np.float32)
    assert np.allclose(spec().target_values(spec().target_range(inside)), inside, atol=1e-3)
    assert to_range(np.float32([0, 255]), (0, 255)).tolist() == [-1, 1]


def test_a_mammogram_shrinks_to_millimetres_and_then_by_the_factor():
    image = sitk.GetImageFromArray(np.zeros((1, 300, 200), np.float32))
    image.SetSpacing((0.2, 0.4, 1.0))
    assert spec().shrink(image).shape == (30, 10)
    assert spec(spacing_mm=None, downsample=1).shrink(image).shape == (300, 200)
    ramp = sitk.GetImageFromArray(np.broadcast_to(np.arange(200, dtype=np.float32), (1, 300, 200)).copy())
    shrunk = spec(spacing_mm=None, downsample=4).shrink(ramp)
    assert np.allclose(shrunk[5, 2:-2], np.arange(50)[2:-2] * 4 + 1.5, atol=1e-3)


def test_the_box_is_that_of_the_largest_bright_region():
    values = np.zeros((60, 40), np.float32)
    values[10:50, 5:40] = 100
    values[2:4, 1:3] = 120
    assert breast_box(values) == (slice(10, 50), slice(5, 40))
    assert breast_box(values, 8) == (slice(2, 58), slice(0, 40))


def test_the_box_of_real_mammograms_holds_the_whole_breast(shared_data):
    """Truth: pixels that are not air, where air is below 12 of 255 in these display-processed pictures."""
    pictures = [p for p in (shared_data / "cem-lesion-masks" / "images").iterdir() if "_DM_" in p.name]
    images = [sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in pictures]
    pairs = sorted((shared_data / "cem-pairs" / "public").iterdir())
    images += [sitk.GetArrayFromImage(sitk.ReadImage(str(p)))[:, :256] for p in pairs]
    assert len(images) >= 2
    for pixels in images:
        low = (pixels[..., 0] if pixels.ndim == 3 else pixels).astype(np.float32)
        rows, columns = breast_box(low)
        tissue = low > 12
        assert tissue[rows, columns].sum() > 0.98 * tissue.sum()


def test_a_mammogram_of_one_value_has_no_breast():
    with pytest.raises(InputError, match="no breast"):
        breast_box(np.full((40, 40), 7, np.float32))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"source_window": [2, 1], "target_window": [0, 1]}, "do not ascend"),
        ({"source_window": [1, 2]}, "do not fit"),
        ({"source_window": [1, 2], "target_window": [0, 1], "downsample": 0}, "at least 1"),
    ],
)
def test_impossible_settings_are_refused(config, sentence):
    with pytest.raises(InputError, match=sentence):
        MammogramSpec.of(config)


def test_a_volume_is_no_mammogram():
    with pytest.raises(InputError, match="has 3 slices"):
        spec().shrink(sitk.Image(64, 64, 3, sitk.sitkFloat32))


def test_cancelling_is_heard_between_batches():
    from VirtualContrastLib.events import Stage

    events = Events()
    events.cancel()
    with pytest.raises(CancelledError):
        slide(
            lambda x: x,
            torch.zeros(1, 64, 64),
            window=32,
            progress=lambda d, t: events.progress(Stage.SYNTHESIZE, d, t),
        )
