"""Synthesis of volumes: geometry, orientation, units, gating, determinism, uncertainty, memory, cancel."""

import dataclasses
import itertools

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from tiny_models import tiny_package
from VirtualContrastLib.events import CancelledError, Events, InputError, Stage, VirtualContrastError
from VirtualContrastLib.synthesis.device import DeviceChoice
from VirtualContrastLib.synthesis.synthesizer import Synthesizer

CPU = DeviceChoice("cpu", "fp32", "test")
CODES = [
    "".join(letters) for axes in itertools.permutations(["LR", "PA", "SI"]) for letters in itertools.product(*axes)
]
JOINT_8BIT = {"intensity": {"recipe": "minmax_8bit"}}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def make(folder):
    """A synthesizer of a tiny random network, with parts of its card changed."""
    numbers = itertools.count()

    def build(network=None, choice=CPU, **changes):
        synthesizer = Synthesizer(tiny_package(folder / str(next(numbers)), **changes), choice)
        if network is not None:
            synthesizer.network.network = network
        return synthesizer

    return build


class CenterSlice(torch.nn.Module):
    """Gives the middle input channel back in every output channel."""

    def forward(self, x):
        return x[:, 1:2].expand(-1, 3, -1, -1)


class Ramp(torch.nn.Module):
    """Center slice made darker from the first to the last row and, half as much, column: not symmetric."""

    def forward(self, x):
        rows = torch.linspace(0, 0.4, x.shape[-2])[:, None]
        columns = torch.linspace(0, 0.2, x.shape[-1])[None]
        return ((x[:, 1:2] + 1) * (1 - rows - columns) - 1).expand(-1, 3, -1, -1)


