"""TI-norm, sliding windows, and later phases from a pre-contrast volume and one early phase."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn
from VirtualContrastLib.events import CancelledError, Events, InputError
from VirtualContrastLib.models.card import ArchitectureSpec, Inputs, ModelCard, Outputs
from VirtualContrastLib.models.package import save_package
from VirtualContrastLib.networks.iter_unet import build_iter_unet, build_series_network
from VirtualContrastLib.study import Phase
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.ti_norm import TINorm
from VirtualContrastLib.synthesis.volumetric import VolumetricSynthesizer, gaussian_weight, sliding_windows

WINDOW = (16, 32, 32)
FEATURES = (4, 4, 6, 6, 6, 4)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def package(folder, weights, times_s=(220.0, 350.0), options=None, **changes):
    options = {"features": list(FEATURES)} if options is None else options
    config = {"network": options, "window_kji": list(WINDOW), "overlap": 0.5, "ti_norm_region": "volume"}
    card = ModelCard.model_construct(
        id="tiny-iter-unet",
        version="1",
        title="Tiny",
        architecture=ArchitectureSpec.model_construct(name="iter_unet", config={**config, **changes}),
        inputs=Inputs(phases=[0, 1]),
        outputs=Outputs.model_construct(channel_phases=list(range(2, 2 + len(times_s))), times_s=list(times_s)),
        trained_on_phantoms=True,
        license="Apache-2.0",
    )
    return save_package(folder, card, weights.state_dict(), model_card_md="# Tiny\n")


def synthesizer(folder, network=None, **options):
    network = network or build_iter_unet({"features": FEATURES, **options.get("options", {})})
    return VolumetricSynthesizer(package(folder, network, **options), choose_device("cpu"))


def unchanging():
    network = build_iter_unet({"features": FEATURES})
    nn.init.zeros_(network.final_conv.weight)
    nn.init.zeros_(network.final_conv.bias)
    return network


def study(shape=(20, 40, 36), seed=0, direction=None, spacing=(0.8, 0.9, 3.0)):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(300, 60, shape).astype(np.float32), rng.normal(500, 90, shape).astype(np.float32)]
    images = [sitk.GetImageFromArray(array) for array in arrays]
    for image in images:
        image.SetSpacing(spacing)
        image.SetOrigin((-31.5, 12.25, 7.125))
        if direction is not None:
            image.SetDirection(direction)
    return images


def acquired(*images, times_s=(90.0, 150.0)):
    """Images as acquired phases 1, 2, ..."""
    return [Phase(n, image, times_s[n - 1], synthetic=False) for n, image in enumerate(images, start=1)]


def inputs(shape):
    pre, first = study(shape)
    return pre, acquired(first)


def direct_series(network, arrays, times, norm):
    pre, first = (torch.from_numpy(norm.forward(a))[None, None] for a in arrays)
    with torch.no_grad():
        return norm.inverse(network.eval()(pre, first, torch.tensor([times]))[0].numpy())


@given(hnp.arrays(np.float32, (3, 4, 5), elements=st.floats(0, 4000, width=32)).filter(lambda a: np.ptp(a) > 1))
@settings(max_examples=50, deadline=None)
def test_ti_norm_is_undone_by_its_inverse_and_normalizes_the_first_phase(first):
    norm = TINorm.of(first)
    normalized = norm.forward(first)
    assert float(normalized.mean(dtype=np.float64)) == pytest.approx(0, abs=1e-3)
    assert float(normalized.std(dtype=np.float64)) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(norm.inverse(normalized), first, rtol=1e-5, atol=1e-5 * np.abs(first).max())


def test_ti_norm_uses_one_pair_of_numbers_so_that_differences_of_phases_keep_their_meaning():
    pre, first = (sitk.GetArrayFromImage(image) for image in study())
    norm = TINorm.of(first)
    np.testing.assert_allclose(norm.forward(first) - norm.forward(pre), (first - pre) / first.std(), atol=1e-4)


def test_ti_norm_can_leave_the_air_out():
    first = np.zeros((4, 10, 10), np.float32)
    first[:, 5:] = np.random.default_rng(0).normal(400, 30, (4, 5, 10))
    inside = first[:, 5:]
    norm = TINorm.of(first, "foreground")
    assert (norm.mean, norm.sd) == pytest.approx((inside.mean(), inside.std()), rel=1e-5)
    assert TINorm.of(first).mean == pytest.approx(inside.mean() / 2, rel=1e-5)


def test_ti_norm_refuses_a_constant_volume():
    with pytest.raises(InputError, match="same value everywhere"):
        TINorm.of(np.full((3, 3, 3), 7.0))


@given(
    st.tuples(*[st.integers(8, 24)] * 3),
    st.tuples(*[st.integers(4, 8)] * 3),
    st.floats(0, 0.75),
)
@settings(max_examples=40, deadline=None)
def test_windows_cover_every_voxel_lie_inside_and_overlap_enough(shape, window, overlap):
    covered = np.zeros(shape, int)
    places = list(sliding_windows(shape, window, overlap))
    for place in places:
        assert all(s.start >= 0 and s.stop <= n for s, n in zip(place, shape, strict=True))
        assert tuple(s.stop - s.start for s in place) == window
        covered[place] += 1
    assert covered.min() >= 1
    for axis, n in enumerate(window):
        starts = sorted({place[axis].start for place in places})
        assert max(np.diff(starts), default=0) <= max(1, n * (1 - overlap))


def test_the_weight_of_a_window_is_a_gaussian_around_its_center():
    weight = gaussian_weight((9, 16, 31))
    assert weight.shape == (9, 16, 31)
    np.testing.assert_allclose(weight, weight[::-1, ::-1, ::-1])
    assert weight[4, 7, 15] == weight.max()
    sigma = 31 / 8
    assert weight[4, 8, 18] / weight[4, 8, 15] == pytest.approx(np.exp(-(3**2) / (2 * sigma**2)), rel=1e-5)
    assert weight.min() == pytest.approx(1e-3)


def test_a_volume_of_one_window_gives_what_the_network_gives(tmp_path):
    network = build_iter_unet({"features": FEATURES})
    pre, first = study(WINDOW)
    result = synthesizer(tmp_path / "m", network).synthesize(pre, acquired(first), Events())
    arrays = [sitk.GetArrayFromImage(image) for image in (pre, first)]
    expected = direct_series(network, arrays, [220.0, 350.0], TINorm.of(arrays[1]))
    for phase, array in zip(result.phases, expected, strict=True):
        np.testing.assert_allclose(sitk.GetArrayFromImage(phase), array, rtol=1e-4, atol=0.01)
    assert result.times_s == [220.0, 350.0]
    assert not result.arbitrary_units


def test_overlapping_windows_are_blended_by_their_weights(tmp_path):
    network = build_iter_unet({"features": FEATURES})
    pre, first = study((16, 32, 48))
    result = synthesizer(tmp_path / "m", network).synthesize(pre, acquired(first), Events())
    arrays = [sitk.GetArrayFromImage(image) for image in (pre, first)]
    norm = TINorm.of(arrays[1])
    left, right = (direct_series(network, [a[..., s : s + 32] for a in arrays], [220.0, 350.0], norm) for s in (0, 16))
    weight = gaussian_weight(WINDOW)
    both = (weight[..., 16:] * left[0][..., 16:] + weight[..., :16] * right[0][..., :16]) / (
        weight[..., 16:] + weight[..., :16]
    )
    found = sitk.GetArrayFromImage(result.phases[0])
    np.testing.assert_allclose(found[..., 16:32], both, rtol=1e-4, atol=0.01)
    np.testing.assert_allclose(found[..., :16], left[0][..., :16], rtol=1e-4, atol=0.01)


@pytest.mark.parametrize("shape", [(8, 30, 36), (20, 40, 36), (1, 20, 20)])
@pytest.mark.parametrize("direction", [None, (-1, 0, 0, 0, 0, 1, 0, 1, 0)])
def test_geometry_is_exact_and_a_network_that_changes_nothing_gives_the_first_phase(tmp_path, shape, direction):
    pre, first = study(shape, direction=direction)
    result = synthesizer(tmp_path / "m", unchanging()).synthesize(pre, acquired(first), Events())
    for phase in result.phases:
        assert phase.GetSize() == pre.GetSize()
        assert phase.GetSpacing() == pre.GetSpacing()
        assert phase.GetOrigin() == pre.GetOrigin()
        assert phase.GetDirection() == pre.GetDirection()
        np.testing.assert_allclose(sitk.GetArrayFromImage(phase), sitk.GetArrayFromImage(first), rtol=1e-4, atol=0.01)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.pre), sitk.GetArrayFromImage(pre))


def test_a_flipped_volume_gives_the_same_voxels_in_the_world(tmp_path):
    model = synthesizer(tmp_path / "m")
    pre, first = study(WINDOW)
    straight = model.synthesize(pre, acquired(first), Events()).phases[0]
    axes = [sitk.DICOMOrient(image, "RAS") for image in (pre, first)]
    turned = model.synthesize(axes[0], acquired(axes[1]), Events()).phases[0]
    back = sitk.DICOMOrient(turned, "LPS")
    np.testing.assert_allclose(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(straight), rtol=1e-5, atol=1e-3)


def test_any_number_of_later_phases_can_be_asked_for(tmp_path):
    model = synthesizer(tmp_path / "m", options={"features": list(FEATURES), "time": "seconds"})
    events = Events()
    result = model.synthesize(*inputs(WINDOW), events, times_s=[250.0, 300.0, 310.0, 330.0, 345.0])
    assert len(result.phases) == 5
    assert result.times_s == [250.0, 300.0, 310.0, 330.0, 345.0]
    assert len(events.warnings) == 1
    assert "trained to make 2" in events.warnings[0]
    model.synthesize(*inputs(WINDOW), events, times_s=[100.0])
    assert "guesses" in events.warnings[-1]


def test_a_model_that_counts_steps_says_that_it_knows_no_seconds(tmp_path):
    events = Events()
    synthesizer(tmp_path / "m").synthesize(*inputs(WINDOW), events, times_s=[200.0, 300.0])
    assert len(events.warnings) == 1
    assert "does not use seconds" in events.warnings[0]


def test_windows_without_tissue_keep_the_first_phase(tmp_path):
    pre, first = (sitk.GetArrayFromImage(image) for image in study((16, 32, 96)))
    first[..., 40:] = 20.0
    pre[..., 40:] = 10.0
    images = [sitk.GetImageFromArray(a) for a in (pre, first)]
    found = synthesizer(tmp_path / "m").synthesize(images[0], acquired(images[1]), Events()).phases[1]
    array = sitk.GetArrayFromImage(found)
    np.testing.assert_allclose(array[..., 64:], 20.0, rtol=1e-4)
    assert np.abs(array[..., :24] - first[..., :24]).max() > 1


def test_with_several_acquired_phases_the_network_sees_each_on_the_scale_of_the_first(tmp_path):
    options = {"features": list(FEATURES), "time": "seconds"}
    network = build_iter_unet(options)
    (pre, first), (_, second) = study(WINDOW), study(WINDOW, seed=1)
    model = synthesizer(tmp_path / "m", network, times_s=(150.0, 220.0, 350.0), options=options)
    made = model.synthesize(pre, acquired(first, second), Events())
    norm = TINorm.of(sitk.GetArrayFromImage(first))
    volumes = [torch.from_numpy(norm.forward(sitk.GetArrayFromImage(i)))[None, None] for i in (pre, first, second)]
    times = network.step_times(torch.tensor([[150.0, 220.0, 350.0]]))
    with torch.no_grad():
        _, state = network.eval().step(volumes[0], volumes[1], times[:, 0], None)
        third, state = network.step(volumes[0], volumes[2], times[:, 1], state)
        fourth, _ = network.step(volumes[0], third, times[:, 2], state)
    assert made.times_s == [220.0, 350.0]
    for image, expected in zip(made.phases, (third, fourth), strict=True):
        expected = norm.inverse(expected[0, 0].numpy())
        np.testing.assert_allclose(sitk.GetArrayFromImage(image), expected, rtol=1e-4, atol=0.05)


def test_a_network_that_changes_nothing_repeats_the_last_acquired_phase(tmp_path):
    (pre, first), (_, second) = study(), study(seed=1)
    made = synthesizer(tmp_path / "m", unchanging()).synthesize(pre, acquired(first, second), Events(), times_s=[350.0])
    (image,) = made.phases
    np.testing.assert_allclose(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(second), rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "times_s", "message"),
    [
        ({"features": list(FEATURES), "recursive": False, "time_points": 2}, (90.0, 150.0), "reads one acquired phase"),
        ({"features": list(FEATURES), "memory": "none"}, (90.0, 150.0), "has no memory"),
        ({"features": list(FEATURES)}, (90.0, None), "times of the acquired phases are unknown"),
    ],
)
def test_several_acquired_phases_are_refused_where_the_network_cannot_read_them(tmp_path, options, times_s, message):
    model = synthesizer(tmp_path / "m", build_series_network(options), options=options)
    (pre, first), (_, second) = study(WINDOW), study(WINDOW, seed=1)
    with pytest.raises(InputError, match=message):
        model.synthesize(pre, acquired(first, second, times_s=times_s), Events(), times_s=[220.0, 350.0])


def test_the_baseline_networks_make_their_phases_and_no_other_number_of_them(tmp_path):
    options = {"features": list(FEATURES), "recursive": False, "time_points": 2}
    model = synthesizer(tmp_path / "m", build_series_network(options), options=options)
    assert len(model.synthesize(*inputs(WINDOW), Events()).phases) == 2
    with pytest.raises(InputError, match="exactly 2"):
        model.synthesize(*inputs(WINDOW), Events(), times_s=[200.0])


class Recorder:
    def __init__(self, events, stop_at=None):
        self.seen, self._events, self._stop_at = [], events, stop_at

    def progress(self, stage, done, total):
        self.seen.append((done, total))
        if done == self._stop_at:
            self._events.cancel()

    def warning(self, message):
        pass


def test_progress_counts_windows_and_cancel_is_heard_between_them(tmp_path):
    model = synthesizer(tmp_path / "m")
    events = Events()
    events.listeners.append(recorder := Recorder(events))
    model.synthesize(*inputs((16, 32, 64)), events)
    assert recorder.seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    events = Events()
    events.listeners.append(recorder := Recorder(events, stop_at=1))
    with pytest.raises(CancelledError):
        model.synthesize(*inputs((16, 32, 64)), events)
    assert recorder.seen[-1] == (1, 3)


def test_phases_of_another_geometry_are_refused(tmp_path):
    pre, _ = study()
    _, other = study(spacing=(0.8, 0.9, 2.0))
    with pytest.raises(InputError, match="spacings differ"):
        synthesizer(tmp_path / "m").synthesize(pre, acquired(other), Events())


@pytest.mark.parametrize("times_s", [[], [300.0, 200.0], [0.0, 100.0], [float("nan")]])
def test_times_that_make_no_sense_are_refused(tmp_path, times_s):
    with pytest.raises(InputError, match="seconds after injection"):
        synthesizer(tmp_path / "m").synthesize(*inputs(WINDOW), Events(), times_s=times_s)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_kji": [8, 8, 8]}, "too small"),
        ({"overlap": 1.0}, "overlap is 1.0"),
        ({"ti_norm_region": "breast"}, "ti_norm_region is 'breast'"),
        ({"surplus": 1}, "surplus"),
        ({"network": {"features": [8] * 6}}, "does not fit the iter_unet network"),
    ],
)
def test_a_package_that_does_not_fit_is_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        VolumetricSynthesizer(
            package(tmp_path / "m", build_iter_unet({"features": FEATURES}), **changes), choose_device("cpu")
        )
