"""The fastest way to compute is taken only within its bounds, on the slice at hand, and kept by machine and model."""

import json

import pytest
import torch
from torch import nn
from VirtualContrastLib.synthesis import backends
from VirtualContrastLib.synthesis.backends import REFERENCE, choose
from VirtualContrastLib.synthesis.device import DeviceChoice

AUTO = DeviceChoice("cpu", "auto", "test", free_bytes=2**34)
SAMPLE = torch.linspace(-1, 1, 64 * 64).reshape(1, 1, 64, 64)
MANY = 100


class Identity(nn.Module):
    """The identity."""

    def forward(self, x):
        return x.clone()


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "cache_dir", lambda: tmp_path / "cache")


@pytest.fixture
def ways(monkeypatch):
    """Sets the ways that a trial may try: name to function; counts how often each was made.

    "quick" and "wrong" take a twentieth of the reference's time, all others as long as it.
    """
    made, quick = [], []

    def measured(compute, sample, runs):
        return 0.001 if compute in quick else 0.02, compute(sample)

    monkeypatch.setattr(backends, "_measured", measured)

    def use(**functions):
        def way(name, compute):
            def make(network, choice):
                made.append(name)
                quick.extend([compute] if name in ("quick", "wrong") else [])
                return compute

            return backends._Way(name, make, lambda network, choice, seconds: True)

        monkeypatch.setattr(backends, "_WAYS", tuple(way(*item) for item in functions.items()))
        return made

    return use


def test_the_fastest_way_is_chosen_and_its_difference_measured(ways):
    ways(quick=lambda x: x + 0.001, slower=lambda x: x.clone())
    chosen = choose(Identity(), AUTO, SAMPLE, MANY, "a")
    assert chosen.name == "quick"
    assert chosen.ratio == pytest.approx(20)
    assert chosen.mean_difference_255 == pytest.approx(0.1275, rel=1e-3)
    assert chosen.high_difference_255 == pytest.approx(0.1275, rel=1e-3)
    assert "0.13 of 255" in chosen.description


def outlier(x):
    y = x.clone()
    y.flatten()[:10] += 0.1  # 12.75 of 255 in 0.24 % of the pixels, 0.03 on average
    return y


@pytest.mark.parametrize("wrong", [lambda x: x + 0.01, outlier, lambda x: x * float("nan")])
def test_a_way_beyond_the_bounds_is_not_used(ways, wrong):
    ways(wrong=wrong)
    assert choose(Identity(), AUTO, SAMPLE, MANY, "a").name == REFERENCE


@pytest.mark.parametrize(
    "error",
    [RuntimeError("could not create a primitive"), TypeError("Trying to convert BFloat16 to the MPS backend")],
)
def test_a_way_that_fails_or_gains_nothing_is_not_used(ways, error):
    def fails(x):
        raise error

    ways(fails=fails, same=lambda x: x.clone())
    assert choose(Identity(), AUTO, SAMPLE, MANY, "a").name == REFERENCE


def test_a_decision_is_kept_by_weights_and_size_of_slices(ways):
    made = ways(quick=lambda x: x, slow=lambda x: x.clone())
    first = choose(Identity(), AUTO, SAMPLE, MANY, "a")
    assert made == ["quick", "slow"]
    again = choose(Identity(), AUTO, SAMPLE, MANY, "a")
    assert (again.name, again.ratio, made) == (first.name, None, ["quick", "slow", "quick"])
    choose(Identity(), AUTO, SAMPLE, MANY, "b")
    choose(Identity(), AUTO, SAMPLE[..., :32], MANY, "a")
    assert len(made) == 7


def test_a_kept_way_is_measured_on_every_study(ways):
    """Within the bounds on the first study and not on the second: the second gets the reference."""
    ways(quick=lambda x: x + 0.2 * (x > 1))
    assert choose(Identity(), AUTO, SAMPLE, MANY, "a").name == "quick"
    assert choose(Identity(), AUTO, SAMPLE + 2, MANY, "a").name == REFERENCE


def test_what_is_not_shown_may_differ(ways):
    """The bounds hold what is shown of the network's output, not the output itself."""
    ways(quick=lambda x: x + 0.5 * (x > 0.5))
    assert choose(Identity(), AUTO, SAMPLE, MANY, "a").name == REFERENCE
    assert choose(Identity(), AUTO, SAMPLE, MANY, "b", lambda x: x.clamp(max=0.5)).name == "quick"