def breast(size=(22, 20, 6), spacing=(0.7, 0.7, 3.0), seed=0):
    """A box of tissue in noisy air, all slices with tissue; size and spacing are (i, j, k)."""
    rng = np.random.default_rng(seed)
    values = np.abs(rng.normal(0, 5, size[::-1]))
    k, j, i = (slice(0, None), slice(size[1] // 4, -size[1] // 4), slice(size[0] // 4, -size[0] // 4))
    values[k, j, i] += rng.normal(300, 40, values[k, j, i].shape)
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.SetSpacing(spacing)
    image.SetOrigin((12.5, -31.25, 7.125))
    return image


def arrays(images):
    return np.stack([sitk.GetArrayFromImage(image) for image in images])


def geometry(image):
    return image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()


def rotated(image, degrees):
    transform = sitk.Euler3DTransform()
    transform.SetRotation(*np.deg2rad(degrees))
    turn = np.reshape(transform.GetMatrix(), (3, 3)) @ np.reshape(image.GetDirection(), (3, 3))
    image.SetDirection(turn.ravel().tolist())
    return image


# ---- geometry and orientation ----


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    code=st.sampled_from(CODES),
    angles=st.tuples(*[st.floats(-40, 40)] * 3),
    size=st.tuples(st.integers(5, 23), st.integers(5, 23), st.integers(1, 9)),
    spacing=st.tuples(*[st.floats(0.3, 4.0)] * 3),
    policy=st.sampled_from(["native", "resample"]),
)
def test_output_has_the_geometry_of_the_input_and_an_identity_network_gives_the_input(
    make_cached, code, angles, size, spacing, policy
):
    pre = rotated(sitk.DICOMOrient(breast(size, spacing), code), angles)
    found = make_cached(policy).synthesize(pre, Events())
    expected = sitk.GetArrayFromImage(pre)
    assert found.phases
    for phase in found.phases:
        assert geometry(phase) == geometry(pre)
        np.testing.assert_allclose(sitk.GetArrayFromImage(phase), expected, atol=1e-3)


@pytest.fixture(scope="module")
def make_cached(make):
    built = {
        "native": make(CenterSlice()),
        "resample": make(CenterSlice(), in_plane={"policy": "resample", "spacing_mm": 1.3, "pad_multiple": 4}),
    }
    return built.__getitem__


@pytest.mark.parametrize("policy", ["native", "resample"])
def test_a_study_gives_the_same_phases_in_each_of_the_48_orientations(make, policy):
    plane = {"policy": policy, "spacing_mm": 1.1, "pad_multiple": 4}
    synthesizer = make(Ramp(), in_plane=plane)
    axial = breast(size=(20, 18, 16), spacing=(0.7, 0.9, 2.0))
    expected = arrays(synthesizer.synthesize(axial, Events()).phases)
    assert np.abs(expected - expected[..., ::-1]).max() > 10  # the network tells left from right
    for code in CODES:
        found = synthesizer.synthesize(sitk.DICOMOrient(axial, code), Events()).phases
        turned = arrays([sitk.DICOMOrient(phase, "LPS") for phase in found])
        np.testing.assert_array_equal(turned, expected)


def test_rows_run_to_posterior_and_columns_to_the_left_when_the_network_sees_them(make):
    pre = sitk.DICOMOrient(breast(), "RAI")
    ratio = arrays(make(Ramp()).synthesize(pre, Events()).phases)[0] / sitk.GetArrayFromImage(pre)
    inside = ratio[3, 6:14, 7:15]  # stored with rows to anterior and columns to the right
    assert (np.diff(inside, axis=0) > 0).all()
    assert (np.diff(inside, axis=1) > 0).all()


def test_neighboring_slices_reach_the_network_in_order_with_the_ends_repeated(make):
    seen = []

    class Spy(CenterSlice):
        def forward(self, x):
            seen.append(x.clone())
            return super().forward(x)

    pre = breast(size=(16, 16, 5))
    make(Spy()).synthesize(pre, Events())
    x = torch.cat(seen)
    assert x.shape == (5, 3, 16, 16)
    assert torch.equal(x[1:, 0], x[:-1, 1]) and torch.equal(x[:-1, 2], x[1:, 1])
    assert torch.equal(x[0, 0], x[0, 1]) and torch.equal(x[-1, 2], x[-1, 1])


def test_a_single_slice_works_and_a_sagittal_one_is_taken_as_it_is_with_a_warning(make):
    synthesizer, events = make(CenterSlice()), Events()
    pre = breast(size=(30, 25, 1))
    assert geometry(synthesizer.synthesize(pre, events).phases[0]) == geometry(pre)
    assert events.warnings == []
    pre.SetDirection((0, 0, -1, 1, 0, 0, 0, -1, 0))
    found = synthesizer.synthesize(pre, events)
    np.testing.assert_allclose(arrays(found.phases)[0], sitk.GetArrayFromImage(pre), atol=1e-3)
    assert "not axial" in events.warnings[0]


@pytest.mark.parametrize("policy", ["native", "resample"])
@pytest.mark.parametrize("size", [(20, 20, 1), (1, 20, 6), (20, 1, 6)])
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_an_axis_of_length_one_may_be_reversed(make_cached, policy, size, signs):
    pre = breast(size)
    pre.SetDirection(np.diag(signs).astype(float).ravel().tolist())
    found = make_cached(policy).synthesize(pre, Events(), perturbations=2)
    np.testing.assert_allclose(arrays(found.phases)[0], sitk.GetArrayFromImage(pre), atol=1e-3)
    assert geometry(found.phases[0]) == geometry(pre)


def test_resampling_keeps_detail_that_the_network_never_saw(make):
    pre = breast(size=(64, 64, 2), spacing=(0.5, 0.5, 3.0))
    coarse = make(Ramp(), in_plane={"policy": "resample", "spacing_mm": 2.0, "pad_multiple": 4})
    phase = arrays(coarse.synthesize(pre, Events()).phases)[0]
    fine, kept = (volume - gaussian_filter(volume, (0, 3, 3)) for volume in (sitk.GetArrayFromImage(pre), phase))
    inside = np.s_[:, 22:42, 22:42]
    assert np.corrcoef(fine[inside].ravel(), kept[inside].ravel())[0, 1] > 0.95
    assert phase.min() >= 0


# ---- channels and units ----


def test_channels_are_phases_as_the_card_says_and_equal_ones_are_averaged(make):
    class Levels(torch.nn.Module):
        def forward(self, x):
            return torch.tensor([-0.5, 0.0, 0.5])[None, :, None, None].expand(len(x), 3, *x.shape[2:])

    pre = breast()
    synthesizer = make(Levels(), outputs={"channel_phases": [3, 2, 1], "times_s": [1.0, 2.0, 3.0]})
    found = arrays(synthesizer.synthesize(pre, Events()).phases)
    scale = synthesizer._recipe.fit(sitk.GetArrayFromImage(pre))["scale"]
    np.testing.assert_allclose(found[:, 2, 5, 5], [3 * scale, 2 * scale, 1 * scale], rtol=1e-5)
    averaged = make(Levels(), outputs={"channel_phases": [2, 1, 2], "times_s": [90.0, 220.0]})
    result = averaged.synthesize(pre, Events())
    assert result.times_s == [90.0, 220.0]
    np.testing.assert_allclose(arrays(result.phases)[:, 2, 5, 5], [2 * scale, 2 * scale], rtol=1e-5)


def test_the_published_recipe_gives_arbitrary_units_and_the_pre_volume_in_the_same(make):
    pre = breast()
    found = make(CenterSlice(), **JOINT_8BIT).synthesize(pre, Events())
    assert found.arbitrary_units
    shown = sitk.GetArrayFromImage(found.pre)
    np.testing.assert_allclose([shown.min(), shown.max()], [0, 255], atol=1e-3)
    assert np.abs(arrays(found.phases) - shown).max() <= 0.5 + 1e-3  # 8-bit rounding
    calibrated = make(CenterSlice()).synthesize(pre, Events())
    assert not calibrated.arbitrary_units
    assert np.array_equal(sitk.GetArrayFromImage(calibrated.pre), sitk.GetArrayFromImage(pre))


def test_signed_integers_with_an_offset_come_back_in_their_own_units(make):
    pre = sitk.Cast(breast(), sitk.sitkInt16) - 1000
    found = make(CenterSlice()).synthesize(pre, Events()).phases[0]
    assert found.GetPixelID() == sitk.sitkFloat32
    np.testing.assert_allclose(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(pre), atol=1e-2)


# ---- what must not be synthesized ----


@pytest.mark.parametrize("changes", [{}, JOINT_8BIT])
@pytest.mark.parametrize("policy", ["native", "resample"])
def test_slices_without_tissue_stay_as_they_are_and_the_others_do_not(make, changes, policy):
    pre = breast(size=(22, 20, 7))
    array = sitk.GetArrayFromImage(pre)
    array[0] = 0
    array[4] = np.abs(np.random.default_rng(1).normal(0, 5, array[4].shape))
    emptied = sitk.GetImageFromArray(array)
    emptied.CopyInformation(pre)
    plane = {"policy": policy, "spacing_mm": 1.1, "pad_multiple": 4}
    found = make(in_plane=plane, **changes).synthesize(emptied, Events())
    same = (arrays(found.phases) == sitk.GetArrayFromImage(found.pre)).all(axis=(2, 3))
    assert same[:, [0, 4]].all()
    assert not same[:, [1, 2, 3, 5, 6]].any()


def test_a_constant_volume_is_refused(make):
    with pytest.raises(InputError, match="same value everywhere"):
        make().synthesize(breast() * 0, Events())


def test_a_network_that_gives_no_numbers_is_told(make):
    class Broken(CenterSlice):
        def forward(self, x):
            return super().forward(x) * float("nan")

    with pytest.raises(VirtualContrastError, match="not finite"):
        make(Broken()).synthesize(breast(), Events())


# ---- determinism, progress, cancel ----


def test_the_same_input_gives_the_same_bytes_from_a_fresh_synthesizer(folder):
    pre = breast(size=(37, 29, 5))
    runs = []
    for _ in range(2):
        synthesizer = Synthesizer(tiny_package(folder / "same"), CPU)
        found = synthesizer.synthesize(pre, Events(), perturbations=2, seed=3)
        runs.append((arrays(found.phases).tobytes(), arrays(found.uncertainty).tobytes()))
    assert runs[0] == runs[1]


def test_results_do_not_depend_on_how_slices_are_batched(make, monkeypatch):
    synthesizer, pre = make(), breast(size=(37, 29, 7))
    together = arrays(synthesizer.synthesize(pre, Events()).phases)
    monkeypatch.setattr(synthesizer.network, "batch_size", lambda *_: 1)
    alone = arrays(synthesizer.synthesize(pre, Events()).phases)
    np.testing.assert_allclose(together, alone, atol=1e-2)
    assert np.ptp(together) > 100


class Recorder:
    def __init__(self, cancel_at=None, events=None):
        self.steps, self.cancel_at, self.events = [], cancel_at, events

    def progress(self, stage, done, total):
        assert stage is Stage.SYNTHESIZE
        self.steps.append((done, total))
        if self.cancel_at is not None and done >= self.cancel_at:
            self.events.cancel()

    def warning(self, message):
        pass


def test_progress_counts_slices_times_passes_up_to_the_total(make):
    recorder = Recorder()
    make().synthesize(breast(size=(16, 16, 9)), Events([recorder]), perturbations=2)
    done = [step for step, _ in recorder.steps]
    assert {total for _, total in recorder.steps} == {27}
    assert done == sorted(done) and done[0] == 0 and done[-1] == 27


def test_cancel_is_heard_between_batches(make):
    events = Events()
    recorder = Recorder(cancel_at=1, events=events)
    events.listeners.append(recorder)
    with pytest.raises(CancelledError):
        make().synthesize(breast(size=(16, 16, 40)), events)
    assert recorder.steps[-1][0] <= 4


# ---- uncertainty ----


def test_an_equivariant_network_is_only_as_uncertain_as_the_noise_that_was_added(make):
    pre = breast(size=(40, 36, 3))
    found = make(CenterSlice()).synthesize(pre, Events(), perturbations=16, seed=1)
    spread = arrays(found.uncertainty)
    assert [geometry(image) for image in found.uncertainty] == [geometry(pre)] * 3
    # the air of `breast` is half-normal noise of 5; the estimate assumes magnitude (Rayleigh) noise
    tissue = spread[:, :, 12:24, 13:27]
    assert 2 < np.median(tissue) < 8


def test_a_network_that_is_not_flip_symmetric_is_uncertain_where_it_is_not(make):
    class LeftOnly(torch.nn.Module):
        def forward(self, x):
            y = x[:, 1:2].clone()
            y[..., : x.shape[-1] // 4] = 1.0
            return y.expand(-1, 3, -1, -1)

    spread = arrays(make(LeftOnly()).synthesize(breast(size=(40, 36, 2)), Events(), perturbations=4).uncertainty)
    outer = np.r_[0:10, 30:40]
    assert spread[..., outer].min() > 100 > spread[..., 12:28].max()


def test_uncertainty_depends_on_the_seed_and_phases_do_not(make):
    synthesizer, pre = make(), breast()
    first, second = (synthesizer.synthesize(pre, Events(), perturbations=2, seed=s) for s in (0, 1))
    assert np.array_equal(arrays(first.phases), arrays(second.phases))
    assert not np.array_equal(arrays(first.uncertainty), arrays(second.uncertainty))
    assert synthesizer.synthesize(pre, Events()).uncertainty is None


@pytest.mark.parametrize("count", [1, -1])
def test_one_perturbed_pass_is_refused(make, count):
    with pytest.raises(InputError, match="at least 2"):
        make().synthesize(breast(), Events(), perturbations=count)


# ---- memory ----


class Greedy(CenterSlice):
    """Fails for more slices than fit; counts what it was given."""

    def __init__(self, fits):
        super().__init__()
        self.fits, self.calls = fits, []

    def forward(self, x):
        self.calls.append(len(x))
        if len(x) > self.fits:
            raise torch.OutOfMemoryError("out of memory")
        return super().forward(x)


def test_batches_are_halved_until_they_fit(make):
    network = Greedy(fits=1)
    pre, events = breast(size=(16, 16, 4)), Events()
    found = make(network).synthesize(pre, events)
    np.testing.assert_allclose(arrays(found.phases)[0], sitk.GetArrayFromImage(pre), atol=1e-3)
    assert network.calls == [4, 2, 1, 1, 2, 1, 1]
    assert events.warnings == []


def test_a_gpu_too_small_for_one_slice_hands_over_to_the_cpu_with_a_warning(make):
    network = Greedy(fits=0)
    # "cpu:0" stands for a GPU: torch computes there, but it is not the name of the last resort.
    synthesizer = make(network, choice=DeviceChoice("cpu:0", "fp32", "test", free_bytes=2**30))
    network.to = lambda device: setattr(network, "fits", 99)
    events = Events()
    synthesizer.synthesize(breast(size=(16, 16, 4)), events)
    assert len(events.warnings) == 1 and "continuing on the CPU" in events.warnings[0]
    assert synthesizer.network.choice.device == "cpu"


def test_a_cpu_without_memory_for_one_slice_is_told(make):
    with pytest.raises(VirtualContrastError, match="too little memory"):
        make(Greedy(fits=0)).synthesize(breast(), Events())


def test_batch_sizes_follow_the_size_of_a_slice_and_the_free_memory(make):
    cpu = make().network
    assert [cpu.batch_size((n, n), 64) for n in (64, 256, 512, 1024)] == [4, 4, 1, 1]
    gpu = make(choice=DeviceChoice("cpu:0", "fp32", "test", free_bytes=8 * 2**30)).network
    assert [gpu.batch_size((n, n), 64) for n in (128, 512, 1024, 4096)] == [32, 3, 1, 1]


def test_bfloat16_changes_numbers_and_so_is_never_the_default(make):
    pre = breast()
    exact = arrays(make().synthesize(pre, Events()).phases)
    rough = arrays(make(choice=DeviceChoice("cpu", "bf16", "test")).synthesize(pre, Events()).phases)
    assert np.isfinite(rough).all()
    assert 0 < np.abs(rough - exact).max() < 0.2 * np.ptp(exact)


def test_a_segmentation_model_is_refused(folder):
    package = tiny_package(folder / "plain")
    segmentation = package.card.model_copy(update={"outputs": None})
    with pytest.raises(InputError, match="does not make phases"):
        Synthesizer(dataclasses.replace(package, card=segmentation), CPU)