@pytest.mark.parametrize("content", ["", "[]", "{", json.dumps({"x": 1})])
def test_a_damaged_memory_of_decisions_costs_a_trial_and_nothing_else(ways, tmp_path, content):
    ways(quick=lambda x: x)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "backends.json").write_text(content)
    assert choose(Identity(), AUTO, SAMPLE, MANY, "a").name == "quick"


def test_nothing_is_tried_for_a_few_slices_or_where_the_reference_is_asked_for(ways):
    made = ways(quick=lambda x: x)
    assert choose(Identity(), AUTO, SAMPLE, 3, "a").name == REFERENCE
    assert choose(Identity(), DeviceChoice("cpu", "fp32", "test"), SAMPLE, MANY, "a").name == REFERENCE
    assert made == []


def test_bfloat16_is_computed_where_it_is_asked_for():
    conv = nn.Conv2d(1, 4, 3)
    found = choose(conv, DeviceChoice("cpu", "bf16", "test"), SAMPLE, MANY, "a").compute(SAMPLE)
    assert found.dtype == torch.bfloat16


def test_cpu_forms_need_memory_for_their_weights_and_without_it_the_order_of_memory_alone_is_tried(monkeypatch):
    """A convolution of 9 MB in float32: 38 MB as Winograd's, half of it in bfloat16, of which 30 % may be taken."""
    monkeypatch.setattr(backends, "_half_is_fast", lambda *_: True)
    network = nn.Conv2d(512, 512, 3)

    def tried(mib):
        choice = DeviceChoice("cpu", "auto", "test", free_bytes=mib * 2**20)
        return {way.name.removeprefix("torch ") for way in backends._WAYS if way.possible(network, choice, 1)}

    forms = {"float32 in CPU forms", "float32 in CPU forms with bfloat16 products", "bfloat16 in CPU forms"}
    assert tried(1000) == forms
    assert tried(100) == {"bfloat16 in CPU forms", "float32 channels last"}
    assert tried(40) == {"float32 channels last", "bfloat16 channels last"}
    assert tried(20) == {"bfloat16 channels last"}


@pytest.mark.parametrize("kind", ["float32 in CPU forms with bfloat16 products", "bfloat16 in CPU forms"])
def test_bfloat16_is_tried_where_it_is_fast_and_recorded_by_its_name(monkeypatch, kind):
    """A real trial of the real way on a network wide enough for its form, with times given."""
    name = f"torch {kind}"
    monkeypatch.setattr(backends, "_WAYS", tuple(way for way in backends._WAYS if way.name == name))
    seconds = iter([1.0, 0.25])
    monkeypatch.setattr(backends, "_measured", lambda compute, sample, runs=2: (next(seconds), compute(sample)))
    torch.manual_seed(0)
    wide = [nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(256, 256, 3)) for _ in range(3)]
    network = nn.Sequential(nn.Conv2d(1, 256, 3, padding=1), *wide, nn.ConvTranspose2d(256, 1, 1), nn.Tanh()).eval()
    sample = SAMPLE[..., :16, :16]
    monkeypatch.setattr(backends, "_half_is_fast", lambda *_: True)
    chosen = choose(network, AUTO, sample, MANY, "a")
    assert (chosen.name, chosen.ratio) == (name, 4.0)
    assert 0 < chosen.mean_difference_255 < backends.MEAN_BOUND_255
    assert chosen.compute(sample).dtype == torch.float32
    assert name in chosen.description and name in (backends._file().read_text())
    monkeypatch.setattr(backends, "_half_is_fast", lambda *_: False)
    seconds = iter([1.0])
    assert choose(network, AUTO, sample, MANY, "b").name == REFERENCE


def test_channels_last_is_the_network_in_another_order_of_memory():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3)).eval()
    compute = backends._channels_last(torch.float32)(network, AUTO)
    half = backends._channels_last(torch.bfloat16)(network, AUTO)(SAMPLE)
    assert half.dtype == torch.float32
    with torch.inference_mode():
        assert torch.allclose(compute(SAMPLE), network(SAMPLE), atol=1e-6)
        assert 0 < float((half - network(SAMPLE)).abs().max()) < 0.05


def test_openvino_computes_the_network():
    pytest.importorskip("openvino", reason="the optional package of the extra 'speed' is not installed")
    torch.manual_seed(0)
    network = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(1, 4, 3), nn.InstanceNorm2d(4), nn.Tanh()).eval()
    compute = backends.OpenVINO(network, "f32")
    with torch.inference_mode():
        for sample in (SAMPLE, SAMPLE[..., :40].repeat(2, 1, 1, 1)):
            assert torch.allclose(compute(sample), network(sample), atol=1e-4)
